"""An event loop whose clock jumps: nobody waits, and every run sees the same times."""

import asyncio
import selectors
from typing import override


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualTimeLoop"

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("every task waits for something that will never come")
        events = super().select(0)
        if not events and timeout > 0:
            self.loop.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    @override
    def time(self) -> float:
        return self.now
