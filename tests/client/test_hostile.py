"""Servers that are broken or hostile: how often they are asked, how much is read, and what is made of odd answers."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from sluice import Chunk, NotConfiguredError, ServiceError, Sluice, SluiceError, UnreadableAnswerError
from sluice._api import ApiCalls
from sluice._operations import Request, Response
from sluice._response_body import MAX_BYTES
from sluice._transports import Endpoint
from tests.client.conftest import Caller, MakeCaller, Time
from tests.client.service import Service, problem

# ---- How often it is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", ["0", "0.0", "0.001", "1"])
def test_a_service_that_asks_for_retries_at_once_is_not_flooded(
    make_caller: MakeCaller, service: Service, time: Time, retry_after: str
) -> None:
    service.fail(503, times=100_000, Retry_After=retry_after)

    with pytest.raises(ServiceError):
        make_caller(service.url, patience=60).call("get", "b0-0")

    assert len(service.seen) < 60
    assert min(time.slept) >= 0.25


@pytest.mark.parametrize("retry_after", ["0", "0.001"])
def test_a_refusal_while_tasks_are_pending_is_not_repeated_in_a_tight_loop(
    caller: Caller, service: Service, time: Time, retry_after: str
) -> None:
    # GIVEN a task that takes 20 s, and a service that refuses the second one meanwhile
    service.pace = 0
    service.fail(429, lambda seen: "1" in str(seen.body), times=100_000, Retry_After=retry_after)
    outcomes = caller.iterate("map", ["0", "1"], chunk_size=1)
    time.interrupt_at = time.now + 20

    with pytest.raises(RuntimeError, match="interrupted"):
        next(outcomes)

    assert len(service.posts()) <= 12
    assert len(service.seen) <= 60


@pytest.mark.parametrize("answers", ["held", "unheld"])
def test_polls_without_news_are_at_least_a_second_apart(
    caller: Caller, service: Service, time: Time, answers: str
) -> None:
    # GIVEN a service that claims to hold each request, or not even that, and answers at once
    service.pace, service.holds = 0, answers == "held"
    submission = caller.call("submit", ["a"])
    time.interrupt_at = time.now + 20

    with pytest.raises(RuntimeError, match="interrupted"):
        caller.call("wait", submission)

    assert len(service.seen) <= 22


@pytest.mark.parametrize("step", ["", "retry: 0\n\n", ": nothing\n\n", "retry: 999999\n\n"])
def test_a_stream_without_news_is_asked_at_least_a_second_apart(
    caller: Caller, service: Service, time: Time, step: str
) -> None:
    service.streams.extend([(200, step)] * 100)
    time.interrupt_at = time.now + 20

    with pytest.raises(RuntimeError, match="interrupted"):
        next(caller.iterate("stream", "b-0"))

    assert 2 <= len(service.seen) <= 22


def test_a_stream_with_events_waits_between_two_requests_whatever_it_says(
    caller: Caller, service: Service, time: Time
) -> None:
    event = 'retry: 0\n\nevent: delta\nid: 1.1.x\ndata: {"text": "a"}\n\n'
    service.streams.extend([(200, event)] * 5)
    events = caller.iterate("stream", "b-0")

    for _ in range(5):
        next(events)

    assert time.slept == [0.1] * 4


# ---- How much is read ------------------------------------------------------------------------------------------------


def bomb(decompressed: int) -> bytes:
    """Compress zeros."""
    maker = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = bytes(1_000_000)
    return b"".join([*(maker.compress(chunk) for _ in range(decompressed // len(chunk))), maker.flush()])


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("status", [200, 503])
def test_a_response_is_read_up_to_the_limit_compressed_or_not(
    caller: Caller, service: Service, encoding: str, status: int
) -> None:
    # GIVEN a response of 100 MB, which gzip makes 100 kB
    content = bomb(100_000_000) if encoding == "gzip" else bytes(100_000_000)
    service.fail(status, body=content, Content_Encoding=encoding)

    # WHEN it is read
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableAnswerError, match="more than 10,485,760 bytes"):
            caller.call("workflows")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # THEN a small multiple of the limit was in memory, and nothing was sent again
    assert peak < 4 * MAX_BYTES
    assert len(service.seen) == 1


def test_only_encodings_whose_size_can_be_limited_are_asked_for(caller: Caller, service: Service) -> None:
    service.fail(200, body=gzip.compress(b'{"workflows": []}'), Content_Encoding="gzip")

    assert caller.call("workflows") == []
    assert service.seen[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("encoding", "content"),
    [("br", b"{}"), ("gzip", b"{}"), ("gzip", gzip.compress(b"{}" * 99)[:-9])],
    ids=["unknown", "not gzip", "incomplete"],
)
def test_a_body_that_cannot_be_decompressed_is_no_response(
    make_caller: MakeCaller, service: Service, encoding: str, content: bytes
) -> None:
    service.fail(200, body=content, Content_Encoding=encoding)

    with pytest.raises(SluiceError, match="does not answer"):
        make_caller(service.url, patience=0).call("workflows")


# ---- Pages without end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["?page=1", "?page={}"], ids=["the same", "always new"])
def test_pages_without_end_end(caller: Caller, service: Service, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    monkeypatch.setattr("sluice._api.MAX_PAGES", 5)
    for page in range(50):
        body = {"batch_id": "b", "status": "ended", "tasks": [], "next": link.format(page)}
        service.fail(200, "/batches/b", body=body)

    with pytest.raises(UnreadableAnswerError, match="do not end"):
        list(caller.iterate("batch_tasks", "b"))

    assert len(service.seen) <= 5


@pytest.mark.parametrize("tasks", [[], [{"task_id": "b-0", "status": "queued"}]], ids=["empty", "repeated"])
def test_more_pages_than_tasks_are_not_followed(caller: Caller, service: Service, tasks: list[Any]) -> None:
    service.fail(200, "/tasks", times=50, body={"tasks": tasks, "next": "?task_ids=b-0"})

    with pytest.raises(UnreadableAnswerError, match="more pages"):
        caller.call("get_many", ["b-0", "b-1"])

    assert len(service.seen) <= 3


@pytest.mark.parametrize("ids", [[], ["b-0"], ["b-0", "b-0"], ["b-0", "b-1", "b-2"]], ids=str)
def test_an_acceptance_without_one_id_for_each_prompt_is_unreadable(
    caller: Caller, service: Service, ids: list[str]
) -> None:
    body = {"batch_id": "b", "task_ids": ids, "status": "queued"}
    service.fail(202, "/tasks", body=body)

    with pytest.raises(UnreadableAnswerError, match="one ID for each prompt"):
        list(caller.iterate("map", ["a", "b"]))


# ---- Odd answers -----------------------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": 0}
PROVIDER = {"code": "c", "param": "p", "request_id": "r"}
NOW = "2026-11-21T10:00:00.000Z"
TASK = {
    "task_id": "b-0",
    "batch_id": "b",
    "custom_id": "c",
    "status": "completed",
    "progress": 100,
    "model": "m",
    "attempts": [{"started_at": NOW, "ended_at": NOW, "code": "timeout", "provider_error": PROVIDER}],
    "waiting_on": "capacity",
    "result": "text",
    "tool_calls": [{"id": "t"}],
    "finish_reason": "stop",
    "truncated": True,
    "usage": USAGE,
    "cost": {"usd": "0.1"},
    "partial_result": "te",
    "retried_as": "d-0",
    "error": {"code": "c", "detail": "d", "last_code": "l", "provider_error": PROVIDER},
    "created_at": NOW,
    "started_at": NOW,
    "ended_at": NOW,
    "deadline_at": NOW,
    "expires_at": NOW,
}
BATCH = {
    "batch_id": "b",
    "status": "ended",
    "progress": 100,
    "size": 1,
    "counts": {"completed": 1},
    "metadata": {"a": "b"},
    "usage": USAGE,
    "cost": {"usd": "0.1"},
    "estimated": {"calls": 1},
    "tasks": [TASK],
    "webhook": {"url": "https://example.org"},
    "created_at": NOW,
    "deadline_at": NOW,
    "expires_at": NOW,
}
ACCEPTED = {"batch_id": "b", "task_ids": ["b-0"], "status": "queued", "created_at": NOW, "tasks": [TASK], "next": ""}
WORKFLOWS = {"workflows": [{"name": "story", "description": "d", "input_schema": {"type": "object"}}]}
ANSWERS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "get": (TASK, ("b-0",)),
    "get_many": ({"tasks": [TASK], "next": None}, (["b-0"],)),
    "get_batch": (BATCH, ("b",)),
    "submit": (ACCEPTED, (["a"],)),
    "workflows": (WORKFLOWS, ()),
    "cancel": (TASK, ("b-0",)),
    "cancel_batch": (BATCH, ("b",)),
    "retry": (ACCEPTED, ("b",)),
}
ODD: list[Any] = [None, True, 7, -1.5, 10**30, "odd", "\ud800", [], ["odd"], [[]], [None], {}, {"odd": [1]}]


def spoiled(answer: Any) -> Iterator[Any]:
    """Yield an answer with each value of it in turn, itself first, replaced by each odd one."""
    yield from ODD
    items: Any = answer.items() if isinstance(answer, dict) else enumerate(answer) if isinstance(answer, list) else ()
    for key, value in items:
        for other in spoiled(value):
            if isinstance(answer, dict):
                yield {**answer, key: other}
            else:
                yield [other, *answer[1:]]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_odd_answer_is_unreadable_or_taken_and_never_another_error(name: str) -> None:
    answer, arguments = ANSWERS[name]
    calls = ApiCalls(clock=lambda: 0.0, patience=0)
    outcomes: list[object] = []

    for odd in spoiled(answer):
        operation = getattr(calls, name)(*arguments)
        request = next(operation)
        assert isinstance(request, Request)
        try:
            # The response to the last request; a second page would be another request.
            outcomes.append(operation.send(Response(200, {}, json.dumps(odd).encode())))
        except StopIteration as end:
            outcomes.append(end.value)
        except UnreadableAnswerError as error:
            outcomes.append(error)

    assert len(outcomes) == len(list(spoiled(answer)))
    assert sum(isinstance(outcome, UnreadableAnswerError) for outcome in outcomes) >= 10


@pytest.mark.parametrize("name", ["result", "custom_id", "model", "usage", "attempts", "error", "tool_calls", "status"])
def test_a_field_of_another_type_is_named(caller: Caller, service: Service, name: str) -> None:
    service.fail(200, body={**TASK, name: 7})

    with pytest.raises(UnreadableAnswerError, match=name):
        caller.call("get", "b-0")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_number_that_json_does_not_have_is_unreadable(caller: Caller, service: Service, number: bytes) -> None:
    service.fail(200, body=b'{"task_id": "b-0", "status": "queued", "progress": %s}' % number)

    with pytest.raises(UnreadableAnswerError):
        caller.call("get", "b-0")


@pytest.mark.parametrize(
    "data", ["7", "[]", '"x"', '{"text": 7}', "nonsense", '{"status": 7, "progress": "x"}', '{"task_id": 7}']
)
@pytest.mark.parametrize("kind", ["status", "delta", "ended"])
def test_an_odd_event_is_unreadable_or_taken(caller: Caller, service: Service, kind: str, data: str) -> None:
    service.streams.extend([(200, f"event: {kind}\nid: 1.1.x\ndata: {data}\n\n"), (204, "")])

    try:
        list(caller.iterate("stream", "b-0"))
    except UnreadableAnswerError:
        return
    assert kind != "ended"


@pytest.mark.parametrize("errors", [7, "x", {"a": 1}, [7], [[]], [{"pointer": 7}]], ids=str)
def test_a_problem_with_odd_faults_is_still_a_problem(caller: Caller, service: Service, errors: Any) -> None:
    service.fail(400, body=problem(400, "invalid_value", errors=errors))

    with pytest.raises(SluiceError, match="invalid_value"):
        list(caller.iterate("run", [Chunk(0, ["a"], "key")], {}))


# ---- Where the key goes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("example.org", "10.0.0.1", "192.168.1.7", "0.0.0.0", "localhost.example.org", "127.0.0.1.example.org"),
        *("mylocalhost", "[::]", "[fe80::1]", "2130706433", "localhost@example.org", "169.254.169.254"),
    ],
)
def test_the_key_is_not_sent_unencrypted_to_another_machine(host: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        Endpoint.of(f"http://{host}", "key", {})

    assert "https://" in str(caught.value) or "Invalid service URL" in str(caught.value)
    if "@" not in host:
        assert Endpoint.of(f"https://{host}", "key", {}).api_key == "key"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "app.localhost", "127.0.0.1", "127.8.9.1", "[::1]"]
)
def test_this_machine_may_be_called_without_encryption(host: str) -> None:
    assert Endpoint.of(f"http://{host}:8000/", "key", {}).url == f"http://{host}:8000"


def test_a_proxy_of_the_environment_gets_no_request_to_this_machine(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    service.fail(200, body={"workflows": []})

    with Sluice(service.url, "key", patience=0) as sluice:
        assert sluice.workflows() == []
