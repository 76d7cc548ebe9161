"""The stand-in model: an OpenAI server with configurable pace and faults on request.

It serves /chat/completions, /responses and /embeddings.

A prompt controls its response by directives in any of its messages:

    [[fault:500]]       the call fails; with 500x2 the first two calls of this prompt fail. Faults are status codes
                        (400 401 403 404 408 409 413 422 429 500 502 503 504), quota, context, policy, hang (no
                        response), reset (the connection is reset), cut (reset in the middle of the stream), nofinish
                        (no finish_reason, and no [DONE] in a stream), html and garbage (not JSON), empty (no choices)
    [[retry-after:2]]   the Retry-After header of the fault
    [[latency:5]]       seconds before the first byte
    [[delay:0.5]]       seconds between two pieces of the response
    [[tokens:200]]      length of the response; a word is a token

It calls a tool if `tool_choice` is "required" or names one (all `tools` with `parallel_tool_calls`), and returns JSON
if `response_format` requests it; both match their schema.

`GET /calls` returns the number of calls, the peak concurrency, and the number of calls of each prompt by its digest.
Tests use it to count paid calls. `python -m local.model PORT` runs the server alone.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from local.answers import answer_words, prompt_digest
from local.model_embeddings import embeddings_of, inputs_of
from local.model_responses import chat_body, encoded, events_of, response_of
from local.shapes import value_of

_DIRECTIVE = re.compile(
    r"\[\[(?:(fault):([a-z0-9]+)|(tokens):([0-9]{1,6})|(latency|delay|retry-after):([0-9]+(?:\.[0-9]+)?))\]\]"
)
_NAMED_ERRORS = {
    "quota": (429, "insufficient_quota", "You exceeded your current quota."),
    "context": (400, "context_length_exceeded", "The prompt is longer than the model's context."),
    "policy": (400, "content_policy_violation", "The prompt was refused by the content policy."),
}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_MAX_BODY_BYTES = 16 * 1024 * 1024
_HOUR = 3600.0
_TOKEN_CHARACTERS = 4


@dataclass(slots=True)
class Calls:
    """Counters of the calls so far."""

    total: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    answered: int = 0
    by_prompt: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return the counters as JSON."""
        return {
            "total": self.total,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "answered": self.answered,
            "by_prompt": dict(self.by_prompt),
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed request; times in seconds."""

    model: str
    pieces: list[str]
    tool_calls: list[tuple[str, str]]
    finish_reason: str
    usage: dict[str, int]
    stream: bool
    include_usage: bool
    fault: str
    retry_after: str
    latency: float
    delay: float


type Answerer = Callable[[web.Request, dict[str, Any], Call], Awaitable[web.StreamResponse]]
"""Answers a request by its body, and by what its directives say."""


class StandIn:
    """The server, on loopback; `latency` and `chunk_delay` in seconds are the defaults of the directives."""

    def __init__(self, models: tuple[str, ...], *, latency: float = 0.0, chunk_delay: float = 0.0) -> None:
        """Set the listed models and the pace."""
        self.models = models
        self.latency = latency
        self.chunk_delay = chunk_delay
        self.calls = Calls()

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on 127.0.0.1 and yield the base URL, including /v1; port 0 picks a free port."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._completions),
                web.post("/v1/responses", self._responses),
                web.post("/v1/embeddings", self._embeddings),
                web.get("/v1/models", self._list_models),
                web.get("/calls", self._show_calls),
            ]
        )
        # A handler is cancelled when its client disconnects, so abandoned calls don't count as in flight.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _list_models(self, _: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "stand-in"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _show_calls(self, _: web.Request) -> web.Response:
        return web.json_response(self.calls.as_json())

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._respond(request, lambda body: body, self._answer)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._respond(request, chat_body, self._answer_response)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        return await self._respond(request, _chat_body_of_embeddings, self._answer_embeddings)

    async def _respond(
        self, request: web.Request, chat_body_of: Callable[[dict[str, Any]], dict[str, Any]], answer: Answerer
    ) -> web.StreamResponse:
        """Count a call, and answer it by the directives of what it says as a chat."""
        try:
            body = await request.json()
            chat = chat_body_of(body)
            prompts = [_message_text(message) for message in chat["messages"]]
            prompt = _message_text(chat["messages"][-1])
        except (ValueError, LookupError, TypeError, AttributeError):
            return _error(400, "invalid_request", "The body must be JSON with messages or an input.")
        calls, digest = self.calls, prompt_digest(prompt)
        calls.total += 1
        calls.in_flight += 1
        calls.peak_in_flight = max(calls.peak_in_flight, calls.in_flight)
        calls.by_prompt[digest] += 1
        try:
            call = self._parse(chat, prompts, prompt, calls.by_prompt[digest])
            response = await _faulty(request, call) or await answer(request, body, call)
            calls.answered += not call.fault
            return response
        finally:
            calls.in_flight -= 1

    def _parse(self, body: dict[str, Any], prompts: list[str], prompt: str, times: int) -> Call:
        found = (match for text in prompts for match in _DIRECTIVE.finditer(text))
        directives = dict[str, str](tuple(filter(None, match.groups()))[:2] for match in found)
        fault = directives.get("fault", "")
        first = fault.rpartition("x")[2] if re.fullmatch(r".+x\d+", fault) else ""  # the x in "context" is not a count
        fault = fault.removesuffix(f"x{first}")
        length = int(directives["tokens"]) if "tokens" in directives else None
        pieces = answer_words(_DIRECTIVE.sub("", prompt), length)
        tool_calls = _tool_calls(body, pieces)
        if tool_calls:
            pieces = []
        elif (schema := _schema(body.get("response_format"))) is not None:
            pieces = _split(json.dumps(value_of(schema, [word.strip() for word in pieces[:4]])))
        most = body.get("max_completion_tokens") or body.get("max_tokens") or len(pieces)
        prompt_tokens = sum(len(text.split()) for text in prompts)
        completion_tokens = min(len(pieces), most) + sum(len(_split(arguments)) for _, arguments in tool_calls)
        return Call(
            model=str(body.get("model", "")),
            pieces=pieces[:most],
            tool_calls=tool_calls,
            finish_reason=_finish_reason(body, tool_calls, is_cut=most < len(pieces)),
            usage={
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
            stream=bool(body.get("stream")),
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            fault="" if first and times > int(first) else fault,
            retry_after=directives.get("retry-after", ""),
            latency=float(directives.get("latency", self.latency)),
            delay=float(directives.get("delay", self.chunk_delay)),
        )

    async def _answer(self, request: web.Request, _body: dict[str, Any], call: Call) -> web.StreamResponse:
        if call.stream:
            return await self._stream(request, call)
        # A response that is not streamed takes as long as a streamed one.
        await asyncio.sleep(call.delay * len(call.pieces))
        message: dict[str, Any] = {"role": "assistant", "content": "".join(call.pieces), "refusal": None}
        if call.tool_calls:
            message |= {"content": None, "tool_calls": [_tool_call(n, *tool) for n, tool in enumerate(call.tool_calls)]}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": call.finish_reason}
        if call.fault == "nofinish":
            choice["finish_reason"] = None
        choices = [] if call.fault == "empty" else [choice]
        return web.json_response(_envelope(call, "chat.completion") | {"choices": choices, "usage": call.usage})

    async def _answer_response(self, request: web.Request, body: dict[str, Any], call: Call) -> web.StreamResponse:
        text = "".join(call.pieces)
        is_cut = call.finish_reason == "length"
        shown = response_of(
            body, prompt_digest(text), text=text, tool_calls=call.tool_calls, usage=call.usage, is_cut=is_cut
        )
        if not call.stream:
            await asyncio.sleep(call.delay * len(call.pieces))
            return web.json_response(shown)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        pieces = 0
        for event in events_of(shown, call.pieces):
            if event["type"] == "response.output_text.delta":
                if call.fault == "cut" and pieces >= len(call.pieces) // 2:
                    _end_connection(request)
                await asyncio.sleep(call.delay)
                pieces += 1
            if call.fault == "nofinish" and event["type"] == f"response.{shown['status']}":
                break
            await response.write(encoded(event))
        await response.write_eof()
        return response

    async def _answer_embeddings(self, _: web.Request, body: dict[str, Any], __: Call) -> web.StreamResponse:
        return web.json_response(embeddings_of(body))

    async def _stream(self, request: web.Request, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        head = _envelope(call, "chat.completion.chunk") | ({"usage": None} if call.include_usage else {})

        async def send(delta: dict[str, Any], finish_reason: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            await response.write(_event(head | {"choices": [choice]}))

        if call.fault != "empty":
            await send({"role": "assistant", "content": ""})
            for number, piece in enumerate(call.pieces):
                if call.fault == "cut" and number >= len(call.pieces) // 2:
                    _end_connection(request)
                await asyncio.sleep(call.delay)
                await send({"content": piece})
            for index, (name, arguments) in enumerate(call.tool_calls):
                await send({"tool_calls": [{"index": index, **_tool_call(index, name, "")}]})
                for piece in _split(arguments):
                    await asyncio.sleep(call.delay)
                    await send({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            if call.fault != "nofinish":
                await send({}, call.finish_reason)
        if call.include_usage:
            await response.write(_event(head | {"choices": [], "usage": call.usage}))
        if call.fault != "nofinish":
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


async def _faulty(request: web.Request, call: Call) -> web.Response | None:
    """Wait for the latency of a call, and return the response of its fault; None where it has none."""
    if call.fault == "hang":
        await asyncio.sleep(_HOUR)
    await asyncio.sleep(call.latency)
    if call.fault == "reset":
        _end_connection(request)
    if call.fault.isdecimal() or call.fault in _NAMED_ERRORS:
        return _fault(call)
    if call.fault == "html":
        return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
    if call.fault == "garbage":
        return web.Response(text='{"choices": [{"mess', content_type="application/json")
    return None


def _chat_body_of_embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs as messages, which may have directives."""
    texts = [each if isinstance(each, str) else " ".join(map(str, each)) for each in inputs_of(body)]
    return {"model": body.get("model"), "messages": [{"role": "user", "content": text} for text in texts]}


def _message_text(message: dict[str, Any]) -> str:
    """Return the text of a message; empty if it only calls tools."""
    return _text((message.get("content") if message.get("tool_calls") else message["content"]) or "")


def _text(content: str | list[dict[str, str]]) -> str:
    """Return the text of a content, which may have several parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _tool_calls(body: dict[str, Any], words: list[str]) -> list[tuple[str, str]]:
    """Return the functions to call, with their arguments."""
    choice = body.get("tool_choice")
    named = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if named is None and choice != "required":
        return []
    functions = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
    chosen = [function for function in functions if named in {None, function["name"]}]
    chosen = chosen if body.get("parallel_tool_calls") else chosen[:1]
    text = [word.strip() for word in words[:4]]
    return [(each["name"], json.dumps(value_of(each.get("parameters") or {}, text))) for each in chosen]


def _tool_call(index: int, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{name}_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object"}:
            return {"properties": {"answer": {"type": "string"}}}
        case _:
            return None


def _finish_reason(body: dict[str, Any], tool_calls: list[tuple[str, str]], *, is_cut: bool) -> str:
    if tool_calls:
        # As OpenAI: "stop" if the caller has named the function.
        return "stop" if isinstance(body.get("tool_choice"), dict) else "tool_calls"
    return "length" if is_cut else "stop"


def _split(text: str) -> list[str]:
    """Split JSON into token-sized pieces."""
    return [text[at : at + _TOKEN_CHARACTERS] for at in range(0, len(text), _TOKEN_CHARACTERS)]


def _envelope(call: Call, kind: str) -> dict[str, Any]:
    name = prompt_digest("".join(call.pieces))
    return {"id": f"chatcmpl-{name}", "object": kind, "created": int(time.time()), "model": call.model}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _fault(call: Call) -> web.Response:
    if call.fault in _NAMED_ERRORS:
        response = _error(*_NAMED_ERRORS[call.fault])
    else:
        status = int(call.fault)
        response = _error(status, _CODES.get(status, ""), f"The prompt requested this {status}.")
    if call.retry_after:
        response.headers["Retry-After"] = call.retry_after
    return response


def _error(status: int, code: str, message: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004
    return web.json_response(
        {"error": {"message": message, "type": kind, "param": None, "code": code or None}}, status=status
    )


def _end_connection(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("requested by the prompt")


async def _main() -> None:
    stand_in = StandIn(("stand-in",), latency=0.2, chunk_delay=0.03)
    async with stand_in.serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as url:
        print(f"The stand-in model listens at {url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except KeyboardInterrupt:
        sys.exit(130)
