"""Test server-sent events: each step contains only what the caller does not have."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.api.held_calls import HoldLimits
from common.api.long_poll import MOST_SECONDS
from common.api.pagination import MOST_ANSWER_BYTES, MOST_BYTES, size_of
from common.domain.errors import InvalidRequest, NotFound
from common.domain.task import Answer, FailureCode, NewBatch, Task, TaskRef, TaskSpec, WaitingOn, new_batch_id
from common.domain.transitions import Lease, ProgressNote, Release
from functions.status.stream import UNHELD_STEP, Cursor, EventStream, cursor_of
from tests.fakes import FakeHeldCalls, FakeStore
from tests.store import accepted
from tests.unit.worker.virtual_time import VirtualTimeLoop

BATCH = new_batch_id(1, bytes(16))
SIX_MB = 6_291_556
REF = TaskRef("acme", BATCH, 0)


class DeafEar:
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Stage:
    """One task, in virtual time, and a caller who follows it as an EventSource does."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        loop = self.runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.store = FakeStore(lambda: 1_000 + round(loop.now * 1000))
        self.held_calls = FakeHeldCalls(lambda: 1_000 + round(loop.now * 1000), HoldLimits(tenant=1))
        self.stream = EventStream(self.store, self, self.held_calls, now_ms=lambda: 1_000)
        self.last_event_id = ""
        self.sizes: list[int] = []
        self.runner.run(accepted(self.store, NewBatch("acme", BATCH, (TaskSpec("m"),), 600_000, 900_000)))

    @asynccontextmanager
    async def subscribe(
        self, batches: Iterable[tuple[str, str]], steps: Iterable[TaskRef] = ()
    ) -> AsyncGenerator[DeafEar]:
        assert ([*batches], [*steps]) == ([("acme", BATCH)], [REF])
        yield DeafEar()

    def lease(self, owner: str = "a") -> Lease:
        return Lease(
            Task(ref=REF, batch_size=1, created_ms=1_000, deadline_ms=601_000, retention_ms=900_000, model="m"),
            owner,
            300_000,
            3,
        )

    def claim(self, owner: str = "a") -> None:
        self.runner.run(self.store.claim(self.lease(owner)))

    def write(self, text: str, owner: str = "a") -> None:
        assert self.runner.run(self.store.progress([ProgressNote(REF, owner, 10, text, 60_000)])) == [True]

    def release(self, owner: str = "a") -> None:
        release = self.store.release(
            self.lease(owner), Release(code=FailureCode.TIMEOUT, waiting_on=WaitingOn.PROVIDER)
        )
        self.runner.run(release)

    def complete(self, text: str, owner: str = "a") -> None:
        self.runner.run(self.store.complete(self.lease(owner), Answer(text, "stop")))

    def ask(self, **query: str) -> list[tuple[str, dict[str, Any]]] | None:
        """Take the next step; an EventSource takes its id along."""
        known = cursor_of(self.last_event_id, {name: [value] for name, value in query.items()})
        body = self.runner.run(self.stream.next_step("acme", REF.task_id, known))
        if body is None:
            return None
        self.sizes.append(len(json.dumps({"body": body})))
        head, *blocks = body.removesuffix("\n\n").split("\n\n")
        assert head.startswith("retry: 100")
        events = []
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            assert set(fields) == {"event", "id", "data"}
            self.last_event_id = fields["id"]
            events.append((fields["event"], json.loads(fields["data"])))
        return events


@pytest.fixture
def stage() -> Any:  # noqa: ANN401  # closed below
    made = Stage()
    yield made
    made.runner.close()


def test_a_task_is_followed_from_queued_to_its_end_and_each_thing_is_told_once(stage: Stage) -> None:
    assert stage.ask() == [("status", {"status": "queued", "progress": 0, "waiting_on": "capacity"})]
    stage.claim()
    assert stage.ask() == [("status", {"status": "processing", "progress": 0})]
    stage.write("Why did")
    assert stage.ask() == [("delta", {"text": "Why did"})]
    stage.write("Why did the 🐧\ncross")
    assert stage.ask() == [("delta", {"text": " the 🐧\ncross"})]
    stage.complete("Why did the 🐧\ncross?")
    delta, (name, task) = stage.ask() or []
    assert delta == ("delta", {"text": "?"})
    assert (name, task["status"], task["result"]) == ("ended", "completed", "Why did the 🐧\ncross?")
    assert stage.ask() is None, "an EventSource stops here"


def test_whoever_comes_late_gets_all_at_once(stage: Stage) -> None:
    stage.claim()
    stage.complete("All of it")

    events = stage.ask()

    assert events is not None
    assert [name for name, _ in events] == ["delta", "ended"]
    assert events[0][1] == {"text": "All of it"}


@pytest.mark.parametrize(("after", "rest"), [("0", "Why did"), ("4", "did"), ("1.4.processing", "did")])
def test_it_goes_on_after_the_text_that_the_caller_has(stage: Stage, after: str, rest: str) -> None:
    stage.claim()
    stage.write("Why did")

    assert ("delta", {"text": rest}) in (stage.ask(starting_after=after) or [])


