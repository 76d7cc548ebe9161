"""Count what one prompt costs in requests: the real submit and worker, in this process, on the stand-in and Valkey.

A round trip to Redis is one write of the client to its socket: a command, or a pipeline of many. SQS requests are
those that submit, the worker and the event source make; the event source is played here, and receives and deletes ten
at a time as SQS demands. Run as a program it prints the counts of one run as JSON.
"""

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any, Final

from benchmarks.contenders.worker import INVOCATION, environment
from benchmarks.measure import OURS
from benchmarks.report import Goal, Section, table
from benchmarks.servers import Servers
from local.settings import ROOT

PROMPTS: Final = 200
SQS_BATCH: Final = 10
MILLISECONDS: Final = 1000
FAULTS: Final = 5
REDIS_GOAL, SQS_GOAL = 2.0, 0.35
SIZES: Final = (10, 100)
SQS_ACTIONS: Final = (
    "SendMessageBatch",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
)


type Counts = dict[tuple[int, int], Counter[str]]
"""What was counted, by the size of the batches and the faults in a hundred."""


def measure(servers: Servers) -> tuple[Section, Counts]:
    """Count with and without faults, in small batches and in large ones."""
    section = Section("Requests of one prompt")
    runs = {(size, faults): counted(servers, size, faults) for size in SIZES for faults in (0, FAULTS)}
    rows = []
    for (size, faults), run in runs.items():
        each = {name: value / PROMPTS for name, value in run.items()}
        rows.append(
            (
                f"batches of {size}, {faults} % faults",
                *(f"{each[name]:.2f}" for name in ("redis_trips", "redis_commands")),
                *(f"{each[name]:.0f}" for name in ("redis_in", "redis_out")),
                *(f"{each[name]:.3f}" for name in ("sqs", "sqs_billed")),
                *(f"{each[name]:.2f}" for name in ("calls", "script_us")),
            )
        )
        if not faults:
            trips, sqs = each["redis_trips"], each["sqs"]
            what = f"batches of {size}"
            section.goals += [
                Goal(f"Redis round trips a prompt, {what}", f"≤ {REDIS_GOAL:.0f}", f"{trips:.2f}", trips <= REDIS_GOAL),
                Goal(f"SQS requests a prompt, {what}", f"≤ {SQS_GOAL}", f"{sqs:.3f}", sqs <= SQS_GOAL),
            ]
    head = (
        "",
        "Redis round trips",
        "scripts and commands",
        "bytes to Redis",
        "bytes from it",
        "SQS requests",
        "as billed",
        "model calls",
        "µs in Redis",
    )
    section.paragraphs += [
        (
            f"{PROMPTS} prompts submitted in one call, answered whole after {MILLISECONDS / 1000:.0f} s, each event's "
            "messages all at once; from POST to the last answer, both ends included. Faults are 500s, 429s and cut "
            "bodies in turn. Round trips are counted at the client's socket, commands and bytes by the server."
        ),
        table(head, rows),
    ]
    return section, runs


def counted(servers: Servers, size: int, faults: int) -> Counter[str]:
    """Run submit and worker in a process of their own and return its counts."""
    servers.empty_redis()
    before = servers.counts()
    command = [
        *(str(OURS), "-m", "benchmarks.calls", "--size", str(size), "--redis-port", str(servers.redis_port)),
        *("--url", servers.model(MILLISECONDS, 0, faults)),
    ]
    done = subprocess.run(  # noqa: S603  # ours
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    counts = Counter(json.loads(done.stdout.splitlines()[-1]))
    asked = servers.counts() - before
    counts |= Counter({"sqs": sum(asked[action] for action in SQS_ACTIONS), "sqs_billed": asked["billed"]})
    counts["calls"] = asked["calls"]
    return counts


class Trips:
    """Count what redis-py writes to its sockets."""

    def __init__(self) -> None:
        self.number = 0
        from redis.asyncio.connection import AbstractConnection  # noqa: PLC0415  # only where it is counted

        send = AbstractConnection.send_packed_command

        async def counting(*args: Any, **options: Any) -> None:  # noqa: ANN401  # the counted method's own
            self.number += 1
            await send(*args, **options)

        AbstractConnection.send_packed_command = counting  # type: ignore[method-assign]  # to count it


class EventSource:
    """Play Lambda's event source for one function."""

    def __init__(self, sqs: Any, queue_url: str, size: int) -> None:  # noqa: ANN401  # boto3's client has no type of its own
        self._sqs = sqs
        self._queue_url = queue_url
        self._size = size

    def batch(self) -> list[dict[str, Any]]:
        """Receive one event's records."""
        records: list[dict[str, Any]] = []
        while len(records) < self._size:
            most = min(SQS_BATCH, self._size - len(records))
            received = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=most)
            messages = received.get("Messages", [])
            records += [
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": message["Attributes"],
                }
                for message in messages
            ]
            if len(messages) < most:
                break
        return records

    def delete(self, handles: list[str]) -> None:
        """Delete what was not reported as failed."""
        for place in range(0, len(handles), SQS_BATCH):
            group = handles[place : place + SQS_BATCH]
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(group)]
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)


