"""The model's client against a real server on loopback, with every way in which a server can misbehave."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused, Unavailable
from common.domain.message import TaskMessage
from common.domain.prices import Price, Prices
from common.domain.task import Answer, FailureCode, Task, TaskRef, Usage
from common.worker import completion_stream, provider
from common.worker.provider import KeySource, ProviderKey
from common.worker.provider_client import ProviderClient
from common.worker.provider_model import ProviderModel
from tests.requests import chat

type Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECRET = "Attack at dawn"
TASK = Task(
    ref=TaskRef("acme", "0" * 36, 0),
    batch_size=1,
    created_ms=0,
    deadline_ms=10**13,
    retention_ms=10**7,
    model="gpt-test",
)
MESSAGE = TaskMessage(TASK, chat(SECRET, temperature=0.5, top_k=3, model="other"))
DONE = b"data: [DONE]\n\n"


def event(content: str | None = None, *, finish: str | None = None, **delta: str) -> bytes:
    choice = {"index": 0, "delta": {"content": content, **delta}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


USAGE_EVENT = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
WHOLE = {"choices": [{"index": 0, "message": {"content": "all at once"}, "finish_reason": "stop"}]}


def streams(
    *chunks: bytes, pause: float = 0.0, wait: float = 0.0, kind: str = "text/event-stream", abort: bool = False
) -> Serve:
    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(pause)
        await asyncio.sleep(wait)
        if abort:
            assert request.transport is not None
            request.transport.abort()
        return response

    return serve


def sends(status: int, body: object = b"", *, kind: str = "application/json", **headers: str) -> Serve:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def serve(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=data, headers={"Content-Type": kind, **named})

    return serve


def error(code: str | None, message: str = SECRET) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}


def ignored(_model: str, _headers: Mapping[str, str]) -> None:
    """Hear nothing."""


class Rotated:
    """A source whose key is refused, and that has another one when it is told so."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)
        self.refused: list[str] = []

    async def __call__(self) -> str:
        return self.keys[0]

    async def renewed(self, refused: str) -> bool:
        self.refused.append(refused)
        if len(self.keys) > 1:
            self.keys.pop(0)
        return self.keys[0] != refused


def model_at(url: str | None, *, timeout_seconds: float = 5.0, key: KeySource | None = None) -> ProviderModel:
    source = key or Rotated("sk-test")
    return ProviderModel(
        ProviderClient(key=source, base_url=url, timeout_seconds=timeout_seconds, on_headers=ignored),
        Prices({"gpt-priced": Price(100, 10, 1_000)}),
    )


