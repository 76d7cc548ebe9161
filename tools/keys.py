"""Issue, list and revoke API keys: `python -m tools.keys issue acme | list | revoke <id>`.

The keys are in the secret named by API_KEYS_SECRET, in the AWS account that boto3 finds: by profile, region or
AWS_ENDPOINT_URL. A key is printed once, when it is issued; only its SHA-256, tenant, short ID and creation time are
stored. With AuthMode=iam, `allow <ARN> acme` admits a role or user. A change reads the secret and writes it back, so
only one operator may change it at a time.
"""

import argparse
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from common.domain.budgets import BudgetKind, Budgets, BudgetsUnreadable
from common.domain.tenant import is_tenant

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEFAULT_SECRET: Final = "sluice/api-keys"  # noqa: S105  # a name
"""The default of ApiKeysSecret in template.yaml."""

KEY_BYTES: Final = 32
"""Random bytes in a key: 256 bits can't be guessed."""

ID_LENGTH: Final = 8
"""Hexadecimal digits of a key's SHA-256 that form its ID."""

MAX_SECRET_BYTES: Final = 65_536
"""Maximum size of a secret: about 300 keys."""

PRINCIPAL: Final = re.compile(
    r"arn:(aws[a-z-]*):iam::([0-9]{12}):(role|user)/(?:[!-.0-~]+/)*([\w+=,.@-]{1,64})", re.ASCII
)
"""The ARN of a role or user, with its path."""

type Entries = dict[str, dict[str, Any]]
"""The content of the secret: an entry for each key, by its SHA-256, and each principal, by its ARN."""


class KeyProblem(Exception):
    """The command can't be executed; the message says why."""


