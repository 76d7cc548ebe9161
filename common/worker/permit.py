"""Allow one call to start, and correct the schedules that it was booked on when it is over, however it ends."""

import math
from collections.abc import Callable
from typing import Protocol

from common.domain.task import FailureCode, Usage


class Schedule(Protocol):
    """Keep what was booked on one schedule."""

    def correct(self, tokens: int) -> None:
        """Take how many tokens a call has used beyond those that were booked for it."""


class Permit:
    """Hold what one call has booked. Until the call is made it has used nothing, so an early end returns all of it."""

    def __init__(
        self,
        prompt_tokens: int = 0,
        booked: int = 0,
        refusal: FailureCode | None = None,
        on_begin: Callable[[], None] | None = None,
    ) -> None:
        """Take what is booked.

        Args:
            prompt_tokens: the estimate of the prompt alone.
            booked: that of the whole call.
            refusal: the code of a call that can never start.
            on_begin: called when the provider has begun to answer.

        """
        self.start_by = math.inf
        """The moment of the loop's clock by which the call must have started, or leave its start unused."""
        self.refusal = refusal
        self._prompt_tokens = prompt_tokens
        self._booked = booked
        self._used = 0
        self._on_begin = on_begin
        self._schedules: list[Schedule] = []

    def add(self, schedule: Schedule, start_by: float) -> None:
        """Take a booking on one more schedule."""
        self._schedules.append(schedule)
        self.start_by = start_by

    def begun(self) -> None:
        """Note that the provider has begun to answer: it lets calls of this model and tenant through."""
        if self._on_begin:
            self._on_begin()

    def answered(self, usage: Usage | None, pieces: int) -> None:
        """Note what the answer has used; without the provider's count, what was seen of it."""
        if usage is None:
            self.cut_off(pieces)
        else:
            self._used = usage.total_tokens

    def cut_off(self, pieces: int) -> None:
        """Note that a call ended before its answer did: the prompt and the pieces that came are used up."""
        self._used = self._prompt_tokens + pieces

    def settle(self) -> None:
        """Correct the schedules by what was used. A repeat does nothing."""
        for schedule in self._schedules:
            schedule.correct(self._used - self._booked)
        self._schedules.clear()