def api_event(body: str) -> dict[str, Any]:
    """Return the event of POST /tasks with this body."""
    event: dict[str, Any] = json.loads((ROOT / "tests" / "events" / "submit.json").read_text())
    return {**event, "body": body}


def submit_environment(names: dict[str, str]) -> dict[str, str]:
    """Add what submit and status need to what the worker needs."""
    return {
        **names,
        "WORKFLOW_QUEUE_URL": names["QUEUE_URL"].replace("tasks", "workflows"),
        "ALLOWED_MODELS": "gpt-5-mini",
        "DEADLINE_SECONDS": "21600",
        "RETENTION_SECONDS": "86400",
        "MAX_PROMPTS": "1000",
        "MAX_PROMPT_BYTES": "262144",
    }


def main() -> None:
    """Submit, work until all is done, and print the counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int)
    parser.add_argument("--redis-port", type=int)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    names = environment(arguments.url, arguments.redis_port, arguments.size)
    os.environ.update(submit_environment(names))
    printed, sys.stdout = sys.stdout, sys.stderr
    import boto3  # noqa: PLC0415  # after the environment is set, as all that follows
    from redis import Redis  # noqa: PLC0415

    submit = importlib.import_module("functions.submit.handler")
    worker = importlib.import_module("functions.worker.handler")
    trips = Trips()
    with Redis(port=arguments.redis_port) as redis, open(os.devnull, "w") as sys.stdout:  # noqa: PTH123  # no path
        redis.config_resetstat()
        prompts = [f"Tell joke {number}." for number in range(PROMPTS)]
        answer = submit.lambda_handler(api_event(json.dumps({"prompts": prompts})), INVOCATION)
        assert answer["statusCode"] == 202, answer  # noqa: S101, PLR2004  # or there is nothing to count
        source = EventSource(boto3.client("sqs"), os.environ["QUEUE_URL"], arguments.size)
        done = billed_ms = invocations = 0
        while done < PROMPTS:
            records = source.batch()
            if not records:
                time.sleep(0.2)  # all that is left is backed off
                continue
            began = time.perf_counter()
            answer = worker.lambda_handler({"Records": records}, INVOCATION)
            billed_ms += math.ceil(1000 * (time.perf_counter() - began))
            invocations += 1
            back = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            handles = [record["receiptHandle"] for record in records if record["messageId"] not in back]
            source.delete(handles)
            done += len(handles)
        stats = redis.info("commandstats")
        net = redis.info("stats")
    # INFO and CONFIG are ours, and what a script calls is counted again as a command of its own.
    scripts = {name: stats[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats}
    print(
        json.dumps(
            {
                "redis_trips": trips.number,
                "billed_ms": billed_ms,
                "invocations": invocations,
                "redis_commands": sum(each["calls"] for each in scripts.values()),
                "script_us": sum(each["usec"] for each in scripts.values()),
                "redis_in": net["total_net_input_bytes"],
                "redis_out": net["total_net_output_bytes"],
            }
        ),
        file=printed,
    )


if __name__ == "__main__":
    main()
