"""Read the settings of status from the environment."""

from dataclasses import dataclass

from common.api.held_calls import HoldLimits
from common.runtime.settings import Environment, RedisSettings, text


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """Hold where Redis is, the limits of held calls, and the queue for the event of a batch's end.

    A read past the deadline may end a batch.
    """

    redis: RedisSettings
    webhook_queue_url: str
    holds: HoldLimits

    @classmethod
    def from_env(cls, env: Environment) -> "StatusSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        return cls(
            redis=RedisSettings.from_env(env),
            webhook_queue_url=text(env, "WEBHOOK_QUEUE_URL"),
            holds=HoldLimits.from_env(env),
        )
