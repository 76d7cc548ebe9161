"""Compare one POST of many prompts and one GET of many ids with the same bytes through a bare handler."""

import argparse
import importlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import boto3
from redis import Redis

from benchmarks.calls import api_event, status_event, submit_environment
from benchmarks.contenders.load import cpu_seconds
from benchmarks.contenders.worker import INVOCATION, environment
from benchmarks.measure import OURS, Spread, bars_of
from benchmarks.report import Goal, Section, bars, table
from benchmarks.servers import Servers
from benchmarks.stand_in import WORDS
from common.domain.message import TaskMessage
from common.domain.task import Answer, Task, TaskRecord, Usage, refs_in
from common.domain.transitions import Lease
from common.store import TaskStore
from common.store.keys import task_key
from local.settings import ROOT
from tests.requests import chat

SIZES: Final = (10, 100, 1000)
LEAST_ROUNDS: Final = 9
"""A round takes less than a second."""

TENANT: Final = "local"
"""The caller in the events of tests/events."""

RETENTION_MS: Final = 86_400_000
ANSWER: Final = Answer("".join(WORDS), "stop", Usage(10, len(WORDS), 10 + len(WORDS)), cost_nanos=102_500)

MOST_ENTRIES: Final = 10
"""Maximum messages in one SQS request."""

LINEAR: Final = 1.5
"""Maximum ratio of the cost per prompt in a call of 1,000 to that in a call of 100 that still counts as linear."""

type Times = dict[str, list[float]]
"""CPU and wall time of all rounds, in milliseconds."""


