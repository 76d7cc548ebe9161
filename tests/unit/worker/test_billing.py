"""What calls cost that bring no answer is booked: as billed, or by an estimate, and each call once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.api.pagination import MOST_ANSWER_BYTES, size_of
from common.domain.errors import CallHeld, ModelBusy, ModelError, ModelFailed, ModelRefused, Unavailable
from common.domain.prices import NO_PRICES
from common.domain.spending import Charge, Spend
from common.domain.task import Answer, BatchRecord, FailureCode, TaskRecord, TaskStatus, ToolCall, Usage, WaitingOn
from common.worker.billing import Billing
from common.worker.token_estimates import prompt_tokens
from tests.requests import chat
from tests.unit.worker.stage import EPOCH_MS, STOP_AT, USAGE, Script, Stage, answers, drips

DRIPPED = 25
"""Tokens of ten seconds of drips: their characters are more than a token's each."""

COST = 5 * 10 + 7 * 100
"""Of USAGE, in nano-dollars."""


def recorded(stage: Stage) -> TaskRecord:
    record = stage.record("prompt")
    assert record is not None
    return record


def batch_of(stage: Stage) -> BatchRecord:
    ref = stage.task("prompt").ref
    batch = stage.runner.run(stage.store.read_batch(ref.tenant, ref.batch_id))
    assert batch is not None
    return batch


