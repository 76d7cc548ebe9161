"""A model that misbehaves on request, and counts what was spent.

A prompt says what happens to it, call by call: `… [[500, cut, ok]]` fails the first call with a 500, cuts the second
one's stream, and answers from the third one on. BEHAVIOURS lists what there is.

Its counters are what the suite knows about money. A call counts as paid unless it was refused with a 4xx: a provider
bills what it has worked on, so a 5xx, a hang and a cut stream count.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from aiohttp import web

from tests.faults.moments import Deed, Moment

_SCRIPT: Final = re.compile(r"\[\[(.+?)\]\]")
_PIECES: Final = 6
_DRIP_SECONDS: Final = 0.3
_SLOW_SECONDS: Final = 1.5
"""Long enough for the worker to write how far it is."""

_LONG_SECONDS: Final = 12.0
"""Longer than several leases of those worlds that have short ones."""

QUOTA_CODES: Final = (
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
)


@dataclass(slots=True)
class Spend:
    """What one prompt has cost: calls that were asked, those that are paid for, and the most at one time."""

    asked: int = 0
    paid: int = 0
    at_once: int = 0
    most_at_once: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the model, with the prompt that it answers."""

    request: web.Request
    prompt: str

    def pieces(self) -> list[str]:
        """Cut the answer into pieces."""
        answer = answer_to(self.prompt)
        size = -(-len(answer) // _PIECES)
        return [answer[start : start + size] for start in range(0, len(answer), size)]


def answer_to(prompt: str) -> str:
    """Return the one right answer: it quotes the prompt, so that no other task's answer can pass for it."""
    return f"The answer to “{prompt}”, and nothing else."


def refusal_to(prompt: str) -> str:
    """Return the text in which the model refuses a prompt."""
    return f"I can't help with {prompt}"


@dataclass(slots=True)
class Model:
    """The server. `moments`: `asked` (a call has come), `half` (half of its answer is out), `told` (all of it is)."""

    spend: defaultdict[str, Spend] = field(default_factory=lambda: defaultdict(Spend))
    port: int = 0
    _moments: dict[str, Moment] = field(default_factory=dict)

    def when(self, name: str, nth: int, deed: Deed) -> Moment:
        """Do something when the n-th call has come to a moment, all n of them held until then."""
        self._moments[name] = Moment(nth, deed)
        return self._moments[name]

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve on loopback, at a port that the system picks."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.add_routes([web.post("/v1/chat/completions", self._completions)])
        # Cancelled with its client: a call that nobody waits for any more is not under way.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    @property
    def has_struck(self) -> bool:
        """Tell whether every moment has come."""
        return all(moment.has_struck for moment in self._moments.values())

    async def reach(self, name: str) -> None:
        """Say that a call has come to a moment."""
        if name in self._moments:
            await self._moments[name].arrive()

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt: str = body["messages"][-1]["content"]
        spend = self.spend[prompt]
        spend.asked += 1
        script = [name.strip() for name in found[1].split(",")] if (found := _SCRIPT.search(prompt)) else ["ok"]
        name = script[min(spend.asked, len(script)) - 1]
        spend.paid += name not in UNPAID
        spend.at_once += 1
        spend.most_at_once = max(spend.most_at_once, spend.at_once)
        try:
            await self.reach("asked")
            return await BEHAVIOURS[name](self, Call(request, prompt))
        finally:
            spend.at_once -= 1


type Behaviour = Callable[[Model, Call], Awaitable[web.StreamResponse]]


async def _started(call: Call, kind: str = "text/event-stream") -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": kind})
    await response.prepare(call.request)
    return response


async def _send(response: web.StreamResponse, delta: dict[str, Any], finish_reason: str | None = None) -> None:
    await _event(response, {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


async def _event(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


async def _halfway(model: Model, call: Call) -> web.StreamResponse:
    response = await _started(call)
    for piece in call.pieces()[: _PIECES // 2]:
        await _send(response, {"content": piece})
    await model.reach("half")
    return response


def _answering(finish_reason: str | None, pause: float = 0.0) -> Behaviour:
    async def answer(model: Model, call: Call) -> web.StreamResponse:
        response = await _halfway(model, call)
        await asyncio.sleep(pause)
        for piece in call.pieces()[_PIECES // 2 :]:
            await _send(response, {"content": piece})
        if finish_reason:
            await _send(response, {}, finish_reason)
            await _event(response, _USAGE)
            await response.write(_DONE)
        await model.reach("told")
        await response.write_eof()
        return response

    return answer


_COUNTS: Final = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 7)
_FINISH: Final[dict[str, Any]] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
_USAGE: Final[dict[str, Any]] = {"choices": [], "usage": _COUNTS}
_DONE: Final = b"data: [DONE]\n\n"


def _after_the_answer(
    *events: dict[str, Any] | bytes, stays_open: bool = False, breaks: bool = False, kind: str = "text/event-stream"
) -> Behaviour:
    """Send the whole answer, then these events or bytes, and then leave the connection open or break it."""

    async def answer(model: Model, call: Call) -> web.StreamResponse:
        response = await _started(call, kind)
        for piece in call.pieces():
            await _send(response, {"content": piece})
        for event in events:
            await (response.write(event) if isinstance(event, bytes) else _event(response, event))
        await model.reach("told")
        if stays_open:
            await asyncio.Event().wait()
        if breaks:
            assert call.request.transport is not None
            call.request.transport.abort()
        else:
            await response.write_eof()
        return response

    return answer


async def _whole(_: Model, call: Call) -> web.StreamResponse:
    message = {"role": "assistant", "content": answer_to(call.prompt)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return web.json_response({"choices": [choice], "usage": _COUNTS}, content_type="text/event-stream")


async def _hang(_: Model, __: Call) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _drip(model: Model, call: Call) -> web.StreamResponse:
    response = await _halfway(model, call)
    while True:
        await asyncio.sleep(_DRIP_SECONDS)
        await _send(response, {"content": "…"})


async def _cut(model: Model, call: Call) -> web.StreamResponse:
    response = await _halfway(model, call)
    assert call.request.transport is not None
    call.request.transport.abort()
    return response


async def _error_in_stream(model: Model, call: Call) -> web.StreamResponse:
    response = await _halfway(model, call)
    await _event(response, _problem("server_error", call))
    await response.write_eof()
    return response


async def _refusal(_: Model, call: Call) -> web.StreamResponse:
    response = await _started(call)
    await _send(response, {"refusal": refusal_to(call.prompt)})
    await _send(response, {}, "stop")
    await response.write_eof()
    return response


async def _no_choices(_: Model, call: Call) -> web.StreamResponse:
    response = await _started(call)
    await _event(response, {"object": "chat.completion.chunk", "model": call.prompt})
    await response.write_eof()
    return response


def _bytes(head: bytes, body: bytes = b"") -> Behaviour:
    """Send these very bytes behind a status line and close: what aiohttp's server itself would refuse to send."""

    async def answer(_: Model, call: Call) -> web.StreamResponse:
        assert call.request.transport is not None
        call.request.transport.write(b"HTTP/1.1 " + head + b"\r\n\r\n" + body)
        call.request.transport.close()
        return web.Response()

    return answer


def _poisoning(*cookies: bytes) -> Behaviour:
    """Answer, and set these cookies."""

    async def answer(model: Model, call: Call) -> web.StreamResponse:
        choice = {"message": {"content": answer_to(call.prompt)}, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], "usage": _COUNTS}).encode()
        head = b"200 OK\r\nContent-Length: %d" % len(body)
        return await _bytes(head + b"".join(b"\r\nSet-Cookie: " + cookie for cookie in cookies), body)(model, call)

    return answer


_LONG_HEADER: Final = b"\r\nX-Policy: " + b"x" * 100_000
_CHUNKED: Final = b"200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked"


def _body(text: str, kind: str) -> Behaviour:
    async def answer(_: Model, call: Call) -> web.StreamResponse:
        return web.Response(text=text.replace("PROMPT", call.prompt), content_type=kind)

    return answer


def _problem(code: str, call: Call) -> dict[str, Any]:
    # Providers do quote the prompt in their errors.
    return {"error": {"message": f"{code}: {call.prompt}", "type": code, "param": call.prompt, "code": code}}


def _status(status: int, code: str = "", **headers: str) -> Behaviour:
    async def answer(_: Model, call: Call) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(_problem(code, call), status=status, headers=named)

    return answer


async def _limited_until_a_date(_: Model, call: Call) -> web.StreamResponse:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    return web.json_response(_problem("rate_limit_exceeded", call), status=429, headers={"Retry-After": moment})


UNPAID_BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "429": _status(429, "rate_limit_exceeded", Retry_After="1"),
    "429 without a wait": _status(429, "rate_limit_exceeded"),
    "429 ms": _status(429, "rate_limit_exceeded", retry_after_ms="300"),
    "429 date": _limited_until_a_date,
    "429 overflow": _status(429, "rate_limit_exceeded", Retry_After="Mon, 01 Jan 2035 00:00:00 +99999999999999999999"),
    "redirect": _status(307, Location="http://127.0.0.1:1/v1/chat/completions"),
    "429 huge": _status(429, "rate_limit_exceeded", Retry_After="99999999999"),
    **{code: _status(429, code, Retry_After="1") for code in QUOTA_CODES},
    "400": _status(400, "invalid_request_error"),
    "401": _status(401, "invalid_api_key"),
    "403": _status(403, "permission_error"),
    "404": _status(404, "model_not_found"),
    "413": _status(413),
    "422": _status(422),
    "context": _status(400, "context_length_exceeded"),
    "policy": _status(400, "content_policy_violation"),
}
BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "ok": _answering("stop"),
    "slow": _answering("stop", _SLOW_SECONDS),
    "long": _answering("stop", _LONG_SECONDS),
    "length": _answering("length"),
    "filter": _answering("content_filter"),
    "no finish": _answering(None),
    "stays open": _after_the_answer(_FINISH, _USAGE, stays_open=True),
    "stays open without usage": _after_the_answer(_FINISH, stays_open=True),
    "garbage at the end": _after_the_answer(_FINISH, _USAGE, b"data: null\n\n</html>\n", b'data: {"half', _DONE),
    "error at the end": _after_the_answer(_FINISH, {"error": {"code": 500, "message": "not logged"}}, _DONE),
    "broken at the end": _after_the_answer(_FINISH, breaks=True),
    "done without finish": _after_the_answer(_USAGE, _DONE),
    "stream as json": _after_the_answer(_FINISH, _USAGE, _DONE, kind="application/json"),
    "message as stream": _whole,
    "aborted": _answering("abort"),
    "cookies": _poisoning(b"session=1; Path=/", b"a=\x01b"),
    "bad status line": _bytes(b"2OO fine"),
    "bad length": _bytes(b"200 OK\r\nContent-Length: abc"),
    "bad chunk": _bytes(_CHUNKED, b"zz\r\n{}\r\n"),
    "two lengths": _bytes(_CHUNKED + b"\r\nContent-Length: 5", b"0\r\n\r\n"),
    "long header": _bytes(_CHUNKED + _LONG_HEADER, b"0\r\n\r\n"),
    "hang": _hang,
    "drip": _drip,
    "cut": _cut,
    "error in stream": _error_in_stream,
    "refusal": _refusal,
    "no choices": _no_choices,
    "html": _body("<html><body>PROMPT</body></html>", "text/html"),
    "html as stream": _body("<html><body>PROMPT</body></html>", "text/event-stream"),
    "no json": _body('{"choices": [{"PROMPT', "application/json"),
    **{str(status): _status(status) for status in (408, 409, 500, 502, 503, 504)},
    **UNPAID_BEHAVIOURS,
}
UNPAID: Final = frozenset(UNPAID_BEHAVIOURS)
