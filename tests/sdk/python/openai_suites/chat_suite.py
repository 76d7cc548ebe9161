"""openai-python: chat completions and models, with the synchronous and the asynchronous client."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionToolParam

from tests.sdk.conformance import check, conforming
from tests.sdk.python.support import HELD, LONG, MODEL, SHORT_HOPS, Joke, say

AT_ONCE = 50
TOOL: ChatCompletionToolParam = openai.pydantic_function_tool(Joke, name="tell")


def test_a_call_is_answered_as_the_type_says(client: openai.OpenAI, prompt: str) -> None:
    response = client.chat.completions.with_raw_response.create(model=MODEL, messages=say(prompt))

    completion = conforming(ChatCompletion, response.text)
    assert completion.choices[0].message.content
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0
    assert response.request_id


def test_a_call_longer_than_three_hops_is_redirected_until_its_answer_is_there(
    client: openai.OpenAI, prompt: str, calls: Callable[[str], int]
) -> None:
    response = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=say(prompt + LONG), extra_headers=SHORT_HOPS
    )

    assert conforming(ChatCompletion, response.text).choices[0].message.content
    hops = [hop.status_code for hop in response.http_response.history]
    assert len(hops) >= 3
    assert set(hops) == {303}
    assert calls(prompt + LONG) == 1


async def test_the_asynchronous_client_is_redirected_in_the_same_way(
    async_client: openai.AsyncOpenAI, prompt: str, calls: Callable[[str], int]
) -> None:
    completion = await async_client.chat.completions.create(
        model=MODEL, messages=say(prompt + HELD), extra_headers=SHORT_HOPS
    )

    check(completion)
    assert completion.choices[0].message.content
    assert calls(prompt + HELD) == 1


async def test_fifty_calls_at_once_are_all_answered_and_each_is_paid_once(
    async_client: openai.AsyncOpenAI, prompt: str, calls: Callable[[str], int]
) -> None:
    patient = async_client.with_options(max_retries=20)
    prompts = [f"{prompt} {number}" for number in range(AT_ONCE)]

    completions = await asyncio.gather(
        *(patient.chat.completions.create(model=MODEL, messages=say(each)) for each in prompts)
    )

    assert len({completion.id for completion in completions}) == AT_ONCE
    assert all(completion.choices[0].message.content for completion in completions)
    assert [calls(each) for each in prompts] == [1] * AT_ONCE


def test_a_structured_output_is_parsed(client: openai.OpenAI, prompt: str) -> None:
    completion = client.chat.completions.parse(model=MODEL, messages=say(prompt), response_format=Joke)

    assert isinstance(completion.choices[0].message.parsed, Joke)


def test_a_tool_is_called_and_its_result_is_answered(client: openai.OpenAI, prompt: str) -> None:
    asked: Any = say(prompt)
    called = client.chat.completions.create(model=MODEL, messages=asked, tools=[TOOL], tool_choice="required")
    check(called)
    message = called.choices[0].message
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert call.type == "function"
    assert called.choices[0].finish_reason == "tool_calls"
    Joke.model_validate_json(call.function.arguments)

    result = {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"told": True})}
    conversation: Any = [*asked, message.to_dict(), result]
    answered = client.chat.completions.create(model=MODEL, messages=conversation, tools=[TOOL], tool_choice="none")

    assert answered.choices[0].message.content


def test_a_stream_is_a_replay_of_the_answer(client: openai.OpenAI, prompt: str) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=say(prompt))
    with client.chat.completions.create(
        model=MODEL, messages=say(prompt), stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)

    check(*chunks)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_the_stream_helper_follows_redirects_and_collects_a_structured_output(
    client: openai.OpenAI, prompt: str
) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=say(prompt + HELD), response_format=Joke, extra_headers=SHORT_HOPS
    ) as stream:
        kinds = {event.type for event in stream}
        completion = stream.get_final_completion()

    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(completion.choices[0].message.parsed, Joke)


async def test_the_asynchronous_stream_has_the_calls_of_tools(async_client: openai.AsyncOpenAI, prompt: str) -> None:
    async with async_client.chat.completions.stream(
        model=MODEL, messages=say(prompt), tools=[TOOL], tool_choice="required"
    ) as stream:
        completion = await stream.get_final_completion()

    [call] = completion.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Joke)


def test_a_completion_is_stored(client: openai.OpenAI, prompt: str) -> None:
    completion = client.chat.completions.create(model=MODEL, messages=say(prompt))

    assert client.chat.completions.retrieve(completion.id) == completion


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    models = list(client.models.list())

    check(*models)
    assert MODEL in {model.id for model in models}
    assert client.models.retrieve(MODEL).id == MODEL
