"""Read the settings of the authorizer from the environment."""

from dataclasses import dataclass
from typing import Final

from common.domain.errors import SettingError
from common.runtime.settings import Environment, optional_text, text

API_KEY: Final = "api-key"
IAM: Final = "iam"


@dataclass(frozen=True, slots=True)
class AuthorizerSettings:
    """Hold the secret that lists the callers, and how they authenticate.

    With an audience they authenticate by IAM principals, in tokens that are signed for it; without one by keys.
    `sts_endpoint` is the address of an emulator of STS; None on AWS.
    """

    keys_secret: str
    audience: str | None = None
    sts_endpoint: str | None = None

    @classmethod
    def from_env(cls, env: Environment) -> "AuthorizerSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        mode = optional_text(env, "AUTH_MODE") or API_KEY
        if mode not in {API_KEY, IAM}:
            raise SettingError("AUTH_MODE", f"must be {API_KEY} or {IAM}")
        audience = optional_text(env, "AUTH_AUDIENCE")
        if mode == IAM and audience is None:
            raise SettingError("AUTH_AUDIENCE", f"must be set where AUTH_MODE is {IAM}")
        return cls(
            keys_secret=text(env, "API_KEYS_SECRET"),
            audience=audience if mode == IAM else None,
            sts_endpoint=(optional_text(env, "AWS_ENDPOINT_URL") or "").rstrip("/") or None,
        )
