"""The unmodified client of OpenAI creates, retrieves, cancels and streams responses."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

import openai
import pytest
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import TypeAdapter

from common.domain.task import Answer, FailureCode, TaskRef, Usage
from common.domain.transitions import CallReport, ClaimOutcome
from common.kinds.responses.views import without_text
from common.webhooks.model import RESPONSE_EVENTS, Webhook
from functions.openai.responses import ENDPOINT
from tests.integration.openai.gateway import Gateway, Service

BODY: Final[dict[str, Any]] = {"model": "small", "input": "Hello"}
TEXT: Final = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}],
}
REASONING: Final = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I greet"}]}
CALL: Final = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "dig", "arguments": '{"a": 1}'}
CUSTOM: Final = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_2", "name": "sql", "input": "select 1"}
REFUSAL: Final = {**TEXT, "content": [{"type": "refusal", "refusal": "I cannot"}]}


def stored(*output: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Return a response as OpenAI sends it."""
    return {
        "id": "resp_upstream",
        "object": "response",
        "created_at": 1_764_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "small-2026-01-01",
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 12,
        },
        **fields,
    }


def answer_of(response: dict[str, Any], text: str = "Hello there") -> Answer:
    return Answer(text, "stop", Usage(5, 7, 12), response=without_text(response))


ANSWER: Final = answer_of(stored(REASONING, TEXT))


def answered(service: Service, answer: Answer, **body: object) -> tuple[TaskRef, dict[str, str]]:
    """Complete a task for a request, and return it with the headers with which the same request joins it."""
    key = {"Idempotency-Key": uuid4().hex}
    ref = service.accept({**BODY, **body}, key, endpoint=ENDPOINT)
    service.complete(ref, answer)
    return ref, key


def conforms(response: Response) -> dict[str, Any]:
    """Check an object strictly against the type of the SDK, and return its fields."""
    body = response.model_dump(exclude_unset=True)
    Response.model_validate_json(json.dumps(body), strict=True)
    assert not response.model_extra
    return body


def test_a_call_is_held_through_redirects_until_its_response_is_there(
    client: openai.OpenAI, gateway: Gateway, service: Service
) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.responses.create, model="small", input="Hello")
        gateway.redirected.get(timeout=30)
        [message] = service.queue.drain()
        service.complete(message.task.ref, ANSWER)
        response = future.result()

    assert message.request.body == {"input": "Hello"}
    assert response.output_text == "Hello there"
    assert response.id == f"resp_{message.task.ref.task_id}"


@pytest.mark.parametrize("item", [TEXT, CALL, CUSTOM, REFUSAL], ids=lambda item: item["type"])
def test_a_response_is_the_providers_object_with_our_id(
    client: openai.OpenAI, service: Service, item: dict[str, Any]
) -> None:
    whole = stored(REASONING, item)
    ref, key = answered(service, answer_of(whole))

    response = client.responses.create(model="small", input="Hello", extra_headers=key)

    assert conforms(response) == {**whole, "id": f"resp_{ref.task_id}"}


def test_a_providers_response_without_the_usual_fields_still_conforms(client: openai.OpenAI, service: Service) -> None:
    _, key = answered(service, answer_of({"object": "response", "status": "completed", "output": [TEXT]}))

    response = client.responses.create(model="small", input="Hello", extra_headers=key)

    assert conforms(response)["model"] == "small"
    assert response.usage is not None
    assert response.usage.total_tokens == 12


def test_a_background_response_is_queued_at_once_and_can_be_polled(client: openai.OpenAI, service: Service) -> None:
    tools: Any = [{"type": "function", "name": "dig", "parameters": {}, "strict": True}]

    queued = client.responses.create(model="small", input="Hello", background=True, tools=tools, metadata={"a": "b"})
    [message] = service.queue.drain()
    polled = client.responses.retrieve(queued.id, extra_headers={"Prefer": "wait=0"})
    service.complete(message.task.ref, ANSWER)
    completed = client.responses.retrieve(queued.id)

    assert (queued.status, queued.output, queued.metadata, queued.background) == ("queued", [], {"a": "b"}, True)
    assert conforms(queued)["tools"] == tools
    assert (polled.status, polled.id) == ("queued", queued.id)
    conforms(polled)
    assert (completed.status, completed.output_text) == ("completed", "Hello there")
    assert "background" not in message.request.body


