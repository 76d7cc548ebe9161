"""Read the settings of the submission service from the environment."""

from dataclasses import dataclass, replace
from typing import Final

from common.api.held_calls import HoldLimits
from common.domain.backlog import MOST_QUEUED
from common.domain.errors import SettingError
from common.domain.task import MAX_BATCH_SIZE, SHORTEST_RETENTION_SECONDS
from common.runtime.settings import Environment, RedisSettings, flag, number, optional_text, text
from common.submission.limits import EMBEDDING_MODELS, LONGEST_RETENTION_SECONDS, MOST_DEADLINE_SECONDS, Limits

MOST_PROMPT_BYTES: Final = 1_000_000
"""SQS takes messages of 1 MiB; the rest is for the header: IDs, times, model and `custom_id`."""


DEFAULT_QUEUE_SHARE: Final = 50
"""In percent, as in template.yaml: a tenant may fill half of the queue."""


@dataclass(frozen=True, slots=True)
class SubmissionSettings:
    """Hold where Redis and the queues are, and the limits of one call."""

    redis: RedisSettings
    queue_url: str
    webhook_queue_url: str
    limits: Limits
    holds: HoldLimits
    workflow_queue_url: str | None = None
    """None where the function accepts no workflows."""
    most_queued: int = 0
    """Tasks in a queue, at most; 0 is no cap."""
    queue_share: int = DEFAULT_QUEUE_SHARE
    """The share of them that one tenant may have, in percent."""

    @classmethod
    def from_env(cls, env: Environment) -> "SubmissionSettings":
        """Read the environment of a function that accepts calls of many requests, and workflows.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        settings = cls.for_single_requests(env)
        limits = replace(
            settings.limits,
            most_prompts=number(env, "MAX_PROMPTS", least=1, most=MAX_BATCH_SIZE, default=1_000),
            allow_loopback=flag(env, "WEBHOOK_LOOPBACK", default=False),
        )
        return replace(settings, limits=limits, workflow_queue_url=text(env, "WORKFLOW_QUEUE_URL"))

    @classmethod
    def for_single_requests(cls, env: Environment) -> "SubmissionSettings":
        """Read the environment of a function that accepts one request a call, and no workflows.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        retention = number(
            env,
            "RETENTION_SECONDS",
            least=SHORTEST_RETENTION_SECONDS,
            most=LONGEST_RETENTION_SECONDS,
            default=86_400,
        )
        models = _names("ALLOWED_MODELS", text(env, "ALLOWED_MODELS"))
        embedding_models = optional_text(env, "EMBEDDING_MODELS")
        return cls(
            redis=RedisSettings.from_env(env),
            queue_url=text(env, "QUEUE_URL"),
            most_queued=number(env, "MAX_QUEUE_DEPTH", least=0, most=MOST_QUEUED, default=0),
            queue_share=number(env, "TENANT_QUEUE_SHARE", least=1, most=100, default=DEFAULT_QUEUE_SHARE),
            webhook_queue_url=text(env, "WEBHOOK_QUEUE_URL"),
            holds=HoldLimits.from_env(env),
            limits=Limits(
                models=models,
                most_prompts=1,
                most_prompt_bytes=number(env, "MAX_PROMPT_BYTES", least=1, most=MOST_PROMPT_BYTES, default=262_144),
                deadline_seconds=number(
                    env, "DEADLINE_SECONDS", least=1, most=min(retention, MOST_DEADLINE_SECONDS), default=21_600
                ),
                retention_seconds=retention,
                embedding_models=_names("EMBEDDING_MODELS", embedding_models) if embedding_models else EMBEDDING_MODELS,
            ),
        )


def _names(setting: str, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise SettingError(setting, "must be a comma list without an empty place")
    return names
