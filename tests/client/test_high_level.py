"""What takes many calls: waiting, and following."""

import json
from collections.abc import Mapping

import pytest

from sluice import Delta, Ended, Reset, StatusChanged, UnreadableAnswerError, WaitTimeoutError
from tests.client.conftest import Caller, Time
from tests.client.service import RESET, Service


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


def test_the_service_holds_a_poll_for_pending_tasks(caller: Caller, service: Service) -> None:
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


def test_hundreds_of_tasks_are_polled_in_few_requests_and_ended_ones_only_once(
    caller: Caller, service: Service
) -> None:
    submissions = [caller.call("submit", [f"{batch} {n}" for n in range(300)]) for batch in range(2)]
    ids = [task_id for submission in submissions for task_id in submission.task_ids]

    assert [task.task_id for task in caller.call("wait", ids)] == ids
    assert [len(seen.query["task_ids"][0].split(",")) for seen in service.seen[2:]] == [200, 200, 200]


def test_a_service_that_does_not_hold_requests_is_not_flooded(caller: Caller, service: Service, time: Time) -> None:
    service.holds, service.pace = False, 0
    submission = caller.call("submit", ["a"])

    with pytest.raises(WaitTimeoutError):
        caller.call("wait", submission, timeout=30)

    assert len(service.seen) <= 33
    assert sum(time.slept) >= 30


def test_the_timeout_names_the_tasks_that_have_not_ended(caller: Caller, service: Service) -> None:
    service.holds, service.pace = False, 0
    submission = caller.call("submit", ["a", "b"])
    service.tasks[submission.task_ids[0]] |= {"status": "completed", "result": "early"}
    ended: list[str] = []

    with pytest.raises(WaitTimeoutError) as caught:
        ended.extend(task.text for task in caller.iterate("as_completed", submission, timeout=5))
    assert (ended, caught.value.task_ids) == (["early"], submission.task_ids[1:])


def test_unknown_tasks_are_not_waited_for(caller: Caller) -> None:
    [task] = caller.call("wait", "never-0")

    assert task.status == "not_found"


def test_ids_may_come_with_the_ends_of_their_lines(caller: Caller) -> None:
    caller.call("submit", ["a", "b"])
    lines = ["b0-1\r\n", " b0-0\n", "b0-1"]

    assert [task.text for task in caller.call("wait", lines)] == ["Re: b", "Re: a", "Re: b"]
    assert [task.task_id for task in caller.iterate("as_completed", lines)] == ["b0-1", "b0-0"]
    assert [task.task_id for task in caller.call("get_many", lines)] == ["b0-1", "b0-0", "b0-1"]
    assert caller.call("wait", "b0-0\n")[0].text == "Re: a"
    assert caller.call("get", "b0-0\n").text == "Re: a"


@pytest.mark.parametrize("bad", ["", " \n", "b0-0,b0-1"])
@pytest.mark.parametrize("name", ["wait", "get_many"])
def test_an_invalid_id_is_rejected_before_any_request(caller: Caller, service: Service, name: str, bad: str) -> None:
    for ids in (bad, ["b0-0", bad]):
        with pytest.raises(ValueError, match="is not a valid ID"):
            caller.call(name, ids)
    with pytest.raises(ValueError, match="is not a valid ID"):
        next(caller.iterate("as_completed", ["b0-0", bad]))

    assert not service.seen


def test_a_response_about_other_tasks_ends_the_wait(caller: Caller, service: Service) -> None:
    [task_id] = caller.call("submit", ["a"]).task_ids
    service.fail(200, "/tasks", times=9, body={"tasks": [{"task_id": task_id, "status": "completed"}]})

    with pytest.raises(UnreadableAnswerError, match="other tasks"):
        caller.call("wait", task_id.upper(), timeout=30)
    with pytest.raises(UnreadableAnswerError, match="other tasks"):
        next(caller.iterate("as_completed", [task_id, task_id.upper()]))


# ---- Following -------------------------------------------------------------------------------------------------------


def test_a_stream_survives_reconnects_and_a_new_attempt(caller: Caller, service: Service) -> None:
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


def test_a_stream_resumes_after_an_event_of_another_process_and_ends_on_204(caller: Caller, service: Service) -> None:
    service.streams.append((204, ""))

    assert list(caller.iterate("stream", "b-0", after="1.5.completed")) == []
    assert service.seen[0].headers["last-event-id"] == "1.5.completed"
