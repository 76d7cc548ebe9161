"""Make a chain's model calls: within the shared limits, streamed into the task, and each paid for once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, override

import httpx2
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from langchain_openai import ChatOpenAI
from openai import APIConnectionError, APIError, APIStatusError, DefaultAioHttpClient, OpenAIError
from pydantic import PrivateAttr

from common.errors import CallHeld, ModelBusy, ModelFailed, ModelRefused, StoreUnavailable, Unavailable
from common.messages import TaskMessage
from common.prices import Prices
from common.tasks import FailureCode, Task, Usage, WaitingOn
from common.work.budget import BudgetGuard
from common.work.concurrency import Concurrency, Origin
from common.work.flow import FlowControl, Held
from common.work.permit import Permit
from common.work.provider import KeySource
from common.work.provider_client import CONNECT_SECONDS, OPENAI_URL
from common.work.slots import Slots
from common.work.verdicts import codes_of, judge, judge_in_stream
from functions.workflow.call_meter import CallMeter, measured
from functions.workflow.run import Run, current_run
from functions.workflow.step import Step


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn what the SDK and its HTTP client raise into a ModelError, without their texts and without them as cause."""
    try:
        yield
    except APIStatusError as error:
        raise judge(error.status_code, error.response.headers, codes_of(error.body), datetime.now(UTC)) from None
    except APIConnectionError as error:  # also the base of the SDK's timeout
        raise ModelFailed(_connection_code(error.__cause__)) from None
    except httpx2.HTTPError as error:  # while the answer is read, the SDK does not wrap its client's errors
        raise ModelFailed(_connection_code(error)) from None
    except UnicodeEncodeError:  # a prompt that no HTTP body can carry
        raise ModelRefused(FailureCode.BAD_REQUEST) from None
    except (OpenAIError, httpx2.StreamError):
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None


def _connection_code(error: BaseException | None) -> FailureCode:
    # aiohttp's "the server hung up" reaches us as httpx2.ConnectTimeout, so only the read's timeout is one of the call.
    return FailureCode.TIMEOUT if isinstance(error, httpx2.ReadTimeout) else FailureCode.CONNECTION


class Checkpoints(Protocol):
    """Keep finished steps in the task's record; may raise StoreUnavailable."""

    async def checkpoint(self, task: Task, owner: str, name: str, step: str) -> bool:
        """Keep a step, and answer whether the task is still its owner's."""


class LeaseLost(Unavailable):
    """Another worker has the task, or it was cancelled: what a further step would bring is nobody's."""


class OpenGate:
    """Let every task's chain begin, if its tenant has a budget left: each of its calls stands in line by itself."""

    def __init__(self, budget: BudgetGuard, flow: FlowControl) -> None:
        """Take who judges budgets, and the lines in which the steps stand."""
        self._budget = budget
        self._flow = flow

    async def start(self, message: TaskMessage) -> Permit | Held:
        """Let it begin, whenever it does."""
        seconds = await self._budget.hold(message)
        return Permit() if seconds is None else Held(seconds, waiting_on=WaitingOn.BUDGET)

    async def slow_down(self, message: TaskMessage, retry_after: float | None) -> None:
        """Do nothing: the step that was refused has told it."""

    async def report(self) -> None:
        """Return what the steps have booked beyond their use."""
        await self._flow.report()


class AwaitItError(RuntimeError):
    """A chain has called its model without awaiting it: use `ainvoke`, also within a function of your own."""


_ASKED: ContextVar[str] = ContextVar("asked")


@contextmanager
def heard_as(model: str) -> Iterator[None]:
    """Say which model the answers of the HTTP client belong to."""
    token = _ASKED.set(model)
    try:
        yield
    finally:
        _ASKED.reset(token)


def http_client(on_headers: Callable[[str, Mapping[str, str]], None]) -> DefaultAioHttpClient:
    """Make the HTTP client of all chains, which tells what the provider says of its limits."""

    async def hear(response: httpx2.Response) -> None:
        on_headers(_ASKED.get(), response.headers)

    return DefaultAioHttpClient(event_hooks={"response": [hear]})


@dataclass(frozen=True, slots=True)
class Provider:
    """Hold what all calls of an environment share. `model` is the one that is asked where a chain names none."""

    checkpoints: Checkpoints
    flow: FlowControl
    concurrency: Concurrency
    slots: Slots
    prices: Prices
    key: KeySource
    base_url: str | None
    timeout_seconds: float
    model: str
    client: DefaultAioHttpClient

    def chat(self, model: str | None = None, **params: Any) -> ChatOpenAI:  # noqa: ANN401  # as ChatOpenAI takes them
        """Make a model for a chain; see `functions.workflow.workflow.Chat`."""
        made = StepModel(
            model=model or self.model,
            api_key=self.api_key,
            base_url=self.base_url or OPENAI_URL,
            # Ours is the one retry policy; a step is retried with its task.
            max_retries=0,
            timeout=httpx2.Timeout(self.timeout_seconds, connect=min(CONNECT_SECONDS, self.timeout_seconds)),
            http_async_client=self.client,
            stream_usage=True,
            # The whole call has its time; a pause between two pieces needs none of its own.
            stream_chunk_timeout=None,
            **params,
        )
        made.use(self)
        return made

    async def api_key(self) -> str:
        """Return the provider's key. ChatOpenAI knows a method to be awaited, and not an object that can be called."""
        return await self.key()

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self.key()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


