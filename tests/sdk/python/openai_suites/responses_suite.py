"""openai-python: responses, held, in the background and streamed."""

from collections.abc import Callable

import openai
import pytest
from openai.types.responses import Response

from tests.sdk.conformance import check, conforming
from tests.sdk.python.support import HELD, MODEL, SHORT_HOPS, Joke

HANGING = "[[latency:20]]"
UNFINISHED = frozenset({"queued", "in_progress"})


def test_a_response_is_redirected_until_its_answer_is_there_and_paid_once(
    client: openai.OpenAI, prompt: str, calls: Callable[[str], int]
) -> None:
    raw = client.responses.with_raw_response.create(model=MODEL, input=prompt + HELD, extra_headers=SHORT_HOPS)

    response = conforming(Response, raw.text)
    assert response.status == "completed"
    assert response.output_text
    assert response.usage is not None
    assert response.usage.total_tokens > 0
    assert raw.http_response.history
    assert calls(prompt + HELD) == 1


async def test_the_asynchronous_client_retrieves_what_it_created(async_client: openai.AsyncOpenAI, prompt: str) -> None:
    created = await async_client.responses.create(model=MODEL, input=prompt)
    retrieved = await async_client.responses.retrieve(created.id)

    check(created, retrieved)
    assert retrieved.output_text == created.output_text


def test_a_structured_output_is_parsed(client: openai.OpenAI, prompt: str) -> None:
    assert isinstance(client.responses.parse(model=MODEL, input=prompt, text_format=Joke).output_parsed, Joke)


def test_a_response_in_the_background_is_polled(client: openai.OpenAI, prompt: str) -> None:
    response = client.responses.create(model=MODEL, input=prompt + HELD, background=True)
    check(response)
    assert response.status in UNFINISHED

    while response.status in UNFINISHED:
        response = client.responses.retrieve(response.id, extra_headers=SHORT_HOPS)
        check(response)

    assert response.status == "completed"
    assert response.output_text


def test_a_response_in_the_background_is_cancelled_once_and_for_all(client: openai.OpenAI, prompt: str) -> None:
    response = client.responses.create(model=MODEL, input=prompt + HANGING, background=True)

    cancelled, again = (client.responses.cancel(response.id) for _ in range(2))

    check(cancelled, again)
    assert [cancelled.status, again.status] == ["cancelled", "cancelled"]
    assert client.responses.retrieve(response.id).status == "cancelled"


def test_a_deleted_response_is_not_found(client: openai.OpenAI, prompt: str) -> None:
    response = client.responses.create(model=MODEL, input=prompt)

    client.responses.delete(response.id)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_stream_is_a_replay_of_the_response(client: openai.OpenAI, prompt: str) -> None:
    events = list(client.responses.create(model=MODEL, input=prompt, stream=True))

    check(*events)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == last.response.output_text


def test_the_stream_helper_follows_redirects_and_parses(client: openai.OpenAI, prompt: str) -> None:
    with client.responses.stream(
        model=MODEL, input=prompt + HELD, text_format=Joke, extra_headers=SHORT_HOPS
    ) as stream:
        response = stream.get_final_response()

    assert isinstance(response.output_parsed, Joke)


def test_a_bad_request_names_the_parameter(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="gpt-1", input="Hello")

    assert (refused.value.param, refused.value.code) == ("model", "model_not_allowed")


@pytest.mark.parametrize("response_id", ["resp_none", "chatcmpl-none"])
def test_a_response_that_does_not_exist_is_not_found(client: openai.OpenAI, response_id: str) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response_id)