def spent(stage: Stage) -> Spend:
    day = datetime.fromtimestamp(EPOCH_MS // 1000, UTC).date().isoformat()
    return stage.runner.run(stage.store.spend("acme", day))


def assert_estimated(stage: Stage, tokens: int, *, calls: int = 1) -> None:
    """Check that both sums have the prompt and so many tokens of an answer, for each call, and say that they guess."""
    prompt = prompt_tokens(stage.message("prompt"))
    usage = Usage(calls * prompt, calls * tokens, calls * (prompt + tokens))
    cost = calls * (10 * prompt + 100 * tokens)
    batch, day = batch_of(stage), spent(stage)
    assert (batch.usage, batch.cost_nanos) == (usage, cost)
    assert (batch.estimated_tokens, batch.estimated_nanos) == (usage.total_tokens, cost)
    assert day == Spend(
        0,
        *(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        cost_nanos=cost,
        estimated_tokens=usage.total_tokens,
        estimated_nanos=cost,
    )


def fails(error: ModelError, *, after: str = "", usage: Usage | None = None) -> Script:
    """Fail after a piece of text, if there is one; the provider may have told what it billed."""
    error.usage = usage

    async def script(on_text: Callable[[str], None]) -> Answer:
        if after:
            on_text(after)
        raise error

    return script


def silent() -> Script:
    """Never begin."""

    async def script(_: Callable[[str], None]) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    return script


# ─── Calls that are cut ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_is_cut_by_a_cancel_costs_its_prompt_and_the_tokens_that_came(stage: Stage) -> None:
    stage.model.scripts["prompt"] = drips()

    async def cancel_later() -> None:
        await asyncio.sleep(10.2)
        await stage.store.cancel([stage.task("prompt").ref])

    cancelling = stage.loop.create_task(cancel_later())
    stage.work(stage.delivery("prompt"))

    assert cancelling.done()
    assert recorded(stage).status is TaskStatus.CANCELLED
    assert_estimated(stage, DRIPPED * 11 // 10)  # until the next look at the lease


def test_a_call_that_is_cut_by_its_deadline_costs_its_prompt_and_the_tokens_that_came(stage: Stage) -> None:
    stage.model.scripts["prompt"] = drips()

    stage.work(stage.delivery("prompt", deadline_in=10.2))

    assert recorded(stage).code is FailureCode.DEADLINE_EXCEEDED
    assert_estimated(stage, DRIPPED)


def test_a_call_that_is_cut_by_the_end_of_the_invocation_costs_its_prompt_and_the_tokens_that_came(
    stage: Stage,
) -> None:
    stage.pass_time(STOP_AT - 10.2)
    stage.model.scripts["prompt"] = drips()

    stage.work(stage.delivery("prompt"), remaining=300 - STOP_AT + 10.2)

    assert recorded(stage).last_code is FailureCode.WORKER_STOPPED
    assert_estimated(stage, DRIPPED)


def test_calls_that_take_too_long_cost_their_prompts_though_no_token_came(stage: Stage) -> None:
    stage.model.scripts["prompt"] = silent()

    for _ in range(3):
        stage.work(stage.delivery("prompt"))

    assert recorded(stage).code is FailureCode.ATTEMPTS_EXHAUSTED
    assert_estimated(stage, 0, calls=3)


# ─── Calls that fail ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [ModelRefused(FailureCode.CONTENT_POLICY), ModelRefused(FailureCode.BAD_REQUEST)])
def test_a_refusal_that_the_provider_has_billed_costs_what_it_says_and_shows_it(
    stage: Stage, error: ModelError
) -> None:
    stage.model.scripts["prompt"] = fails(error, after="I c", usage=USAGE)

    stage.work(stage.delivery("prompt"))

    record, batch = recorded(stage), batch_of(stage)
    assert record.code is error.code
    assert (record.failed_usage, record.failed_cost_nanos) == (USAGE, COST)
    assert (batch.usage, batch.cost_nanos, batch.estimated_tokens) == (USAGE, COST, 0)
    assert spent(stage) == Spend(0, 5, 7, 12, cost_nanos=COST)


def test_each_failed_attempt_costs_what_the_provider_says(stage: Stage) -> None:
    stage.model.scripts["prompt"] = fails(ModelFailed(FailureCode.SERVER_ERROR), usage=USAGE)
    for _ in range(2):
        stage.work(stage.delivery("prompt"))
    stage.model.scripts["prompt"] = answers()
    stage.work(stage.delivery("prompt"))

    record, batch = recorded(stage), batch_of(stage)
    assert record.status is TaskStatus.COMPLETED
    assert record.answer is not None
    assert record.answer.usage == USAGE
    assert batch.usage == Usage(15, 21, 36)
    assert spent(stage).total_tokens == 36
    assert spent(stage).tasks == 1


@pytest.mark.parametrize(
    "error",
    [
        ModelFailed(FailureCode.CONNECTION),
        ModelFailed(FailureCode.STREAM_CUT),
        ModelFailed(FailureCode.SERVER_ERROR),
        ModelFailed(FailureCode.UNREADABLE_ANSWER),
        ModelRefused(FailureCode.CONTENT_POLICY),
    ],
)
def test_a_call_that_fails_amid_its_answer_costs_its_prompt_and_what_came(stage: Stage, error: ModelError) -> None:
    stage.model.scripts["prompt"] = fails(error, after="x" * 400)

    stage.work(stage.delivery("prompt"))

    assert_estimated(stage, 100)
    assert recorded(stage).failed_usage is None


@pytest.mark.parametrize(
    "error",
    [
        ModelFailed(FailureCode.CONNECTION),
        ModelFailed(FailureCode.SERVER_ERROR),
        ModelFailed(FailureCode.UNREADABLE_ANSWER),
        ModelBusy(FailureCode.RATE_LIMITED),
        ModelRefused(FailureCode.BAD_REQUEST),
        ModelRefused(FailureCode.CONTENT_POLICY),
        Unavailable(),
        CallHeld(1.0, None, WaitingOn.CAPACITY),
    ],
)
def test_a_call_that_the_model_has_not_begun_to_answer_costs_nothing(stage: Stage, error: Exception) -> None:
    async def refuse(_: Callable[[str], None]) -> Answer:
        raise error

    stage.model.scripts["prompt"] = refuse

    stage.work(stage.delivery("prompt"))

    assert "charge" not in stage.store.asked
    assert batch_of(stage).usage is None
    assert spent(stage) == Spend()


@pytest.mark.parametrize("code", [FailureCode.TIMEOUT, FailureCode.STREAM_CUT, FailureCode.NO_CONTENT])
def test_a_call_that_the_model_has_begun_unheard_costs_its_prompt(stage: Stage, code: FailureCode) -> None:
    stage.model.scripts["prompt"] = fails(ModelFailed(code))

    stage.work(stage.delivery("prompt"))

    assert_estimated(stage, 0)


# ─── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_of_a_provider_that_tells_no_usage_is_estimated_in_the_sums_alone(stage: Stage) -> None:
    async def answer(on_text: Callable[[str], None]) -> Answer:
        on_text("x" * 400)
        return Answer("x" * 400, "stop")

    stage.model.scripts["prompt"] = answer

    stage.work(stage.delivery("prompt"))

    record, batch, prompt = recorded(stage), batch_of(stage), prompt_tokens(stage.message("prompt"))
    assert record.answer == Answer("x" * 400, "stop")
    assert batch.usage == Usage(prompt, 100, prompt + 100)
    assert batch.estimated_tokens == prompt + 100
    assert (spent(stage).tasks, spent(stage).estimated_nanos) == (1, 10 * prompt + 100 * 100)


def test_an_answer_to_a_task_that_has_ended_meanwhile_costs_all_the_same(stage: Stage) -> None:
    async def answer(_: Callable[[str], None]) -> Answer:
        await stage.store.cancel([stage.task("prompt").ref])
        return Answer("late", "stop", USAGE, cost_nanos=COST)

    stage.model.scripts["prompt"] = answer

    stage.work(stage.delivery("prompt"))

    assert recorded(stage).status is TaskStatus.CANCELLED
    assert (batch_of(stage).usage, batch_of(stage).cost_nanos) == (USAGE, COST)
    assert spent(stage) == Spend(0, 5, 7, 12, cost_nanos=COST)


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\0", '"', "\\"])
@pytest.mark.parametrize("part", ["text", "arguments", "name", "finish_reason"])
def test_an_answer_is_kept_up_to_what_the_api_can_return(stage: Stage, letter: str, part: str) -> None:
    def answer_of(count: int) -> Answer:
        text = letter * count
        calls: dict[str, tuple[ToolCall, ...]] = {
            "arguments": (ToolCall("a", "f", text), ToolCall("b", "g", "{}")),
            "name": (ToolCall("a", text, "{}"),),
        }
        reason = text if part == "finish_reason" else "stop"
        return Answer(text if part == "text" else "", reason, USAGE, calls.get(part, ()), cost_nanos=COST)

    # The rest of the answer takes less than a thousand bytes
    each = size_of({"": letter}) - size_of({"": ""})
    most, too_many = (MOST_ANSWER_BYTES - 1_000) // each, MOST_ANSWER_BYTES // each

    def script_of(count: int) -> Script:
        async def script(_: Callable[[str], None]) -> Answer:
            return answer_of(count)

        return script

    stage.model.scripts = {"prompt": script_of(most), "large": script_of(too_many)}

    stage.work(stage.delivery("prompt"), stage.delivery("large"))

    assert recorded(stage).answer == answer_of(most)
    large = stage.record("large")
    assert large is not None
    assert (large.status, large.code, large.answer) == (TaskStatus.FAILED, FailureCode.ANSWER_TOO_LARGE, None)


def test_an_answer_that_is_too_large_is_paid_for_once_and_shows_what_it_has_cost(stage: Stage) -> None:
    async def answer(_: Callable[[str], None]) -> Answer:
        return Answer("x" * MOST_ANSWER_BYTES, "stop", USAGE, cost_nanos=COST)

    stage.model.scripts["prompt"] = answer

    assert stage.work(stage.delivery("prompt")) == [], "it does not come back"

    record, batch = recorded(stage), batch_of(stage)
    assert stage.model.calls == ["prompt"]
    assert (record.failed_usage, record.failed_cost_nanos) == (USAGE, COST)
    assert [attempt.code for attempt in record.attempts] == [FailureCode.ANSWER_TOO_LARGE]
    assert (batch.usage, batch.cost_nanos, batch.estimated_tokens) == (USAGE, COST, 0)
    assert spent(stage) == Spend(0, 5, 7, 12, cost_nanos=COST)


# ─── Around the store ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_charge_is_booked_once_the_store_is_back_and_before_the_task_is_released(stage: Stage) -> None:
    stage.model.scripts["prompt"] = fails(ModelFailed(FailureCode.SERVER_ERROR), usage=USAGE)
    stage.store.out, stage.store.outage = frozenset({"charge"}), (0.0, 5.0)

    stage.work(stage.delivery("prompt"))

    assert stage.store.asked[-1] == "release"
    assert stage.store.asked.count("charge") > 1
    assert batch_of(stage).usage == USAGE
    assert spent(stage).total_tokens == 12


def test_tools_and_bytes_count_in_the_estimate_of_a_prompt(stage: Stage) -> None:
    message = stage.message("prompt")
    plain, tools = prompt_tokens(message), {"tools": [{"type": "function", "function": {"name": "x" * 4_000}}]}
    message = replace(message, request=chat("prompt", **tools))

    assert prompt_tokens(message) > plain + 1_000
    message = replace(message, request=chat("語" * 1_000, **tools))
    assert prompt_tokens(message) > plain + 1_750


def test_a_call_of_a_model_without_a_price_is_counted_and_not_in_the_cost(stage: Stage) -> None:
    message = stage.message("prompt")
    prompt = prompt_tokens(message)

    charge = Billing(NO_PRICES).failed(message, ModelFailed(FailureCode.TIMEOUT), 3)

    assert charge == Charge(Usage(prompt, 3, prompt + 3), None, unpriced=1, estimated_tokens=prompt + 3)
