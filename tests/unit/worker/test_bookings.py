"""What a call books of the tokens of a minute, and that it gives back what it has not used, however it ends."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.domain.errors import CallHeld, ModelBusy, ModelFailed, ModelRefused, Unavailable
from common.domain.message import TaskMessage
from common.domain.rate_limits import MOST_ANSWER_TOKENS, Limit, model_scope, tenant_scope
from common.domain.task import Answer, FailureCode, TaskStatus, WaitingOn
from common.domain.transitions import Lease
from common.kinds.tokens import MEDIA_TOKENS
from common.worker.deadlines import margin_of
from common.worker.limits import RateLimitSettings
from common.worker.message import OutcomeKind
from common.worker.token_estimates import answer_tokens, prompt_tokens
from tests.requests import chat
from tests.unit.worker.stage import USAGE, WORKER_TIMEOUT, Script, Stage, drips, raises

type MakeStage = Callable[..., Stage]

MODEL = model_scope("gpt-test")
TENANT = tenant_scope("acme")
MINUTE = 60_000
BOOKED = 50_000
MARGIN = margin_of(WORKER_TIMEOUT)


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(limits=RateLimitSettings({"*": Limit(tokens=MINUTE)}))


def prompt_of(stage: Stage) -> int:
    return prompt_tokens(stage.message("prompt"))


def work(
    stage: Stage,
    script: Script | None = None,
    *,
    deadline_in: float = 6 * 3600.0,
    remaining: float = WORKER_TIMEOUT,
) -> None:
    """Work on one task whose answer is expected to be long."""
    if script:
        stage.model.scripts["prompt"] = script
    delivery = stage.delivery("prompt", expected_tokens=BOOKED, deadline_in=deadline_in)
    stage.work(delivery, remaining=remaining)


def begins(then: Exception) -> Script:
    """Answer two pieces, and fail."""

    async def script(hear: Callable[[str], None]) -> Answer:
        hear("one ")
        hear("two ")
        await asyncio.sleep(1)
        raise then

    return script


# ─── Calls that were made ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_books_its_prompt_and_its_expected_answer(stage: Stage) -> None:
    work(stage)

    assert stage.flows.booked == [[prompt_of(stage) + BOOKED]]


def test_an_answer_keeps_what_the_provider_counts(stage: Stage) -> None:
    work(stage)

    assert stage.flows.tokens[MODEL] == USAGE.total_tokens


def test_an_answer_that_nobody_counts_keeps_the_prompt_and_what_was_seen(stage: Stage) -> None:
    async def uncounted(hear: Callable[[str], None]) -> Answer:
        for _ in range(100):
            hear("word ")
        return Answer("word " * 100, "stop")

    work(stage, uncounted)

    assert stage.flows.tokens[MODEL] == prompt_of(stage) + 125


@pytest.mark.parametrize(
    "error",
    [
        ModelBusy(FailureCode.RATE_LIMITED, retry_after=1),
        ModelRefused(FailureCode.BAD_REQUEST),
        CallHeld(1.0, None, WaitingOn.RATE_LIMIT),
        Unavailable(),
    ],
)
def test_a_call_that_was_refused_gives_all_back(stage: Stage, error: Exception) -> None:
    work(stage, raises(error))

    assert stage.flows.tokens[MODEL] == 0


@pytest.mark.parametrize("error", [ModelFailed(FailureCode.SERVER_ERROR), ValueError("unforeseen")])
def test_a_call_that_failed_keeps_its_prompt(stage: Stage, error: Exception) -> None:
    work(stage, raises(error))

    assert stage.flows.tokens[MODEL] == prompt_of(stage)


@pytest.mark.parametrize(
    "error", [ModelFailed(FailureCode.STREAM_CUT), ModelRefused(FailureCode.CONTENT_POLICY), ValueError("unforeseen")]
)
def test_a_call_that_failed_amid_its_answer_keeps_what_was_seen_of_it(stage: Stage, error: Exception) -> None:
    work(stage, begins(error))

    assert stage.flows.tokens[MODEL] == prompt_of(stage) + 2


def test_a_refusal_with_the_providers_count_keeps_that(stage: Stage) -> None:
    refused = ModelRefused(FailureCode.CONTENT_POLICY)
    refused.usage = USAGE

    work(stage, raises(refused))

    assert stage.flows.tokens[MODEL] == USAGE.total_tokens


@pytest.mark.parametrize(
    ("how", "seconds"),
    [({}, 120), ({"deadline_in": 30.0}, 30), ({"remaining": 40.0}, 40 - MARGIN)],
    ids=["timeout", "deadline", "stop"],
)
def test_a_call_that_is_cut_keeps_what_was_seen(stage: Stage, how: dict[str, float], seconds: float) -> None:
    work(stage, drips(every=0.1), **how)

    seen = stage.flows.tokens[MODEL] - prompt_of(stage)
    assert seen == pytest.approx(seconds * 10 * len("drip ") / 4, rel=0.01)


def test_a_task_that_is_cancelled_amid_its_answer_keeps_what_was_seen(stage: Stage) -> None:
    async def cancelled(hear: Callable[[str], None]) -> Answer:
        hear("one")
        await stage.store.cancel([stage.task("prompt").ref])
        return await drips(every=1000)(hear)

    work(stage, cancelled)

    assert stage.journal.endings["prompt"].kind is OutcomeKind.LOST
    assert stage.flows.tokens[MODEL] == prompt_of(stage) + 1


# ─── Calls that were not made ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_has_ended_gives_all_back(stage: Stage) -> None:
    work(stage)
    work(stage)

    assert stage.journal.endings["prompt"].kind is OutcomeKind.DUPLICATE
    assert stage.flows.tokens[MODEL] == USAGE.total_tokens


def test_a_task_that_another_worker_holds_gives_all_back(stage: Stage) -> None:
    stage.runner.run(stage.store.claim(Lease(stage.task("prompt"), "another", 60_000, 3)))

    work(stage)

    assert stage.journal.endings["prompt"].kind is OutcomeKind.BUSY
    assert stage.flows.tokens[MODEL] == 0


def test_a_task_that_cannot_be_claimed_gives_all_back(stage: Stage) -> None:
    stage.store.goes_down("claim")

    work(stage)

    assert stage.flows.tokens[MODEL] == 0


def test_a_start_that_came_too_late_gives_all_back(stage: Stage) -> None:
    stage.store.claim_takes = 0.6

    work(stage)

    assert stage.model.calls == []
    assert stage.flows.tokens[MODEL] == 0


@pytest.mark.parametrize("seconds", [5.0, 9.5], ids=["before its start", "right after it"])
def test_a_start_for_which_no_time_is_left_gives_all_back(stage: Stage, seconds: float) -> None:
    stage.flows.paused_until = 9.0

    work(stage, remaining=MARGIN + seconds)

    assert stage.journal.endings["prompt"].kind is OutcomeKind.UNSTARTED
    # Little is left to the next question: whoever asks it brings that, too.
    assert stage.flows.tokens[MODEL] == 0


def test_what_its_model_denies_a_call_it_gives_back_to_its_tenant(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(requests=5)}, of_tenant=Limit(tokens=MINUTE)))
    stage.work(stage.delivery("first"), stage.delivery("prompt", expected_tokens=BOOKED))

    assert stage.journal.endings["prompt"].kind is OutcomeKind.HELD
    assert stage.flows.tokens[TENANT] < 1_000


def test_a_task_past_its_deadline_books_nothing(stage: Stage) -> None:
    stage.pass_time(100)

    work(stage, deadline_in=90.0)

    assert (stage.flows.booked, stage.model.calls) == ([], [])
    record = stage.record("prompt")
    assert record is not None
    assert record.code is FailureCode.DEADLINE_EXCEEDED


# ─── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_guess_is_booked_no_further_than_a_model_answers(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(tokens=10_000_000)}))

    stage.work(stage.delivery("prompt", expected_tokens=10_000_000))

    assert stage.flows.booked == [[prompt_of(stage) + MOST_ANSWER_TOKENS]]


@pytest.mark.parametrize(
    "limits",
    [RateLimitSettings({"*": Limit(tokens=MINUTE)}), RateLimitSettings({}, of_tenant=Limit(tokens=MINUTE))],
    ids=["its model's", "its tenant's"],
)
def test_a_call_larger_than_a_minutes_tokens_fails_and_books_nothing(
    make_stage: MakeStage, limits: RateLimitSettings
) -> None:
    stage = make_stage(limits=limits)

    assert stage.work(stage.delivery("prompt", expected_tokens=MINUTE)) == []

    record = stage.record("prompt")
    assert record is not None
    assert (record.status, record.code) == (TaskStatus.FAILED, FailureCode.REQUEST_TOO_LARGE)
    assert stage.model.calls == []
    assert not any(stage.flows.tokens.values())


# ─── Estimates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_parts(stage: Stage, *parts: dict[str, Any]) -> TaskMessage:
    return replace(stage.message("prompt"), request=chat(list(parts)))


def test_an_image_counts_as_an_image_and_not_as_the_text_of_its_bytes(stage: Stage) -> None:
    text = {"type": "text", "text": "What is this?"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}

    alone, with_image = of_parts(stage, text), of_parts(stage, text, image)

    assert prompt_tokens(with_image) == prompt_tokens(alone) + MEDIA_TOKENS


def test_a_limit_of_the_answer_bounds_the_guess_of_its_length(stage: Stage) -> None:
    assert answer_tokens(stage.message("prompt", params={"max_completion_tokens": 70}, expected_tokens=900)) == 70
