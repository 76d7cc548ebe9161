"""Sending more prompts than one call takes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sluice import AccessError, KeyReusedError, LimitedError, ServiceError, ServiceUnreachableError, Submission
from tests.client.conftest import Asynchronous, Blocking, Caller, MakeCaller, Time
from tests.client.service import RESET, Seen, Service, problem


@pytest.mark.parametrize("ordered", [True, False], ids=["in order", "as they come"])
def test_thousands_of_prompts_never_exceed_in_flight(caller: Caller, service: Service, *, ordered: bool) -> None:
    # GIVEN 2,500 prompts, and a service that ends a few at a time
    service.pace = 70
    taken = []

    def prompts() -> Iterator[str]:
        for n in range(2_500):
            taken.append(n)
            yield f"prompt {n}"

    # WHEN they are mapped
    outcomes = []
    ahead = 0
    for outcome in caller.iterate("map", prompts(), chunk_size=100, in_flight=400, ordered=ordered):
        outcomes.append(outcome)
        ahead = max(ahead, len(taken) - len(outcomes))

    # THEN each came once, with its own answer, and neither the service nor the iterable was ever far ahead
    indexes = [outcome.index for outcome in outcomes]
    assert sorted(indexes) == list(range(2_500))
    assert (indexes == sorted(indexes)) or not ordered
    assert all(outcome.task.text == f"Re: {outcome.prompt}" for outcome in outcomes)
    assert service.peak <= 400
    assert ahead <= 500
    assert len(service.asked) == 2_500


def test_an_endless_iterable_is_taken_only_as_far_as_it_is_needed(caller: Caller, service: Service) -> None:
    def forever() -> Iterator[str]:
        n = 0
        while True:
            yield f"{(n := n + 1)}"

    outcomes = caller.iterate("map", forever(), chunk_size=10, in_flight=20)

    assert [next(outcomes).index for _ in range(35)] == list(range(35))
    assert len(service.asked) <= 60


def test_asyncio_takes_prompts_from_an_async_iterable(make_caller: MakeCaller, service: Service) -> None:
    async def prompts() -> AsyncIterator[str]:
        for n in range(25):
            yield str(n)

    caller = make_caller(service.url)
    if isinstance(caller, Blocking):
        with pytest.raises(TypeError, match="AsyncSluice"):
            next(caller.iterate("map", prompts()))
        return
    assert isinstance(caller, Asynchronous)
    assert [outcome.index for outcome in caller.iterate("map", prompts(), chunk_size=10)] == list(range(25))


def test_a_repeated_run_with_the_same_key_submits_no_prompt_twice(make_caller: MakeCaller, service: Service) -> None:
    # GIVEN a run that ends in the middle, having told its ids
    service.pace = 5
    told: list[Submission] = []
    prompts = [str(n) for n in range(40)]
    plan = {"chunk_size": 10, "in_flight": 20, "idempotency_key": "monday"}
    first = make_caller(service.url).iterate("map", prompts, on_submit=told.append, **plan)
    for _ in range(12):
        next(first)

    # WHEN another process does the same
    outcomes = list(make_caller(service.url).iterate("map", prompts, **plan))

    # THEN the service was asked once for each prompt, and the ids of the first run are those of the second
    assert sorted(service.asked, key=int) == prompts
    assert [outcome.task.text for outcome in outcomes] == [f"Re: {n}" for n in range(40)]
    assert {each.task_ids[0] for each in told} <= {outcome.task.task_id for outcome in outcomes}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, "timeout"),
        (409, "idempotency_key_in_use"),
        (429, "queue_full"),
        (429, "throttled"),
        (503, "store_unavailable"),
    ],
)
def test_a_transient_refusal_does_not_delay_other_results(
    caller: Caller, service: Service, time: Time, status: int, code: str
) -> None:
    # GIVEN two chunks, of which the second is refused for a while
    service.pace = 1
    service.fail(status, lambda seen: "3" in str(seen.body), times=2, body=problem(status, code), Retry_After="3")

    # WHEN they are mapped
    outcomes = caller.iterate("map", [str(n) for n in range(6)], chunk_size=3, in_flight=6)
    first_three = [next(outcomes) for _ in range(3)]

    # THEN the first come while the second is refused, and the second comes as well
    assert [outcome.index for outcome in first_three] == [0, 1, 2]
    assert service.asked == ["0", "1", "2"]
    assert [outcome.index for outcome in outcomes] == [3, 4, 5]
    assert max(time.slept, default=0) <= 3


def test_a_call_whose_answer_was_lost_is_sent_again_until_the_service_has_accepted_it(
    caller: Caller, service: Service
) -> None:
    # GIVEN a service that accepts the second of two calls, loses the answer, and is still at it when that comes again;
    # so long the tasks of the first go on
    service.holds, service.pace = False, 0
    in_use: tuple[int, dict[str, str], Any] = (409, {}, problem(409, "idempotency_key_in_use"))
    lost = deque([(RESET, {}, None), in_use, in_use])
    answer = service.answer

    def losing(seen: Seen) -> tuple[int, dict[str, str], Any]:
        answered = answer(seen)
        if seen.method != "POST" or "3" not in seen.body["prompts"]:
            return answered
        if lost:
            return lost.popleft()
        service.pace = 6
        return answered

    service.answer = losing  # type: ignore[method-assign]

    # WHEN both are mapped
    outcomes = list(caller.iterate("map", [str(n) for n in range(6)], chunk_size=3, in_flight=6))

    # THEN each prompt has its answer and was asked once
    assert [outcome.task.text for outcome in outcomes] == [f"Re: {n}" for n in range(6)]
    assert service.asked == [str(n) for n in range(6)]
    assert [seen.body["prompts"][0] for seen in service.posts()] == ["0", "3", "3", "3", "3"]


def test_a_conflict_that_does_not_end_by_itself_ends_the_run(caller: Caller, service: Service) -> None:
    service.pace = 0
    service.fail(409, lambda seen: "3" in str(seen.body), body=problem(409, "idempotency_key_reused"))

    with pytest.raises(KeyReusedError):
        next(caller.iterate("map", [str(n) for n in range(6)], chunk_size=3, in_flight=6))


def test_a_permanent_refusal_is_raised_when_no_task_is_pending(caller: Caller, service: Service) -> None:
    service.fail(429, "/tasks", Retry_After="86400", body=problem(429, "budget_exhausted"))

    with pytest.raises(LimitedError):
        list(caller.iterate("map", ["a"]))


def test_an_unreachable_service_ends_the_run_with_its_error(caller: Caller, service: Service) -> None:
    service.pace = 0
    outcomes = caller.iterate("map", ["a"])
    service.fail(503, times=1_000)

    with pytest.raises(ServiceError):
        next(outcomes)


@pytest.mark.parametrize("sizes", [{"chunk_size": 0}, {"chunk_size": 10, "in_flight": 5}], ids=str)
def test_invalid_sizes_are_rejected(caller: Caller, sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        next(caller.iterate("map", ["a"], **sizes))


@pytest.mark.parametrize("kind", ["interrupt", "error"])
def test_an_interrupt_names_the_batches_under_way_and_the_key_that_resumes(
    make_caller: MakeCaller, service: Service, time: Time, kind: str
) -> None:
    # GIVEN three batches, of which the first has ended
    service.pace = 3
    caller = make_caller(service.url)
    outcomes = caller.iterate("map", [str(n) for n in range(9)], chunk_size=3, idempotency_key="monday")
    for _ in range(3):
        next(outcomes)

    # WHEN the process is interrupted while it waits; asyncio makes Ctrl-C a cancellation
    ctrl_c = KeyboardInterrupt if isinstance(caller, Blocking) else asyncio.CancelledError
    error = ctrl_c if kind == "interrupt" else RuntimeError
    service.pace, service.holds, time.interrupt = 0, False, error()
    with pytest.raises(error) as caught:
        next(outcomes)

    # THEN the exception names the two others
    [note] = caught.value.__notes__
    assert "b1, b2." in note
    assert "b0" not in note
    assert "idempotency_key='monday'" in note


def test_a_request_without_a_response_is_mentioned_too(make_caller: MakeCaller, service: Service) -> None:
    service.fail(RESET, lambda seen: seen.method == "POST", times=1_000)

    with pytest.raises(ServiceUnreachableError) as caught:
        list(make_caller(service.url, patience=1).iterate("map", ["a"], idempotency_key="monday"))

    [note] = caught.value.__notes__
    assert note.startswith("One more request may have been accepted.")
    assert "idempotency_key='monday'" in note


def test_an_error_with_nothing_under_way_has_no_note(caller: Caller, service: Service) -> None:
    service.fail(401)

    with pytest.raises(AccessError) as caught:
        list(caller.iterate("map", ["a"]))

    assert not hasattr(caught.value, "__notes__")


def test_the_batches_under_way_are_logged_where_the_caller_stops(
    caller: Caller, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.pace = 4
    outcomes = caller.iterate("map", [str(n) for n in range(9)], chunk_size=3)
    next(outcomes)

    outcomes.close()  # type: ignore[attr-defined]

    [record] = caplog.records
    assert (record.name, record.levelname) == ("sluice", "WARNING")
    assert "b1, b2." in record.getMessage()


def test_nothing_is_logged_after_the_last_outcome(
    caller: Caller, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(list(caller.iterate("map", ["a", "b"]))) == 2
    assert service.asked == ["a", "b"]
    assert not caplog.records
