"""Those who ask for a start at one moment ask together, and none of them depends on another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from common.domain.errors import StoreUnavailable
from common.domain.rate_limits import Limit, StartRequest
from common.worker.schedule import ScheduleClient
from tests.unit.worker.stage import FakeFlows
from tests.unit.worker.virtual_time import VirtualTimeLoop

SCOPE = "model/gpt-test"
COST = 500


class Street:
    """One line of an environment, and who stands in it."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.flows = FakeFlows(lambda: loop.now)
        self.line = ScheduleClient(self.flows, SCOPE, Limit(tokens=600))

    async def asked(self, count: int) -> list[asyncio.Task[object]]:
        """Let so many ask, and wait until their question is on its way."""
        tasks = [asyncio.create_task(self.line.start(StartRequest(COST))) for _ in range(count)]
        await asyncio.sleep(0.1)
        return list(tasks)

    async def spare(self) -> int:
        """Return the tokens that are booked and that nobody has, once everything is told."""
        await self.line.report()
        return self.flows.tokens[SCOPE]


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[Street], Awaitable[None]]], None]]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)

        async def act(scene: Callable[[Street], Awaitable[None]]) -> None:
            await scene(Street(loop))
            assert asyncio.all_tasks() == {asyncio.current_task()}, "something runs on"

        yield lambda scene: runner.run(act(scene))


type Run = Callable[[Callable[[Street], Awaitable[None]]], None]


def test_one_that_stops_waiting_takes_nobody_with_it_and_gives_its_tokens_back(run: Run) -> None:
    async def scene(street: Street) -> None:
        street.flows.takes = 0.3
        first, second = await street.asked(2)

        first.cancel()

        await second
        assert first.cancelled()
        assert await street.spare() == COST

    run(scene)


def test_when_all_have_stopped_waiting_their_question_ends_and_the_next_one_asks_anew(run: Run) -> None:
    async def scene(street: Street) -> None:
        street.flows.takes = 1000.0
        tasks = await street.asked(2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

        street.flows.takes = 0.0
        await street.line.start(StartRequest(COST))

        assert asyncio.get_running_loop().time() < 1

    run(scene)


def test_one_that_leaves_before_the_question_is_asked_books_nothing(run: Run) -> None:
    async def scene(street: Street) -> None:
        first, second = (asyncio.create_task(street.line.start(StartRequest(COST))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()

        await second

        assert street.flows.booked == [[COST]]

    run(scene)


def test_one_that_stops_waiting_for_its_turn_gives_its_tokens_back(run: Run) -> None:
    async def scene(street: Street) -> None:
        street.flows.paused_until = 8.0
        (task,) = await street.asked(1)

        task.cancel()
        await asyncio.wait([task])

        assert await street.spare() == 0

    run(scene)


def test_a_store_that_does_not_answer_is_unavailable_to_all_who_asked(run: Run) -> None:
    async def scene(street: Street) -> None:
        street.flows.is_down = True

        answers = await asyncio.gather(
            *(street.line.start(StartRequest(COST)) for _ in range(3)), return_exceptions=True
        )

        assert [type(answer) for answer in answers] == [StoreUnavailable] * 3

    run(scene)
