"""What the webhook function reads from its environment, once, at init."""

from dataclasses import dataclass

from common.runtime.settings import Environment, flag, text


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Say where its queues are, which secret makes the keys, and whether this machine may be called: on a laptop."""

    webhook_queue_url: str
    receipt_queue_url: str
    secret: str
    allow_loopback: bool

    @classmethod
    def from_env(cls, env: Environment) -> "WebhookSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or wrong; it has the name.

        """
        return cls(
            webhook_queue_url=text(env, "WEBHOOK_QUEUE_URL"),
            receipt_queue_url=text(env, "RECEIPT_QUEUE_URL"),
            secret=text(env, "WEBHOOK_SECRET"),
            allow_loopback=flag(env, "WEBHOOK_LOOPBACK", default=False),
        )
