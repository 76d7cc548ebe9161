"""What status reads from its environment, once, at init."""

from dataclasses import dataclass

from common.settings import Environment, RedisSettings


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """Say where Redis is."""

    redis: RedisSettings

    @classmethod
    def from_env(cls, env: Environment) -> "StatusSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        return cls(redis=RedisSettings.from_env(env))
