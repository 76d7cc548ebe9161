"""Test parallel steps when one of them fails, waits or is interrupted."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from pydantic import BaseModel

from common.domain.errors import CallHeld, ModelBusy, ModelFailed, ModelRefused
from common.domain.rate_limits import Limit
from common.domain.task import FailureCode
from functions.workflow.chains import WORKFLOWS
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.unit.worker.virtual_time import VirtualTimeLoop
from tests.unit.workflow.stage import CALL_SECONDS, FAILS_AFTER, Stage

SUMMARIES = next(workflow for workflow in WORKFLOWS if workflow.name == "summarize_articles")
ARTICLES = [f"article {number}" for number in range(20)]
TOGETHER = "<article 19>"
"""How the prompt of the last step ends."""


class Given(BaseModel):
    word: str = "word"


def made_by(build: Callable[[Chat], Chain]) -> Workflow[Given]:
    return Workflow("made", Given, build)


def step(chat: Chat, prompt: str) -> Chain:
    return ChatPromptTemplate.from_template(prompt) | chat() | StrOutputParser()


async def for_ever(_: Any) -> None:  # noqa: ANN401  # whatever comes before it
    await asyncio.Event().wait()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield Stage(runner)


def test_a_step_that_is_held_leaves_the_others_their_starts_and_their_answers(stage: Stage) -> None:
    # GIVEN a limit of a call a second, of which ten seconds may be booked ahead
    stage.set_up(SUMMARIES, limit=Limit(requests=60))

    # WHEN there are twenty steps, THEN those that had a start are asked and kept
    with pytest.raises(CallHeld):
        stage.ask(articles=ARTICLES)
    assert len(stage.model.asked) == len(stage.steps.kept) == 11
    assert stage.loop.now == 10 + CALL_SECONDS

    # AND the next attempt asks only the rest
    answer = stage.ask(articles=ARTICLES)
    assert answer.text.endswith(f"{TOGETHER}>")
    assert sorted(stage.model.asked) == sorted([*ARTICLES, TOGETHER])


@pytest.mark.parametrize(("status", "kind"), [(500, ModelFailed), (429, ModelBusy)])
def test_a_step_that_fails_leaves_those_that_were_asked_their_answers(
    stage: Stage, status: int, kind: type[Exception]
) -> None:
    # GIVEN five calls at a time, one of which fails before the others are answered
    stage.set_up(SUMMARIES, concurrency=5)
    stage.model.statuses["article 3"] = status

    # WHEN it has failed, THEN none but the one in its slot was asked since, and all of them are kept
    with pytest.raises(kind):
        stage.ask(articles=ARTICLES)
    assert stage.model.asked == ARTICLES[: len(stage.model.asked)]
    assert len(stage.model.asked) <= 6
    assert len(stage.steps.kept) == len(stage.model.asked) - 1

    # AND the next attempt asks only the rest
    stage.model.statuses.clear()
    stage.ask(articles=ARTICLES)
    assert sorted(stage.model.asked) == sorted([*ARTICLES, "article 3", TOGETHER])


@pytest.mark.parametrize(("status", "code"), [(500, FailureCode.SERVER_ERROR), (400, FailureCode.BAD_REQUEST)])
def test_an_attempt_that_waits_is_not_free_where_a_call_of_it_brought_nothing(
    stage: Stage, status: int, code: FailureCode
) -> None:
    stage.set_up(SUMMARIES, limit=Limit(requests=60))
    stage.model.statuses["article 3"] = status

    with pytest.raises(ModelFailed) as caught:
        stage.ask(articles=ARTICLES)

    assert caught.value.code is code
    assert len(stage.steps.kept) == 10


def test_a_step_that_fails_for_good_ends_the_others_at_once(stage: Stage) -> None:
    stage.set_up(SUMMARIES, concurrency=5)
    stage.model.statuses["article 3"] = 400

    with pytest.raises(ModelRefused):
        stage.ask(articles=ARTICLES)

    assert stage.loop.now == FAILS_AFTER
    assert set(stage.model.hung_up) == set(stage.model.asked) - {"article 3"}


@pytest.mark.parametrize(
    "until",
    [
        pytest.param(FAILS_AFTER / 2, id="while all goes well"),
        pytest.param((FAILS_AFTER + CALL_SECONDS) / 2, id="while the others are awaited"),
    ],
)
def test_an_attempt_that_is_cut_leaves_nothing(stage: Stage, until: float) -> None:
    stage.set_up(SUMMARIES, concurrency=5)
    stage.model.statuses["article 3"] = 500

    with pytest.raises(TimeoutError):
        stage.ask(articles=ARTICLES, until=until)

    assert stage.loop.now == until
    assert not stage.model.answered
    # AND all slots are free again
    stage.model.statuses.clear()
    stage.ask(articles=ARTICLES)
    assert len(stage.model.answered) == len(ARTICLES) + 1


def test_a_branch_goes_no_further_than_the_call_that_it_was_in(stage: Stage) -> None:
    def build(chat: Chat) -> Chain:
        return RunnableParallel(
            fails=step(chat, "fails"),
            takes_long=step(chat, "long"),
            goes_on=step(chat, "first") | RunnableLambda(lambda _: {}) | step(chat, "second"),
            falls_back=step(chat, "third") | RunnableLambda(lambda _: {}) | retried(chat),
            waits=RunnableLambda(for_ever),
        )

    def retried(chat: Chat) -> Chain:
        return step(chat, "fourth").with_fallbacks([step(chat, "fifth")]).with_retry()

    stage.set_up(made_by(build))
    stage.model.statuses["fails"] = 500
    stage.model.seconds["long"] = 3 * CALL_SECONDS

    with pytest.raises(ModelFailed):
        stage.ask()

    assert sorted(stage.model.asked) == ["fails", "first", "long", "third"]
    assert sorted(stage.model.answered) == ["first", "long", "third"]
    assert len(stage.steps.kept) == 3


def test_a_chain_that_has_another_way_leaves_nothing_of_the_first(stage: Stage) -> None:
    def build(chat: Chat) -> Chain:
        each = RunnableParallel(fails=step(chat, "fails"), slow=step(chat, "slow") | RunnableLambda(for_ever))
        return each.with_fallbacks([step(chat, "instead")])

    stage.set_up(made_by(build))
    stage.model.statuses["fails"] = 500

    assert stage.ask().text == "<instead>"


def test_what_a_call_starts_for_all_is_not_stopped_with_it(stage: Stage) -> None:
    # GIVEN a client that looks something up for all of its calls, in a task of its own
    async def look_up() -> None:
        stage.shared.append(asyncio.create_task(asyncio.sleep(FAILS_AFTER)))
        await asyncio.shield(stage.shared[0])

    stage.model.within = look_up
    stage.set_up(made_by(lambda chat: step(chat, "prompt")))

    # WHEN the attempt is cut meanwhile
    with pytest.raises(TimeoutError):
        stage.ask(until=FAILS_AFTER / 2)

    # THEN it is looked up all the same
    [looking_up] = stage.shared
    assert not looking_up.done()
