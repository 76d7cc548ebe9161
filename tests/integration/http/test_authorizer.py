"""Test the authorizer with Secrets Manager."""

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from functions.authorizer.service import KeysUnavailable
from tests import signing
from tests.emf import sums_in
from tests.invocation import Context, started

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

API = "arn:aws-cn:execute-api:cn-north-1:123456789012:abcdef1234/v1"


class Secret:
    """The list of keys, as its operator changes it."""

    def __init__(self, client: "SecretsManagerClient") -> None:
        self._client = client
        self.name = uuid4().hex
        client.create_secret(Name=self.name, SecretString="{}")

    def put(self, text: str) -> None:
        self._client.put_secret_value(SecretId=self.name, SecretString=text)

    def allow(self, **tenant_of_key: str) -> None:
        entries = {
            hashlib.sha256(key.encode()).hexdigest(): {"tenant": tenant} for key, tenant in tenant_of_key.items()
        }
        self.put(json.dumps(entries))

    def delete(self) -> None:
        self._client.delete_secret(SecretId=self.name, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def secret(environment: pytest.MonkeyPatch) -> Iterator[Secret]:
    client = boto3.client("secretsmanager")
    secret = Secret(client)
    environment.setenv("API_KEYS_SECRET", secret.name)
    yield secret
    client.close()


@pytest.fixture
def authorizer(secret: Secret) -> Iterator[Any]:
    del secret
    module = started("authorizer")
    yield module
    module.secrets.client.close()


def ask(authorizer: Any, header: str, method: str = "GET/tasks") -> dict[str, Any]:  # noqa: ANN401  # a module
    event = {"type": "TOKEN", "authorizationToken": header, "methodArn": f"{API}/{method}"}
    answer: dict[str, Any] = authorizer.lambda_handler(event, Context())
    return answer


def test_a_known_key_may_call_the_whole_stage_as_its_tenant(secret: Secret, authorizer: Any) -> None:  # noqa: ANN401
    secret.allow(local="acme", other="umbrella")

    assert ask(authorizer, "Bearer local") == {
        "principalId": "acme",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{API}/*"}],
        },
        "context": {"tenant": "acme"},
    }
    assert ask(authorizer, "Bearer other", "POST/tasks")["context"] == {"tenant": "umbrella"}


@pytest.mark.parametrize("header", ["", "Bearer unknown", "Basic local", "local"])
def test_an_unknown_key_is_denied_as_nobodys(
    secret: Secret,
    authorizer: Any,  # noqa: ANN401
    header: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret.allow(local="acme")

    answer = ask(authorizer, header)

    assert [each["Effect"] for each in answer["policyDocument"]["Statement"]] == ["Deny"]
    assert (answer["principalId"], answer["context"]) == ("nobody", {})
    assert sums_in(capsys.readouterr().out)["UnknownKeys", "test"] == 1


def test_a_key_added_later_works_in_a_warm_environment(secret: Secret, authorizer: Any) -> None:  # noqa: ANN401
    secret.allow(local="acme")
    ask(authorizer, "Bearer local")

    secret.allow(local="acme", new="newcomer")

    assert ask(authorizer, "Bearer new")["principalId"] == "newcomer"


@pytest.mark.parametrize("text", ["no json", "[]", '"text"', "null"])
def test_a_secret_that_is_no_list_of_keys_lets_nobody_in(
    secret: Secret,
    authorizer: Any,  # noqa: ANN401
    text: str,
) -> None:
    secret.put(text)

    with pytest.raises(KeysUnavailable) as caught:
        ask(authorizer, "Bearer local")

    assert text not in str(caught.value)


def test_a_secret_that_is_gone_lets_nobody_in_and_is_counted(
    secret: Secret,
    authorizer: Any,  # noqa: ANN401
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret.delete()

    with pytest.raises(KeysUnavailable):
        ask(authorizer, "Bearer local")

    assert sums_in(capsys.readouterr().out)["KeysUnavailable", "test"] == 1


def test_no_key_is_ever_logged(secret: Secret, authorizer: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401
    secret.allow(local="acme")
    ask(authorizer, "Bearer local")
    ask(authorizer, "Bearer my-secret-key")

    captured = capsys.readouterr()
    assert "my-secret-key" not in captured.out + captured.err
    assert "Bearer" not in captured.out + captured.err


def test_with_iam_a_role_comes_as_its_tenant_and_a_key_as_nobody(
    secret: Secret, environment: pytest.MonkeyPatch, aws: str
) -> None:
    # GIVEN an authorizer for IAM principals, and a secret that has a role and, from before, a key
    with signing.sts() as endpoint:
        environment.setenv("AUTH_MODE", "iam")
        environment.setenv("AUTH_AUDIENCE", "sluice")
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        environment.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws)
        role = "arn:aws:iam::123456789012:role/acme"
        key = hashlib.sha256(b"local").hexdigest()
        secret.put(json.dumps({role: {"tenant": "acme"}, key: {"tenant": "old"}}))
        authorizer = started("authorizer")

        # WHEN they come, with a token and with the key
        known = ask(authorizer, f"Bearer {signing.token(endpoint)}")
        unlisted = ask(authorizer, f"Bearer {signing.token(endpoint, access_key='AKIDUSER')}")
        forged = ask(authorizer, f"Bearer {signing.token(endpoint, secret='forged')}")
        with_key = ask(authorizer, "Bearer local")
        authorizer.secrets.client.close()

    # THEN only the role is somebody
    assert known["context"] == {"tenant": "acme"}
    assert [each["principalId"] for each in (unlisted, forged, with_key)] == ["nobody"] * 3
