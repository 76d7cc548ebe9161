"""Test the reservation of tokens per minute by steps, and the return of unused tokens."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from common.domain.errors import ModelBusy, ModelFailed, ModelRefused
from common.domain.rate_limits import Limit, model_scope
from common.domain.task import FailureCode
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.unit.worker.virtual_time import VirtualTimeLoop
from tests.unit.workflow.stage import Stage

MODEL = model_scope("gpt-test")
MINUTE = 6_000
LONG = 4_000
MOST_OF_A_PROMPT = 50


class Given(BaseModel):
    word: str = "word"


def one_step(*, most_tokens: int = LONG) -> Workflow[Given]:
    def build(chat: Chat) -> Chain:
        return ChatPromptTemplate.from_template("{word}") | chat(max_completion_tokens=most_tokens) | StrOutputParser()

    return Workflow("made", Given, build)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield Stage(runner)


def left_booked(stage: Stage) -> int:
    """Return what is booked once all is told."""
    stage.report()
    return stage.flows.tokens[MODEL]


def test_an_answer_keeps_the_prompt_and_what_was_seen(stage: Stage) -> None:
    stage.set_up(one_step(), limit=Limit(tokens=MINUTE))

    stage.ask()

    assert stage.flows.booked[0][0] > LONG
    assert 0 < left_booked(stage) < MOST_OF_A_PROMPT


@pytest.mark.parametrize(
    ("status", "error", "keeps"),
    [
        (400, ModelRefused, lambda tokens: tokens == 0),
        (429, ModelBusy, lambda tokens: tokens == 0),
        (500, ModelFailed, lambda tokens: 0 < tokens < MOST_OF_A_PROMPT),
    ],
)
def test_a_step_that_is_refused_gives_all_back_and_one_that_fails_keeps_its_prompt(
    stage: Stage, status: int, error: type[Exception], keeps: Callable[[int], bool]
) -> None:
    stage.set_up(one_step(), limit=Limit(tokens=MINUTE))
    stage.model.statuses["word"] = status

    with pytest.raises(error):
        stage.ask()

    assert keeps(left_booked(stage))


def test_a_step_that_is_cut_keeps_its_prompt(stage: Stage) -> None:
    stage.set_up(one_step(), limit=Limit(tokens=MINUTE))

    with pytest.raises(TimeoutError):
        stage.ask(until=0.5)

    assert 0 < left_booked(stage) < MOST_OF_A_PROMPT


def test_a_step_larger_than_a_minutes_tokens_is_refused(stage: Stage) -> None:
    stage.set_up(one_step(most_tokens=MINUTE), limit=Limit(tokens=MINUTE))

    with pytest.raises(ModelRefused) as refused:
        stage.ask()

    assert refused.value.code is FailureCode.REQUEST_TOO_LARGE
    assert stage.model.asked == []