@asynccontextmanager
async def model_of(
    serve: Serve, *, timeout_seconds: float = 5.0, key: KeySource | None = None
) -> AsyncIterator[ProviderModel]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model = model_at(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", timeout_seconds=timeout_seconds, key=key)
    try:
        yield model
    finally:
        await model.close()
        await runner.cleanup()


async def answer_of(serve: Serve) -> tuple[Answer, list[str]]:
    pieces: list[str] = []
    async with model_of(serve) as model:
        return await model.ask(MESSAGE, pieces.append), pieces


async def error_of(serve: Serve, *, timeout_seconds: float = 5.0) -> ModelError:
    async with model_of(serve, timeout_seconds=timeout_seconds) as model:
        with pytest.raises(ModelError) as caught:
            await model.ask(MESSAGE, lambda _: None)
    return caught.value


def split(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# ─── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_streamed_answer_comes_piece_by_piece_and_whole_with_its_usage() -> None:
    serve = streams(event("", role="assistant"), event("Hello"), event(" you"), event(finish="stop"), USAGE_EVENT, DONE)

    answer, pieces = await answer_of(serve)

    assert answer == Answer("Hello you", "stop", Usage(3, 2, 5))
    assert pieces == ["Hello", " you"]


async def test_the_request_carries_what_the_caller_wrote_and_what_is_ours() -> None:
    seen: dict[str, Any] = {}

    async def serve(request: web.Request) -> web.StreamResponse:
        seen.update(await request.json())
        seen["authorization"] = request.headers["Authorization"]
        return web.json_response(WHOLE)

    await answer_of(serve)

    assert seen == {
        "model": "gpt-test",
        "messages": [{"role": "user", "content": SECRET}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_k": 3,
        "authorization": "Bearer sk-test",
    }


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_an_answer_survives_any_cut_between_its_bytes(size: int) -> None:
    text = "líne\u2028 séparator \x85 and 🙂"
    data = event(text) + b": a comment\n\n" + event(finish="stop").replace(b"\n", b"\r\n") + DONE

    answer, _ = await answer_of(streams(*split(data, size)))

    assert answer.text == text


async def test_a_stream_may_end_without_its_done_once_it_has_its_finish_reason() -> None:
    answer, _ = await answer_of(streams(event("Hi", finish="stop").rstrip()))

    assert answer == Answer("Hi", "stop")


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        pytest.param(b"", None, id="before the usage"),
        pytest.param(USAGE_EVENT[:-20], None, id="within the usage"),
        pytest.param(USAGE_EVENT, Usage(3, 2, 5), id="before the done"),
    ],
)
async def test_an_answer_is_whole_though_the_connection_broke_behind_its_finish_reason(
    tail: bytes, usage: Usage | None
) -> None:
    answer, _ = await answer_of(streams(event("Hi"), event(finish="stop"), tail, abort=True))

    assert answer == Answer("Hi", "stop", usage)


@pytest.mark.parametrize("tail", [(), (USAGE_EVENT,), (USAGE_EVENT, DONE.rstrip())])
async def test_an_answer_is_kept_though_the_server_neither_ends_it_nor_hangs_up(
    monkeypatch: pytest.MonkeyPatch, tail: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(completion_stream, "GRACE_SECONDS", 0.1)
    hung_up = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            return await streams(event("Hi"), event(finish="stop"), *tail, pause=0.01, wait=60)(request)
        finally:
            hung_up.set()

    async with model_of(serve) as model:
        answer = await model.ask(MESSAGE, lambda _: None)
        await asyncio.wait_for(hung_up.wait(), 5)

    assert answer == Answer("Hi", "stop", Usage(3, 2, 5) if tail else None)


@pytest.mark.parametrize("tail", [b"zz\r\nnot a chunk\r\n", b"-1\r\n", b"5\r\nabc", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_an_answer_is_whole_though_the_chunks_behind_its_finish_reason_are_broken(tail: bytes) -> None:
    heard = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(event("Hi", finish="stop"))
        await heard.wait()
        assert request.transport is not None
        request.transport.write(tail)
        request.transport.close()
        return response

    async with model_of(serve) as model:
        answer = await model.ask(MESSAGE, lambda _: heard.set())

    assert answer == Answer("Hi", "stop")


@pytest.mark.parametrize(
    "kind",
    [
        *("application/json", "text/plain; charset=utf-8", "application/octet-stream", "application/x-ndjson"),
        *("application/json, text/event-stream", "text/html", "nonsense", ""),
    ],
)
async def test_the_bytes_say_what_an_answer_is_whatever_its_content_type(kind: str) -> None:
    streamed, _ = await answer_of(streams(event("Hi"), event(finish="stop"), USAGE_EVENT, DONE, kind=kind))
    whole, _ = await answer_of(sends(200, WHOLE, kind=kind))

    assert streamed == Answer("Hi", "stop", Usage(3, 2, 5))
    assert whole == Answer("all at once", "stop")


async def test_a_server_that_does_not_stream_is_understood() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

    answer, pieces = await answer_of(sends(200, {**WHOLE, "usage": usage}))

    assert answer == Answer("all at once", "stop", Usage(1, 2, 3))
    assert pieces == ["all at once"]


async def test_an_answer_has_its_cost_where_its_model_has_a_price() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    chunk = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    for model, cost in (("gpt-priced", 1 * 100 + 4 * 10 + 2 * 1_000), ("another", None)):
        message = replace(MESSAGE, task=replace(TASK, model=model))
        async with model_of(streams(event("Hello"), event(finish="stop"), chunk, DONE)) as asked:
            answer = await asked.ask(message, lambda _: None)

        assert (answer.usage, answer.cost_nanos) == (Usage(5, 2, 7, 4), cost)


async def test_one_client_serves_many_calls_at_once() -> None:
    async with model_of(streams(event("Hi"), event(finish="stop"), DONE)) as model:
        answers = await asyncio.gather(*(model.ask(MESSAGE, lambda _: None) for _ in range(20)))

    assert {answer.text for answer in answers} == {"Hi"}


# ─── Errors by status ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("serve", "kind", "code"),
    [
        (sends(400, error(None)), ModelRefused, FailureCode.BAD_REQUEST),
        (sends(400, error("context_length_exceeded")), ModelRefused, FailureCode.CONTEXT_LENGTH_EXCEEDED),
        (sends(400, error(None, "context_length_exceeded")), ModelRefused, FailureCode.BAD_REQUEST),
        (sends(400, error("content_filter")), ModelRefused, FailureCode.CONTENT_POLICY),
        (sends(401, error("invalid_api_key")), ModelRefused, FailureCode.UNAUTHORIZED),
        (sends(403, b"<html>", kind="text/html"), ModelRefused, FailureCode.FORBIDDEN),
        (sends(404, error("model_not_found")), ModelRefused, FailureCode.MODEL_NOT_FOUND),
        (sends(408), ModelFailed, FailureCode.SERVER_ERROR),
        (sends(409), ModelFailed, FailureCode.SERVER_ERROR),
        (sends(413, b"too large", kind="text/plain"), ModelRefused, FailureCode.REQUEST_TOO_LARGE),
        (sends(422, {"detail": [{"msg": SECRET}]}), ModelRefused, FailureCode.BAD_REQUEST),
        (sends(429, error("rate_limit_exceeded")), ModelBusy, FailureCode.RATE_LIMITED),
        (sends(429, error("insufficient_quota")), ModelRefused, FailureCode.QUOTA_EXHAUSTED),
        (sends(500, b"{bad json"), ModelFailed, FailureCode.SERVER_ERROR),
        (sends(502, b"<html>Bad Gateway", kind="text/html"), ModelFailed, FailureCode.SERVER_ERROR),
        (sends(503), ModelFailed, FailureCode.SERVER_ERROR),
    ],
)
async def test_an_error_status_becomes_its_class(serve: Serve, kind: type[ModelError], code: FailureCode) -> None:
    caught = await error_of(serve)

    assert (type(caught), caught.code) == (kind, code)


async def test_the_wait_that_the_provider_asks_for_is_carried() -> None:
    assert (await error_of(sends(429, retry_after_ms="1500"))).retry_after == 1.5
    assert (await error_of(sends(503, retry_after="20"))).retry_after == 20


async def test_a_call_is_sent_once_whatever_it_gets() -> None:
    calls = 0

    async def serve(_: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        return web.Response(status=500)

    await error_of(serve)

    assert calls == 1


async def test_no_error_carries_the_prompt_or_the_providers_words() -> None:
    caught = await error_of(sends(400, error("context_length_exceeded")))

    assert SECRET not in repr(caught)
    assert caught.__cause__ is None
    assert caught.__suppress_context__ or caught.__context__ is None


# ─── Streams that go wrong ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("serve", "kind", "code"),
    [
        (streams(event("Half")), ModelFailed, FailureCode.STREAM_CUT),
        (streams(DONE), ModelFailed, FailureCode.STREAM_CUT),
        (streams(), ModelFailed, FailureCode.STREAM_CUT),
        (streams(event("Half"), abort=True), ModelFailed, FailureCode.CONNECTION),
        (
            streams(event("Half"), b'data: {"error": {"code": "server_error"}}\n\n'),
            ModelFailed,
            FailureCode.SERVER_ERROR,
        ),
        (streams(b'data: {"error": {"code": "rate_limit_exceeded"}}\n\n'), ModelBusy, FailureCode.RATE_LIMITED),
        (
            streams(event("Half"), b'data: {"error": {"code": "rate_limit_exceeded"}}\n\n'),
            ModelFailed,
            FailureCode.RATE_LIMITED,
        ),
        (streams(b'event: error\ndata: {"error": {"message": "x"}}\n\n'), ModelFailed, FailureCode.SERVER_ERROR),
        (streams(b"data: {half\n\n"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b"data: 17\n\n"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b'data: {"object": "thing"}\n\n'), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b'data: {"choices": null}\n\n'), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b'data: {"choices": ["x"]}\n\n'), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b'data: {"choices": [{"delta": "x"}]}\n\n'), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b'data: {"choices": [{"delta": {"content": 1}}]}\n\n'), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b"<html>hello</html>\n\n"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (streams(b"data: " + b"[" * 200_000 + b"\n\n"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (sends(200, b"<html>hello</html>", kind="text/html"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (sends(200, b"{half"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (sends(200, b"[]"), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (sends(200, {"id": 1}), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (sends(200, {"choices": None}), ModelFailed, FailureCode.UNREADABLE_ANSWER),
        (sends(200, {"choices": []}), ModelFailed, FailureCode.STREAM_CUT),
        (sends(200, {"error": {"code": 502}}), ModelFailed, FailureCode.SERVER_ERROR),
        (sends(204), ModelFailed, FailureCode.STREAM_CUT),
        (streams(event("Half"), event(finish="content_filter")), ModelRefused, FailureCode.CONTENT_POLICY),
    ],
)
async def test_an_answer_that_is_none_becomes_its_class(
    serve: Serve, kind: type[ModelError], code: FailureCode
) -> None:
    caught = await error_of(serve)

    assert (type(caught), caught.code) == (kind, code)
    assert caught.__suppress_context__ or caught.__context__ is None


async def test_a_server_that_hangs_up_before_it_answers_is_a_connection_error() -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    caught = await error_of(serve)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.CONNECTION)


async def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    gone = model_at(f"http://127.0.0.1:{port}/v1")

    with pytest.raises(ModelFailed) as caught:
        await gone.ask(MESSAGE, lambda _: None)

    await gone.close()
    assert caught.value.code is FailureCode.CONNECTION


@pytest.mark.parametrize("begun", [False, True])
async def test_a_server_that_falls_silent_is_a_timeout(begun: bool) -> None:  # noqa: FBT001  # a parameter of the test
    async def serve(request: web.Request) -> web.StreamResponse:
        if begun:
            return await streams(event("Half"), pause=60)(request)
        await asyncio.sleep(60)
        return web.Response()

    caught = await error_of(serve, timeout_seconds=0.1)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.TIMEOUT)


async def test_a_cancelled_call_hangs_up_on_the_server() -> None:
    reached, hung_up = asyncio.Event(), asyncio.Event()

    async def serve(_: web.Request) -> web.StreamResponse:
        reached.set()
        try:
            await asyncio.sleep(60)
        finally:
            hung_up.set()
        return web.Response()

    async with model_of(serve) as model:
        call = asyncio.create_task(model.ask(MESSAGE, lambda _: None))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(hung_up.wait(), 5)


# ─── The key ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_that_cannot_be_read_makes_the_model_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    model = model_at(None, key=ProviderKey("absent"))

    with pytest.raises(Unavailable):
        await model.prepare()
    with pytest.raises(Unavailable):
        await model.ask(MESSAGE, lambda _: None)

    await model.close()


# ─── A key that was rotated ───────────────────────────────────────────────────────────────────────────────────────────


def takes_only(key: str, shown: list[str]) -> Serve:
    async def serve(request: web.Request) -> web.StreamResponse:
        shown.append(request.headers["Authorization"])
        if shown[-1] != f"Bearer {key}":
            return web.json_response(error("invalid_api_key"), status=401)
        return web.json_response(WHOLE)

    return serve


async def test_a_call_that_was_refused_for_its_key_is_repeated_once_with_the_new_one() -> None:
    source, shown = Rotated("old", "new"), list[str]()

    async with model_of(takes_only("new", shown), key=source) as model:
        answer = await model.ask(MESSAGE, lambda _: None)

    assert answer.text == "all at once"
    assert shown == ["Bearer old", "Bearer new"]
    assert source.refused == ["old"]


@pytest.mark.parametrize("keys", [("old",), ("old", "as wrong")])
async def test_a_key_that_stays_wrong_fails_the_call_after_one_more_try_at_most(keys: tuple[str, ...]) -> None:
    source, shown = Rotated(*keys), list[str]()

    async with model_of(takes_only("new", shown), key=source) as model:
        with pytest.raises(ModelRefused) as caught:
            await model.ask(MESSAGE, lambda _: None)

    assert caught.value.code is FailureCode.UNAUTHORIZED
    assert shown == [f"Bearer {key}" for key in keys]


async def test_a_refused_key_is_fetched_once_for_all_calls_and_not_again_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, fetched = [0.0], ["first", "first", "second"]
    key = ProviderKey("name")
    monkeypatch.setattr(provider, "_wall_seconds", lambda: now[0])
    monkeypatch.setattr(key, "_fetch", lambda: fetched.pop(0))
    assert await key() == "first"

    # WHEN the first is refused in many calls, THEN it is fetched once, and is the same
    assert await asyncio.gather(*(key.renewed("first") for _ in range(10))) == [False] * 10
    assert fetched == ["second"]
    # WHEN it is refused again later, THEN it is fetched again, and is another one for all who were refused before
    now[0] += provider.REFUSED_SECONDS
    assert await key.renewed("first")
    assert await key.renewed("first")
    assert await key() == "second"


async def test_a_refused_key_that_cannot_be_read_again_makes_the_model_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = ProviderKey("name")
    monkeypatch.setattr(key, "_fetch", lambda: "first")
    await key()

    def fail() -> str:
        raise OSError

    monkeypatch.setattr(key, "_fetch", fail)
    with pytest.raises(Unavailable):
        await key.renewed("first")


class Vault:
    """Stand in for Secrets Manager, below the thread in which it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
        self.asked = 0
        self._keys = keys
        self.now = 1_000.0
        monkeypatch.setattr(ProviderKey, "_fetch", lambda _: self._next())
        monkeypatch.setattr(provider, "_wall_seconds", lambda: self.now)

    def _next(self) -> str:
        self.asked += 1
        if self.asked > len(self._keys):
            raise OSError(SECRET)
        return self._keys[self.asked - 1]


async def test_a_key_is_fetched_once_for_all_calls_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(monkeypatch, "first", "second")
    key = ProviderKey("name")

    assert set(await asyncio.gather(key(), key(), key())) == {"first"}
    vault.now += provider.KEY_SECONDS - 1
    assert await key() == "first"
    assert vault.asked == 1
    vault.now += 1
    assert await key() == "second"


@pytest.mark.parametrize("unusable", ["", "sk\nX-Evil: 1", "sk\x00", "sk test", "schlüssel", "sk\x7f"])
async def test_a_key_that_no_header_can_carry_makes_the_model_unavailable(
    monkeypatch: pytest.MonkeyPatch, unusable: str
) -> None:
    vault = Vault(monkeypatch, unusable, "sound")
    key = ProviderKey("name")

    with pytest.raises(Unavailable) as caught:
        await key()
    vault.now += 1

    assert not unusable or unusable not in str(caught.value)
    assert await key() == "sound"


async def test_calls_that_wait_for_one_key_share_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(monkeypatch)
    key = ProviderKey("name")

    ends = await asyncio.gather(key(), key(), key(), return_exceptions=True)

    assert [type(end) for end in ends] == [Unavailable] * 3
    assert vault.asked == 1
    # WHEN a later call asks, THEN it is tried again
    vault.now += 1
    with pytest.raises(Unavailable):
        await key()
    assert vault.asked == 2