def test_the_text_of_another_attempt_is_told_from_its_beginning(stage: Stage) -> None:
    stage.claim()
    stage.write("Why did")
    stage.ask()
    stage.release()
    assert stage.ask() == [("status", {"status": "queued", "progress": 0, "waiting_on": "provider"})]
    stage.claim("b")
    assert stage.ask() == [("status", {"status": "processing", "progress": 0})]
    stage.write("It was", "b")
    assert stage.ask() == [("reset", {}), ("delta", {"text": "It was"})]
    stage.complete("It was me", "b")
    assert (stage.ask() or [])[0] == ("delta", {"text": " me"})


def test_half_a_character_is_not_told_before_it_is_whole(stage: Stage) -> None:
    stage.claim()
    stage.write("a\ufffd")
    assert ("delta", {"text": "a"}) in (stage.ask() or [])
    stage.write("a🐧")
    assert stage.ask() == [("delta", {"text": "🐧"})]


def test_where_nothing_comes_the_answer_is_empty_at_the_cap_and_the_cursor_stays(stage: Stage) -> None:
    stage.ask()
    before, started = stage.last_event_id, stage.loop.now

    assert stage.ask() == []

    assert stage.loop.now - started == MOST_SECONDS
    assert stage.last_event_id == before


@pytest.mark.parametrize("letter", ["x", '"', "\n", "é", "😀", "\\", "\0"])
def test_a_long_text_comes_in_steps_that_an_answer_can_carry(stage: Stage, letter: str) -> None:
    # GIVEN an answer as large as any that is kept, of which the beginning was read while it ran
    text = letter * (MOST_ANSWER_BYTES // (size_of({"": letter}) - size_of({"": ""})))
    stage.claim()
    stage.write(text[:1_000])
    heard = [stage.ask()]
    stage.complete(text)

    # WHEN it is followed to its end
    while (events := stage.ask()) is not None:
        heard.append(events)

    # THEN its text came once and in order, and as the last thing the task as a whole
    events = [event for step in heard for event in step or []]
    assert "".join(data["text"] for name, data in events if name == "delta") == text
    assert [name for name, _ in events].count("ended") == 1
    assert (events[-1][0], events[-1][1]["result"]) == ("ended", text)
    assert 3 <= len(heard) <= 4
    assert all(size < SIX_MB for size in stage.sizes)


def test_a_text_that_no_answer_carries_is_still_followed_to_its_end(stage: Stage) -> None:
    text = "x" * (2 * MOST_BYTES)
    stage.claim()
    stage.complete(text)

    heard = []
    while (events := stage.ask()) is not None:
        heard += events

    assert "".join(data["text"] for name, data in heard if name == "delta") == text
    name, task = heard[-1]
    assert (name, task["status"], task["error"]["code"]) == ("ended", "completed", "answer_too_large")


def test_whoever_has_more_text_than_there_is_hears_of_the_end(stage: Stage) -> None:
    stage.claim()
    stage.complete("short")

    assert [name for name, _ in stage.ask(starting_after="100") or []] == ["ended"]


def test_a_task_that_ends_without_text_says_how(stage: Stage) -> None:
    stage.runner.run(stage.store.cancel([REF]))

    [(name, task)] = stage.ask() or []

    assert (name, task["status"]) == ("ended", "cancelled")
    assert stage.ask() is None


def test_an_unknown_task_is_not_found_and_another_tenants_neither(stage: Stage) -> None:
    for tenant, task_id in (("acme", f"{BATCH}-7"), ("acme", "x"), ("rival", REF.task_id)):
        with pytest.raises(NotFound):
            stage.runner.run(stage.stream.next_step(tenant, task_id, Cursor()))


@pytest.mark.parametrize("text", ["x", "-1", "1.2", "1.2.3", "1.2.Queued", "9" * 10, "1.2.queued\n"])
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        cursor_of(None, {"starting_after": [text]})

    assert caught.value.code == "invalid_starting_after"


def test_the_last_event_id_wins_over_the_query() -> None:
    assert cursor_of("1.2.queued", {"starting_after": ["7"]}) == Cursor(1, 2, "queued")


def test_over_the_limit_of_held_calls_a_step_does_not_wait_and_tells_what_is_new_all_the_same(stage: Stage) -> None:
    async def hold_and_ask(known: Cursor) -> str | None:
        async with stage.held_calls.holding("acme"):
            return await stage.stream.next_step("acme", REF.task_id, known)

    assert "event: status" in (stage.runner.run(hold_and_ask(Cursor())) or "")
    started = stage.loop.now
    assert stage.runner.run(hold_and_ask(Cursor(0, 0, "queued"))) == UNHELD_STEP
    assert stage.loop.now == started
    assert UNHELD_STEP.startswith("retry: 2000\n"), "an EventSource waits before it asks again"
    stage.complete("All of it")
    assert "event: ended" in (stage.runner.run(hold_and_ask(Cursor(0, 0, "queued"))) or "")
