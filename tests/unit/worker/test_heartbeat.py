"""How long messages and leases outlive the worker that holds them."""

import asyncio
from collections.abc import Callable

from common.domain.errors import ModelFailed
from common.domain.task import Answer, FailureCode, TaskStatus
from common.domain.transitions import Claim, ClaimOutcome, Lease
from common.worker.deadlines import LEASE_GRACE_SECONDS
from common.worker.limits import RateLimitSettings
from common.worker.message import OutcomeKind
from tests.unit.worker.stage import LEASE_SECONDS, USAGE, WORKER_TIMEOUT, Stage, answers, raises

type MakeStage = Callable[..., Stage]

BEAT = LEASE_SECONDS / 2
HIDDEN = LEASE_SECONDS + BEAT


def claimed_meanwhile(stage: Stage, at: float, seconds: float) -> list[Claim]:
    """Have the call of `prompt` take so long, and another worker claim the task in the middle of it."""
    claims: list[Claim] = []

    async def script(_: Callable[[str], None]) -> Answer:
        await asyncio.sleep(at)
        claims.append(await stage.store.claim(Lease(stage.task("prompt"), "somebody", 1_000, 3)))
        await asyncio.sleep(seconds - at)
        return Answer("fine", "stop", USAGE)

    stage.model.scripts["prompt"] = script
    return claims


# ─── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_work_that_is_over_before_the_first_heartbeat_costs_no_request(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers(seconds=BEAT - 0.1)

    assert stage.work(stage.delivery("prompt")) == []

    assert stage.queue.hidden == []


def test_the_message_of_a_long_call_is_hidden_for_a_short_time_again_and_again(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers(seconds=3.5 * BEAT)

    assert stage.work(stage.delivery("prompt")) == []

    assert stage.queue.hidden == [{"prompt": HIDDEN}] * 3


def test_a_message_that_waits_for_its_turn_is_hidden_too(make_stage: MakeStage) -> None:
    stage = make_stage(concurrency=1)
    stage.model.scripts["first"] = answers(seconds=1.5 * BEAT)

    assert stage.work(stage.delivery("first"), stage.delivery("second")) == []

    assert stage.queue.hidden == [{"first": HIDDEN, "second": HIDDEN}]


def test_the_message_of_an_ended_task_is_hidden_once_more_until_the_end_of_the_invocation(stage: Stage) -> None:
    stage.model.scripts = {
        "at once": answers(seconds=1),
        "soon": answers(seconds=1.5 * BEAT),
        "late": answers(seconds=4.5 * BEAT),
    }

    assert stage.work(*map(stage.delivery, stage.model.scripts)) == []

    end = WORKER_TIMEOUT + LEASE_GRACE_SECONDS
    assert stage.queue.hidden == [
        {"soon": HIDDEN, "late": HIDDEN},
        {"soon": end - 2 * BEAT, "late": HIDDEN},
        {"late": HIDDEN},
        {"late": HIDDEN},
    ]


def test_a_message_that_has_to_come_back_is_hidden_for_short_times_until_it_is_put_back(stage: Stage) -> None:
    stage.model.scripts = {
        "broken": raises(ModelFailed(FailureCode.SERVER_ERROR, retry_after=10.0)),
        "late": answers(seconds=2.5 * BEAT),
    }

    assert stage.work(*map(stage.delivery, stage.model.scripts)) == ["broken"]

    assert stage.queue.hidden == [{"broken": HIDDEN, "late": HIDDEN}] * 2
    assert stage.queue.waits["broken"] >= 10


def test_no_message_is_hidden_beyond_the_last_moment_of_its_worker(stage: Stage) -> None:
    stage.model.scripts["prompt"] = answers(seconds=89)

    assert stage.work(stage.delivery("prompt"), remaining=100) == []

    assert stage.queue.hidden == [
        {"prompt": HIDDEN},
        {"prompt": HIDDEN},
        {"prompt": 100 + LEASE_GRACE_SECONDS - 3 * BEAT},
    ]


# ─── Leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lease_of_a_silent_call_is_renewed_while_its_worker_lives(stage: Stage) -> None:
    claims = claimed_meanwhile(stage, at=2.4 * LEASE_SECONDS, seconds=2.5 * LEASE_SECONDS)

    assert stage.work(stage.delivery("prompt")) == []

    [claim] = claims
    assert claim.outcome is ClaimOutcome.BUSY
    assert LEASE_SECONDS - 1.1 < claim.wait_ms / 1000 <= LEASE_SECONDS
    assert stage.journal.endings["prompt"].kind is OutcomeKind.COMPLETED


def test_a_call_outlives_an_outage_of_the_store_that_is_longer_than_its_lease(stage: Stage) -> None:
    claims = claimed_meanwhile(stage, at=100, seconds=110)
    stage.store.goes_down("progress", since=5, until=5 + 2 * LEASE_SECONDS)

    assert stage.work(stage.delivery("prompt")) == []

    assert [claim.outcome for claim in claims] == [ClaimOutcome.BUSY]
    record = stage.record("prompt")
    assert record is not None
    assert (record.status, len(record.attempts)) == (TaskStatus.COMPLETED, 1)


def test_a_lease_that_nobody_renews_is_over_soon(stage: Stage) -> None:
    # GIVEN a worker that was killed after its claim
    stage.runner.run(stage.store.claim(Lease(stage.task("prompt"), "dead", round(LEASE_SECONDS * 1000), 3)))
    stage.pass_time(LEASE_SECONDS)

    assert stage.work(stage.delivery("prompt", receives=2)) == []

    record = stage.record("prompt")
    assert record is not None
    assert [attempt.code for attempt in record.attempts] == [FailureCode.WORKER_LOST, None]


def test_the_share_of_a_tenants_calls_is_renewed_with_the_messages(make_stage: MakeStage) -> None:
    stage = make_stage(limits=RateLimitSettings({}, tenant_in_flight=2))
    stage.model.scripts["prompt"] = answers(seconds=2.5 * BEAT)

    assert stage.work(stage.delivery("prompt")) == []

    assert stage.flows.shared == [{"acme": 1}, {"acme": 1}, {"acme": 1}, {"acme": 0}]
