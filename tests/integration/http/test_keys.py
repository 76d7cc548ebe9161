"""Test that `make key` and the authorizer agree on the format of the secret."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest

from tests.integration.http.test_authorizer import ask
from tests.invocation import started
from tools.keys import main

KEY = re.compile(r"sluice_[\w-]{43}")


class Keys:
    """The command, as an operator runs it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.secret = uuid4().hex
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        """Return what it says on standard output, or, where it fails, on standard error."""
        assert main(arguments, {"API_KEYS_SECRET": self.secret}) == code
        said = self._capsys.readouterr()
        return (said.err if code else said.out).strip()


@pytest.fixture
def keys(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keys:
    del environment
    return Keys(capsys)


@pytest.fixture
def authorizer(environment: pytest.MonkeyPatch, keys: Keys) -> Iterator[Any]:
    environment.setenv("API_KEYS_SECRET", keys.secret)
    module = started("authorizer")
    yield module
    module.secrets.client.close()


def stored(name: str) -> str:
    client = boto3.client("secretsmanager")
    text: str = client.get_secret_value(SecretId=name)["SecretString"]
    client.close()
    return text


def test_an_issued_key_is_its_tenants_at_once_and_is_stored_nowhere(keys: Keys, authorizer: Any) -> None:  # noqa: ANN401
    first = keys.run("issue", "acme")
    second = keys.run("issue", "umbrella")

    assert KEY.fullmatch(first)
    assert first != second
    assert ask(authorizer, f"Bearer {first}")["context"] == {"tenant": "acme"}
    assert ask(authorizer, f"Bearer {second}")["context"] == {"tenant": "umbrella"}
    text = stored(keys.secret)
    assert first not in text
    entry = json.loads(text)[hashlib.sha256(first.encode()).hexdigest()]
    assert entry.keys() == {"tenant", "id", "created_at"}


def test_keys_are_listed_and_revoked_by_their_ids(keys: Keys, authorizer: Any) -> None:  # noqa: ANN401
    assert keys.run("list") == ""
    first, second = keys.run("issue", "acme"), keys.run("issue", "acme")
    ids = [line.split()[0] for line in keys.run("list").splitlines()]
    first_id = hashlib.sha256(first.encode()).hexdigest()[:8]
    assert first_id in ids
    assert len(ids) == 2

    keys.run("revoke", first_id)

    assert [line.split()[0] for line in keys.run("list").splitlines()] == [each for each in ids if each != first_id]
    assert ask(authorizer, f"Bearer {second}")["context"] == {"tenant": "acme"}
    assert ask(authorizer, f"Bearer {first}")["principalId"] == "nobody"


def test_an_entry_that_was_written_by_hand_is_kept_and_can_be_revoked(keys: Keys) -> None:
    digest = hashlib.sha256(b"mine").hexdigest()
    client = boto3.client("secretsmanager")
    client.create_secret(Name=keys.secret, SecretString=json.dumps({digest: {"tenant": "old", "models": ["small"]}}))
    client.close()

    keys.run("issue", "acme")

    assert json.loads(stored(keys.secret))[digest] == {"tenant": "old", "models": ["small"]}
    keys.run("revoke", digest[:8])
    assert digest not in stored(keys.secret)


def test_a_key_is_issued_with_its_models_and_the_budgets_of_its_tenant(keys: Keys, authorizer: Any) -> None:  # noqa: ANN401
    first = keys.run("issue", "acme")
    second = keys.run("issue", "acme", "--models", "small, tiny", "--usd", "1.50", "--tokens", "1000")

    budgets = json.dumps({"tokens": 1000, "usd": "1.50"})
    assert ask(authorizer, f"Bearer {second}")["context"] == {
        "tenant": "acme",
        "models": '["small", "tiny"]',
        "budgets": budgets,
    }
    assert ask(authorizer, f"Bearer {first}")["context"] == {"tenant": "acme", "budgets": budgets}
    assert 'budgets={"tokens": 1000, "usd": "1.50"}' in keys.run("list")

    keys.run("change", "acme", "--requests", "5")
    authorizer.secrets.clear_cache()
    assert ask(authorizer, f"Bearer {first}")["context"] == {"tenant": "acme", "budgets": '{"requests": 5}'}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("change", "acme", "--usd", "5"), "no key"),
        (("change", "acme"), "BUDGET_USD"),
        (("change", "acme", "--usd", "5", "--models", "m"), "BUDGET_USD"),
        (("issue", "acme", "--usd", "much"), "usd"),
    ],
)
def test_budgets_that_cannot_be_changed_are_said(keys: Keys, arguments: tuple[str, ...], word: str) -> None:
    assert word in keys.run(*arguments, code=1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("issue", "Acme"), "tenant"), (("issue", ""), "tenant"), (("revoke", "00000000"), "0 keys")],
)
def test_what_cannot_be_done_is_said(keys: Keys, arguments: tuple[str, ...], word: str) -> None:
    assert word in keys.run(*arguments, code=1)


def test_a_secret_that_is_something_else_is_left_alone(keys: Keys) -> None:
    client = boto3.client("secretsmanager")
    client.create_secret(Name=keys.secret, SecretString="my-secret")
    client.close()

    assert "my-secret" not in keys.run("issue", "acme", code=1)
    assert stored(keys.secret) == "my-secret"


def test_a_role_is_allowed_by_its_arn_and_named_in_the_list(keys: Keys) -> None:
    keys.run("allow", "arn:aws:iam::123456789012:role/teams/blue/acme", "acme")

    [line] = keys.run("list").splitlines()
    assert line.endswith("acme  arn:aws:iam::123456789012:role/acme")
    keys.run("revoke", line.split()[0])
    assert keys.run("list") == ""
