"""Test the stand-in model with OpenAI's own client: chat completions and requested failures."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

from local.answers import prompt_digest
from local.model import StandIn


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with StandIn(("small",)).serve() as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=url, api_key="local", max_retries=0, timeout=10) as opened:
        yield opened


async def answer(client: openai.AsyncOpenAI, prompt: str) -> str:
    completion = await client.chat.completions.create(model="small", messages=[{"role": "user", "content": prompt}])
    return completion.choices[0].message.content or ""


async def streamed(client: openai.AsyncOpenAI, prompt: str) -> list[openai.types.chat.ChatCompletionChunk]:
    stream = await client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": prompt}],
        stream=True,
        stream_options={"include_usage": True},
    )
    return [chunk async for chunk in stream]


async def test_the_same_prompt_gets_the_same_answer_and_it_is_about_the_topic(client: openai.AsyncOpenAI) -> None:
    first, again = await answer(client, "A joke about plants"), await answer(client, "A joke about plants")

    assert first == again
    assert any(word in first for word in ("cactus", "oak", "ivy"))


async def test_a_stream_has_a_role_the_pieces_a_reason_and_the_usage(client: openai.AsyncOpenAI) -> None:
    chunks = await streamed(client, "A joke about food")

    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(pieces) == await answer(client, "A joke about food")
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len([piece for piece in pieces if piece])


async def test_max_tokens_cuts_the_answer_and_says_so(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "Go on [[tokens:50]]"}], max_completion_tokens=7
    )

    assert completion.choices[0].finish_reason == "length"
    assert len((completion.choices[0].message.content or "").split()) == 7


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("500", openai.InternalServerError, None),
        ("401", openai.AuthenticationError, "invalid_api_key"),
        ("context", openai.BadRequestError, "context_length_exceeded"),
        ("policy", openai.BadRequestError, "content_policy_violation"),
    ],
)
async def test_a_status_that_is_asked_for_comes_with_its_code(
    client: openai.AsyncOpenAI, fault: str, error: type[openai.APIStatusError], code: str | None
) -> None:
    with pytest.raises(error) as raised:
        await answer(client, f"[[fault:{fault}]] [[retry-after:2]]")

    assert raised.value.code == code
    assert raised.value.response.headers["Retry-After"] == "2"


async def test_a_fault_for_the_first_calls_ends_after_them(client: openai.AsyncOpenAI) -> None:
    prompt = "Hello [[fault:503x2]]"
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await answer(client, prompt)

    assert await answer(client, prompt)


async def test_a_cut_stream_breaks_off_and_a_hanging_one_never_starts(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.APIError):
        await streamed(client, "[[fault:cut]] [[tokens:20]]")
    with pytest.raises(openai.APITimeoutError):
        await streamed(client.with_options(timeout=0.2), "[[fault:hang]]")


async def test_a_stream_may_end_without_a_reason(client: openai.AsyncOpenAI) -> None:
    chunks = await streamed(client, "[[fault:nofinish]] [[tokens:5]]")

    assert {chunk.choices[0].finish_reason for chunk in chunks if chunk.choices} == {None}


async def test_the_calls_are_counted_by_prompt_without_its_text(client: openai.AsyncOpenAI, url: str) -> None:
    for prompt in ("one", "two", "two"):
        await answer(client, prompt)

    async with aiohttp.ClientSession() as session, session.get(url.removesuffix("/v1") + "/calls") as response:
        calls = await response.json()

    assert calls == {
        "total": 3,
        "in_flight": 0,
        "peak_in_flight": 1,
        "answered": 3,
        "by_prompt": {prompt_digest("one"): 1, prompt_digest("two"): 2},
    }


async def test_a_body_that_is_no_chat_is_a_400(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for body in (b"{", b"[]", b"null", b'{"messages": []}', b'{"messages": [{}]}'):
            async with session.post(f"{url}/chat/completions", data=body) as response:
                assert response.status == 400, body


PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
    "required": ["city", "days"],
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("weather", "trains")
]


@pytest.mark.parametrize(
    ("choice", "names", "reason"),
    [
        ({"tool_choice": "auto"}, [], "stop"),
        ({"tool_choice": "required"}, ["weather"], "tool_calls"),
        ({"tool_choice": "required", "parallel_tool_calls": True}, ["weather", "trains"], "tool_calls"),
        ({"tool_choice": {"type": "function", "function": {"name": "trains"}}}, ["trains"], "stop"),
    ],
)
async def test_a_tool_is_called_where_the_caller_insists_with_arguments_that_fit(
    client: openai.AsyncOpenAI, choice: dict[str, Any], names: list[str], reason: str
) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Rain?"}], "tools": TOOLS}

    whole = await client.chat.completions.create(**asked, **choice)
    async with client.chat.completions.stream(**asked, **choice) as stream:
        streamed = await stream.get_final_completion()

    for [answered] in (whole.choices, streamed.choices):
        calls = [call for call in answered.message.tool_calls or [] if call.type == "function"]
        assert [call.function.name for call in calls] == names
        assert answered.finish_reason == reason
        assert bool(answered.message.content) == (not names)
        for call in calls:
            arguments = json.loads(call.function.arguments)
            assert (set(arguments), arguments["days"]) == ({"city", "days"}, 3)


async def test_json_fits_the_schema_that_is_asked_for(client: openai.AsyncOpenAI) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "mood": {"enum": ["good", "bad"]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 2},
        },
        "$defs": {"line": {"type": "object", "properties": {"text": {"type": "string"}, "sure": {"type": "boolean"}}}},
    }
    completion = await client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "A joke about plants"}],
        response_format={"type": "json_schema", "json_schema": {"name": "joke", "schema": schema}},
    )

    value = json.loads(completion.choices[0].message.content or "")

    assert value["mood"] == "good"
    assert [set(line) for line in value["lines"]] == [{"text", "sure"}] * 2
    assert all(isinstance(line["text"], str) and line["sure"] is True for line in value["lines"])


async def test_a_response_has_the_answer_of_the_same_chat(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="small", input="A joke about plants")

    assert response.status == "completed"
    assert response.output_text == await answer(client, "A joke about plants")


async def test_a_streamed_response_ends_with_the_whole_one(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(model="small", input="A joke about plants", stream=True)
    events = [event async for event in stream]

    last = events[-1]
    assert last.type == "response.completed"
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == last.response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_response_may_call_a_tool_and_may_be_cut(client: openai.AsyncOpenAI) -> None:
    called = await client.responses.create(
        model="small",
        input="Dig",
        tools=[{"type": "function", "name": "dig", "parameters": {"type": "object", "properties": {}}, "strict": True}],
        tool_choice="required",
    )
    cut = await client.responses.create(model="small", input="[[tokens:20]] A joke", max_output_tokens=3)

    assert [item.type for item in called.output] == ["function_call"]
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


async def test_the_same_text_has_the_same_embedding_in_both_encodings(client: openai.AsyncOpenAI) -> None:
    packed = await client.embeddings.create(model="small", input=["One", "Two"], dimensions=8)
    plain = await client.embeddings.create(model="small", input="One", dimensions=8, encoding_format="float")

    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.usage.total_tokens == 2


async def test_a_fault_of_an_embedding_is_requested_as_that_of_a_prompt(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        await client.embeddings.create(model="small", input=["[[fault:429]] One", "Two"])