def measure(servers: Servers, rounds: int) -> Section:
    """Measure POST and GET at three sizes."""
    rounds = max(rounds, LEAST_ROUNDS)
    servers.empty_redis()
    command = [
        *(str(OURS), "-m", "benchmarks.api", "--rounds", str(rounds), "--redis-port", str(servers.redis_port)),
        *("--url", servers.model(1)),
    ]
    done = subprocess.run(  # noqa: S603  # ours
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    results: dict[str, Times] = json.loads(done.stdout.splitlines()[-1])
    section = Section("Submit and status")
    rows, cpu_ratios = [], {}
    for call in ("POST", "GET"):
        for size in SIZES:
            name = f"{call} of {size}"
            ours, floor = results[name], results[f"{name}, floor"]
            cpu_ratios[name] = _ratio(ours["cpu"], floor["cpu"])
            rows.append(
                (
                    name,
                    f"{1000 * Spread(ours['cpu']).median / size:.0f}",
                    *(Spread(times["cpu"]).text() for times in (ours, floor)),
                    cpu_ratios[name].text(1),
                    *(Spread(times["wall"]).text() for times in (ours, floor)),
                    _ratio(ours["wall"], floor["wall"]).text(1),
                )
            )
        few, many = ([cpu / size for cpu in results[f"{call} of {size}"]["cpu"]] for size in SIZES[1:])
        growth = _ratio(many, few)
        section.goals.append(
            Goal(
                f"{call} grows linearly: CPU of a prompt in one of 1,000, against one of 100",
                f"≤ {LINEAR} x",
                f"{growth.text()} x",
                growth.median <= LINEAR,
            )
        )
    head = ("", "µs a prompt", "CPU ms", "floor's", "ratio", "wall ms", "floor's", "ratio")
    section.paragraphs += [
        (
            "The real handlers in one process. After each call its floor is measured: a bare handler that transfers "
            f"the same bytes. {rounds} calls each; medians, with minimum and maximum in brackets; each ratio compares "
            "one call with its floor. The floor of POST parses the body, writes one hash a prompt in one pipeline with "
            "as many bytes as the real record, sends as many bytes of messages with boto3 in sequential requests of "
            "ten, and returns the response of the real handler. The floor of GET reads one hash a prompt in one "
            "pipeline with as many bytes as the real record, and writes the tasks of the real response as JSON. "
            f"Neither validates anything. The tasks that GET reads are completed, with an answer of {len(WORDS)} "
            "words, usage and cost."
        ),
        table(head, rows),
        bars(
            "api", "CPU of a call, against the same bytes through a bare handler, x", bars_of(cpu_ratios, ""), digits=1
        ),
    ]
    return section


def _ratio(ours: Sequence[float], others: Sequence[float]) -> Spread:
    return Spread([one / other for one, other in zip(ours, others, strict=True)])


def main() -> None:
    """Measure and print the times of all rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--redis-port", type=int)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    os.environ.update(submit_environment(environment(arguments.url, arguments.redis_port, 10)))
    printed, sys.stdout = sys.stdout, Path(os.devnull).open("w")  # noqa: SIM115  # until the process ends
    submit = importlib.import_module("functions.submit.handler")
    status = importlib.import_module("functions.status.handler")
    floor = Floor(arguments.redis_port)
    results: defaultdict[str, Times] = defaultdict(lambda: {"cpu": [], "wall": []})

    def timed(name: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        wall, cpu = time.perf_counter(), cpu_seconds()
        answer = call()
        results[name]["cpu"].append(1000 * (cpu_seconds() - cpu))
        results[name]["wall"].append(1000 * (time.perf_counter() - wall))
        if answer["statusCode"] not in {200, 202}:
            sys.exit(answer["body"])
        return answer

    def post(size: int) -> list[TaskRecord]:
        prompts = [f"Tell joke {number} about the economy." for number in range(size)]
        event = api_event(json.dumps({"prompts": prompts}))
        posted = timed(f"POST of {size}", lambda: submit.lambda_handler(event, INVOCATION))
        ids = json.loads(posted["body"])["task_ids"]
        records: list[TaskRecord] = submit.runner.run(submit.store.read(refs_in(TENANT, ids)))
        floor.prepare_post(records, prompts, posted["body"])
        timed(f"POST of {size}, floor", lambda: floor.post(event))
        return records

    def get(records: Sequence[TaskRecord]) -> None:
        event = status_event([record.ref.task_id for record in records])
        got = timed(f"GET of {len(records)}", lambda: status.lambda_handler(event, INVOCATION))
        floor.prepare_get(records, got["body"])
        timed(f"GET of {len(records)}, floor", lambda: floor.get(event))

    ended = [post(size) for size in SIZES]
    for records in ended:
        submit.runner.run(complete(submit.store, records))
        get(records)
    results.clear()  # the first calls connect and import
    for _ in range(arguments.rounds):
        for size, records in zip(SIZES, ended, strict=True):
            post(size)
            get(records)
    print(json.dumps(results), file=printed)


def task_of(record: TaskRecord, size: int) -> Task:
    """Return the content of a task's message."""
    return Task(
        ref=record.ref,
        batch_size=size,
        created_ms=record.created_ms,
        deadline_ms=record.deadline_ms,
        retention_ms=RETENTION_MS,
        model=record.model,
    )


async def complete(store: TaskStore, records: Sequence[TaskRecord]) -> None:
    """Complete each task, as a worker does."""
    for record in records:
        lease = Lease(task_of(record, len(records)), secrets.token_hex(16), 60_000, 3)
        await store.claim(lease)
        await store.complete(lease, ANSWER)


class Floor:
    """A bare handler that transfers the same bytes and does nothing else; it learns the sizes from a real call."""

    def __init__(self, redis_port: int) -> None:
        self._sqs: Any = boto3.client("sqs")
        self._redis = Redis(port=redis_port)
        self._record = b""
        self._paddings: list[str] = []
        self._answer = ""
        self._tasks: list[Any] = []

    def prepare_post(self, records: Sequence[TaskRecord], prompts: Sequence[str], answer: str) -> None:
        """Record the sizes of the records and messages of a POST, and its response."""
        self._record = self._bytes_of(records[0])
        self._paddings = []
        for record, prompt in zip(records, prompts, strict=True):
            message = TaskMessage(task_of(record, len(records)), chat(prompt))
            self._paddings.append("-" * (len(message.encode()) - len(prompt)))
        self._answer = answer

    def post(self, event: dict[str, Any]) -> dict[str, Any]:
        """Accept prompts and return the recorded response."""
        prompts = json.loads(event["body"])["prompts"]
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(len(prompts)):
                pipe.hset(f"floor:{number}", "record", self._record)
            pipe.execute()
        bodies = [prompt + padding for prompt, padding in zip(prompts, self._paddings, strict=True)]
        for place in range(0, len(bodies), MOST_ENTRIES):
            entries = [
                {"Id": str(number), "MessageBody": body}
                for number, body in enumerate(bodies[place : place + MOST_ENTRIES])
            ]
            self._sqs.send_message_batch(QueueUrl=os.environ["QUEUE_URL"], Entries=entries)
        return {"statusCode": 202, "body": self._answer}

    def prepare_get(self, records: Sequence[TaskRecord], answer: str) -> None:
        """Write records of the same size and record the tasks of the response."""
        record = self._bytes_of(records[0])
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(len(records)):
                pipe.hset(f"floor:{number}", "record", record)
            pipe.execute()
        self._tasks = json.loads(answer)["tasks"]

    def get(self, event: dict[str, Any]) -> dict[str, Any]:
        """Read as many bytes as the real handler and return the recorded response."""
        with self._redis.pipeline(transaction=False) as pipe:
            for number, _ in enumerate(event["queryStringParameters"]["task_ids"].split(",")):
                pipe.hgetall(f"floor:{number}")
            pipe.execute()
        return {"statusCode": 200, "body": json.dumps({"tasks": self._tasks})}

    def _bytes_of(self, record: TaskRecord) -> bytes:
        stored = self._redis.hgetall(task_key(record.ref))
        return b"-" * sum(len(name) + len(value) for name, value in stored.items())


if __name__ == "__main__":
    main()
