"""What the authorizer reads from its environment, once, at init."""

from dataclasses import dataclass

from common.settings import Environment, text


@dataclass(frozen=True, slots=True)
class AuthorizerSettings:
    """Name the secret that knows the callers."""

    keys_secret: str

    @classmethod
    def from_env(cls, env: Environment) -> "AuthorizerSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        return cls(keys_secret=text(env, "API_KEYS_SECRET"))
