"""Issue, list and revoke what callers come with: `python -m tools.keys issue acme | list | revoke <id>`.

Keys are kept in the secret named by API_KEYS_SECRET, reached as boto3 finds AWS: its profile, its region, or
AWS_ENDPOINT_URL. A key is printed once, when it is issued; its SHA-256, tenant, short id and birth are stored. Where
AuthMode is iam, `allow <ARN> acme` lets a role or user in. A change reads the secret and writes it back, so let one
operator change it at a time.
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

from common.budgets import BudgetKind, Budgets, BudgetsUnreadable
from common.tenants import is_tenant

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEFAULT_SECRET: Final = "sluice/api-keys"  # noqa: S105  # a name
"""The default of ApiKeysSecret in template.yaml."""

KEY_BYTES: Final = 32
"""Random bytes in a key: nobody guesses 256 bits."""

ID_LENGTH: Final = 8
"""Hexadecimal digits of a key's SHA-256 that name it to an operator."""

MOST_BYTES: Final = 65_536
"""As much as a secret holds: some 300 keys."""

PRINCIPAL: Final = re.compile(
    r"arn:(aws[a-z-]*):iam::([0-9]{12}):(role|user)/(?:[!-.0-~]+/)*([\w+=,.@-]{1,64})", re.ASCII
)
"""A role or user, with its path."""

type Entries = dict[str, dict[str, Any]]
"""What the secret holds: each key's SHA-256, or a principal's ARN, and what is known of it."""


class KeyProblem(Exception):
    """What was asked for cannot be done; the text says why."""


class Ring:
    """Hold the keys of one secret."""

    def __init__(self, client: "SecretsManagerClient", name: str, *, now: Callable[[], datetime]) -> None:
        """Take a boto3 client, the secret's name and a clock."""
        self._client = client
        self._name = name
        self._now = now

    def issue(self, tenant: str, models: Sequence[str] = (), budgets: Budgets | None = None) -> str:
        """Store a new key and return it; this is the only time that anybody sees it.

        It may ask these models, or any if there are none. Budgets become those of all the tenant's keys.
        """
        key = f"sluice_{secrets.token_urlsafe(KEY_BYTES)}"
        digest = _digest(key)
        self._add(digest, digest[:ID_LENGTH], tenant, models, budgets)
        return key

    def allow(self, principal: str, tenant: str, models: Sequence[str] = (), budgets: Budgets | None = None) -> None:
        """Let an IAM role or user in; models and budgets are as for a key."""
        match = PRINCIPAL.fullmatch(principal)
        if match is None:
            raise KeyProblem("a principal is a role or user, as in PRINCIPAL=arn:aws:iam::123456789012:role/acme")
        # STS tells a session's role without its path, and a user with it.
        partition, account, kind, name = match.groups()
        known = f"arn:{partition}:iam::{account}:role/{name}" if kind == "role" else principal
        self._add(known, _digest(known)[:ID_LENGTH], tenant, models, budgets)

    def _add(self, name: str, key_id: str, tenant: str, models: Sequence[str], budgets: Budgets | None) -> None:
        if not is_tenant(tenant):
            raise KeyProblem("a tenant is 1 to 64 characters from a-z, 0-9 and -, as in TENANT=acme")
        created_at = self._now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        entry: dict[str, Any] = {"tenant": tenant, "id": key_id, "created_at": created_at}
        if models:
            entry["models"] = list(models)
        self._write(_with_budgets({**self._read(), name: entry}, tenant, budgets))

    def change(self, tenant: str, budgets: Budgets | None, models: str = "") -> None:
        """Give all keys of a tenant these budgets instead of those they have."""
        if budgets is None or models:
            raise KeyProblem("name BUDGET_REQUESTS, BUDGET_TOKENS or BUDGET_USD; a key keeps its models")
        entries = self._read()
        if not any(entry.get("tenant") == tenant for entry in entries.values()):
            raise KeyProblem(f"{tenant} has no key; LIST=1 lists them all")
        self._write(_with_budgets(entries, tenant, budgets))

    def lines(self) -> Iterator[str]:
        """Write a line for each key or principal: its id, birth, tenant, limits and ARN, the oldest first."""
        for name, entry in sorted(self._read().items(), key=lambda item: str(item[1].get("created_at", ""))):
            limits = "".join(f" {each}={json.dumps(entry[each])}" for each in ("models", "budgets") if each in entry)
            arn = f"  {name}" if name.startswith("arn:") else ""
            yield f"{_id_of(name, entry):10} {entry.get('created_at', '-'):20} {entry.get('tenant', '-')}{limits}{arn}"

    def revoke(self, key_id: str) -> None:
        """Forget one key."""
        entries = self._read()
        found = [digest for digest, entry in entries.items() if _id_of(digest, entry) == key_id]
        if len(found) != 1:
            raise KeyProblem(f"{len(found)} keys have the id {key_id}; LIST=1 lists them all")
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
        if len(text) > MOST_BYTES:
            raise KeyProblem(f"the secret {self._name} is full: revoke a key first")
        try:
            self._client.put_secret_value(SecretId=self._name, SecretString=text)
        except self._client.exceptions.ResourceNotFoundException:
            self._client.create_secret(Name=self._name, SecretString=text)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line says, and return its exit code."""
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
    asked = parser.parse_args(arguments)
    name = environ.get("API_KEYS_SECRET") or DEFAULT_SECRET
    try:
        ring = Ring(boto3.client("secretsmanager"), name, now=lambda: datetime.now(UTC))
        if asked.command == "issue":
            print(ring.issue(asked.tenant, _models_of(asked), _budgets_of(asked)))
            print("This is the only time it is shown. It works within about a minute.", file=sys.stderr)
        elif asked.command == "allow":
            ring.allow(asked.principal, asked.tenant, _models_of(asked), _budgets_of(asked))
            print(f"{asked.principal} may come as {asked.tenant} within about a minute.", file=sys.stderr)
        elif asked.command == "change":
            ring.change(asked.tenant, _budgets_of(asked), asked.models)
            print(f"The budgets of {asked.tenant} are changed; that acts within six minutes.", file=sys.stderr)
        elif asked.command == "list":
            for line in ring.lines():
                print(line)
        else:
            ring.revoke(asked.id)
            print(f"{asked.id} is revoked; where it was in use it may work for six minutes more.", file=sys.stderr)
    except (KeyProblem, BotoCoreError, ClientError) as error:
        print(f"make key: {error}", file=sys.stderr)
        return 1
    return 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _models_of(asked: argparse.Namespace) -> list[str]:
    return [model.strip() for model in asked.models.split(",") if model.strip()]


def _budgets_of(asked: argparse.Namespace) -> Budgets | None:
    named = {kind.value: amount for kind in BudgetKind if (amount := getattr(asked, kind)) is not None}
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
    # An entry that somebody wrote by hand may have none.
    return str(entry.get("id") or digest[:ID_LENGTH])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
