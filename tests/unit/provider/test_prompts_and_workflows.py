"""Test that prompts and workflow steps classify the same responses alike, over real HTTP."""

import asyncio
import gzip
import zlib
from base64 import b85decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from common.domain.errors import ModelBusy, ModelCrashed, ModelError, ModelFailed, ModelRefused
from common.domain.message import TaskMessage
from common.domain.prices import Price, Prices
from common.domain.request import Kind
from common.domain.task import TRUNCATED, Answer, FailureCode, Task, TaskRef, Usage
from common.kinds.chat import upstream as chat_upstream
from common.worker.concurrency import AdaptiveConcurrency
from common.worker.limits import RateLimitSettings
from common.worker.provider_client import ProviderClient
from common.worker.provider_model import ProviderModel
from common.worker.rate_limiter import RateLimiter
from common.worker.semaphore import ResizableSemaphore
from functions.workflow.model import Provider
from functions.workflow.service import WorkflowModel
from functions.workflow.workflow import Chain, Chat, Workflow
from tests.requests import chat, workflow
from tests.unit.worker.stage import FakeFlows
from tests.unit.workflow.stage import FakeSteps, Listener
from tests.upstream import (
    DONE,
    GOOD,
    JSON,
    SSE,
    TEXT,
    WHOLE,
    Respond,
    Upstream,
    delta,
    event,
    raw,
    streamed,
    upstream,
    whole,
)

SECRET: Final = "Attack at dawn"
TASK: Final = Task(
    ref=TaskRef("acme", "0" * 36, 0),
    batch_size=1,
    created_ms=0,
    deadline_ms=10**13,
    retention_ms=10**7,
    model="gpt-test",
)
PRICES: Final = Prices({"gpt-test": Price(1, 1, 1)})
USED: Final = Usage(7, 5, 12)

type Ask = Callable[[], Awaitable[Answer]]


class Key:
    """Have a key that never changes."""

    async def __call__(self) -> str:
        return "sk-test"

    async def renewed(self, refused: str) -> bool:  # noqa: ARG002
        return False


class Given(BaseModel):
    """What the one workflow takes."""

    word: str


def build(chat: Chat) -> Chain:
    """Ask as a prompt does."""
    return ChatPromptTemplate.from_template("{word}") | chat() | StrOutputParser()


def prompts(model: ProviderModel, pieces: list[str]) -> Ask:
    message = TaskMessage(TASK, chat(SECRET))
    return lambda: model.ask(message, pieces.append)


class Hearing(Listener):
    """Hear the text of a workflow's steps."""

    def __init__(self, pieces: list[str]) -> None:
        super().__init__("owner")
        self._pieces = pieces

    def __call__(self, text: str) -> None:
        self._pieces.append(text)


def workflows(model: ProviderModel, pieces: list[str]) -> Ask:
    def made() -> WorkflowModel:
        steps, concurrency = FakeSteps(), AdaptiveConcurrency(1, 10)
        steps.owner = "owner"
        now = asyncio.get_running_loop().time
        flow = RateLimiter(FakeFlows(now), RateLimitSettings({}), now_ms=lambda: round(now() * 1000))
        return WorkflowModel(
            [Workflow("made", Given, build)],
            Provider(
                steps, flow, concurrency, ResizableSemaphore(concurrency), model, timeout_seconds=5, model="gpt-test"
            ),
            steps,
        )

    message = TaskMessage(replace(TASK, kind=Kind.WORKFLOW, model="made"), workflow({"word": SECRET}))
    return lambda: made().ask(message, Hearing(pieces))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call: an answer, or the error's class and code."""

    text: str | None = None
    usage: Usage | None = None
    is_truncated: bool = False
    error: type[ModelError] | None = None
    code: FailureCode | None = None


def completed(text: str = TEXT, usage: Usage | None = None, *, is_truncated: bool = False) -> Outcome:
    return Outcome(text, usage, is_truncated)


def failed(code: FailureCode, error: type[ModelError] = ModelFailed) -> Outcome:
    return Outcome(error=error, code=code)


def refused(code: FailureCode) -> Outcome:
    return failed(code, ModelRefused)


@asynccontextmanager
async def model_at(url: str) -> AsyncIterator[ProviderModel]:
    client = ProviderClient(key=Key(), base_url=url, timeout_seconds=5, on_headers=lambda *_: None)
    model = ProviderModel(client, PRICES)
    try:
        yield model
    finally:
        await model.close()


