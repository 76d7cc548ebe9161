"""OpenAI's Agents SDK with its model of responses."""

from collections.abc import Callable

import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI

from tests.sdk.python.support import HELD, MODEL, SHORT_HOPS, Joke


@pytest.fixture
def model(async_client: AsyncOpenAI) -> OpenAIResponsesModel:
    return OpenAIResponsesModel(MODEL, async_client.with_options(default_headers=SHORT_HOPS))


async def test_a_run_is_redirected_until_its_answer_is_there(
    model: OpenAIResponsesModel, prompt: str, calls: Callable[[str], int]
) -> None:
    result = await Runner.run(Agent("teller", model=model), prompt + HELD)

    assert isinstance(result.final_output, str)
    assert result.final_output
    assert calls(prompt + HELD) == 1


async def test_an_agent_uses_a_tool_and_answers(model: OpenAIResponsesModel, prompt: str) -> None:
    told: list[str] = []

    @function_tool
    def tell(topic: str) -> str:
        """Tell a joke about a topic."""
        told.append(topic)
        return f"A joke about {topic}"

    agent = Agent("teller", model=model, tools=[tell], model_settings=ModelSettings(tool_choice="required"))
    result = await Runner.run(agent, prompt)

    assert len(told) == 1
    assert result.final_output


async def test_a_structured_output_is_parsed(model: OpenAIResponsesModel, prompt: str) -> None:
    result = await Runner.run(Agent("teller", model=model, output_type=Joke), prompt)

    assert isinstance(result.final_output, Joke)


async def test_a_streamed_run_ends_with_its_answer(model: OpenAIResponsesModel, prompt: str) -> None:
    result = Runner.run_streamed(Agent("teller", model=model), prompt)

    kinds = {event.type async for event in result.stream_events()}

    assert "run_item_stream_event" in kinds
    assert result.final_output
