"""Test cancellation through the real handlers."""

import pytest

from common.domain.task import Answer as ModelAnswer
from common.domain.task import WaitingOn
from common.domain.transitions import ClaimOutcome, EndOutcome, Lease, ProgressNote, Release, ReleaseOutcome
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue


def test_a_queued_task_is_cancelled_and_no_worker_gets_it(api: Api, queue: Queue) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]

    answer = api.take_back(f"tasks/{task_id}")
    again = api.take_back(f"tasks/{task_id}")

    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert (again.status, again.body) == (200, answer.body)
    assert api.get(f"tasks/{task_id}").body == answer.body
    # The message is still there, and whoever receives it is told that it is over.
    [message] = queue.drain()
    store = api.worker
    claim = api.status.runner.run(store.claim(Lease(message.task, "owner", 10_000, 3)))
    assert claim.outcome is ClaimOutcome.ENDED


def test_a_running_task_is_cancelled_and_its_worker_is_refused(api: Api, queue: Queue) -> None:
    # GIVEN a task that a worker is at
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    [message] = queue.drain()
    lease = Lease(message.task, "owner", 10_000, 3)
    store, run = api.worker, api.status.runner.run
    run(store.claim(lease))

    # WHEN it is cancelled
    answer = api.take_back(f"tasks/{task_id}")

    # THEN the worker learns it from its next note, and nothing that it writes is kept
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert run(store.progress([ProgressNote(message.task.ref, "owner", 50, "half", 60_000)])) == [False]
    assert run(store.complete(lease, ModelAnswer("late", "stop"))) is EndOutcome.ALREADY
    released = run(store.release(lease, Release(waiting_on=WaitingOn.CAPACITY)))
    assert released is ReleaseOutcome.LOST
    assert api.get(f"tasks/{task_id}").body == answer.body


def test_a_task_that_has_its_result_keeps_it(api: Api, queue: Queue) -> None:
    [task_id] = api.post({"prompts": ["a"]}).body["task_ids"]
    [message] = queue.drain()
    lease = Lease(message.task, "owner", 10_000, 3)
    store, run = api.worker, api.status.runner.run
    run(store.claim(lease))
    run(store.complete(lease, ModelAnswer("done", "stop")))

    answer = api.take_back(f"tasks/{task_id}")

    assert (answer.status, answer.body["code"], answer.body["task_status"]) == (409, "already_ended", "completed")
    assert answer.body["status"] == 409
    assert api.get(f"tasks/{task_id}").body["result"] == "done"


def test_a_batch_is_cancelled_whole(api: Api) -> None:
    accepted = api.post({"prompts": ["a", "b", "c"]}).body
    api.take_back(f"tasks/{accepted['task_ids'][0]}")

    answer = api.take_back(f"batches/{accepted['batch_id']}")

    assert (answer.status, answer.body["status"]) == (200, "ended")
    assert (answer.body["counts"]["cancelled"], answer.body["size"]) == (3, 3)
    assert api.take_back(f"batches/{accepted['batch_id']}").body == answer.body


@pytest.mark.parametrize("what", ["tasks/x", f"tasks/{'v' * 36}-0", "tasks/%00", "batches/x", f"batches/{'v' * 36}"])
def test_what_is_not_there_cannot_be_cancelled(api: Api, what: str) -> None:
    answer = api.take_back(what)

    assert (answer.status, answer.body["code"]) == (404, "not_found")


def test_another_tenants_task_cannot_be_cancelled(api: Api) -> None:
    accepted = api.post({"prompts": ["a"]}).body

    for what in (f"tasks/{accepted['task_ids'][0]}", f"batches/{accepted['batch_id']}"):
        assert api.take_back(what, tenant="another").status == 404
    assert api.get(f"tasks/{accepted['task_ids'][0]}").body["status"] == "queued"
