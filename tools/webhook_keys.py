"""Print a tenant's key for webhooks, or change what the keys are made from: `python -m tools.webhook_keys show acme`.

The secret named by WEBHOOK_SECRET is reached as boto3 finds AWS: its profile, its region, or AWS_ENDPOINT_URL. `renew`
puts a new text before the old one, and every event is signed with both; when all tenants have their new keys, `finish`
takes the old one away.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from common.tenants import is_tenant
from functions.webhook.keys import BadSecret, key_of, texts_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEFAULT_SECRET: Final = "sluice/webhook-signing"  # noqa: S105  # a name
"""The default of WebhookSecret in template.yaml."""

TEXT_BYTES: Final = 48
"""Random bytes of a new text: more than the 256 bits of a key that is made from it."""


class KeyProblem(Exception):
    """What was asked for cannot be done; the text says why."""


class SigningSecret:
    """Hold the secret that all tenants' keys are made from."""

    def __init__(self, client: "SecretsManagerClient", name: str) -> None:
        """Take a boto3 client and the secret's name."""
        self._client = client
        self._name = name

    def keys(self, tenant: str) -> Iterator[str]:
        """Return a tenant's key, and while the secret is being changed the one before it too."""
        if not is_tenant(tenant):
            raise KeyProblem("a tenant is 1 to 64 characters from a-z, 0-9 and -, as in TENANT=acme")
        return (key_of(text, tenant) for text in self._read())

    def renew(self) -> None:
        """Sign with a new text too."""
        texts = self._read()
        if len(texts) > 1:
            raise KeyProblem("it is being changed already: finish that first")
        self._write([secrets.token_urlsafe(TEXT_BYTES), *texts])

    def finish(self) -> None:
        """Sign with the new text alone."""
        self._write(self._read()[:1])

    def _read(self) -> list[str]:
        try:
            return texts_of(self._client.get_secret_value(SecretId=self._name)["SecretString"])
        except BadSecret as error:
            raise KeyProblem(f"the secret {self._name} {error}") from None

    def _write(self, texts: list[str]) -> None:
        self._client.put_secret_value(SecretId=self._name, SecretString="\n".join(texts))


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line says, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.webhook_keys")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show").add_argument("tenant")
    commands.add_parser("renew")
    commands.add_parser("finish")
    asked = parser.parse_args(arguments)
    secret = SigningSecret(boto3.client("secretsmanager"), environ.get("WEBHOOK_SECRET") or DEFAULT_SECRET)
    try:
        if asked.command == "show":
            for key in secret.keys(asked.tenant):
                print(key)
        elif asked.command == "renew":
            secret.renew()
            print("Within five minutes events are signed with both. Hand each tenant its first key.", file=sys.stderr)
        else:
            secret.finish()
            print("Within five minutes events are signed with the new keys alone.", file=sys.stderr)
    except (KeyProblem, BotoCoreError, ClientError) as error:
        print(f"make webhook-secret: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
