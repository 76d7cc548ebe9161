"""Start built functions under AWS's runtime emulator, and take from its log what init and requests took.

Each chain is a real one: what submit has accepted, status is asked for, and the workers are given its messages.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import boto3

from benchmarks.calls import api_event, status_event
from benchmarks.counting import EventSource
from benchmarks.imports import FUNCTIONS, Function, Way
from benchmarks.measure import Spread
from benchmarks.servers import Servers
from tests.artefacts.emulator import read_event, running

INIT, FIRST, SECOND = "init", "first request", "second request"
WORKFLOW: Final = "story"

type Starts = defaultdict[tuple[str, str, str], Spread]
"""What each phase took in milliseconds, by the way's title, the function's name and the phase."""

_TOLD: Final = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)|INVOKE RTDONE\(.*duration: ([\d.]+)ms\)")


class Starter:
    """Start the functions of one way after the other."""

    def __init__(self, servers: Servers, variables: Mapping[str, Mapping[str, str]]) -> None:
        """Take the servers that the functions talk to, and their environments."""
        self.starts: Starts = defaultdict(Spread)
        self._servers = servers
        self._variables = variables
        session = boto3.Session("test", "test", region_name="us-east-1")
        sqs = session.client("sqs", endpoint_url=servers.address)
        self._queue = EventSource(sqs, f"{servers.address}/1/tasks", size=100)

    async def chain(self, way: Way) -> None:
        """Start each function once; raises RuntimeError where an answer is not the good one."""
        self._take()  # whatever others have left
        asked = self._servers.counts()["calls"]
        submit, *others = FUNCTIONS
        accepted = await self._start(way, submit, [*([read_event("submit")] * 2), _workflow_call()])
        ids = [one for answer in accepted for one in json.loads(answer["body"])["task_ids"]]
        records = self._take()
        chains = [record for record in records if f'"workflow/{WORKFLOW}"' in record["body"]]
        prompts = [record for record in records if record not in chains]
        events: dict[str, list[Any]] = {
            "status": [status_event(ids)] * 2,
            "openai": [read_event("chat_completion")] * 2,
            "authorizer": [read_event("authorizer")] * 2,
            "worker": [{"Records": [record]} for record in prompts[:2]],
            "workflow": [{"Records": [record]} for record in chains],
        }
        for function in others:
            await self._start(way, function, events[function.folder])
        if (asked := self._servers.counts()["calls"] - asked) != len(prompts[:2] + chains):
            raise RuntimeError(f"the model was asked {asked} times")

    async def _start(self, way: Way, function: Function, events: Sequence[Any]) -> list[Any]:
        handler = f"functions.{function.folder}.{way.module}.lambda_handler"
        variables = self._variables[function.name]
        with TemporaryDirectory() as folder:
            async with running(way.artefacts, function.name, handler, variables, Path(folder)) as emulator:
                answers = [await emulator.invoke(event) for event in events]
            log = emulator.log.read_text()
        for answer in answers:
            _check(function, answer)
        for phase, told in zip((INIT, FIRST, SECOND), _TOLD.findall(log), strict=False):
            self.starts[way.title, function.name, phase].values.append(float("".join(told)))
        return answers

    def _take(self) -> list[dict[str, Any]]:
        records = self._queue.batch()
        self._queue.delete([record["receiptHandle"] for record in records])
        return records


def _check(function: Function, answer: object) -> None:
    match function.folder, answer:
        case "submit", {"statusCode": 202}:
            return
        case "status", {"statusCode": 200, "body": str(body)} if "expired" not in body:
            return
        case "openai", {"statusCode": 303}:
            return
        case "authorizer", {"policyDocument": {"Statement": [{"Effect": "Allow"}]}}:
            return
        case "worker" | "workflow", {"batchItemFailures": []}:
            return
    raise RuntimeError(f"{function.folder} answered {answer}")


def _workflow_call() -> dict[str, Any]:
    called = {"resource": "/workflows/{name}", "path": f"/workflows/{WORKFLOW}", "pathParameters": {"name": WORKFLOW}}
    body = json.dumps({"inputs": [{"topic": "a magical forest"}, {"topic": "the sea"}]})
    return {**api_event(body), **called}