async def outcome_of(ask: Ask) -> Outcome:
    try:
        answer = await ask()
    except ModelError as error:
        return Outcome(error=type(error), code=error.code)
    assert answer.cost_nanos == (answer.usage and answer.usage.prompt_tokens + answer.usage.completion_tokens)
    return Outcome(answer.text, answer.usage, answer.finish_reason == TRUNCATED)


@pytest.fixture(params=[prompts, workflows], ids=["prompt", "workflow"])
def asking(request: pytest.FixtureRequest) -> Callable[[ProviderModel, list[str]], Ask]:
    way: Callable[[ProviderModel, list[str]], Ask] = request.param
    return way


type Asking = Callable[[ProviderModel, list[str]], Ask]


async def outcomes_of(asking: Asking, *answers: Respond, base: str = "") -> tuple[list[Outcome], list[str], Upstream]:
    """Ask once for each answer, by one client; return what came of each, and all pieces of text."""
    pieces: list[str] = []
    async with upstream(*answers) as served, model_at(served.url + base) as model:
        outcomes = [await outcome_of(asking(model, pieces)) for _ in answers]
    return outcomes, pieces, served


BROTLI: Final = b85decode(
    "8*u;t1pZxHs-KsKm=}_vi^zow!f@iQ9S0k5A~;#V8xB0vg2N5in-Wdd=u_c3CzbicwVR+F4!9<NM#n{~dTO+HV8RABxHx)5nwt2ru}oOb?0%G5aZw"
    "{b*0lf"
)
ZSTD: Final = b85decode(
    "D77#BAaeBr0OE!f7=Wp5oQsqfvgp?kiKc*<Lxbs2!Q^0G8jG-=(6qNbb<3f`v6yJM$vVI|NEIe}&IxXN%1f!{CQn(?;%@m-bY=S;%I+a<60m)7M&i}"
    "L_C14on5zK*Vo=H"
)
"""A whole answer, compressed in the two ways that no request asks for."""

