"""Test the booking of steps: when they are done, or with the attempt's bill if they fail."""

import asyncio
from collections.abc import Iterator

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from pydantic import BaseModel

from common.domain.errors import ModelError, ModelFailed, ModelRefused, Unavailable
from common.domain.spending import NO_CHARGE
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.unit.worker.virtual_time import VirtualTimeLoop
from tests.unit.workflow.stage import Stage

MOST_OF_A_PROMPT = 50
TOKENS = 1
"""Of the answer of a step that is called `one` or `two`."""


class Given(BaseModel):
    word: str = "word"


def asking(chat: Chat, prompt: str) -> Chain:
    return ChatPromptTemplate.from_template(prompt) | chat() | StrOutputParser()


def two_steps() -> Workflow[Given]:
    def build(chat: Chat) -> Chain:
        second = asking(chat, "two")
        return asking(chat, "one") | RunnableLambda(lambda _: {}) | second

    return Workflow("made", Given, build)


def side_by_side() -> Workflow[Given]:
    def build(chat: Chat) -> Chain:
        both = RunnableParallel(one=asking(chat, "one"), two=asking(chat, "two"))
        return both | RunnableLambda(lambda texts: texts["one"] + texts["two"])

    return Workflow("made", Given, build)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield Stage(runner)


def test_what_a_chain_has_cost_is_booked_step_by_step(stage: Stage) -> None:
    stage.set_up(two_steps())

    stage.ask()

    assert stage.steps.booked.usage is not None
    assert stage.steps.booked.usage.completion_tokens == 2 * TOKENS
    assert stage.steps.booked.cost_nanos is not None
    assert stage.listener.bill.charge == NO_CHARGE


def test_a_step_that_a_former_attempt_has_paid_is_not_booked_again(stage: Stage) -> None:
    stage.set_up(two_steps())
    stage.model.statuses["two"] = 500
    with pytest.raises(ModelFailed):
        stage.ask()
    assert stage.listener.bill.charge == NO_CHARGE, "the step had not begun when it failed"

    stage.model.statuses.clear()
    stage.ask()

    assert stage.model.answered == ["one", "two"]
    assert stage.steps.booked.usage is not None
    assert stage.steps.booked.usage.completion_tokens == 2 * TOKENS


def test_steps_that_are_cut_are_on_the_bill(stage: Stage) -> None:
    stage.set_up(side_by_side())
    stage.model.seconds = {"one": 1, "two": 30}

    with pytest.raises(TimeoutError):
        stage.ask(until=10)

    cut = stage.listener.bill.charge
    assert stage.model.hung_up == ["two"]
    assert cut.usage is not None
    assert (0 < cut.usage.prompt_tokens < MOST_OF_A_PROMPT, cut.usage.completion_tokens) == (True, 0)
    assert cut.estimated_tokens == cut.usage.total_tokens
    assert stage.steps.booked.usage is not None
    assert stage.steps.booked.usage.completion_tokens == TOKENS


def test_a_step_that_takes_too_long_is_on_the_bill(stage: Stage) -> None:
    stage.set_up(two_steps())
    stage.model.seconds["one"] = 200

    with pytest.raises(ModelFailed):
        stage.ask()

    assert stage.listener.bill.charge.estimated_tokens > 0


@pytest.mark.parametrize(("status", "error"), [(400, ModelRefused), (429, ModelError), (500, ModelFailed)])
def test_a_step_that_was_refused_costs_nothing(stage: Stage, status: int, error: type[ModelError]) -> None:
    stage.set_up(two_steps())
    stage.model.statuses["one"] = status

    with pytest.raises(error):
        stage.ask()

    assert stage.listener.bill.charge == stage.steps.booked == NO_CHARGE


def test_a_step_that_could_not_be_kept_is_on_the_bill(stage: Stage) -> None:
    stage.set_up(two_steps())
    stage.steps.is_down = True

    stage.ask()

    charge = stage.listener.bill.charge
    assert stage.steps.booked == NO_CHARGE
    assert charge.usage is not None
    assert charge.usage.completion_tokens == 2 * TOKENS


def test_a_step_of_a_task_that_is_anothers_by_now_is_on_the_bill(stage: Stage) -> None:
    async def lose() -> None:
        stage.steps.owner = "another"

    stage.set_up(two_steps())
    stage.model.within = lose

    with pytest.raises(Unavailable):
        stage.ask()

    charge = stage.listener.bill.charge
    assert stage.steps.booked == NO_CHARGE
    assert charge.usage is not None
    assert charge.usage.completion_tokens == TOKENS
