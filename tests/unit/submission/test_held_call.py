"""A call that was accepted is answered as such, whatever happens while its response is held."""

from collections.abc import Sequence

import pytest

from common.api.long_poll import WaitOutcome, WaitPreference
from common.domain.errors import StoreUnavailable
from common.domain.task import TaskRef, batch_id_of_key
from common.runtime.metrics import Metric
from common.submission.held_call import HeldCallService

REFS = [TaskRef("acme", batch_id_of_key("acme", "key"), 0)]
TEN_SECONDS = WaitPreference(10)


class Stage:
    """A held call whose wait ends as the test says."""

    def __init__(self, outcome: WaitOutcome | None, *, is_readable: bool = True) -> None:
        self.outcome = outcome
        self.is_readable = is_readable
        self.waits: list[tuple[Sequence[TaskRef], WaitPreference, float]] = []
        self.counted: list[Metric] = []
        self.service = HeldCallService(self, count=self.counted.append)

    async def wait(
        self, refs: Sequence[TaskRef], preference: WaitPreference, *, spent_seconds: float = 0.0
    ) -> WaitOutcome:
        self.waits.append((refs, preference, spent_seconds))
        if self.outcome is None:
            raise StoreUnavailable("no answer")
        return self.outcome

    async def read(self) -> str:
        if not self.is_readable:
            raise StoreUnavailable("no answer")
        return "the tasks"


@pytest.mark.parametrize("outcome", [WaitOutcome.ENDED, WaitOutcome.TIMED_OUT])
async def test_the_tasks_are_shown_after_the_wait_however_it_ends(outcome: WaitOutcome) -> None:
    stage = Stage(outcome)

    assert await stage.service.show(REFS, TEN_SECONDS, stage.read, spent_seconds=2.0) == "the tasks"
    assert stage.waits == [(REFS, TEN_SECONDS, 2.0)]
    assert stage.counted == []


async def test_a_caller_who_does_not_wait_is_not_held() -> None:
    stage = Stage(WaitOutcome.ENDED)

    assert await stage.service.show(REFS, WaitPreference(), stage.read) is None
    assert stage.waits == []


async def test_a_call_above_the_limit_of_held_calls_is_counted_and_not_shown() -> None:
    stage = Stage(WaitOutcome.NOT_HELD)

    assert await stage.service.show(REFS, TEN_SECONDS, stage.read) is None
    assert stage.counted == [Metric.UNHELD]


@pytest.mark.parametrize("stage", [Stage(None), Stage(WaitOutcome.ENDED, is_readable=False)])
async def test_an_accepted_call_does_not_fail_where_redis_does_not_answer(stage: Stage) -> None:
    assert await stage.service.show(REFS, TEN_SECONDS, stage.read) is None
    assert stage.counted == []
