"""Count what has ended."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from sluice._models import Task, TaskStatus


@dataclass(slots=True)
class OutcomeCounts:
    """How tasks have ended, and what they took."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    gone: int = 0
    """Expired, or not known to the service."""
    tokens: int = 0
    usd: Decimal = field(default_factory=Decimal)

    def add(self, task: Task) -> None:
        """Count one."""
        match task.status:
            case TaskStatus.COMPLETED:
                self.completed += 1
            case TaskStatus.FAILED:
                self.failed += 1
            case TaskStatus.CANCELLED:
                self.cancelled += 1
            case _:
                self.gone += 1
        self.tokens += task.usage.total_tokens if task.usage else 0
        self.usd += task.cost_usd or 0

    @property
    def ended(self) -> int:
        """Give how many have ended."""
        return self.completed + self.failed + self.cancelled + self.gone

    @property
    def without_answer(self) -> int:
        """Give how many have ended without an answer."""
        return self.ended - self.completed

    def as_json(self) -> dict[str, Any]:
        """Show it; money is a text, for no digit to be lost."""
        counts = {name: getattr(self, name) for name in ("completed", "failed", "cancelled", "gone", "tokens")}
        return counts | {"usd": str(self.usd)}

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Read what `as_json` shows."""
        return cls(**{**body, "usd": Decimal(body["usd"])})
