"""LangChain's ChatOpenAI."""

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.sdk.python.support import HELD, MODEL, SHORT_HOPS, Joke


def model(**options: Any) -> ChatOpenAI:  # noqa: ANN401  # of the class
    return ChatOpenAI(model=MODEL, default_headers=SHORT_HOPS, **options)


@tool
def tell(topic: str) -> str:
    """Tell a joke about a topic."""
    return f"A joke about {topic}"


def test_invoke_is_redirected_until_its_answer_is_there(prompt: str, calls: Callable[[str], int]) -> None:
    message = model().invoke(prompt + HELD)

    assert isinstance(message, AIMessage)
    assert message.text
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] > 0
    assert message.response_metadata["finish_reason"] == "stop"
    assert calls(prompt + HELD) == 1


async def test_ainvoke_is_redirected_in_the_same_way(prompt: str, calls: Callable[[str], int]) -> None:
    message = await model().ainvoke(prompt + HELD)

    assert message.text
    assert calls(prompt + HELD) == 1


async def test_astream_yields_the_answer_and_its_usage(prompt: str) -> None:
    chunks = [chunk async for chunk in model(stream_usage=True).astream(prompt)]

    assert "".join(chunk.text for chunk in chunks) == model().invoke(prompt).text
    assert [chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata]


def test_a_structured_output_is_parsed(prompt: str) -> None:
    assert isinstance(model().with_structured_output(Joke).invoke(prompt), Joke)


def test_a_tool_is_called_and_its_result_is_answered(prompt: str) -> None:
    called = model().bind_tools([tell], tool_choice="required").invoke(prompt)
    assert isinstance(called, AIMessage)
    [call] = called.tool_calls
    result = tell.invoke(call)
    assert isinstance(result, ToolMessage)

    answered = model().bind_tools([tell]).invoke([("user", prompt), called, result])

    assert answered.text


async def test_a_batch_is_answered_in_its_order(prompt: str, calls: Callable[[str], int]) -> None:
    prompts = [f"{prompt} {number}" for number in range(4)]

    messages = await model(max_retries=10).abatch([*prompts])

    assert all(message.text for message in messages)
    assert [calls(each) for each in prompts] == [1] * len(prompts)
