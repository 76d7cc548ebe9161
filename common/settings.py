"""Read settings from the environment; a wrong one stops the start with its name."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import SettingError

type Environment = Mapping[str, str]

MAX_PORT = 65_535


def text(env: Environment, name: str) -> str:
    """Return a variable that must be set and not empty."""
    value = env.get(name, "").strip()
    if not value:
        raise SettingError(name, "must be set")
    return value


def optional_text(env: Environment, name: str) -> str | None:
    """Return a variable, or None where it is absent or empty."""
    return env.get(name, "").strip() or None


def number(env: Environment, name: str, *, least: int, most: int, default: int | None = None) -> int:
    """Return a whole number between two bounds, both allowed; without a default it must be set."""
    raw = optional_text(env, name)
    if raw is None:
        if default is None:
            raise SettingError(name, "must be set")
        return default
    if not raw.isdecimal() or not least <= int(raw) <= most:
        raise SettingError(name, f"must be a whole number from {least} to {most}")
    return int(raw)


def flag(env: Environment, name: str, *, default: bool) -> bool:
    """Return a variable that is `true` or `false`."""
    raw = optional_text(env, name)
    if raw is None:
        return default
    if raw not in {"true", "false"}:
        raise SettingError(name, "must be true or false")
    return raw == "true"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Say where Redis is and how to speak to it."""

    host: str
    port: int
    tls: bool
    cluster: bool
    username: str | None

    @classmethod
    def from_env(cls, env: Environment) -> "RedisSettings":
        """Read REDIS_HOST, REDIS_PORT, REDIS_TLS, REDIS_CLUSTER and REDIS_USERNAME."""
        return cls(
            host=text(env, "REDIS_HOST"),
            port=number(env, "REDIS_PORT", least=1, most=MAX_PORT, default=6379),
            tls=flag(env, "REDIS_TLS", default=True),
            cluster=flag(env, "REDIS_CLUSTER", default=True),
            username=optional_text(env, "REDIS_USERNAME"),
        )
