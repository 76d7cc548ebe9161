"""Make a chain's model calls: within the shared limits, with streaming to the task, and with a checkpoint of each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn, Protocol, override

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr

from common.domain.errors import (
    CallHeld,
    ModelBusy,
    ModelCrashed,
    ModelFailed,
    ModelRefused,
    SluiceError,
    StoreUnavailable,
    Unavailable,
)
from common.domain.message import TaskMessage
from common.domain.rate_limits import RefusalCause
from common.domain.request import Kind, Request
from common.domain.spending import Charge
from common.domain.task import Answer, FailureCode, Task, WaitingOn
from common.domain.transitions import KeptStep
from common.worker.billing import Billing
from common.worker.budget_guard import BudgetGuard
from common.worker.concurrency import AdaptiveConcurrency, Origin
from common.worker.model_call import NO_BILLING
from common.worker.permit import Permit
from common.worker.provider_model import ProviderModel
from common.worker.rate_limiter import Deferred, RateLimiter
from common.worker.semaphore import ResizableSemaphore
from functions.workflow.answers import message_of, response_format_of
from functions.workflow.call_meter import measured
from functions.workflow.chain_run import ChainRun, current_run
from functions.workflow.step import Step


class Checkpoints(Protocol):
    """Store of completed steps, beside the task's record; may raise StoreUnavailable."""

    async def checkpoint(self, task: Task, owner: str, kept: KeptStep) -> bool:
        """Store a step and book its cost; return whether the owner still has the lease of the task."""


class LeaseLost(Unavailable):
    """Another worker has the lease, or the task was cancelled, so further steps are useless."""


class BudgetLimiter:
    """Start every task's chain if its tenant has a budget left. The rate limiter applies to each of its calls."""

    def __init__(self, budget: BudgetGuard, flow: RateLimiter) -> None:
        """Create a limiter from the guard of budgets and the rate limiter of the steps."""
        self._budget = budget
        self._flow = flow

    async def wait_for_start(self, message: TaskMessage) -> Permit | Deferred:
        """Permit the start, or defer it until the budget is renewed."""
        seconds = await self._budget.deferral_seconds(message)
        return Permit() if seconds is None else Deferred(seconds, waiting_on=WaitingOn.BUDGET)

    async def slow_down(self, message: TaskMessage, busy: ModelBusy, *, is_known: bool) -> RefusalCause:  # noqa: ARG002  # as the protocol has them
        """Return the cause that the refused step has determined."""
        return busy.cause or RefusalCause.MODEL

    async def report(self) -> None:
        """Return the unused reservations of the steps."""
        await self._flow.report()


class AwaitItError(RuntimeError):
    """A chain has called its model synchronously; use `ainvoke`, also in your own functions."""


SERVICES_OWN: Final = frozenset(
    {
        *("api_key", "openai_api_key", "base_url", "openai_api_base", "organization", "openai_organization"),
        *("default_headers", "default_query", "include_response_headers", "openai_proxy"),
        *("client", "async_client", "root_client", "root_async_client"),
        *("http_client", "http_async_client", "http_socket_options"),
        *("timeout", "request_timeout", "max_retries", "stream_usage", "stream_chunk_timeout", "use_responses_api"),
    }
)
"""Parameters of ChatOpenAI that only the service sets: address, credentials, connections and timeouts."""

_REQUEST_OPTIONS: Final = frozenset({"extra_headers", "extra_query", "timeout"})
"""Keywords of the SDK's methods that are not part of the request's body, unlike `extra_body`."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The shared parts of all calls of an environment. `model` is the default model of chains."""

    checkpoints: Checkpoints
    flow: RateLimiter
    concurrency: AdaptiveConcurrency
    slots: ResizableSemaphore
    chat_model: ProviderModel
    timeout_seconds: float
    model: str
    billing: Billing = NO_BILLING

    def chat(self, model: str | None = None, **params: Any) -> ChatOpenAI:  # noqa: ANN401  # as ChatOpenAI takes them
        """Create a model for a chain; see `functions.workflow.workflow.Chat`."""
        if decided := sorted(SERVICES_OWN & params.keys()):
            raise TypeError(f"chat() takes no {decided[0]}: the service decides it")
        made = StepModel(
            model=model or self.model,
            # The service always uses chat completions; LangChain would choose the API by the model's name.
            use_responses_api=False,
            client=_NoClient(),
            async_client=_NoClient(),
            **params,
        )
        made.use(self)
        return made

    async def prepare(self) -> None:
        """Fetch the provider's key; raise Unavailable without it."""
        await self.chat_model.prepare()

    async def close(self) -> None:
        """Close the connections."""
        await self.chat_model.close()


