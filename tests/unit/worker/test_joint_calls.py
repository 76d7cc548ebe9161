"""Requests that arrive together share a call; each keeps its own answer, share of the usage and error."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.message import TaskMessage
from common.domain.request import Kind, Request
from common.domain.task import Answer, FailureCode, ProviderError, Task, TaskRef, Usage
from common.kinds.embeddings.estimates import inputs_of
from common.kinds.embeddings.vectors import encoded
from common.worker.joint_calls import LINGER_SECONDS, MOST_LINGER_SECONDS, JointCalls, Listener
from tests.unit.worker.virtual_time import VirtualTimeLoop

CALL_SECONDS = 1.0


def message(text: object, *, tenant: str = "acme", model: str = "embedder", **params: object) -> TaskMessage:
    task = Task(
        ref=TaskRef(tenant, "0" * 36, 0),
        batch_size=1,
        created_ms=0,
        deadline_ms=10**13,
        retention_ms=10**7,
        model=model,
        kind=Kind.EMBEDDINGS,
    )
    return TaskMessage(task, Request(Kind.EMBEDDINGS, {"input": text, **params}))


@dataclass
class Provider:
    """Embed a text as its length, a second after it was asked; `refuses` says which calls fail with what."""

    refuses: Callable[[list[Any]], Exception | None] = lambda _: None
    calls: list[list[Any]] = field(default_factory=list)
    cancelled: int = 0

    async def send(self, _model: str, request: Request, on_text: Listener, _ends_at: float) -> Answer:
        inputs = inputs_of(request.body["input"])
        self.calls.append(inputs)
        try:
            await asyncio.sleep(CALL_SECONDS)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if error := self.refuses(inputs):
            raise error
        on_text("")
        data = [{"index": index, "embedding": encoded([float(len(text))])} for index, text in enumerate(inputs)]
        tokens = sum(map(len, inputs))
        response = {"data": data, "encoding_format": "base64", "usage": {}}
        return Answer("", None, Usage(tokens, 0, tokens), response=response)


def run[Result](scene: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scene)


def asked(provider: Provider, *messages: TaskMessage) -> list[Answer | BaseException]:
    """Ask all at once."""

    async def scene() -> list[Answer | BaseException]:
        calls = JointCalls(provider.send)
        asks = (calls.ask(each, lambda _: None, ends_at=100) for each in messages)
        return await asyncio.gather(*asks, return_exceptions=True)

    return run(scene())


def embeddings(answer: Answer | BaseException) -> list[str]:
    assert isinstance(answer, Answer)
    assert answer.response is not None
    return [each["embedding"] for each in answer.response["data"]]


def test_requests_that_arrive_together_share_one_call() -> None:
    provider = Provider()

    answers = asked(provider, message("a"), message(["bb", "ccc"]), message(["dddd"]))

    assert provider.calls == [["a", "bb", "ccc", "dddd"]]
    assert [embeddings(each) for each in answers] == [
        [encoded([1.0])],
        [encoded([2.0]), encoded([3.0])],
        [encoded([4.0])],
    ]


def test_the_shares_of_the_usage_add_up() -> None:
    answers = asked(Provider(), message("a" * 40), message("b" * 40), message("c" * 41))

    usages = [each.usage for each in answers if isinstance(each, Answer)]
    assert sum(each.prompt_tokens for each in usages if each) == 121


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(message("b", tenant="other"), id="tenant"),
        pytest.param(message("b", model="large"), id="model"),
        pytest.param(message("b", dimensions=256), id="params"),
        pytest.param(message([1]), id="form"),
    ],
)
def test_requests_that_differ_are_sent_apart(other: TaskMessage) -> None:
    provider = Provider()

    asked(provider, message("a"), other)

    assert len(provider.calls) == 2


@pytest.mark.parametrize(
    ("messages", "calls"),
    [
        pytest.param([message(["a"] * 1_024)] * 3, [2_048, 1_024], id="inputs"),
        pytest.param([message("a" * 400_000)] * 3, [2, 1], id="tokens"),
    ],
)
def test_a_call_that_is_full_is_followed_by_another(messages: list[TaskMessage], calls: list[int]) -> None:
    provider = Provider()

    asked(provider, *messages)

    assert [len(each) for each in provider.calls] == calls


def test_a_request_waits_a_moment_for_others_and_no_longer() -> None:
    provider = Provider()

    async def scene() -> list[float]:
        calls, loop, ends = JointCalls(provider.send), asyncio.get_running_loop(), list[float]()

        async def ask() -> None:
            await calls.ask(message("a"), lambda _: None, ends_at=100)
            ends.append(loop.time())

        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(ask())
                await asyncio.sleep(LINGER_SECONDS * 0.9)
        return ends

    ends = run(scene())

    assert [len(each) for each in provider.calls] == [6, 6]
    assert ends[0] == pytest.approx(MOST_LINGER_SECONDS + CALL_SECONDS)


@pytest.mark.parametrize(
    "code",
    [
        FailureCode.BAD_REQUEST,
        FailureCode.REQUEST_TOO_LARGE,
        FailureCode.CONTEXT_LENGTH_EXCEEDED,
        FailureCode.CONTENT_POLICY,
    ],
)
def test_a_joint_call_that_is_refused_is_repeated_for_each_request_alone(code: FailureCode) -> None:
    provider = Provider(lambda inputs: ModelRefused(code) if "bad" in inputs else None)

    answers = asked(provider, message("good"), message("bad"), message("fine"))

    assert provider.calls[0] == ["good", "bad", "fine"]
    assert sorted(provider.calls[1:]) == [["bad"], ["fine"], ["good"]]
    assert [isinstance(each, Answer) for each in answers] == [True, False, True]
    assert isinstance(answers[1], ModelRefused)


def test_a_call_of_one_request_that_is_refused_is_not_repeated() -> None:
    provider = Provider(lambda _: ModelRefused(FailureCode.BAD_REQUEST))

    asked(provider, message("bad"))

    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        ModelBusy(FailureCode.RATE_LIMITED, retry_after=7),
        ModelFailed(FailureCode.SERVER_ERROR, retry_after=7),
        ModelRefused(FailureCode.QUOTA_EXHAUSTED, retry_after=7),
    ],
)
def test_any_other_failure_is_that_of_each_request(error: ModelError) -> None:
    error.provider_error = ProviderError("code", None, "req_1")
    error.usage = Usage(10, 0, 10)
    provider = Provider(lambda _: error)

    first, second = asked(provider, message("a" * 4), message("b" * 36))

    assert len(provider.calls) == 1
    assert first is not second
    for each, usage in ((first, Usage(1, 0, 1)), (second, Usage(9, 0, 9))):
        assert type(each) is type(error)
        assert isinstance(each, ModelError)
        assert (each.code, each.retry_after, each.provider_error) == (error.code, 7, error.provider_error)
        assert each.usage == usage


def test_a_fault_of_ours_fails_each_request_and_stops_no_other_call() -> None:
    provider = Provider(lambda _: LookupError("fault"))

    assert [type(each) for each in asked(provider, message("a"), message("b"))] == [LookupError, LookupError]


def test_a_call_goes_on_for_the_others_when_one_request_is_cut() -> None:
    provider = Provider()

    async def scene() -> Answer:
        calls = JointCalls(provider.send)
        cut = asyncio.create_task(calls.ask(message("a"), lambda _: None, ends_at=100))
        kept = asyncio.create_task(calls.ask(message("bb"), lambda _: None, ends_at=100))
        await asyncio.sleep(CALL_SECONDS / 2)
        cut.cancel()
        return await kept

    assert embeddings(run(scene())) == [encoded([2.0])]
    assert provider.cancelled == 0


@pytest.mark.parametrize("after", [LINGER_SECONDS / 2, CALL_SECONDS / 2])
def test_a_call_that_nobody_waits_for_is_cancelled_and_nothing_runs_on(after: float) -> None:
    provider = Provider()

    async def scene() -> int:
        calls = JointCalls(provider.send)
        asks = [asyncio.create_task(calls.ask(message("a"), lambda _: None, ends_at=100)) for _ in range(2)]
        await asyncio.sleep(after)
        for each in asks:
            each.cancel()
        await asyncio.wait(asks)
        return len(asyncio.all_tasks())

    assert run(scene()) == 1
    assert provider.cancelled == len(provider.calls)


def test_each_request_hears_that_the_answer_has_begun() -> None:
    first: list[str] = []
    second: list[str] = []

    async def scene() -> None:
        calls = JointCalls(Provider().send)
        await asyncio.gather(
            calls.ask(message("a"), first.append, ends_at=100), calls.ask(message("b"), second.append, ends_at=100)
        )

    run(scene())

    assert first == second == [""]