class StepModel(ChatOpenAI):
    """Be a ChatOpenAI each of whose answers is a step of the current run."""

    _provider: Provider = PrivateAttr()

    def use(self, provider: Provider) -> None:
        """Take what the calls share."""
        self._provider = provider

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run = current_run()
        request = self._get_request_payload(messages, stop=stop, **kwargs)
        name = run.name(request)
        step = run.kept(name)
        if step is None:
            with run.branches.call():
                async with self._provider.slots.one(self._origin(run)):
                    run.branches.has_slot()
                    step = await self._step(run, request, messages, stop, kwargs)
                await self._keep(run, name, step)
            run.done(step)
        return ChatResult(generations=[ChatGeneration(message=step.message)])

    async def _step(
        self,
        run: Run,
        request: Mapping[str, Any],
        messages: list[BaseMessage],
        stop: list[str] | None,
        params: Mapping[str, Any],
    ) -> Step:
        """Make the call, when the shared limits let it start, and no longer than a call may take."""
        provider, question = self._provider, _question(run.message, self.model_name, request)
        permit = await provider.flow.start(question)
        if isinstance(permit, Held):
            raise CallHeld(permit.seconds, permit.code, permit.waiting_on)
        if permit.refusal is not None:
            raise ModelRefused(permit.refusal)
        with measured(provider.concurrency, self._origin(run), permit) as meter:
            try:
                with run.running() as texts, model_errors(), heard_as(self.model_name):
                    async with asyncio.timeout(provider.timeout_seconds):
                        chunks = await self._chunks(run, texts, meter, super()._astream(messages, stop, **params))
            except TimeoutError:
                raise ModelFailed(FailureCode.TIMEOUT) from None
            except ModelBusy as busy:
                await provider.flow.slow_down(question, busy.retry_after)
                raise
            step = _step_of(chunks, lambda usage: provider.prices.cost_nanos(self.model_name, usage))
            meter.usage = step.usage
        return step

    def _origin(self, run: Run) -> Origin:
        return Origin(self.model_name, run.message.task.ref.tenant)

    async def _chunks(
        self, run: Run, texts: list[str], meter: CallMeter, stream: AsyncIterator[ChatGenerationChunk]
    ) -> list[ChatGenerationChunk]:
        chunks: list[ChatGenerationChunk] = []
        try:
            async for chunk in stream:
                chunks.append(chunk)
                meter.take(chunk.text)
                if chunk.text:
                    run.add(texts, chunk.text)
        except APIError as error:
            if isinstance(error, APIStatusError | APIConnectionError):
                raise
            raise judge_in_stream(error.body, begun=bool(chunks)) from None
        return chunks

    async def _keep(self, run: Run, name: str, step: Step) -> None:
        """Keep a step for the attempts that may follow. Without the store the run goes on: the answer is in hand."""
        with suppress(StoreUnavailable):
            if not await self._provider.checkpoints.checkpoint(run.message.task, run.owner, name, step.encode()):
                raise LeaseLost("another attempt has the task")

    @override
    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise AwaitItError

    @override
    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        raise AwaitItError

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # In one piece: the text as it comes is the task's, and a chain sees whole answers, kept or new.
        result = await self._agenerate(messages, stop, run_manager, **kwargs)
        message = result.generations[0].message
        yield ChatGenerationChunk(message=AIMessageChunk(**message.model_dump(exclude={"type"})))


def _step_of(chunks: Sequence[ChatGenerationChunk], cost_of: Callable[[Usage | None], int | None]) -> Step:
    """Join the pieces of an answer.

    Raises:
        ModelRefused: content_policy, where the provider or the model itself refused.
        ModelFailed: stream_cut, where it ended without a finish reason.

    """
    whole = merge_chat_generation_chunks(list(chunks))
    message = None if whole is None else message_chunk_to_message(whole.message)
    if whole is None or not isinstance(message, AIMessage):
        raise ModelFailed(FailureCode.STREAM_CUT)
    facts = {**message.response_metadata, **(whole.generation_info or {})}
    reason = facts.get("finish_reason")
    if reason == "content_filter" or message.additional_kwargs.get("refusal"):
        raise ModelRefused(FailureCode.CONTENT_POLICY)
    if not reason:
        raise ModelFailed(FailureCode.STREAM_CUT)
    usage = _usage_of(message, facts)
    return Step(message, str(reason), usage, cost_of(usage))


def _usage_of(message: AIMessage, facts: Mapping[str, Any]) -> Usage | None:
    if (counts := message.usage_metadata) is not None:
        cached = counts.get("input_token_details", {}).get("cache_read") or 0
        return Usage(counts["input_tokens"], counts["output_tokens"], counts["total_tokens"], cached)
    # Structured answers come with the provider's own names.
    if raw := facts.get("token_usage"):
        cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return Usage(raw["prompt_tokens"], raw["completion_tokens"], raw["total_tokens"], cached)
    return None


def _question(message: TaskMessage, model: str, request: Mapping[str, Any]) -> TaskMessage:
    """Show one call of a chain as what the flow control knows: a prompt to a model."""
    params = {name: value for name, value in request.items() if name not in {"messages", "model"}}
    return replace(
        message,
        task=replace(message.task, model=model),
        messages=list(request.get("messages") or []),
        params=params,
    )
