"""Run the built functions in containers, as `sam local` does, beside the laptop stack.

They need a Docker engine and the image of the runtime (`docker pull public.ecr.aws/lambda/python:3.13`), or another
image by its name in SLUICE_LAMBDA_IMAGE. Nothing is pulled here.
"""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from local.aws import API_KEY, credentials
from local.bridge import bridged
from local.processes import Child
from local.servers import free_port
from local.settings import ROOT, read_settings
from local.stack import Stack, running_stack
from tests.artefacts.emulator import ARCHITECTURE, Artefacts, read_event
from tests.local import pages

IMAGE = os.environ.get("SLUICE_LAMBDA_IMAGE", "public.ecr.aws/lambda/python:3.13")
SAM = ROOT / ".venv-sam" / "bin" / "sam"
AUTHORIZATION = {"Authorization": f"Bearer {API_KEY}"}


def has_image() -> bool:
    """Tell whether a Docker engine runs and holds the image."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "image", "inspect", IMAGE], check=False, capture_output=True)
    return asked.returncode == 0


pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not has_image(), reason=f"no Docker engine that holds {IMAGE} (another: SLUICE_LAMBDA_IMAGE)"),
]


@dataclass(frozen=True, slots=True)
class SamLocal:
    """Know the stack, the build and how to call `sam local`."""

    stack: Stack
    build: Path
    folder: Path
    variables: Path

    def environment(self) -> dict[str, str]:
        """Return what the SAM CLI finds in its environment; it hands the credentials on."""
        return {
            **credentials(self.stack.aws.endpoint),
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "SAM_CLI_TELEMETRY": "0",
        }

    def command(self, *arguments: str) -> list[str]:
        """Return a command line with the flags that samconfig.toml has, for this build and this stack."""
        return [
            *(str(SAM), "local", *arguments),
            *("--template", str(self.build / "template.yaml"), "--parameter-overrides", f"Architecture={ARCHITECTURE}"),
            *("--env-vars", str(self.variables)),
            *("--invoke-image", IMAGE, "--skip-pull-image"),
        ]

    async def invoke(self, function: str, event: object) -> Any:  # noqa: ANN401 - what a function answers is its own
        """Run one function for one event."""
        file = self.folder / "event.json"
        file.write_text(json.dumps(event))
        output = self.folder / "invoke.log"
        output.unlink(missing_ok=True)
        await self._run(self.command("invoke", function, "--event", str(file)), output)
        # The answer comes last, but for a line in which the runtime may complain of being stopped.
        return json.loads([line for line in output.read_text().splitlines() if line.startswith("{")][-1])

    async def _run(self, command: Sequence[str], output: Path) -> None:
        child = await Child.start("sam local invoke", command, env=self.environment(), log=output, cwd=self.folder)
        await child.succeed()


@pytest.fixture
async def sam_local(artefacts: Artefacts, tmp_path: Path) -> AsyncIterator[SamLocal]:
    """Start the laptop stack with its workers held back, so that the queue's messages are ours."""
    settings = read_settings({"PORT": "0", "SLUICE_LOCAL_STATE": str(tmp_path)})
    async with running_stack(settings, lambda _: None) as stack:
        await stack.hold_deliveries()
        async with bridged(tmp_path) as variables:
            yield SamLocal(stack, artefacts.build, tmp_path, variables)


@pytest.fixture
async def api(sam_local: SamLocal) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the API with `sam local start-api`."""
    port = free_port()
    command = sam_local.command("start-api", "--port", str(port))
    async with AsyncExitStack() as ends:
        child = await Child.start(
            "sam local start-api",
            command,
            env=sam_local.environment(),
            log=sam_local.folder / "api.log",
            cwd=sam_local.folder,
        )
        ends.push_async_callback(child.stop)
        # It answers when it listens; each request then starts a container or two.
        transport = httpx.AsyncHTTPTransport(retries=8)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=120)
        yield await ends.enter_async_context(client)


async def test_a_prompt_goes_through_sam_local(sam_local: SamLocal, api: httpx.AsyncClient) -> None:
    # WHEN somebody comes without a key, or with a wrong one, THEN there is no answer
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        refused = await api.get("/tasks", params={"task_ids": "any"}, headers=headers)
        assert refused.status_code in {401, 403}

    # WHEN a prompt is sent to `sam local start-api`
    accepted = await api.post("/tasks", json={"prompts": ["Tell a joke about plants."]}, headers=AUTHORIZATION)

    # THEN it is accepted, and waits
    assert accepted.status_code == 202, accepted.text
    task_id = accepted.json()["task_ids"][0]
    asked = await api.get("/tasks", params={"task_ids": task_id}, headers=AUTHORIZATION)
    assert [task["status"] for task in asked.json()["tasks"]] == ["queued"]

    # WHEN `sam local invoke` gives its message to the worker
    queue_url = (await sam_local_variables(sam_local))["QUEUE_URL"]
    sqs = boto3.Session("test", "test", region_name="us-east-1").client(
        "sqs", endpoint_url=sam_local.stack.aws.endpoint
    )
    message = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=5)["Messages"][0]
    taken = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}
    event = {"Records": [{**read_event("worker")["Records"][0], **taken}]}
    assert await sam_local.invoke("WorkerFunction", event) == {"batchItemFailures": []}

    # THEN the answer is there
    shown = await api.get(f"/tasks/{task_id}", headers=AUTHORIZATION)
    assert shown.status_code == 200
    assert shown.json()["status"] == "completed"
    assert shown.json()["result"]


async def sam_local_variables(sam_local: SamLocal) -> dict[str, str]:
    """Return the worker's environment, as the laptop stack writes it down."""
    variables: dict[str, str] = json.loads((sam_local.folder / "env.json").read_text())["WorkerFunction"]
    return variables


async def test_the_lines_of_the_contributing_page_name_functions_and_events_that_work(sam_local: SamLocal) -> None:
    # GIVEN what the page says, without the build, which is here already, and the API, which has its own test
    build, *invocations, start_api = pages.commands(pages.CONTRIBUTING)["sam local"].splitlines()
    assert (build, start_api) == ("make build", ".venv-sam/bin/sam local start-api")

    # WHEN each line's event is given to its function, THEN it answers
    for line in invocations:
        *sam, function, flag, event = line.split(" ")
        assert (sam, flag) == ([".venv-sam/bin/sam", "local", "invoke"], "-e")
        answer = await sam_local.invoke(function, json.loads((ROOT / event).read_text()))
        assert answer.get("statusCode", 200) in {200, 202}, answer
        assert answer.get("batchItemFailures", []) == []