class _NoClient:
    """Replace LangChain's SDK clients: calls past the service's limits are refused."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AwaitItError


class StepModel(ChatOpenAI):
    """A ChatOpenAI whose answers are steps of the current run."""

    _provider: Provider = PrivateAttr()

    def use(self, provider: Provider) -> None:
        """Set the shared parts of the calls."""
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
        step = run.checkpointed(name)
        if step is None:
            with run.branches.call():
                async with self._provider.slots.acquire(self._origin(run)):
                    run.branches.mark_started()
                    step, charge = await self._step(run, request)
                await self._keep(run, KeptStep(name, step.encode(), charge))
            run.done(step)
        return ChatResult(generations=[ChatGeneration(message=step.message)])

    async def _step(self, run: ChainRun, request: Mapping[str, Any]) -> tuple[Step, Charge]:
        """Make the call within the shared limits and its timeout.

        If it fails, its charge is added to the attempt's bill.
        """
        provider, schema = self._provider, request.get("response_format")
        question = _question(run.message, self.model_name, request)
        permit = await provider.flow.wait_for_start(question)
        if isinstance(permit, Deferred):
            raise CallHeld(permit.seconds, permit.code, permit.waiting_on)
        if permit.refusal is not None:
            raise ModelRefused(permit.refusal)
        with measured(provider.concurrency, self._origin(run), permit) as meter, run.running() as texts:

            def take(text: str) -> None:
                meter.take(text)
                if text:
                    run.add(texts, text)

            try:
                answer = await self._answer(run, question, take)
            except BaseException as error:
                run.bill.add(provider.billing.failed(question, error, meter.tokens))
                raise
            meter.usage = answer.usage
        charge = provider.billing.answered(question, answer, meter.tokens)
        message = message_of(answer, self.model_name, schema)
        return Step(message, answer.finish_reason, answer.usage, answer.cost_nanos), charge

    async def _answer(self, run: ChainRun, question: TaskMessage, on_text: Callable[[str], None]) -> Answer:
        ends_at = asyncio.get_running_loop().time() + self._provider.timeout_seconds
        timer = asyncio.timeout_at(ends_at)
        try:
            async with timer:
                return await self._provider.chat_model.ask(question, on_text, ends_at=min(ends_at, run.ends_at))
        except ModelBusy as busy:
            busy.cause = await self._provider.flow.slow_down(question, busy, is_known=run.own_refusals > 0)
            if busy.cause is RefusalCause.SIZE:
                raise ModelRefused(FailureCode.REQUEST_TOO_LARGE) from None
            raise
        except SluiceError:
            raise
        except Exception as error:  # noqa: BLE001  # the last resort, as for a prompt
            if isinstance(error, TimeoutError) and timer.expired():
                raise ModelFailed(FailureCode.TIMEOUT) from None
            # Otherwise it would count as an exception of the chain's own code, and fail the task permanently.
            raise ModelCrashed(error) from None

    def _origin(self, run: ChainRun) -> Origin:
        return Origin(self.model_name, run.message.task.ref.tenant)

    async def _keep(self, run: ChainRun, kept: KeptStep) -> None:
        """Store a step for later attempts. If the store is unavailable, the run continues with the answer."""
        is_kept = False
        try:
            with suppress(StoreUnavailable):
                is_kept = await self._provider.checkpoints.checkpoint(run.message.task, run.owner, kept)
                if not is_kept:
                    raise LeaseLost("another attempt has the task")
        finally:
            if not is_kept:
                run.bill.add(kept.charge)

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
        # In one piece: the partial text goes to the task, and a chain receives whole answers, new or from a checkpoint.
        result = await self._agenerate(messages, stop, run_manager, **kwargs)
        message = result.generations[0].message
        yield ChatGenerationChunk(message=AIMessageChunk(**message.model_dump(exclude={"type"})))


def _question(message: TaskMessage, model: str, request: Mapping[str, Any]) -> TaskMessage:
    """Convert one call of a chain to a prompt."""
    if options := sorted(_REQUEST_OPTIONS & request.keys()):
        raise TypeError(f"a call takes no {options[0]}: the service decides it")
    params = {name: value for name, value in request.items() if name not in {"messages", "model", "extra_body"}}
    if (schema := request.get("response_format")) is not None:
        params["response_format"] = response_format_of(schema)
    return replace(
        message,
        task=replace(message.task, kind=Kind.CHAT, model=model),
        request=Request(
            Kind.CHAT, params | dict(request.get("extra_body") or {}) | {"messages": list(request["messages"])}
        ),
    )
