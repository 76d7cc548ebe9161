"""What status reads from its environment, once, at init."""

from dataclasses import dataclass

from common.settings import Environment, RedisSettings, text


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """Say where Redis is, and the queue for the event of a batch's end, which a look past the deadline may be."""

    redis: RedisSettings
    webhook_queue_url: str

    @classmethod
    def from_env(cls, env: Environment) -> "StatusSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        return cls(redis=RedisSettings.from_env(env), webhook_queue_url=text(env, "WEBHOOK_QUEUE_URL"))
