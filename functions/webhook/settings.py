"""Read the settings of the webhook function from its environment at init."""

from dataclasses import dataclass

from common.runtime.settings import Environment, flag, text


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Queues, the name of the signing secret, and whether loopback addresses are allowed (only on a local stack)."""

    webhook_queue_url: str
    receipt_queue_url: str
    secret: str
    allow_loopback: bool

    @classmethod
    def from_env(cls, env: Environment) -> "WebhookSettings":
        """Read the environment.

        Raises:
            SettingError: a variable is missing or invalid; the error has its name.

        """
        return cls(
            webhook_queue_url=text(env, "WEBHOOK_QUEUE_URL"),
            receipt_queue_url=text(env, "RECEIPT_QUEUE_URL"),
            secret=text(env, "WEBHOOK_SECRET"),
            allow_loopback=flag(env, "WEBHOOK_LOOPBACK", default=False),
        )
