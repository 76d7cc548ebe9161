"""Count ended tasks."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from sluice._models import Task, TaskStatus


@dataclass(slots=True)
class OutcomeCounts:
    """Ended tasks by status, with their tokens and cost."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    gone: int = 0
    """Expired, or unknown to the service."""
    tokens: int = 0
    usd: Decimal = field(default_factory=Decimal)

    def add(self, task: Task) -> None:
        """Add an ended task."""
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
        """Return the number of ended tasks."""
        return self.completed + self.failed + self.cancelled + self.gone

    @property
    def without_answer(self) -> int:
        """Return the number of tasks that ended without a result."""
        return self.ended - self.completed

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON; the cost is a string to keep every digit."""
        counts = {name: getattr(self, name) for name in ("completed", "failed", "cancelled", "gone", "tokens")}
        return counts | {"usd": str(self.usd)}

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Parse the output of `as_json`."""
        return cls(**{**body, "usd": Decimal(body["usd"])})
