"""What submit reads from its environment, once, at init."""

from dataclasses import dataclass
from typing import Final

from common.errors import SettingError
from common.settings import Environment, RedisSettings, number, text
from common.tasks import MAX_BATCH_SIZE
from functions.submit.validation import Limits

MOST_PROMPT_BYTES: Final = 1_000_000
"""SQS takes messages of 1 MiB; what is left is for the envelope: ids, times, model and `custom_id`."""

MOST_RETENTION_SECONDS: Final = 14 * 86_400
"""As long as SQS can keep a message."""


@dataclass(frozen=True, slots=True)
class SubmitSettings:
    """Say where Redis and the queue are, and what a caller may ask for."""

    redis: RedisSettings
    queue_url: str
    retention_seconds: int
    limits: Limits

    @classmethod
    def from_env(cls, env: Environment) -> "SubmitSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        retention = number(env, "RETENTION_SECONDS", least=1, most=MOST_RETENTION_SECONDS, default=86_400)
        models = tuple(model.strip() for model in text(env, "ALLOWED_MODELS").split(","))
        if not all(models):
            raise SettingError("ALLOWED_MODELS", "must be a comma list without an empty place")
        return cls(
            redis=RedisSettings.from_env(env),
            queue_url=text(env, "QUEUE_URL"),
            retention_seconds=retention,
            limits=Limits(
                models=models,
                most_prompts=number(env, "MAX_PROMPTS", least=1, most=MAX_BATCH_SIZE, default=1_000),
                most_prompt_bytes=number(env, "MAX_PROMPT_BYTES", least=1, most=MOST_PROMPT_BYTES, default=262_144),
                deadline_seconds=number(env, "DEADLINE_SECONDS", least=1, most=retention, default=21_600),
                most_deadline_seconds=retention,
            ),
        )
