"""Test the segments that the X-Ray daemon receives: they link a task to its request and contain no text."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.stack import ROOT

OURS = "Root=1-6000aaaa-000000000000000000000001;Parent=00000000000000aa;Sampled=1"
SUBMITTED = "1-5759e988-bd862e3fe1be46a994272793"

type Part = dict[str, Any]


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)
        yield listening


def run(daemon: socket.socket, function: str) -> tuple[list[Part], str]:
    """Run it where X-Ray listens, and return the parts that were sent, and all that was sent as it was."""
    host, port = daemon.getsockname()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "POWERTOOLS_SERVICE_NAME": function,
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice",
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_XRAY_DAEMON_ADDRESS": f"{host}:{port}",
        "_X_AMZN_TRACE_ID": OURS,
    }
    header = f"Root={SUBMITTED};Parent=53995c3f42cd8ad8;Sampled=1"
    command = [sys.executable, "-m", "tests.integration.tracing.traced", function, header]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    heard: list[str] = []
    while not heard or '"## ' not in heard[-1]:  # the handler's own part is sent last
        heard.append(daemon.recv(65_536).decode())
    roots = [json.loads(each.split("\n", 1)[1]) for each in heard]
    return [part for root in roots for part in _parts(root)], "".join(heard) + done.stdout + done.stderr


def _parts(part: Part) -> Iterator[Part]:
    yield part
    for inner in part.get("subsegments", []):
        yield from _parts(inner)


def test_a_tasks_part_names_the_trace_that_brought_it_and_lasts_as_long_as_its_call(daemon: socket.socket) -> None:
    parts, said = run(daemon, "worker")

    tasks = [part for part in parts if part["name"] == "task"]
    assert [task["annotations"] for task in tasks] == [
        {"submitted_in": SUBMITTED, "task_id": "task-0", "ending": "completed"},
        {"submitted_in": SUBMITTED, "task_id": "task-1", "ending": "failed", "code": "unauthorized"},
        {"submitted_in": SUBMITTED, "task_id": "task-2", "ending": "busy"},
    ]
    assert [round(task["end_time"] - task["start_time"], 1) for task in tasks] == [2.5, 0.5, 0.0]
    models = [part for part in parts if part["name"] == "model"]
    assert [round(model["end_time"] - model["start_time"], 1) for model in models] == [2.5, 0.5]
    assert {part["trace_id"] for part in parts if "trace_id" in part} == {"1-6000aaaa-000000000000000000000001"}
    assert "attack" not in said


def test_submit_shows_how_long_redis_and_sqs_took_and_no_text_of_what_failed(daemon: socket.socket) -> None:
    parts, said = run(daemon, "submit")

    assert [part["name"] for part in parts if not part["name"].startswith("##")] == ["redis", "sqs"]
    assert "attack" not in said
