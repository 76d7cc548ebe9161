"""Read the worker's settings."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from common.domain.backlog import MOST_QUEUED
from common.domain.errors import SettingError
from common.runtime.settings import Environment, RedisSettings, number, optional_text, text
from common.worker.deadlines import margin_of
from common.worker.limits import RateLimitSettings

MOST_CONCURRENCY: Final = 900
MOST_ATTEMPTS: Final = 10
MOST_TIMEOUT_SECONDS: Final = 900
"""Lambda's own limit."""

LEASE_SECONDS: Final = 40
LEAST_LEASE_SECONDS: Final = 3
"""A lease is renewed once a second, and one renewal may fail. The template's least is 10."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Hold the settings of the worker; times in seconds."""

    queue_url: str
    webhook_queue_url: str
    concurrency: int
    concurrency_min: int
    limits: RateLimitSettings
    max_attempts: int
    worker_timeout_seconds: int
    lease_seconds: int
    model_timeout_seconds: int
    openai_base_url: str | None
    openai_api_key_secret: str
    redis: RedisSettings
    is_queue_capped: bool = False
    """Whether submit counts each tenant's tasks in the queue."""

    @property
    def margin_seconds(self) -> float:
        """Return how long before the function's end calls stop."""
        return margin_of(self.worker_timeout_seconds)

    @classmethod
    def from_env(cls, env: Environment) -> "WorkerSettings":
        """Read the environment; raise SettingError with the name of what is missing or wrong."""
        concurrency = number(env, "CONCURRENCY", least=1, most=MOST_CONCURRENCY)
        settings = cls(
            queue_url=_url("QUEUE_URL", text(env, "QUEUE_URL")),
            webhook_queue_url=_url("WEBHOOK_QUEUE_URL", text(env, "WEBHOOK_QUEUE_URL")),
            concurrency=concurrency,
            concurrency_min=number(env, "CONCURRENCY_MIN", least=1, most=concurrency, default=1),
            limits=RateLimitSettings.from_env(env),
            max_attempts=number(env, "MAX_ATTEMPTS", least=1, most=MOST_ATTEMPTS, default=3),
            worker_timeout_seconds=number(env, "WORKER_TIMEOUT_SECONDS", least=2, most=MOST_TIMEOUT_SECONDS),
            lease_seconds=number(
                env, "LEASE_SECONDS", least=LEAST_LEASE_SECONDS, most=MOST_TIMEOUT_SECONDS, default=LEASE_SECONDS
            ),
            model_timeout_seconds=number(env, "MODEL_TIMEOUT_SECONDS", least=1, most=MOST_TIMEOUT_SECONDS),
            openai_base_url=_base_url(env, "OPENAI_BASE_URL"),
            openai_api_key_secret=text(env, "OPENAI_API_KEY_SECRET"),
            redis=RedisSettings.from_env(env),
            is_queue_capped=number(env, "MAX_QUEUE_DEPTH", least=0, most=MOST_QUEUED, default=0) > 0,
        )
        most = settings.worker_timeout_seconds - settings.margin_seconds
        if settings.model_timeout_seconds > most:
            # Or no call could ever be sure to end before the invocation does.
            raise SettingError("MODEL_TIMEOUT_SECONDS", f"must be at most {most:g} with this WORKER_TIMEOUT_SECONDS")
        return settings


def _base_url(env: Environment, name: str) -> str | None:
    """Return the address that paths are appended to; it may have a query, which stays behind them."""
    value = optional_text(env, name)
    if value is None:
        return None
    parts = urlsplit(_url(name, value))
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingError(name, "must be written as it is sent: in ASCII, without spaces")
    if "#" in value or "@" in parts.netloc:
        # A fragment is never sent, and a password belongs in a secret: anybody who may see the function reads this.
        raise SettingError(name, "must have neither a fragment (#) nor a user and password (@)")
    return value


def _url(name: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise SettingError(name, "must be an http or https address")
    return value
