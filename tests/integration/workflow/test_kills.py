"""Kill the worker of a two-step workflow, and check which calls are paid again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest
from redis import Redis

from common.domain.task import TaskRef, TaskStatus
from common.store import keys
from local.answers import prompt_digest
from tests.integration.workflow.conftest import Start
from tests.integration.workflow.doomed import two_steps
from tests.integration.workflow.environment import WorkflowEnvironment
from tests.store import on_store

HANGS = "[[fault:hangx1]] "


@contextmanager
def doomed(event: dict[str, object], first: str, second: str) -> Iterator[subprocess.Popen[str]]:
    """Start a worker on an event, and kill it at the end of the block, as Lambda's host might."""
    program = [sys.executable, "-m", "tests.integration.workflow.doomed", first, second]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps(event) + "\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def hears(process: subprocess.Popen[str], line: str) -> None:
    """Wait until a worker has said so."""
    assert process.stdout
    assert any(each.strip() == line for each in process.stdout)


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        Event().wait(0.01)


def end_lease(environment: WorkflowEnvironment, ref: TaskRef) -> None:
    """Let so much time go by that the dead worker's lease is over."""
    with Redis(host=environment.redis.host, port=environment.redis.port) as redis:
        assert redis.hset(keys.task_key(ref), "lease", 0) == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("first", "second", "killed", "asked"),
    [
        pytest.param(HANGS + "one", "two", "inside the first", (2, 1), id="inside the first step"),
        pytest.param("one", "two", "between", (1, 1), id="between the steps"),
        pytest.param("one", HANGS + "two", "inside the second", (1, 2), id="inside the second step"),
    ],
)
def test_a_killed_worker_has_cost_the_call_that_it_was_in_and_no_other(
    start: Start, first: str, second: str, killed: str, asked: tuple[int, int]
) -> None:
    word = killed.replace(" ", "-")
    with start(two_steps(first, second)) as environment:

        def calls(prompt: str) -> int:
            return environment.model.calls.by_prompt[prompt_digest(f"{prompt} {word}")]

        # GIVEN a worker that dies at this moment
        ref = environment.start("two", word=word)
        with doomed(environment.receive(), first, second) as worker:
            if killed == "inside the first":
                until(lambda: calls(first) == 1)
            else:
                hears(worker, "between")
                if killed == "inside the second":
                    assert worker.stdin
                    worker.stdin.write("\n")
                    worker.stdin.flush()
                    until(lambda: calls(second) == 1)
        assert environment.task(ref).status is TaskStatus.PROCESSING

        # WHEN its lease is over and the message is delivered again
        end_lease(environment, ref)
        assert environment.deliver() == 0

        # THEN the workflow has ended, and only what was under way has been asked twice
        task = environment.task(ref)
        assert task.status is TaskStatus.COMPLETED
        assert (calls(first), calls(second)) == asked
        # And what the steps have cost is booked once, by the worker that made each
        batch = on_store(environment.redis, lambda store: store.read_batch(ref.tenant, ref.batch_id))
        assert batch is not None
        assert task.answer is not None
        assert task.answer.usage is not None
        assert (batch.usage, batch.estimated_tokens) == (task.answer.usage, 0)
