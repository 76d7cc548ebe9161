"""Issue, list and revoke the keys of callers: `python -m tools.keys issue acme | list | revoke <id>`.

They are kept in the secret named by API_KEYS_SECRET, reached as boto3 finds AWS: its profile, its region, or
AWS_ENDPOINT_URL. A key is printed once, when it is issued; its SHA-256, tenant, short id and birth are stored. A
change reads the secret and writes it back, so let one operator change it at a time.
"""

import argparse
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

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

type Entries = dict[str, dict[str, Any]]
"""What the secret holds: each key's SHA-256, and what is known of the key."""


class KeyProblem(Exception):
    """What was asked for cannot be done; the text says why."""


class Ring:
    """Hold the keys of one secret."""

    def __init__(self, client: "SecretsManagerClient", name: str, *, now: Callable[[], datetime]) -> None:
        """Take a boto3 client, the secret's name and a clock."""
        self._client = client
        self._name = name
        self._now = now

    def issue(self, tenant: str) -> str:
        """Store a new key and return it; this is the only time that anybody sees it."""
        if not is_tenant(tenant):
            raise KeyProblem("a tenant is 1 to 64 characters from a-z, 0-9 and -, as in TENANT=acme")
        key = f"sluice_{secrets.token_urlsafe(KEY_BYTES)}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        created_at = self._now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._write({**self._read(), digest: {"tenant": tenant, "id": digest[:ID_LENGTH], "created_at": created_at}})
        return key

    def lines(self) -> Iterator[str]:
        """Write a line for each key: its id, its tenant and its birth, the oldest first."""
        for digest, entry in sorted(self._read().items(), key=lambda item: str(item[1].get("created_at", ""))):
            yield f"{_id_of(digest, entry):10} {entry.get('created_at', '-'):20} {entry.get('tenant', '-')}"

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
    commands.add_parser("issue").add_argument("tenant")
    commands.add_parser("list")
    commands.add_parser("revoke").add_argument("id")
    asked = parser.parse_args(arguments)
    name = environ.get("API_KEYS_SECRET") or DEFAULT_SECRET
    try:
        ring = Ring(boto3.client("secretsmanager"), name, now=lambda: datetime.now(UTC))
        if asked.command == "issue":
            print(ring.issue(asked.tenant))
            print("This is the only time it is shown. It works at once.", file=sys.stderr)
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


def _id_of(digest: str, entry: Mapping[str, Any]) -> str:
    # An entry that somebody wrote by hand may have none.
    return str(entry.get("id") or digest[:ID_LENGTH])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
