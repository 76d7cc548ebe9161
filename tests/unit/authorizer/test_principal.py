"""Test that a token is only a signed STS request, and that STS alone identifies its signer."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from functions.authorizer.principal import Principals, principal_in, sts_request_in
from functions.authorizer.service import CallerUnknown, KeysUnavailable
from tests.local import pages
from tests.signing import encoded, sts, token

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
STS = "https://sts.eu-west-1.amazonaws.com"


def presigned_as_the_cli_does(region: str, session_token: str | None) -> str:
    endpoint = f"https://sts.{region}.amazonaws.com"
    client = boto3.Session("AKID", "secret", session_token, region).client("sts", endpoint_url=endpoint)
    client.meta.events.register("before-sign.sts.GetCallerIdentity", name_the_audience)
    url = client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    client.close()
    return encoded(url)


def name_the_audience(request: AWSRequest, **_: object) -> None:
    request.headers.add_header("x-k8s-aws-id", "sluice")


@pytest.mark.parametrize("session_token", [None, "a/session+token=="])
@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-east-1", "ap-southeast-2"])
def test_what_the_aws_cli_makes_is_a_question(region: str, session_token: str | None) -> None:
    question = sts_request_in(presigned_as_the_cli_does(region, session_token), now=datetime.now(UTC))

    assert question is not None
    assert (question.scheme, question.host) == ("https", f"sts.{region}.amazonaws.com")
    assert "X-Amz-Signature=" in question.target
    assert "Signature" not in repr(question)


def test_the_lines_of_the_documentation_make_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    [lines] = [block.text for block in pages.blocks(pages.API) if "get_caller_identity" in block.text]

    found: dict[str, str] = {}
    exec(lines, found)  # noqa: S102  # what a reader would do

    assert sts_request_in(found["token"], now=datetime.now(UTC)) is not None


def with_query(more: str) -> Callable[[], str]:
    def make() -> str:
        query = "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a"
        signed = "X-Amz-Date=20261121T100000Z&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=b"
        return encoded(f"{STS}/?{query}&{signed}{more}")

    return make


def test_the_shortest_question_is_one() -> None:
    assert sts_request_in(with_query("")(), now=NOW) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: "a-key",
        lambda: "k8s-aws-v1.",
        lambda: "k8s-aws-v1.\u00e9",
        lambda: encoded("http://[broken/?a=b"),
        # another service, or STS by a way that is not its own
        lambda: token("https://evil.example", now=NOW),
        lambda: token("https://sts.eu-west-1.amazonaws.com.evil.example", now=NOW),
        lambda: token("https://evil.example#.amazonaws.com", now=NOW),
        lambda: token("https://sts.amazonaws.com@evil.example", now=NOW),
        lambda: token("https://sts.amazonaws.com:8443", now=NOW),
        lambda: token("https://sts.evil.amazonaws.com", now=NOW),
        lambda: token("http://sts.eu-west-1.amazonaws.com", now=NOW),
        lambda: token("http://169.254.169.254", now=NOW),
        lambda: token(f"{STS}/other", now=NOW),
        # another question
        lambda: token(now=NOW, change={"Action": "AssumeRole"}),
        lambda: token(now=NOW, change={"Version": "2012-01-01"}),
        with_query("&Action=GetCallerIdentity"),
        with_query("&action=AssumeRole"),
        with_query("&RoleArn=x"),
        with_query("#fragment"),
        # what no URL holds
        with_query(" "),
        with_query("\x7f"),
        # for nobody in particular, or of another time
        lambda: token(now=NOW, change={"X-Amz-SignedHeaders": "host"}),
        lambda: token(now=NOW - timedelta(minutes=16)),
        lambda: token(now=NOW + timedelta(minutes=6)),
        lambda: token(now=NOW, change={"X-Amz-Date": "yesterday"}),
    ],
)
def test_anything_else_is_not_asked(make: Callable[[], str]) -> None:
    assert sts_request_in(make(), now=NOW) is None


@given(st.text(max_size=200))
def test_no_text_makes_it_stumble(text: str) -> None:
    assert sts_request_in(text, now=NOW) is None
    assert sts_request_in(encoded(text.encode("utf-8", "replace").decode()), now=NOW) is None


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        ("arn:aws:sts::123456789012:assumed-role/acme/i-0", "arn:aws:iam::123456789012:role/acme"),
        ("arn:aws-cn:sts::123456789012:assumed-role/acme/jo@example.com", "arn:aws-cn:iam::123456789012:role/acme"),
        ("arn:aws:iam::123456789012:user/staff/jo", "arn:aws:iam::123456789012:user/staff/jo"),
        ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
    ],
)
def test_all_sessions_of_a_role_are_the_role(arn: str, principal: str) -> None:
    assert principal_in(f"<a><Arn>{arn}</Arn></a>") == principal


def test_what_names_nobody_is_nobody() -> None:
    assert principal_in("<Arn></Arn>") is None


def test_sts_is_asked_for_this_audience() -> None:
    with sts() as endpoint:
        principals = Principals("sluice", clock=lambda: datetime.now(UTC), endpoint=endpoint)

        assert principals.name_of(token(endpoint)) == "arn:aws:iam::123456789012:role/acme"
        assert principals.name_of(token(endpoint, access_key="AKIDUSER")).endswith("user/staff/jo")
        for bad in (
            token(endpoint, audience="another"),
            token(endpoint, secret="forged"),
            token(endpoint, change={"X-Amz-Expires": "900"}),
            token(),
        ):
            with pytest.raises(CallerUnknown):
                principals.name_of(bad)


@pytest.mark.parametrize("status", [301, 429, 500, 503])
def test_where_sts_says_nothing_nobody_is_refused_and_nobody_let_in(status: int) -> None:
    with sts(status) as endpoint:
        principals = Principals("sluice", clock=lambda: datetime.now(UTC), endpoint=endpoint)

        with pytest.raises(KeysUnavailable, match=str(status)):
            principals.name_of(token(endpoint))


@pytest.mark.parametrize(("code", "refusal"), [(socket.EAI_NONAME, CallerUnknown), (socket.EAI_AGAIN, KeysUnavailable)])
def test_a_region_that_there_is_not_is_the_callers_mistake_and_a_resolver_that_fails_is_not(
    code: int, refusal: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object) -> None:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(refusal):
        Principals("sluice", clock=lambda: NOW).name_of(token("https://sts.aa-nowhere-1.amazonaws.com", now=NOW))


def test_where_sts_can_not_be_reached_the_error_quotes_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    principals = Principals("sluice", clock=lambda: datetime.now(UTC), endpoint=endpoint)

    with pytest.raises(KeysUnavailable) as caught:
        principals.name_of(token(endpoint))

    assert str(caught.value) == "STS does not answer"
    assert caught.value.__cause__ is None
