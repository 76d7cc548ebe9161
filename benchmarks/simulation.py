"""Simulate pollers, environments, the model's limit and deadlines, at any load: a discrete-event model.

The event source begins with a few pollers and adds more while prompts are left, as AWS says it does, up to
MaximumConcurrency. An environment takes a batch from the head of the queue, waits for the starts that the shared
schedule gives it, and takes the next batch when the last answer of this one is there. Prompts that arrive within one
second are a cohort and come at its beginning; all else has its own moment. What an invocation does is drawn in advance,
many times for each size of a batch, and taken in turn: so ten million prompts take a second or two.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from itertools import cycle
from random import Random
from typing import Final, NamedTuple

from common.domain.rate_limits import HORIZON_MS

FIRST_POLLERS: Final = 5
POLLERS_A_SECOND: Final = 300 // 60
"""AWS adds up to 300 a minute."""

SAMPLE_SECONDS: Final = 10
"""Environments and calls are counted as often."""

DRAWN_PROMPTS: Final = 100_000
"""In all the invocations with a full batch: a thousand of a hundred, whose mean is good to a hundredth."""

PARTIAL_SHARE: Final = 50
"""A batch that is not full is drawn as much less often: there is room then, and its time matters less."""


@dataclass(frozen=True, slots=True)
class System:
    """One set-up; times in seconds. What an invocation takes beyond the model comes before its first call."""

    batch: int
    concurrency: int
    environments: int
    """MaximumConcurrency of the event source."""
    overhead: float = 0.0
    """Of an invocation."""
    overhead_a_prompt: float = 0.0
    requests_a_minute: int = 0
    """0 is no limit."""
    deadline: float = math.inf
    pollers: int = FIRST_POLLERS
    """At the start."""

    @property
    def gap(self) -> float:
        """Return the seconds between two starts of the schedule."""
        return 60 / self.requests_a_minute if self.requests_a_minute else 0.0


@dataclass(slots=True)
class Day:
    """What a simulated time came to; times in seconds."""

    done: int = 0
    failed: int = 0
    """Past their deadline when their turn came: they were not asked."""
    waited: float = 0.0
    worst_wait: float = 0.0
    """From the arrival to the start of the call."""
    most_queued: int = 0
    most_busy: int = 0
    """Environments at work."""
    most_calls: int = 0
    """Calls in flight."""
    ended_at: float = 0.0
    queued: list[int] = field(default_factory=list)
    """Sampled."""

    @property
    def mean_wait(self) -> float:
        """Return the average of those that were asked."""
        return self.waited / max(self.done, 1)


class Invocation(NamedTuple):
    """The calls of one: starts and ends in order, in seconds from the first start."""

    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    sum_of_starts: float = 0.0

    def calls(self, seconds: float) -> int:
        """Count the calls in flight so long after the first start."""
        return bisect_right(self.starts, seconds) - bisect_right(self.ends, seconds)


_NOTHING: Final = Invocation()
_IDLE: Final = (0.0, 0.0, _NOTHING)
"""An environment: until when it is busy, its first start, and its calls."""


def drawn(size: int, concurrency: int, gap: float, draw: Callable[[], float]) -> Invocation:
    """Draw an invocation: each call starts when a slot is free and the schedule has come to it."""
    slots = [0.0] * min(concurrency, size)
    starts, ends = [], []
    for place in range(size):
        start = max(slots[0], place * gap)
        starts.append(start)
        ends.append(start + draw())
        heapreplace(slots, ends[-1])
    return Invocation(tuple(starts), tuple(sorted(ends)), sum(starts))


class Invocations:
    """Hand out drawn invocations of each size in turn, always the same ones."""

    def __init__(self, draw: Callable[[Random], float]) -> None:
        self._draw = draw
        self._tables: dict[tuple[int, int, float], list[Invocation]] = {}

    def of(self, system: System, size: int) -> Iterator[Invocation]:
        """Begin anew with those of one size."""
        key = (size, system.concurrency, system.gap)
        if key not in self._tables:
            random = Random(size)
            prompts = DRAWN_PROMPTS if size == system.batch else DRAWN_PROMPTS // PARTIAL_SHARE
            self._tables[key] = [drawn(*key, lambda: self._draw(random)) for _ in range(math.ceil(prompts / size))]
        return cycle(self._tables[key])


def simulate(system: System, arrivals: Sequence[int], invocations: Invocations) -> Day:
    """Run until all that arrived is done or failed; `arrivals` are the prompts of each second."""
    day, queue, schedule = Day(), _Queue(), _Schedule(system)
    tables: dict[int, Iterator[Invocation]] = {}
    environments = [_IDLE] * min(system.pollers, system.environments)
    second = 0
    while second < len(arrivals) or queue.length:
        if second < len(arrivals) and arrivals[second]:
            queue.put(second, arrivals[second])
        day.most_queued = max(day.most_queued, queue.length)
        if second % SAMPLE_SECONDS == 0:
            day.queued.append(queue.length)
            busy = [(start, invocation) for end, start, invocation in environments if end > second]
            day.most_busy = max(day.most_busy, len(busy))
            day.most_calls = max(day.most_calls, sum(each.calls(second - start) for start, each in busy))
        while queue.length and environments[0][0] < second + 1:
            now = max(environments[0][0], second)
            if schedule.is_full(now):
                break
            size, asked, cohorts = queue.take(system.batch, now - system.deadline)
            start = now + system.overhead + system.overhead_a_prompt * size
            day.failed += size - asked
            if not asked:
                heapreplace(environments, (start, start, _NOTHING))
                continue
            if asked not in tables:
                tables[asked] = invocations.of(system, asked)
            invocation = next(tables[asked])
            start = schedule.book(start, invocation)
            _note_waits(day, cohorts, start, invocation)
            heapreplace(environments, (start + invocation.ends[-1], start, invocation))
        if queue.length:
            for _ in range(min(POLLERS_A_SECOND, system.environments - len(environments))):
                heappush(environments, _IDLE)
        second += 1
    day.ended_at = max(end for end, _, _ in environments)
    return day


def _note_waits(day: Day, cohorts: Sequence[tuple[int, int]], start: float, invocation: Invocation) -> None:
    place = 0
    for arrived, number in cohorts:
        place += number
        day.worst_wait = max(day.worst_wait, start + invocation.starts[place - 1] - arrived)
        day.waited += number * (start - arrived)
    day.done += place
    day.waited += invocation.sum_of_starts


class _Queue:
    """Hold cohorts in order: when they came, and how many are left."""

    def __init__(self) -> None:
        self.length = 0
        self._cohorts: deque[tuple[int, int]] = deque()

    def put(self, second: int, number: int) -> None:
        self._cohorts.append((second, number))
        self.length += number

    def take(self, most: int, oldest: float) -> tuple[int, int, list[tuple[int, int]]]:
        """Take a batch; return its size, and how many and which of it are not older than that."""
        size = left = min(most, self.length)
        self.length -= size
        taken, young = [], 0
        while left:
            arrived, number = self._cohorts.popleft()
            if number > left:
                self._cohorts.appendleft((arrived, number - left))
                number = left
            left -= number
            if arrived >= oldest:
                taken.append((arrived, number))
                young += number
        return size, young, taken


class _Schedule:
    """Give out starts one gap apart, as the shared schedule does, the calls of an invocation together."""

    def __init__(self, system: System) -> None:
        self._gap = system.gap
        self._next = 0.0

    def is_full(self, now: float) -> bool:
        """Tell whether the next start is farther ahead than one may be booked."""
        return self._next - now > HORIZON_MS / 1000

    def book(self, start: float, invocation: Invocation) -> float:
        """Return when an invocation that is ready may make its first call."""
        if self._gap:
            start = max(start, self._next)
            self._next = start + invocation.starts[-1] + self._gap
        return start