def test_the_input_items_of_a_response_can_be_listed(client: openai.OpenAI, service: Service) -> None:
    output = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "dig", "arguments": "{}"}
    given: Any = [{"role": "user", "content": "Dig"}, call, output, {"role": "assistant", "content": "Done"}]

    queued = client.responses.create(model="small", input=given, background=True)
    newest = client.responses.input_items.list(queued.id, limit=3)
    oldest = list(client.responses.input_items.list(queued.id, order="asc", limit=1))

    assert [each.type for each in newest.data] == ["message", "function_call_output", "function_call"]
    assert newest.has_more
    assert [each.type for each in oldest] == ["message", "function_call", "function_call_output", "message"]
    assert [each.id for each in oldest][1] == "fc_1"
    for each in oldest:
        TypeAdapter(ResponseItem).validate_json(json.dumps(each.to_dict()), strict=True)
    del service


def test_a_text_as_input_is_one_message(client: openai.OpenAI, service: Service) -> None:
    queued = client.responses.create(model="small", input="Hello", background=True)

    [item] = client.responses.input_items.list(queued.id).data
    client.responses.delete(queued.id)

    assert item.to_dict()["content"] == [{"type": "input_text", "text": "Hello"}]
    with pytest.raises(openai.NotFoundError):
        client.responses.input_items.list(queued.id)
    del service


@pytest.mark.parametrize(("name", "value"), [("limit", 101), ("limit", 0), ("order", "up"), ("after", "msg_none")])
def test_a_bad_page_of_input_items_is_refused_by_its_parameter(
    client: openai.OpenAI, service: Service, name: str, value: object
) -> None:
    queued = client.responses.create(model="small", input="Hello", background=True)

    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.input_items.list(queued.id, extra_query={name: value})

    assert caught.value.param == name
    del service


def test_the_webhook_of_a_response_goes_with_its_task_and_not_to_the_provider(
    client: openai.OpenAI, service: Service
) -> None:
    webhook = {"url": "https://hooks.example/sluice"}

    client.responses.create(model="small", input="Hello", background=True, extra_body={"webhook": webhook})

    [message] = service.queue.drain()
    assert message.task.webhook == Webhook(webhook["url"], RESPONSE_EVENTS)
    assert "webhook" not in message.request.body


@pytest.mark.parametrize(
    ("webhook", "param"),
    [
        ({"url": "http://10.0.0.1/"}, "webhook.url"),
        ({}, "webhook"),
        ({"url": "https://hooks.example", "events": ["response.completed"]}, "webhook.events"),
        ("https://hooks.example", "webhook"),
    ],
)
def test_a_bad_webhook_is_refused_by_its_field(
    client: openai.OpenAI, service: Service, webhook: object, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="small", input="Hello", background=True, extra_body={"webhook": webhook})

    assert caught.value.param == param
    assert service.queue.drain() == []


def test_a_cancelled_response_stays_cancelled(client: openai.OpenAI, service: Service) -> None:
    queued = client.responses.create(model="small", input="Hello", background=True)

    first, again = client.responses.cancel(queued.id), client.responses.cancel(queued.id)

    assert (first.status, again.status, first.id) == ("cancelled", "cancelled", queued.id)
    conforms(first)
    del service


def test_a_response_that_has_ended_is_not_changed_by_a_cancel(client: openai.OpenAI, service: Service) -> None:
    ref, _ = answered(service, ANSWER)

    assert client.responses.cancel(f"resp_{ref.task_id}").status == "completed"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (FailureCode.ATTEMPTS_EXHAUSTED, "server_error"),
        (FailureCode.BAD_REQUEST, "invalid_prompt"),
        (FailureCode.QUOTA_EXHAUSTED, "rate_limit_exceeded"),
    ],
)
def test_a_failed_response_has_a_code_of_openai_and_our_own_as_its_type(
    client: openai.OpenAI, service: Service, code: FailureCode, expected: str
) -> None:
    ref = service.accept(BODY, endpoint=ENDPOINT)
    service.fail(ref, code, CallReport(Usage(5, 0, 5), 7))

    response = client.responses.retrieve(f"resp_{ref.task_id}")

    assert response.status == "failed"
    assert response.error is not None
    assert (response.error.code, response.error.type) == (expected, code)
    assert response.usage is not None
    assert conforms(response)["usage"]["input_tokens"] == 5


def test_a_held_call_whose_task_fails_is_an_error(client: openai.OpenAI, service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    service.fail(service.accept(BODY, key, endpoint=ENDPOINT), FailureCode.CONTEXT_LENGTH_EXCEEDED)

    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="small", input="Hello", extra_headers=key)

    assert error.value.code == "context_length_exceeded"


