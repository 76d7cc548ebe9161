"""Run the real submit and worker in this process, play the event source, and print what was counted as JSON.

A round trip to Redis is one write of the client to its socket: a command, or a pipeline of many. Redis counts the
bytes, and the time its scripts take. One event is submitted and worked on before anything is counted: it makes the
connections, fetches the key, and brings Redis the scripts.
"""

import argparse
import importlib
import io
import json
import math
import os
import sys
import time
from typing import Any, Final

from benchmarks.calls import api_event, submit_environment
from benchmarks.contenders.worker import INVOCATION, environment
from benchmarks.servers import Servers

SQS_BATCH: Final = 10
"""Messages of one request, as SQS demands."""

SQS_ACTIONS: Final = (
    "SendMessageBatch",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
)
SCRIPTS: Final = ("cmdstat_evalsha", "cmdstat_eval")


class Wire:
    """Keep what redis-py writes to its sockets."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        from redis.asyncio.connection import AbstractConnection  # noqa: PLC0415  # only where it is counted

        send = AbstractConnection.send_packed_command

        async def keeping(connection: AbstractConnection, command: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401  # the method's own
            parts = [command] if isinstance(command, bytes) else list(command)
            self.writes.append(b"".join(parts))
            await send(connection, parts, *rest, **options)

        AbstractConnection.send_packed_command = keeping  # type: ignore[method-assign,assignment]  # to keep it

    @property
    def commands(self) -> int:
        """Count the commands in all writes."""
        return sum(commands_in(written) for written in self.writes)


def commands_in(written: bytes) -> int:
    """Count the commands of one write: in Redis's protocol each is an array of strings, with their lengths."""
    commands = place = 0
    while place < len(written):
        end = written.index(b"\r\n", place)
        parts, place = int(written[place + 1 : end]), end + 2
        for _ in range(parts):
            end = written.index(b"\r\n", place)
            place = end + 4 + int(written[place + 1 : end])
        commands += 1
    return commands


class Log(io.TextIOBase):
    """Measure what is printed, and forget it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, text: str, /) -> int:
        """Take a text."""
        self.size += len(text.encode())
        return len(text)


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


class Functions:
    """Hold the handlers of submit and the worker, and the queue between them."""

    def __init__(self, size: int) -> None:
        """Import them, which reads the environment."""
        import boto3  # noqa: PLC0415  # after the environment is set

        self._submit = importlib.import_module("functions.submit.handler")
        self._worker = importlib.import_module("functions.worker.handler")
        self._source = EventSource(boto3.client("sqs"), os.environ["QUEUE_URL"], size)

    def run(self, prompts: int) -> dict[str, int]:
        """Submit so many prompts, work until all their messages are deleted, and say what the invocations took."""
        body = json.dumps({"prompts": [f"Tell joke {number}." for number in range(prompts)]})
        answer = self._submit.lambda_handler(api_event(body), INVOCATION)
        assert answer["statusCode"] == 202, answer  # noqa: S101, PLR2004  # or there is nothing to count
        invocations = billed_ms = done = 0
        processor = 0.0
        while done < prompts:
            records = self._source.batch()
            if not records:
                time.sleep(0.2)  # all that is left is backed off
                continue
            began, used = time.perf_counter(), time.process_time()
            answer = self._worker.lambda_handler({"Records": records}, INVOCATION)
            billed_ms += math.ceil(1000 * (time.perf_counter() - began))
            processor += time.process_time() - used
            invocations += 1
            back = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            handles = [record["receiptHandle"] for record in records if record["messageId"] not in back]
            self._source.delete(handles)
            done += len(handles)
        return {"invocations": invocations, "billed_ms": billed_ms, "processor_us": round(1e6 * processor)}


def main() -> None:
    """Submit, work until all is done, and print the counts."""
    parser = argparse.ArgumentParser()
    for name in ("size", "prompts", "port", "redis-port"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    servers = Servers(arguments.port, arguments.redis_port)
    os.environ.update(submit_environment(environment(arguments.url, arguments.redis_port, arguments.size)))
    log = Log()
    printed, sys.stdout = sys.stdout, log
    functions, wire = Functions(arguments.size), Wire()
    functions.run(arguments.size)
    with servers.redis() as redis:
        redis.config_resetstat()
        wire.writes.clear()
        log.size = 0
        before = servers.counts()
        counts = functions.run(arguments.prompts)
        asked = servers.counts() - before
        # The bytes first: what Redis answers to us is counted too.
        net = redis.info("stats")
        stats = redis.info("commandstats")
    counts |= {
        "prompts": arguments.prompts,
        "redis_trips": len(wire.writes),
        "redis_commands": wire.commands,
        "redis_in": net["total_net_input_bytes"],
        "redis_out": net["total_net_output_bytes"],
        "script_us": sum(stats[name]["usec"] for name in SCRIPTS if name in stats),
        "sqs": sum(asked[action] for action in SQS_ACTIONS),
        "sqs_billed": asked["billed"],
        "calls": asked["calls"],
        "log_bytes": log.size,
    }
    print(json.dumps(counts), file=printed)


if __name__ == "__main__":
    main()
