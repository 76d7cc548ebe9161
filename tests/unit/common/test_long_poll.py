"""Test held responses: the accepted preferences, and the notifications that end a wait."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.api.held_calls import HoldLimits
from common.api.long_poll import (
    MOST_SECONDS,
    POLL_GAP_SECONDS,
    POLL_SECONDS,
    LongPoll,
    Until,
    WaitOutcome,
    WaitPreference,
    read_wait_preference,
)
from common.domain.errors import InvalidRequest
from common.domain.task import NewBatch, TaskRecord, TaskRef, TaskSpec, new_batch_id
from common.store.keys import HOLD_LEASE_MS
from tests.fakes import FakeHeldCalls, FakeStore
from tests.unit.worker.virtual_time import VirtualTimeLoop

ROOT = Path(__file__).parents[3]
BATCH = new_batch_id(1, bytes(16))


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=10", 10),
        ("Wait=10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("respond-async;x=y, wait = 10 ; foo=bar", 10),
        ("wait=3, wait=10", 3),
        ("wait=3600", MOST_SECONDS),
        ("wait=0", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait", 0),
        ("await=10", 0),
        (f"wait={'9' * 400}", 0),
    ],
)
def test_the_wait_is_what_the_preference_says_up_to_its_cap(prefer: str | None, seconds: int) -> None:
    wish = read_wait_preference(prefer, {})

    assert (wish.seconds, wish.until) == (seconds, Until.ALL)
    assert wish.headers == ({"Preference-Applied": f"wait={seconds}"} if seconds else {})


def test_until_is_any_or_all() -> None:
    assert read_wait_preference("wait=1", {"until": ["any"]}).until is Until.ANY
    with pytest.raises(InvalidRequest) as caught:
        read_wait_preference(None, {"until": ["some"]})
    assert caught.value.code == "invalid_until"


def test_the_longest_wait_and_the_answer_after_it_fit_the_functions_that_wait() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    for function in ("SubmitFunction", "StatusFunction"):
        found = re.search(rf"  {function}:\n(?:    .*\n)*?      Timeout: (\d+)\n", template)
        assert found
        assert MOST_SECONDS + 3 <= int(found[1]) < 29, function
        assert int(found[1]) * 1000 < HOLD_LEASE_MS, "a call would be held after its place is another's"


@dataclass
class FakeEar:
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.heard.wait()
        except TimeoutError:
            return
        self.heard.clear()


class Stage:
    """Three tasks in virtual time, a listener that hears what it is told, and a count of the looks."""

    def __init__(self, loop: VirtualTimeLoop, limits: HoldLimits = HoldLimits()) -> None:  # noqa: B008  # frozen
        self.loop = loop
        self.store = FakeStore(self.now_ms)
        self.held_calls = FakeHeldCalls(self.now_ms, limits)
        self.refs = [TaskRef("acme", BATCH, index) for index in range(3)]
        self.ear = FakeEar()
        self.listening: list[set[tuple[str, str]]] = []
        self.while_subscribing: Callable[[], Awaitable[object]] | None = None
        self.waiting = LongPoll(self.store, self, self.held_calls)

    def now_ms(self) -> int:
        return 1_000_000 + round(self.loop.now * 1000)

    @asynccontextmanager
    async def subscribe(self, batches: Iterable[tuple[str, str]]) -> AsyncGenerator[FakeEar]:
        self.listening.append(set(batches))
        if self.while_subscribing:
            await self.while_subscribing()
        yield self.ear

    async def cancel(self, *indexes: int, after: float, is_heard: bool = True) -> None:
        await asyncio.sleep(after)
        await self.store.cancel([self.refs[index] for index in indexes])
        if is_heard:
            self.ear.heard.set()

    async def wait(
        self, wish: WaitPreference, *others: Awaitable[object], spent: float = 0.0
    ) -> tuple[WaitOutcome, float]:
        await self.store.create(NewBatch("acme", BATCH, (TaskSpec("m"),) * 3, 60_000, 100_000))
        started = self.loop.now
        beside = [asyncio.ensure_future(other) for other in others]
        held = await self.waiting.wait(self.refs, wish, spent_seconds=spent)
        took = self.loop.now - started
        await asyncio.gather(*beside)
        return held, took


def soon_after(seconds: float) -> object:
    """Allow for the gap that keeps the looks for several tasks apart."""
    return pytest.approx(seconds + POLL_GAP_SECONDS / 2, abs=POLL_GAP_SECONDS)


def on_stage(play: Callable[[Stage], Awaitable[None]], limits: HoldLimits = HoldLimits()) -> None:  # noqa: B008  # frozen
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)

        async def run() -> None:
            await play(Stage(loop, limits))

        runner.run(run())


def test_a_wait_for_all_ends_with_the_last_task() -> None:
    async def play(stage: Stage) -> None:
        ends = [stage.cancel(index, after=index + 1.0) for index in range(3)]
        assert await stage.wait(WaitPreference(20), *ends) == (WaitOutcome.ENDED, soon_after(3))
        assert stage.listening == [{("acme", BATCH)}]

    on_stage(play)


def test_a_wait_for_any_ends_with_the_first() -> None:
    async def play(stage: Stage) -> None:
        assert await stage.wait(WaitPreference(20, Until.ANY), stage.cancel(1, after=2.0)) == (
            WaitOutcome.ENDED,
            soon_after(2),
        )

    on_stage(play)


def test_unknown_tasks_are_neither_waited_for_nor_taken_for_ended() -> None:
    async def play(stage: Stage) -> None:
        stage.refs.append(TaskRef("acme", BATCH, 7))
        assert await stage.wait(WaitPreference(20, Until.ANY), stage.cancel(0, after=2.0)) == (
            WaitOutcome.ENDED,
            soon_after(2),
        )
        assert await stage.waiting.wait([TaskRef("acme", BATCH, 7)], WaitPreference(20)) is WaitOutcome.ENDED

    on_stage(play)


def test_at_the_cap_the_wait_is_over_whatever_the_tasks_do() -> None:
    async def play(stage: Stage) -> None:
        assert await stage.wait(WaitPreference(7), stage.cancel(0, after=1.0)) == (WaitOutcome.TIMED_OUT, soon_after(7))

    on_stage(play)


def test_what_was_spent_before_the_wait_is_taken_off() -> None:
    async def play(stage: Stage) -> None:
        assert await stage.wait(WaitPreference(7), spent=3.0) == (WaitOutcome.TIMED_OUT, soon_after(4))
        assert await stage.waiting.wait(stage.refs, WaitPreference(7), spent_seconds=9.0) is WaitOutcome.TIMED_OUT

    on_stage(play)


def test_an_end_between_the_first_look_and_the_subscription_is_seen_at_once() -> None:
    async def play(stage: Stage) -> None:
        stage.while_subscribing = lambda: stage.cancel(0, 1, 2, after=0.5, is_heard=False)
        assert await stage.wait(WaitPreference(20)) == (WaitOutcome.ENDED, 0.5)

    on_stage(play)


def test_a_message_that_is_lost_costs_one_look() -> None:
    async def play(stage: Stage) -> None:
        ends = stage.cancel(0, 1, 2, after=1.0, is_heard=False)
        assert await stage.wait(WaitPreference(20), ends) == (WaitOutcome.ENDED, soon_after(POLL_SECONDS))

    on_stage(play)


def test_who_waits_for_what_has_ended_does_not_listen() -> None:
    async def play(stage: Stage) -> None:
        stage.while_subscribing = None
        await stage.store.create(NewBatch("acme", BATCH, (TaskSpec("m"),) * 3, 60_000, 100_000))
        await stage.store.cancel(stage.refs)
        assert await stage.wait(WaitPreference(20)) == (WaitOutcome.ENDED, 0.0)
        assert stage.listening == []

    on_stage(play)


def test_over_the_limit_of_held_calls_a_wait_is_answered_at_once_and_does_not_listen() -> None:
    async def play(stage: Stage) -> None:
        async with stage.held_calls.holding("acme"):
            assert await stage.wait(WaitPreference(20)) == (WaitOutcome.NOT_HELD, 0.0)
        assert stage.listening == []
        assert await stage.wait(WaitPreference(7)) == (WaitOutcome.TIMED_OUT, soon_after(7))

    on_stage(play, HoldLimits(tenant=1))


def test_what_has_ended_is_told_also_over_the_limit_of_held_calls() -> None:
    async def play(stage: Stage) -> None:
        await stage.store.create(NewBatch("acme", BATCH, (TaskSpec("m"),) * 3, 60_000, 100_000))
        await stage.store.cancel(stage.refs[:1])
        async with stage.held_calls.holding("acme"):
            assert await stage.wait(WaitPreference(20, Until.ANY)) == (WaitOutcome.ENDED, 0.0)
            assert await stage.wait(WaitPreference(20)) == (WaitOutcome.NOT_HELD, 0.0)

    on_stage(play, HoldLimits(tenant=1))


def test_a_wait_that_is_over_leaves_its_place_to_the_next() -> None:
    async def play(stage: Stage) -> None:
        for _ in range(3):
            assert await stage.wait(WaitPreference(7)) == (WaitOutcome.TIMED_OUT, soon_after(7))

    on_stage(play, HoldLimits(tenant=1))


def test_forty_long_polls_of_one_tenant_leave_anothers_its_place() -> None:
    async def play(stage: Stage) -> None:
        rival = TaskRef("rival", BATCH, 0)
        for tenant in ("acme", "rival"):
            await stage.store.create(NewBatch(tenant, BATCH, (TaskSpec("m"),) * 3, 60_000, 100_000))
        flood = [asyncio.ensure_future(stage.waiting.wait(stage.refs, WaitPreference(20))) for _ in range(40)]
        held = await stage.waiting.wait([rival], WaitPreference(10))
        assert held is WaitOutcome.TIMED_OUT, "held for its 10 s"
        outcomes = await asyncio.gather(*flood)
        assert outcomes.count(WaitOutcome.TIMED_OUT) == 5
        assert outcomes.count(WaitOutcome.NOT_HELD) == 35

    on_stage(play, HoldLimits(tenant=5, total=6))


def test_a_wait_for_a_thousand_tasks_that_end_one_by_one_reads_a_thousand_records_a_second() -> None:
    async def play(stage: Stage) -> None:
        reads: list[int] = []

        class Counting(FakeStore):
            async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
                reads.append(len(refs))
                return await super().read(refs, with_text=with_text)

        store = Counting(stage.now_ms)
        waiting = LongPoll(store, stage, stage.held_calls)
        await store.create(NewBatch("acme", BATCH, (TaskSpec("m"),) * 1000, 60_000, 100_000))
        refs = [TaskRef("acme", BATCH, index) for index in range(1000)]

        async def end_one_by_one() -> None:
            for ref in refs:
                await store.cancel([ref])
                stage.ear.heard.set()
                await asyncio.sleep(0.01)

        ending, started = asyncio.ensure_future(end_one_by_one()), stage.loop.now
        assert await waiting.wait(refs, WaitPreference(25)) is WaitOutcome.ENDED
        await ending
        took = stage.loop.now - started
        assert took == pytest.approx(10, abs=0.5), "no later than a tenth of a second after the last end"
        assert sum(reads) <= 1000 * (took + 2)

    on_stage(play)