END, HELLO = delta("stop"), delta(content=TEXT)
CALLS = [{"index": 0, "id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]

UPSTREAMS: Final[dict[str, tuple[Respond, Outcome]]] = {
    "a streamed answer": (streamed(*GOOD), completed(usage=USED)),
    "a whole answer though a stream was asked for": (whole(WHOLE), completed(usage=USED)),
    "a stream called JSON": (streamed(*GOOD, head=JSON), completed(usage=USED)),
    "a whole answer called a stream": (whole(WHOLE, head=SSE), completed(usage=USED)),
    "a streamed refusal": (
        streamed(delta(refusal=f"I can't {SECRET}"), END, DONE),
        completed(""),
    ),
    "a filter": (streamed(HELLO, delta("content_filter"), DONE), refused(FailureCode.CONTENT_POLICY)),
    "a token limit": (streamed(HELLO, delta("length"), DONE), completed(is_truncated=True)),
    "a chunk that is no JSON": (streamed(b"data: {half\n\n"), failed(FailureCode.UNREADABLE_ANSWER)),
    "a chunk that is no UTF-8": (streamed(b'data: {"choices": "\xff"}\n\n'), failed(FailureCode.UNREADABLE_ANSWER)),
    "choices null": (streamed(event(choices=None)), failed(FailureCode.UNREADABLE_ANSWER)),
    "data null": (streamed(b"data: null\n\n"), failed(FailureCode.UNREADABLE_ANSWER)),
    "a delta of null beside the finish reason": (
        streamed(HELLO, event(choices=[{"index": 0, "delta": None, "finish_reason": "stop"}]), DONE),
        completed(),
    ),
    "finish reason error": (streamed(HELLO, delta("error"), DONE), failed(FailureCode.SERVER_ERROR)),
    "no finish reason": (streamed(HELLO), failed(FailureCode.STREAM_CUT)),
    "no finish reason before the done": (streamed(HELLO, DONE), completed()),
    "garbage behind the finish reason": (streamed(HELLO, END, b"data: {half\n\n"), completed()),
    "content in parts": (
        streamed(delta(content=[{"type": "text", "text": "Hello, "}, {"type": "text", "text": "world."}]), END, DONE),
        completed(),
    ),
    "an error in the stream": (
        streamed(HELLO, event(error={"code": "server_error", "message": SECRET})),
        failed(FailureCode.SERVER_ERROR),
    ),
    "a rate limit in the stream": (
        streamed(event(error={"code": "rate_limit_exceeded"})),
        failed(FailureCode.RATE_LIMITED, ModelBusy),
    ),
    "an empty stream": (streamed(), failed(FailureCode.STREAM_CUT)),
    "odd usage": (
        streamed(HELLO, END, event(choices=[], usage={"prompt_tokens": 7.0, "completion_tokens": 5}), DONE),
        completed(usage=USED),
    ),
    "400": (
        whole({"error": {"code": "context_length_exceeded", "message": SECRET}}, status="400 Bad Request"),
        refused(FailureCode.CONTEXT_LENGTH_EXCEEDED),
    ),
    "401": (whole({}, status="401 Unauthorized"), refused(FailureCode.UNAUTHORIZED)),
    "429": (whole({}, status="429 Too Many Requests"), failed(FailureCode.RATE_LIMITED, ModelBusy)),
    "503": (whole({}, status="503 Unavailable"), failed(FailureCode.SERVER_ERROR)),
    "a redirect": (
        whole(b"", status="307 Elsewhere", head="Location: http://169.254.169.254/\r\n"),
        refused(FailureCode.REDIRECTED),
    ),
    "a header of 9 kB": (streamed(*GOOD, head=f"{SSE}X: {'y' * 9000}\r\n"), completed(usage=USED)),
    "a header of 90 kB": (streamed(*GOOD, head=f"{SSE}X: {'y' * 90_000}\r\n"), failed(FailureCode.UNREADABLE_ANSWER)),
    "a broken status line": (raw(b"HTTP/1.1 2OO\r\n\r\n", closes=True), failed(FailureCode.UNREADABLE_ANSWER)),
    "no answer at all": (raw(b"", closes=True), failed(FailureCode.CONNECTION)),
    "plain bytes called gzip": (streamed(*GOOD, head=f"{SSE}Content-Encoding: gzip\r\n"), completed(usage=USED)),
    "gzip without its label": (streamed(gzip.compress(b"".join(GOOD))), completed(usage=USED)),
    "brotli": (whole(BROTLI, head=f"{JSON}Content-Encoding: br\r\n"), failed(FailureCode.UNREADABLE_ANSWER)),
    "zstd": (whole(ZSTD, head=f"{JSON}Content-Encoding: zstd\r\n"), failed(FailureCode.UNREADABLE_ANSWER)),
    "deflate": (
        whole(zlib.compress(b"".join(GOOD)), head=f"{SSE}Content-Encoding: deflate\r\n"),
        failed(FailureCode.UNREADABLE_ANSWER),
    ),
    "plain bytes called brotli": (streamed(*GOOD, head=f"{SSE}Content-Encoding: br\r\n"), completed(usage=USED)),
    "plain bytes called zstd": (streamed(*GOOD, head=f"{SSE}Content-Encoding: zstd\r\n"), completed(usage=USED)),
    "a cookie with a control byte": (streamed(*GOOD, head=f"{SSE}Set-Cookie: a=\x01b\r\n"), completed(usage=USED)),
}


@pytest.mark.parametrize(("answer", "expected"), UPSTREAMS.values(), ids=list(UPSTREAMS))
async def test_an_upstream_is_judged_alike(asking: Asking, answer: Respond, expected: Outcome) -> None:
    outcomes, _, served = await outcomes_of(asking, answer, streamed(*GOOD))

    assert outcomes == [expected, completed(usage=USED)], "and the call after it is answered"
    assert served.headers("Cookie") == []
    assert len(served.heads) == 2


async def test_text_is_heard_as_it_comes(asking: Asking) -> None:
    _, pieces, _ = await outcomes_of(asking, streamed(*GOOD))

    assert pieces == ["Hello, ", "world."]


async def test_the_path_is_put_before_the_query_of_the_base_url(asking: Asking) -> None:
    _, _, served = await outcomes_of(asking, streamed(*GOOD), base="/deployments/m?api-version=1")

    assert served.heads[0].startswith("POST /v1/deployments/m/chat/completions?api-version=1 HTTP/1.1\r\n")


async def test_an_exception_that_no_rule_knows_is_no_fault_of_the_chain(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(chat_upstream, "read_completion", broken)
    async with upstream(streamed(*GOOD)) as served, model_at(served.url) as model:
        with pytest.raises((ModelCrashed, ZeroDivisionError)) as caught:
            await asking(model, [])()

    error = caught.value.error if isinstance(caught.value, ModelCrashed) else caught.value
    assert type(error) is ZeroDivisionError
