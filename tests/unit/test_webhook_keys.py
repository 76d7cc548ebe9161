"""Test that `make webhook-secret` prints the signing key, and rotates it without an interruption."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws
from standardwebhooks import Webhook

from functions.webhook.signing_keys import key_of, texts_of
from tests.infra.stack import read_template
from tools.webhook_keys import DEFAULT_SECRET, main

TEXT = "t" * 64


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("secretsmanager").create_secret(Name=DEFAULT_SECRET, SecretString=TEXT)
        yield


def secret() -> str:
    return str(boto3.client("secretsmanager").get_secret_value(SecretId=DEFAULT_SECRET)["SecretString"])


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    """Return the lines of standard output, or, where it fails, of standard error."""
    assert main(arguments, {}) == code
    output = capsys.readouterr()
    return (output.err if code else output.out).splitlines()


def test_the_default_is_the_templates() -> None:
    assert read_template()["Parameters"]["WebhookSecret"]["Default"] == DEFAULT_SECRET


def test_a_tenants_key_is_printed_and_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show", "acme") == [key_of(TEXT, "acme")]
    Webhook(key_of(TEXT, "acme"))  # it is a key as the library takes it


def test_while_the_secret_is_changed_both_keys_are_printed_the_new_one_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said(capsys, "renew")

    new, old = said(capsys, "show", "acme")
    assert old == key_of(TEXT, "acme")
    assert len(texts_of(secret())) == 2
    assert "finish" in said(capsys, "renew", code=1)[0]

    said(capsys, "finish")
    assert said(capsys, "show", "acme") == [new]
    assert TEXT not in secret()


@pytest.mark.parametrize("tenant", ["", "Acme", "a/b"])
def test_what_is_no_tenant_is_refused(capsys: pytest.CaptureFixture[str], tenant: str) -> None:
    [line] = said(capsys, "show", tenant, code=1)

    assert line.startswith("make webhook-secret: a tenant must be")


def test_a_secret_that_is_none_is_refused_without_being_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=DEFAULT_SECRET, SecretString="hunter2")

    [line] = said(capsys, "show", "acme", code=1)

    assert "hunter2" not in line
    assert DEFAULT_SECRET in line