def test_a_filtered_response_is_incomplete_with_its_text_so_far(client: openai.OpenAI, service: Service) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    report = CallReport(Usage(5, 2, 7), text="Hel")
    service.fail(service.accept(BODY, key, endpoint=ENDPOINT), FailureCode.CONTENT_POLICY, report)

    response = client.responses.create(model="small", input="Hello", extra_headers=key)

    conforms(response)
    assert (response.status, response.output_text) == ("incomplete", "Hel")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "content_filter"


@pytest.mark.parametrize(
    "item",
    [TEXT, CALL, CUSTOM, REFUSAL, REASONING, {**TEXT, "content": []}],
    ids=["text", "call", "custom", "refusal", "reasoning", "empty"],
)
def test_a_stream_replays_a_response_as_events_of_the_types_of_the_sdk(service: Service, item: dict[str, Any]) -> None:
    whole = stored(REASONING, item)
    ref, _ = answered(service, answer_of(whole))

    response = service.invoke("GET", f"/responses/resp_{ref.task_id}?stream=true")

    blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name.removeprefix("event: ") for name, _ in blocks] == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        parsed: Any = TypeAdapter(ResponseStreamEvent).validate_json(json.dumps(event))
        assert parsed.type == event["type"]
        assert not parsed.model_extra, parsed.model_extra
    assert events[-1]["response"] == {**whole, "id": f"resp_{ref.task_id}"}


def test_the_clients_stream_collects_the_text(client: openai.OpenAI, service: Service) -> None:
    _, key = answered(service, ANSWER, stream=True)

    with client.responses.stream(model="small", input="Hello", extra_headers=key) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()

    assert "".join(pieces) == final.output_text == "Hello there"


def test_a_stream_is_held_through_redirects(client: openai.OpenAI, gateway: Gateway, service: Service) -> None:
    def streamed() -> list[str]:
        return [event.type for event in client.responses.create(model="small", input="Hello", stream=True)]

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(streamed)
        gateway.redirected.get(timeout=30)
        [message] = service.queue.drain()
        service.complete(message.task.ref, ANSWER)
        events = future.result()

    assert (events[0], events[-1]) == ("response.created", "response.completed")


def test_a_stream_can_be_read_from_after_an_event(client: openai.OpenAI, service: Service) -> None:
    ref, _ = answered(service, ANSWER)

    events = list(client.responses.retrieve(f"resp_{ref.task_id}", stream=True, starting_after=3))

    assert events[0].sequence_number == 4


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"model": "embedder"}, "model", "model_not_supported"),
        ({"input": " "}, "input", "blank_text"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"background": 1}, "background", "invalid_value"),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
            "unsupported_parameter",
        ),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"conversation": "c"}, "conversation", "unsupported_parameter"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unpriced_param"),
        ({"extra_body": {}}, "extra_body", "unsupported_parameter"),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_by_its_parameter(
    service: Service, change: dict[str, Any], param: str, code: str
) -> None:
    response = service.invoke("POST", ENDPOINT, {**BODY, **change})

    assert response.status == 400
    assert (response.body["error"]["param"], response.body["error"]["code"]) == (param, code)
    assert service.queue.drain() == []


def test_what_the_agents_sdk_always_sends_is_accepted(service: Service) -> None:
    body = {**BODY, "input": [{"content": "Hello", "role": "user"}], "tools": [], "include": []}

    service.accept(body, endpoint=ENDPOINT)

    [message] = service.queue.drain()
    assert message.request.body == {name: value for name, value in body.items() if name != "model"}


@pytest.mark.parametrize("answers", [[ANSWER], []], ids=["completed", "queued"])
def test_a_deleted_response_is_not_found_and_never_runs(
    client: openai.OpenAI, service: Service, answers: list[Answer]
) -> None:
    queued = client.responses.create(model="small", input="Hello", background=True)
    [message] = service.queue.drain()
    for answer in answers:
        service.complete(message.task.ref, answer)

    deleted = service.invoke("DELETE", f"/responses/{queued.id}")

    assert deleted.body == {"id": queued.id, "object": "response", "deleted": True}
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        assert service.invoke(method, f"/responses/{queued.id}{path}").status == 404
    assert service.claim(message.task).outcome is ClaimOutcome.ENDED


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/cancel"), ("DELETE", "")])
def test_a_response_of_another_tenant_is_not_found(service: Service, method: str, path: str) -> None:
    ref = service.accept(BODY, endpoint=ENDPOINT)

    assert service.invoke(method, f"/responses/resp_{ref.task_id}{path}", tenant="other").status == 404
    assert service.invoke("GET", f"/responses/resp_{ref.task_id}").body["status"] == "queued"


def test_a_chat_completion_is_no_response(service: Service) -> None:
    ref = service.accept()

    assert service.invoke("GET", f"/responses/resp_{ref.task_id}").status == 404
