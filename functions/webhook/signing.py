"""Sign events by Standard Webhooks (https://www.standardwebhooks.com)."""

from datetime import UTC, datetime
from typing import Final

from aws_lambda_powertools.utilities.parameters import GetParameterError, SecretsProvider
from standardwebhooks import Webhook

from functions.webhook.service import SecretUnavailable
from functions.webhook.signing_keys import BadSecret, key_of, texts_of

KEPT_SECONDS: Final = 300
"""Cache time of the secret in seconds: the longest use of a replaced secret."""


class Signer:
    """Sign with the tenant's keys. During a rotation there are two signatures, and a receiver accepts either."""

    def __init__(self, provider: SecretsProvider, name: str) -> None:
        """Create a signer from a Powertools provider and the secret's name or ARN."""
        self._provider = provider
        self._name = name

    def headers(self, tenant: str, webhook_id: str, now_seconds: int, body: str) -> dict[str, str]:
        """Return the three headers that a receiver verifies.

        Raises:
            SecretUnavailable: Secrets Manager does not return the secret, or the secret is invalid.

        """
        try:
            texts = texts_of(str(self._provider.get(self._name, max_age=KEPT_SECONDS)))
        except GetParameterError:
            raise SecretUnavailable("Secrets Manager did not return the secret") from None
        except BadSecret as error:
            raise SecretUnavailable(f"the secret {error}") from None
        at = datetime.fromtimestamp(now_seconds, UTC)
        signatures = [Webhook(key_of(text, tenant)).sign(webhook_id, at, body) for text in texts]
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(now_seconds),
            "webhook-signature": " ".join(signatures),
        }
