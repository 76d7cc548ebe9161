"""Print a tenant's webhook signing key, or rotate the signing secret: `python -m tools.webhook_keys show acme`.

The secret is named by WEBHOOK_SECRET, in the AWS account that boto3 finds: by profile, region or AWS_ENDPOINT_URL.
`renew` adds a new value before the old one, and every event is signed with both. When all tenants have their new keys,
`finish` removes the old value.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from common.domain.tenant import is_tenant
from functions.webhook.signing_keys import BadSecret, key_of, texts_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEFAULT_SECRET: Final = "sluice/webhook-signing"  # noqa: S105  # a name
"""The default of WebhookSecret in template.yaml."""

TEXT_BYTES: Final = 48
"""Random bytes of a new value: more than the 256 bits of a key that is derived from it."""


class KeyProblem(Exception):
    """The command can't be executed; the message says why."""


class SigningSecret:
    """The secret from which all tenants' keys are derived."""

    def __init__(self, client: "SecretsManagerClient", name: str) -> None:
        """Take a boto3 client and the secret's name."""
        self._client = client
        self._name = name

    def keys(self, tenant: str) -> Iterator[str]:
        """Return a tenant's keys: one, or during a rotation the new one and the old one."""
        if not is_tenant(tenant):
            raise KeyProblem("a tenant must be 1 to 64 characters from a-z, 0-9 and -, for example TENANT=acme")
        return (key_of(text, tenant) for text in self._read())

    def renew(self) -> None:
        """Start a rotation: sign with a new value too."""
        texts = self._read()
        if len(texts) > 1:
            raise KeyProblem("a rotation is in progress; finish it first (FINISH=1)")
        self._write([secrets.token_urlsafe(TEXT_BYTES), *texts])

    def finish(self) -> None:
        """End a rotation: sign only with the new value."""
        self._write(self._read()[:1])

    def _read(self) -> list[str]:
        try:
            return texts_of(self._client.get_secret_value(SecretId=self._name)["SecretString"])
        except BadSecret as error:
            raise KeyProblem(f"the secret {self._name} {error}") from None

    def _write(self, texts: list[str]) -> None:
        self._client.put_secret_value(SecretId=self._name, SecretString="\n".join(texts))


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.webhook_keys")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show").add_argument("tenant")
    commands.add_parser("renew")
    commands.add_parser("finish")
    options = parser.parse_args(arguments)
    secret = SigningSecret(boto3.client("secretsmanager"), environ.get("WEBHOOK_SECRET") or DEFAULT_SECRET)
    try:
        if options.command == "show":
            for key in secret.keys(options.tenant):
                print(key)
        elif options.command == "renew":
            secret.renew()
            print(
                "Within five minutes, events are signed with both keys. Give each tenant its first key.",
                file=sys.stderr,
            )
        else:
            secret.finish()
            print("Within five minutes, events are signed only with the new keys.", file=sys.stderr)
    except (KeyProblem, BotoCoreError, ClientError) as error:
        print(f"make webhook-secret: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