class KeyStore:
    """The keys in one secret."""

    def __init__(self, client: "SecretsManagerClient", name: str, *, now: Callable[[], datetime]) -> None:
        """Take a boto3 client, the secret's name and a clock."""
        self._client = client
        self._name = name
        self._now = now

    def issue(self, tenant: str, models: Sequence[str] = (), budgets: Budgets | None = None) -> str:
        """Store the digest of a new key and return the key, which can't be read again.

        The key may use these models, or any model if empty. Budgets apply to all the tenant's keys.
        """
        key = f"sluice_{secrets.token_urlsafe(KEY_BYTES)}"
        digest = _digest(key)
        self._add(digest, digest[:ID_LENGTH], tenant, models, budgets)
        return key

    def allow(self, principal: str, tenant: str, models: Sequence[str] = (), budgets: Budgets | None = None) -> None:
        """Admit an IAM role or user; models and budgets are as for a key."""
        match = PRINCIPAL.fullmatch(principal)
        if match is None:
            raise KeyProblem(
                "a principal is the ARN of a role or user, as in PRINCIPAL=arn:aws:iam::123456789012:role/acme"
            )
        # STS reports the role of a session without its path, but a user with it.
        partition, account, kind, name = match.groups()
        known = f"arn:{partition}:iam::{account}:role/{name}" if kind == "role" else principal
        self._add(known, _digest(known)[:ID_LENGTH], tenant, models, budgets)

    def _add(self, name: str, key_id: str, tenant: str, models: Sequence[str], budgets: Budgets | None) -> None:
        if not is_tenant(tenant):
            raise KeyProblem("a tenant must be 1 to 64 characters from a-z, 0-9 and -, for example TENANT=acme")
        created_at = self._now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        entry: dict[str, Any] = {"tenant": tenant, "id": key_id, "created_at": created_at}
        if models:
            entry["models"] = list(models)
        self._write(_with_budgets({**self._read(), name: entry}, tenant, budgets))

    def change(self, tenant: str, budgets: Budgets | None, models: str = "") -> None:
        """Replace the budgets of all keys of a tenant."""
        if budgets is None or models:
            raise KeyProblem("set BUDGET_REQUESTS, BUDGET_TOKENS or BUDGET_USD; the models of a key can't be changed")
        entries = self._read()
        if not any(entry.get("tenant") == tenant for entry in entries.values()):
            raise KeyProblem(f"{tenant} has no key; LIST=1 lists all keys")
        self._write(_with_budgets(entries, tenant, budgets))

    def lines(self) -> Iterator[str]:
        """Yield a line for each key or principal: ID, creation time, tenant, limits and ARN, oldest first."""
        for name, entry in sorted(self._read().items(), key=lambda item: str(item[1].get("created_at", ""))):
            limits = "".join(f" {each}={json.dumps(entry[each])}" for each in ("models", "budgets") if each in entry)
            arn = f"  {name}" if name.startswith("arn:") else ""
            yield f"{_id_of(name, entry):10} {entry.get('created_at', '-'):20} {entry.get('tenant', '-')}{limits}{arn}"

    def revoke(self, key_id: str) -> None:
        """Delete one key."""
        entries = self._read()
        found = [digest for digest, entry in entries.items() if _id_of(digest, entry) == key_id]
        if len(found) != 1:
            raise KeyProblem(f"{len(found)} keys have the ID {key_id}; LIST=1 lists all keys")
        self._write({digest: entry for digest, entry in entries.items() if digest != found[0]})

    def _read(self) -> Entries:
        try:
            entries = json.loads(self._client.get_secret_value(SecretId=self._name)["SecretString"])
        except self._client.exceptions.ResourceNotFoundException:
            return {}
        except (KeyError, ValueError):
            # `from None`: the error may quote the secret.
            raise KeyProblem(f"the secret {self._name} is not JSON") from None
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise KeyProblem(f"the secret {self._name} is not a JSON object of objects")
        return entries

    def _write(self, entries: Entries) -> None:
        text = json.dumps(entries)
        if len(text) > MAX_SECRET_BYTES:
            raise KeyProblem(f"the secret {self._name} is full: revoke a key first")
        try:
            self._client.put_secret_value(SecretId=self._name, SecretString=text)
        except self._client.exceptions.ResourceNotFoundException:
            self._client.create_secret(Name=self._name, SecretString=text)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.keys")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("issue", "change", "allow"):
        command = commands.add_parser(name)
        if name == "allow":
            command.add_argument("principal")
        command.add_argument("tenant")
        command.add_argument("--models", default="")
        command.add_argument("--requests", type=int)
        command.add_argument("--tokens", type=int)
        command.add_argument("--usd")
    commands.add_parser("list")
    commands.add_parser("revoke").add_argument("id")
    options = parser.parse_args(arguments)
    name = environ.get("API_KEYS_SECRET") or DEFAULT_SECRET
    try:
        store = KeyStore(boto3.client("secretsmanager"), name, now=lambda: datetime.now(UTC))
        if options.command == "issue":
            print(store.issue(options.tenant, _models_of(options), _budgets_of(options)))
            print("Store this key: it is not shown again. It is accepted within about a minute.", file=sys.stderr)
        elif options.command == "allow":
            store.allow(options.principal, options.tenant, _models_of(options), _budgets_of(options))
            print(f"{options.principal} is accepted as {options.tenant} within about a minute.", file=sys.stderr)
        elif options.command == "change":
            store.change(options.tenant, _budgets_of(options), options.models)
            print(
                f"The budgets of {options.tenant} are changed; this takes effect within six minutes.", file=sys.stderr
            )
        elif options.command == "list":
            for line in store.lines():
                print(line)
        else:
            store.revoke(options.id)
            print(f"{options.id} is revoked; caches may accept it for up to six more minutes.", file=sys.stderr)
    except (KeyProblem, BotoCoreError, ClientError) as error:
        print(f"make key: {error}", file=sys.stderr)
        return 1
    return 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _models_of(options: argparse.Namespace) -> list[str]:
    return [model.strip() for model in options.models.split(",") if model.strip()]


def _budgets_of(options: argparse.Namespace) -> Budgets | None:
    named = {kind.value: amount for kind in BudgetKind if (amount := getattr(options, kind)) is not None}
    try:
        return Budgets.read(named) if named else None
    except BudgetsUnreadable as error:
        raise KeyProblem(str(error)) from None


def _with_budgets(entries: Entries, tenant: str, budgets: Budgets | None) -> Entries:
    if budgets is None:
        return entries
    return {
        digest: {**entry, "budgets": budgets.write()} if entry.get("tenant") == tenant else entry
        for digest, entry in entries.items()
    }


def _id_of(digest: str, entry: Mapping[str, Any]) -> str:
    # An entry that was written by hand may have no ID.
    return str(entry.get("id") or digest[:ID_LENGTH])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
