"""Test the options of a chain's model, and the resulting requests to the provider."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from common.domain.errors import ModelFailed, ModelRefused
from common.domain.task import FailureCode
from functions.workflow.model import SERVICES_OWN
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.requests import messages_of, params_of
from tests.unit.worker.virtual_time import VirtualTimeLoop
from tests.unit.workflow.stage import Stage


class Given(BaseModel):
    word: str = "word"


class Judged(BaseModel):
    """Judge it."""

    good: bool


def made_by(build: Callable[[Chat], Chain]) -> Workflow[Given]:
    return Workflow("made", Given, build)


def asks(**params: Any) -> Workflow[Given]:  # noqa: ANN401  # as ChatOpenAI takes them
    prompt = ChatPromptTemplate.from_template("{word}")
    return made_by(lambda chat: prompt | chat(**params) | StrOutputParser())


@pytest.fixture
def stage() -> Iterator[Stage]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield Stage(runner)


def failure_of(stage: Stage) -> tuple[FailureCode, str | None]:
    with pytest.raises(ModelRefused) as refused:
        stage.ask()
    return refused.value.code, refused.value.kind


def test_a_step_is_asked_as_a_prompt_with_the_chains_params(stage: Stage) -> None:
    stage.set_up(asks(model="gpt-other", temperature=0.5, extra_body={"top_k": 3}))

    assert stage.ask().text == "<word>"

    [message] = stage.model.messages
    assert message.task.model == "gpt-other"
    assert messages_of(message) == [{"role": "user", "content": "word"}]
    assert params_of(message)["temperature"] == 0.5
    assert params_of(message)["top_k"] == 3
    assert "extra_body" not in params_of(message)


@pytest.mark.parametrize("name", sorted(SERVICES_OWN))
def test_a_chain_that_takes_what_is_the_services_own_is_not_built(stage: Stage, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^chat\(\) takes no {name}: the service decides it$"):
        stage.set_up(asks(**{name: "http://elsewhere"}))


@pytest.mark.parametrize("name", ["extra_headers", "extra_query", "timeout"])
def test_a_call_that_takes_what_is_the_services_own_fails_the_task(stage: Stage, name: str) -> None:
    prompt = ChatPromptTemplate.from_template("{word}")
    stage.set_up(made_by(lambda chat: prompt | chat().bind(**{name: {}})))

    assert failure_of(stage) == (FailureCode.CHAIN_FAILED, "TypeError")
    assert stage.model.asked == []


def test_a_call_past_the_services_limits_fails_the_task(stage: Stage) -> None:
    def build(chat: Chat) -> Chain:
        model = chat()

        async def bypass(_: object) -> object:
            return await model.async_client.create(model="gpt-test", messages=[])

        return RunnableLambda(bypass)

    stage.set_up(made_by(build))

    assert failure_of(stage) == (FailureCode.CHAIN_FAILED, "AwaitItError")


def judging(chat: Chat) -> Chain:
    return ChatPromptTemplate.from_template("{word}") | chat().with_structured_output(Judged)


def test_a_structured_answer_is_asked_for_by_its_schema_and_parsed(stage: Stage) -> None:
    stage.model.texts["word"] = '{"good": true}'
    stage.set_up(made_by(judging))

    assert Judged.model_validate_json(stage.ask().text) == Judged(good=True)

    [message] = stage.model.messages
    assert params_of(message)["response_format"]["json_schema"]["name"] == "Judged"


@pytest.mark.parametrize(
    ("text", "error"), [('{"good": ', "ValueError"), ('{"good": "maybe"}', "ValidationError"), ("[]", "ValueError")]
)
def test_a_structured_answer_that_is_none_is_paid_for_once(stage: Stage, text: str, error: str) -> None:
    stage.model.texts["word"] = text
    stage.set_up(made_by(judging))

    assert failure_of(stage) == (FailureCode.CHAIN_FAILED, error)
    assert stage.model.asked == ["word"]


def test_a_structured_answer_may_come_with_what_is_wrong_with_it(stage: Stage) -> None:
    stage.model.texts["word"] = '{"good": "maybe"}'
    prompt = ChatPromptTemplate.from_template("{word}")
    stage.set_up(
        made_by(
            lambda chat: (
                prompt
                | chat().with_structured_output(Judged, include_raw=True)
                | RunnableLambda(lambda given: type(given["parsing_error"]).__name__)
            )
        )
    )

    assert stage.ask().text == "ValidationError"


def test_a_step_that_takes_too_long_is_a_timeout(stage: Stage) -> None:
    stage.model.seconds["word"] = 121
    stage.set_up(asks())

    with pytest.raises(ModelFailed) as failed:
        stage.ask()

    assert failed.value.code is FailureCode.TIMEOUT
