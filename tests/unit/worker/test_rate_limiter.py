"""What waits: for the shared rate, for a pause, for the tenant's cap. No attempt and no receive may be lost by it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from common.domain.errors import ModelBusy, ModelFailed, StoreUnavailable
from common.domain.message import TaskMessage
from common.domain.rate_limits import HORIZON_MS, Limit
from common.domain.task import Answer, FailureCode, TaskStatus, WaitingOn
from common.domain.transitions import Claim, Lease
from common.worker.limits import RateLimitSettings
from common.worker.message import OutcomeKind
from common.worker.runner import TENANT_CAP_RETRY_SECONDS
from common.worker.token_estimates import answer_tokens, prompt_tokens
from tests.unit.worker.stage import USAGE, Stage, answers, raises

type MakeStage = Callable[..., Stage]

ONE_A_SECOND = RateLimitSettings({"*": Limit(requests=60)})
PROMPTS = [f"prompt {n}" for n in range(10)]


def estimate_of(message: TaskMessage) -> int:
    return prompt_tokens(message) + answer_tokens(message)


# ─── The shared rate ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_calls_start_at_the_times_they_are_given_and_one_question_books_them_all(make_stage: MakeStage) -> None:
    stage = make_stage(limits=ONE_A_SECOND)

    assert stage.work(*(stage.delivery(prompt) for prompt in PROMPTS)) == []

    assert list(stage.model.started_at.values()) == pytest.approx(range(10), abs=0.01)
    assert [len(costs) for costs in stage.flows.booked] == [10]


def test_what_is_due_too_far_ahead_goes_back_and_costs_no_attempt(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(requests=5)}))

    assert stage.work(stage.delivery("one"), stage.delivery("two")) == ["two"]

    assert stage.model.calls == ["one"]
    ending = stage.journal.endings["two"]
    assert (ending.kind, ending.code, ending.attempt) == (OutcomeKind.HELD, FailureCode.RATE_LIMITED, None)
    assert stage.queue.waits["two"] == pytest.approx(6.6), "half of its 12 seconds: it has to book before its turn"


def test_a_queued_task_shows_what_it_waits_for(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(requests=5)}))
    for prompt in ("one", "two"):
        stage.model.scripts[prompt] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=1), seconds=0)
        stage.work(stage.delivery(prompt))
        stage.pass_time(60)
        stage.model.scripts[prompt] = answers()

    stage.work(stage.delivery("one"), stage.delivery("two"))

    record = stage.record("two")
    assert record is not None
    assert (record.status, record.waiting_on) == (TaskStatus.QUEUED, WaitingOn.RATE_LIMIT)


def test_a_start_that_is_late_by_then_is_left_unused_and_another_is_booked(make_stage: MakeStage) -> None:
    # GIVEN a reply that takes so long that nobody knows when the start was
    stage = make_stage(limits=ONE_A_SECOND)
    stage.flows.takes = 0.7
    loop = stage.loop
    loop.call_later(0.6, lambda: setattr(stage.flows, "takes", 0.0))

    assert stage.work(stage.delivery("prompt")) == []

    assert len(stage.flows.booked) == 2


def test_a_claim_that_takes_too_long_gives_the_start_up_with_a_refund(make_stage: MakeStage) -> None:
    stage = make_stage(limits=ONE_A_SECOND)
    stage.store.claim_takes = 0.6

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    record = stage.record("prompt")
    assert record is not None
    assert (record.attempts, record.waiting_on) == ((), WaitingOn.RATE_LIMIT)
    assert stage.model.calls == []
    assert stage.queue.waits == {"prompt": 0}


def test_what_a_call_used_beyond_its_guess_is_told_with_the_next_question(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(tokens=1_000_000)}))
    guess = estimate_of(stage.message("one"))

    stage.work(stage.delivery("one"))
    stage.work(stage.delivery("two"))

    assert [feedback.tokens for feedback in stage.flows.feedback] == [0, USAGE.total_tokens - guess]
    assert stage.flows.booked == [[guess], [guess]]


def test_a_call_that_was_refused_used_nothing(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(tokens=1_000_000)}))
    stage.model.scripts["one"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=1))

    stage.work(stage.delivery("one"))
    stage.work(stage.delivery("two"))

    assert stage.flows.feedback[1].tokens == -estimate_of(stage.message("one"))


def test_the_providers_headers_are_told_with_the_next_question(make_stage: MakeStage) -> None:
    stage = make_stage(limits=ONE_A_SECOND)

    async def hears(_: Callable[[str], None]) -> Answer:
        stage.flow.record_headers(
            "gpt-test",
            {
                "x-ratelimit-limit-requests": "30",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "8s",
            },
        )
        await asyncio.sleep(1)
        return Answer("fine", "stop")

    stage.model.scripts["one"] = hears
    stage.work(stage.delivery("one"))
    stage.work(stage.delivery("two"))

    feedback = stage.flows.feedback[1]
    assert (feedback.provider, feedback.token_wait_ms) == (Limit(requests=30), 7_000)


def test_a_tenant_over_its_own_rate_waits_before_it_takes_a_place_of_the_models(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({}, of_tenant=Limit(requests=60)))

    assert stage.work(*(stage.delivery(prompt) for prompt in PROMPTS[:3])) == []

    assert list(stage.model.started_at.values()) == pytest.approx([0, 1, 2], abs=0.01)


def test_where_the_flow_cannot_be_asked_nothing_starts(make_stage: MakeStage) -> None:
    stage = make_stage(limits=ONE_A_SECOND)
    stage.flows.is_down = True

    assert stage.work(*(stage.delivery(prompt) for prompt in PROMPTS)) == PROMPTS

    assert {ending.kind for ending in stage.journal.endings.values()} == {OutcomeKind.UNAVAILABLE}
    stage.flows.is_down = False
    assert stage.work(stage.delivery("prompt")) == []


def test_what_still_waits_for_its_start_at_the_soft_stop_comes_back_and_the_line_stands_again(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(limits=ONE_A_SECOND)
    stage.flows.takes = 50.0

    assert stage.work(stage.delivery("one"), stage.delivery("two"), remaining=20) == ["one", "two"]

    stage.flows.takes = 0.0
    assert stage.work(stage.delivery("one"), stage.delivery("two")) == []


# ─── Pauses ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_limits_only_a_pause_is_asked_for_and_at_most_once_a_second(stage: Stage) -> None:
    stage.model.scripts = {prompt: answers(seconds=0.4) for prompt in PROMPTS}

    for half in (PROMPTS[:5], PROMPTS[5:]):
        assert stage.work(*(stage.delivery(prompt) for prompt in half)) == []

    assert [len(costs) for costs in stage.flows.booked] == [5]
    stage.pass_time(0.3)
    stage.work(stage.delivery("another"))
    assert [len(costs) for costs in stage.flows.booked] == [5, 1]


def test_a_refusal_for_rate_pauses_the_model_for_all(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=20))

    stage.work(stage.delivery("prompt"))

    assert stage.flows.paused_until == stage.loop.now + 20


def test_a_short_pause_is_waited_for(stage: Stage) -> None:
    stage.flows.paused_until = HORIZON_MS / 1000

    assert stage.work(stage.delivery("prompt")) == []

    assert stage.model.started_at["prompt"] == pytest.approx(10)


def test_a_long_pause_sends_everything_back_unclaimed(stage: Stage) -> None:
    stage.flows.paused_until = 40.0

    assert stage.work(*(stage.delivery(prompt) for prompt in PROMPTS)) == PROMPTS

    assert stage.model.calls == []
    assert stage.queue.waits == pytest.approx(dict.fromkeys(PROMPTS, 44)), "and up to a tenth, not all at once"
    assert {ending.code for ending in stage.journal.endings.values()} == {FailureCode.PAUSED}
    assert [len(costs) for costs in stage.flows.booked] == [10]


def test_a_pause_that_is_over_in_the_store_is_over_here_however_long_we_were_frozen(stage: Stage) -> None:
    stage.model.scripts["prompt"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=60))
    stage.work(stage.delivery("prompt"))
    stage.flows.paused_until = 0.0

    assert stage.work(stage.delivery("another")) == []

    assert stage.loop.now < 5


def test_a_pause_that_comes_up_while_a_start_is_waited_for_holds_it(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({"*": Limit(requests=10)}))
    stage.model.scripts["one"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=9))

    assert stage.work(stage.delivery("one"), stage.delivery("two")) == ["one"]

    assert stage.model.started_at["two"] >= 10


# ─── The tenant's cap ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_calls_of_a_tenant_run_than_its_share_and_it_is_given_back(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({}, tenant_in_flight=3))

    assert stage.work(*(stage.delivery(prompt) for prompt in PROMPTS)) == []

    assert list(stage.model.started_at.values()) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert stage.flows.shared == [{"acme": 10}, {"acme": 0}]


def test_a_tenant_that_has_all_its_calls_in_flight_comes_back(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({}, tenant_in_flight=3))
    stage.flows.in_flight = 3

    assert stage.work(stage.delivery("prompt")) == ["prompt"]

    assert stage.model.calls == []
    assert stage.queue.waits == {"prompt": pytest.approx(TENANT_CAP_RETRY_SECONDS * 1.1)}
    assert stage.journal.endings["prompt"].kind is OutcomeKind.HELD


def test_without_a_cap_no_share_is_asked_for(stage: Stage) -> None:
    stage.work(stage.delivery("prompt"))

    assert stage.flows.shared == []


# ─── Receives ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_has_only_waited_is_sent_anew_from_its_second_receive_on_and_acknowledged(stage: Stage) -> None:
    stage.flows.paused_until = 40.0

    back = stage.work(
        stage.delivery("fresh"), stage.delivery("second", receives=2), stage.delivery("third", receives=3)
    )

    assert back == ["fresh"]
    assert stage.queue.sent == pytest.approx({"second": 44, "third": 44})
    assert set(stage.queue.waits) == {"fresh"}


def test_a_copy_of_a_suspect_is_a_suspect(stage: Stage) -> None:
    copy = replace(stage.delivery("copy"), is_marked=True)

    stage.work(copy, stage.delivery("fresh"))

    assert stage.model.beside["copy"] == set()


def test_a_rate_limit_of_the_providers_and_a_lack_of_time_are_waiting_too(stage: Stage) -> None:
    stage.model.scripts["limited"] = raises(ModelBusy(FailureCode.RATE_LIMITED, retry_after=5))

    assert stage.work(stage.delivery("limited", receives=2)) == []
    assert set(stage.queue.sent) == {"limited"}
    assert stage.work(stage.delivery("late", receives=2), remaining=8.5) == []
    assert stage.queue.sent == {"late": 0}


def test_a_failed_attempt_is_no_waiting(stage: Stage) -> None:
    stage.store.goes_down("claim")

    assert stage.work(stage.delivery("prompt", receives=2)) == ["prompt"]

    assert stage.queue.sent == {}


def test_a_task_can_wait_for_ever_without_using_up_its_receives_or_its_attempts(stage: Stage) -> None:
    receives, most_receives = 0, 0
    for _ in range(40):
        stage.flows.paused_until = stage.loop.now + 40
        receives += 1
        most_receives = max(most_receives, receives)
        if stage.work(stage.delivery("prompt", receives=receives)) == []:
            receives = 0
        stage.pass_time(20)
    stage.pass_time(60)

    assert stage.work(stage.delivery("prompt", receives=receives + 1)) == []

    record = stage.record("prompt")
    assert record is not None
    assert (record.status, len(record.attempts), most_receives) == (TaskStatus.COMPLETED, 1, 2)


def test_what_cannot_be_sent_anew_becomes_visible_again(stage: Stage) -> None:
    stage.flows.paused_until = 40.0
    stage.queue.refuses = True

    assert stage.work(stage.delivery("prompt", receives=2)) == ["prompt"]

    assert set(stage.queue.waits) == {"prompt"}


def test_a_copy_that_hangs_takes_neither_those_that_were_sent_nor_the_others_with_it(stage: Stage) -> None:
    stage.flows.paused_until = 40.0
    stage.queue.hangs_at = "hangs"

    back = stage.work(stage.delivery("first", receives=2), stage.delivery("hangs", receives=2), stage.delivery("fresh"))

    assert set(back) == {"hangs", "fresh"}
    assert set(stage.queue.sent) == {"first"}
    assert set(stage.queue.waits) == {"fresh"}


# ─── A claim whose reply was lost ─────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_whose_reply_was_lost_is_taken_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = stage.store.claim

    async def claim_and_lose_the_reply(lease: Lease) -> Claim:
        await claim(lease)
        raise StoreUnavailable

    monkeypatch.setattr(stage.store, "claim", claim_and_lose_the_reply)
    assert stage.work(stage.delivery("prompt")) == ["prompt"]
    monkeypatch.setattr(stage.store, "claim", claim)

    record = stage.record("prompt")
    assert record is not None
    assert (record.status, record.attempts) == (TaskStatus.QUEUED, ())
    assert record.waiting_on is WaitingOn.CAPACITY
    assert stage.work(stage.delivery("prompt")) == []


# ─── Concurrency ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "at_once"),
    [
        (ModelBusy(FailureCode.RATE_LIMITED, retry_after=1), 5),
        (ModelFailed(FailureCode.SERVER_ERROR), 5),
        (ModelFailed(FailureCode.STREAM_CUT), 10),
    ],
)
def test_after_refusals_fewer_calls_run_at_once_and_after_cut_streams_as_many(
    stage: Stage, error: Exception, at_once: int
) -> None:
    for prompt in PROMPTS:
        stage.model.scripts[prompt] = raises(error)
    stage.work(*(stage.delivery(prompt) for prompt in PROMPTS))
    stage.pass_time(60)
    stage.model.scripts.clear()
    stage.model.started_at.clear()

    stage.work(*(stage.delivery(prompt) for prompt in PROMPTS))

    first = min(stage.model.started_at.values())
    assert sum(start == first for start in stage.model.started_at.values()) == at_once
