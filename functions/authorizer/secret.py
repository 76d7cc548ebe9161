"""Read the list of keys from Secrets Manager."""

from collections.abc import Mapping
from typing import Final

from aws_lambda_powertools.utilities.parameters import GetParameterError, SecretsProvider, TransformParameterError

from functions.authorizer.service import KeysUnavailable

KEPT_SECONDS: Final = 300
"""How long a revoked key may still work here; API Gateway caches policies as well."""


class SecretKeyList:
    """Cache the JSON of one secret."""

    def __init__(self, provider: SecretsProvider, name: str) -> None:
        """Take a Powertools provider and the secret's name or ARN."""
        self._provider = provider
        self._name = name

    def read(self, *, fresh: bool) -> Mapping[str, object]:
        """Return the JSON object of the secret.

        Raises:
            KeysUnavailable: Secrets Manager does not give it, or it is no JSON object.

        """
        try:
            keys: object = self._provider.get(self._name, max_age=KEPT_SECONDS, transform="json", force_fetch=fresh)
        except GetParameterError:
            raise KeysUnavailable("Secrets Manager did not return the secret") from None
        except TransformParameterError:
            # `from None`: the text of a JSON error quotes the secret.
            raise KeysUnavailable("the secret is not JSON") from None
        if not isinstance(keys, Mapping):
            raise KeysUnavailable("the secret is not a JSON object")
        return keys
