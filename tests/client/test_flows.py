"""What takes many calls: waiting, following, and sending more than one call takes."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from sluice import (
    Delta,
    Ended,
    LimitedError,
    Reset,
    ServiceError,
    StatusChanged,
    Submission,
    WaitTimeoutError,
)
from tests.client.conftest import Asynchronous, Blocking, Caller, MakeCaller, Time
from tests.client.service import RESET, Service, problem


def events(*pairs: tuple[str, str, Mapping[str, object]], retry: int = 100) -> str:
    blocks = "".join(f"event: {kind}\nid: {at}\ndata: {json.dumps(data)}\n\n" for kind, at, data in pairs)
    return f"retry: {retry}\n\n{blocks}"


# ---- Waiting ---------------------------------------------------------------------------------------------------------


def test_tasks_are_waited_for_and_come_in_the_order_asked(caller: Caller, service: Service) -> None:
    service.pace = 1
    submission = caller.call("submit", ["a", "b", "c"])
    ids = list(reversed(submission.task_ids))

    assert [task.text for task in caller.call("wait", ids)] == ["Re: c", "Re: b", "Re: a"]
    assert [task.text for task in caller.call("wait", submission)] == ["Re: a", "Re: b", "Re: c"]
    assert [task.text for task in caller.call("wait", submission.task_ids[1])] == ["Re: b"]


def test_a_question_about_what_has_not_ended_is_held_by_the_service(caller: Caller, service: Service) -> None:
    service.pace = 0
    submission = caller.call("submit", ["a", "b"])
    waiting = caller.iterate("as_completed", submission)
    service.pace = 1

    next(waiting)

    look = service.seen[-1]
    assert (look.headers["prefer"], look.query["until"]) == ("wait=20", ["any"])
    assert "partial_result" not in look.query["fields"][0].split(",")


def test_each_task_comes_when_it_has_ended(caller: Caller, service: Service) -> None:
    service.pace = 1
    submission = caller.call("submit", [str(n) for n in range(5)])

    tasks = caller.iterate("as_completed", submission)
    looks = [(task.text, sum(seen.method == "GET" for seen in service.seen)) for task in tasks]

    assert looks == [(f"Re: {n}", n + 1) for n in range(5)]


def test_hundreds_of_tasks_are_looked_at_in_few_questions_and_those_that_ended_are_not_asked_about_again(
    caller: Caller, service: Service
) -> None:
    submissions = [caller.call("submit", [f"{batch} {n}" for n in range(300)]) for batch in range(2)]
    ids = [task_id for submission in submissions for task_id in submission.task_ids]

    assert [task.task_id for task in caller.call("wait", ids)] == ids
    assert [len(seen.query["task_ids"][0].split(",")) for seen in service.seen[2:]] == [200, 200, 200]


def test_a_service_that_does_not_hold_questions_is_not_hammered(caller: Caller, service: Service, time: Time) -> None:
    service.holds, service.pace = False, 0
    submission = caller.call("submit", ["a"])

    with pytest.raises(WaitTimeoutError):
        caller.call("wait", submission, timeout=30)

    assert len(service.seen) <= 33
    assert sum(time.slept) >= 30


def test_the_end_of_patience_names_what_has_not_ended(caller: Caller, service: Service) -> None:
    service.holds, service.pace = False, 0
    submission = caller.call("submit", ["a", "b"])
    service.tasks[submission.task_ids[0]] |= {"status": "completed", "result": "early"}
    ended: list[str] = []

    with pytest.raises(WaitTimeoutError) as caught:
        ended.extend(task.text for task in caller.iterate("as_completed", submission, timeout=5))
    assert (ended, caught.value.task_ids) == (["early"], submission.task_ids[1:])


def test_what_is_unknown_is_not_waited_for(caller: Caller) -> None:
    [task] = caller.call("wait", "never-0")

    assert task.status == "not_found"


# ---- Following -------------------------------------------------------------------------------------------------------


def test_a_text_is_followed_through_steps_interruptions_and_a_new_attempt(caller: Caller, service: Service) -> None:
    # GIVEN steps, with a lost connection and a refusal between them
    whole = {"task_id": "b-0", "status": "completed", "result": "Hallo"}
    service.streams.extend(
        [
            (200, events(("status", "1.0.processing", {"status": "processing", "progress": 1}))),
            (200, events(("delta", "1.2.processing", {"text": "He"}), ("unheard_of", "1.3.x", {"what": 1}))),
            (200, "retry: 100\n: nothing new\n\n"),
            (200, events(("reset", "2.0.processing", {}), ("delta", "2.5.processing", {"text": "Hallo"}))),
            (200, events(("ended", "2.5.completed", whole))),
        ]
    )
    following = caller.iterate("stream", "b-0")

    # WHEN it is followed
    seen = [next(following), next(following)]
    service.fail(RESET, "/stream")
    service.fail(503, "/stream")
    seen += list(following)

    # THEN nothing is missed and nothing comes twice
    assert [type(event) for event in seen] == [StatusChanged, Delta, Reset, Delta, Ended]
    assert seen[-1].task.text == "Hallo"
    ids = [each.headers.get("last-event-id") for each in service.seen]
    assert ids == [None, "1.0.processing", *["1.2.processing"] * 4, "2.5.processing"]


def test_following_goes_on_from_an_event_of_another_process_and_stops_where_nothing_comes(
    caller: Caller, service: Service
) -> None:
    service.streams.append((204, ""))

    assert list(caller.iterate("stream", "b-0", after="1.5.completed")) == []
    assert service.seen[0].headers["last-event-id"] == "1.5.completed"


# ---- More than one call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False], ids=["in order", "as they come"])
def test_thousands_of_prompts_go_through_with_no_more_under_way_than_allowed(
    caller: Caller, service: Service, *, ordered: bool
) -> None:
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


def test_a_run_that_died_picks_up_with_its_key_and_asks_nothing_twice(
    make_caller: MakeCaller, service: Service
) -> None:
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


@pytest.mark.parametrize("code", ["queue_full", "throttled", "store_unavailable"])
def test_a_refusal_for_the_moment_does_not_keep_the_answers_of_others(
    caller: Caller, service: Service, time: Time, code: str
) -> None:
    # GIVEN two chunks, of which the second is refused for a while
    service.pace = 1
    status = 503 if code == "store_unavailable" else 429
    service.fail(status, lambda seen: "3" in str(seen.body), times=2, body=problem(status, code), Retry_After="3")

    # WHEN they are mapped
    outcomes = caller.iterate("map", [str(n) for n in range(6)], chunk_size=3, in_flight=6)
    first_three = [next(outcomes) for _ in range(3)]

    # THEN the first come while the second is refused, and the second comes as well
    assert [outcome.index for outcome in first_three] == [0, 1, 2]
    assert service.asked == ["0", "1", "2"]
    assert [outcome.index for outcome in outcomes] == [3, 4, 5]
    assert max(time.slept, default=0) <= 3


def test_a_refusal_for_long_is_raised_when_nothing_else_is_waited_for(caller: Caller, service: Service) -> None:
    service.fail(429, "/tasks", Retry_After="86400", body=problem(429, "budget_exhausted"))

    with pytest.raises(LimitedError):
        list(caller.iterate("map", ["a"]))


def test_a_service_that_stays_away_ends_the_run_with_its_error(caller: Caller, service: Service) -> None:
    service.pace = 0
    outcomes = caller.iterate("map", ["a"])
    service.fail(503, times=1_000)

    with pytest.raises(ServiceError):
        next(outcomes)


@pytest.mark.parametrize("sizes", [{"chunk_size": 0}, {"chunk_size": 10, "in_flight": 5}], ids=str)
def test_sizes_that_cannot_work_are_refused(caller: Caller, sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        next(caller.iterate("map", ["a"], **sizes))
