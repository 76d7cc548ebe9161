"""Read settings from the environment; an invalid one stops the start with an error that names it."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.domain.errors import SettingError

type Environment = Mapping[str, str]

MAX_PORT = 65_535


def text(env: Environment, name: str) -> str:
    """Return a variable that must be set and not empty."""
    value = env.get(name, "").strip()
    if not value:
        raise SettingError(name, "must be set")
    return value


def optional_text(env: Environment, name: str) -> str | None:
    """Return a variable, or None if it is absent or empty."""
    return env.get(name, "").strip() or None


def number(env: Environment, name: str, *, least: int, most: int, default: int | None = None) -> int:
    """Return a whole number between two inclusive bounds; without a default it must be set."""
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
class IamSettings:
    """The ElastiCache cache that accepts a signed token as a password.

    The name is that of the replication group or of the serverless cache, in lower case as ElastiCache stores it.
    """

    cache_name: str
    is_serverless: bool
    region: str

    @classmethod
    def from_env(cls, env: Environment) -> "IamSettings | None":
        """Read REDIS_IAM, REDIS_CACHE_NAME, REDIS_SERVERLESS and Lambda's AWS_REGION; None if IAM is off."""
        is_on = flag(env, "REDIS_IAM", default=False)
        cache_name = optional_text(env, "REDIS_CACHE_NAME")
        is_serverless = flag(env, "REDIS_SERVERLESS", default=False)
        if not is_on:
            return None
        if cache_name is None or cache_name != cache_name.lower():
            raise SettingError("REDIS_CACHE_NAME", "must be the cache's name in lower case, as REDIS_IAM is true")
        return cls(cache_name, is_serverless, text(env, "AWS_REGION"))


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of each function that may end a task: Redis, and the queue for the event of the batch's end."""

    redis: "RedisSettings"
    webhook_queue_url: str

    @classmethod
    def from_env(cls, env: Environment) -> "StoreSettings":
        """Read the variables of RedisSettings, and WEBHOOK_QUEUE_URL."""
        return cls(RedisSettings.from_env(env), text(env, "WEBHOOK_QUEUE_URL"))


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Address and connection options of Redis."""

    host: str
    port: int
    tls: bool
    cluster: bool
    username: str | None
    iam: IamSettings | None = None

    @classmethod
    def from_env(cls, env: Environment) -> "RedisSettings":
        """Read REDIS_HOST, REDIS_PORT, REDIS_TLS, REDIS_CLUSTER, REDIS_USERNAME and the variables of IamSettings."""
        settings = cls(
            host=text(env, "REDIS_HOST"),
            port=number(env, "REDIS_PORT", least=1, most=MAX_PORT, default=6379),
            tls=flag(env, "REDIS_TLS", default=True),
            cluster=flag(env, "REDIS_CLUSTER", default=True),
            username=optional_text(env, "REDIS_USERNAME"),
            iam=IamSettings.from_env(env),
        )
        if settings.iam is not None and not settings.tls:
            # ElastiCache accepts tokens only over TLS; without TLS a token could be intercepted.
            raise SettingError("REDIS_TLS", "must be true, as REDIS_IAM is")
        if settings.iam is not None and settings.username is None:
            raise SettingError("REDIS_USERNAME", "must be set, as REDIS_IAM is true")
        return settings
