"""Compare one POST of many prompts and one GET of many ids with the least that can carry the same bytes."""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.calls import api_event, submit_environment
from benchmarks.contenders.load import cpu_seconds
from benchmarks.contenders.worker import INVOCATION, environment
from benchmarks.measure import OURS, Spread
from benchmarks.report import Goal, Section, table
from benchmarks.servers import Servers
from local.settings import ROOT

SIZES: Final = (10, 100, 1000)
LINEAR: Final = 1.5
"""How much more a prompt may cost in a call of a thousand than in one of a hundred before that is not linear."""


def measure(servers: Servers, rounds: int) -> Section:
    """Measure both calls at three sizes."""
    servers.empty_redis()
    command = [
        *(str(OURS), "-m", "benchmarks.api", "--rounds", str(rounds), "--redis-port", str(servers.redis_port)),
        *("--url", servers.model(1)),
    ]
    done = subprocess.run(  # noqa: S603  # ours
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    results: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    section = Section("Submit and status")
    rows = []
    for call in ("POST", "GET"):
        for size in SIZES:
            ours, floor = results[f"{call} {size}"], results[f"{call} {size} floor"]
            cpu, least = Spread(ours["cpu"]), Spread(floor["cpu"])
            ratio = Spread([one / other for one, other in zip(ours["cpu"], floor["cpu"], strict=True)])
            rows.append(
                (
                    f"{call} of {size}",
                    cpu.text(),
                    f"{1000 * cpu.median / size:.0f}",
                    least.text(),
                    ratio.text(1),
                    Spread(ours["wall"]).text(),
                )
            )
        few, many = (Spread(results[f"{call} {size}"]["cpu"]).median / size for size in SIZES[1:])
        growth = many / few
        section.goals.append(
            Goal(
                f"{call} of 1,000 grows linearly",
                f"≤ {LINEAR} x a prompt's in 100",
                f"{growth:.2f} x",
                growth <= LINEAR,
            )
        )
    head = ("", "CPU ms", "µs a prompt", "floor, CPU ms", "ratio", "wall ms")
    section.paragraphs += [
        (
            f"The real handlers in one process, {rounds} calls each. The floor of POST parses the body, writes one "
            "hash a prompt in one pipeline, sends the messages with boto3 ten at a time and answers; that of GET reads "
            "the hashes in one pipeline and answers with as many bytes. Neither checks anything."
        ),
        table(head, rows),
    ]
    return section


def main() -> None:
    """Measure, and print the values of all rounds in milliseconds."""
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
    results: defaultdict[str, dict[str, list[float]]] = defaultdict(lambda: {"cpu": [], "wall": []})

    def timed(name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401  # whatever it returns
        wall, cpu = time.perf_counter(), cpu_seconds()
        answer = call()
        results[name]["cpu"].append(1000 * (cpu_seconds() - cpu))
        results[name]["wall"].append(1000 * (time.perf_counter() - wall))
        return answer

    for place in range(arguments.rounds + 1):
        if place == 1:
            results.clear()  # the first round connects and imports
        for size in SIZES:
            body = json.dumps({"prompts": [f"Tell joke {number} about the economy." for number in range(size)]})
            posted = timed(f"POST {size}", lambda: submit.lambda_handler(api_event(body), INVOCATION))  # noqa: B023  # called at once
            ids = json.loads(posted["body"])["task_ids"]
            event = status_event(",".join(ids))
            got = timed(f"GET {size}", lambda: status.lambda_handler(event, INVOCATION))  # noqa: B023  # called at once
            if got["statusCode"] != 200:  # noqa: PLR2004  # the one that is no error
                sys.exit(got["body"])
            timed(f"POST {size} floor", lambda: floor.post(body, posted["body"]))  # noqa: B023  # called at once
            timed(f"GET {size} floor", lambda: floor.get(ids, got["body"]))  # noqa: B023  # called at once
    print(json.dumps(results), file=printed)


def status_event(ids: str) -> dict[str, Any]:
    """Return the event of GET /tasks for these ids."""
    event: dict[str, Any] = json.loads((ROOT / "tests" / "events" / "status.json").read_text())
    return {
        **event,
        "queryStringParameters": {"task_ids": ids},
        "multiValueQueryStringParameters": {"task_ids": [ids]},
    }


class Floor:
    """Carry the same bytes, and do nothing else."""

    def __init__(self, redis_port: int) -> None:
        import boto3  # noqa: PLC0415  # after the environment is set
        from redis import Redis  # noqa: PLC0415

        self._sqs: Any = boto3.client("sqs")
        self._redis = Redis(port=redis_port)

    def post(self, body: str, answer: str) -> str:
        """Take prompts and answer as many bytes as the real one."""
        prompts = json.loads(body)["prompts"]
        with self._redis.pipeline(transaction=False) as pipe:
            for number, prompt in enumerate(prompts):
                pipe.hset(f"floor:{number}", mapping={"status": "queued", "prompt": prompt})
            pipe.execute()
        for place in range(0, len(prompts), 10):
            entries = [
                {"Id": str(number), "MessageBody": json.dumps({"prompt": prompt})}
                for number, prompt in enumerate(prompts[place : place + 10])
            ]
            self._sqs.send_message_batch(QueueUrl=os.environ["QUEUE_URL"], Entries=entries)
        return json.dumps(json.loads(answer))

    def get(self, ids: list[str], answer: str) -> str:
        """Read as many hashes and answer as many bytes as the real one."""
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(len(ids)):
                pipe.hgetall(f"floor:{number}")
            pipe.execute()
        return json.dumps(json.loads(answer))


if __name__ == "__main__":
    main()
