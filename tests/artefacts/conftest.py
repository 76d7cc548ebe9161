"""Build the functions once, and start the servers that they use."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from local.settings import ROOT, build_folder
from tests.artefacts.emulator import ARCHITECTURE, Artefacts, link_runtime
from tests.aws import running_aws
from tests.infra.stack import Stack, read_template
from tests.valkey import redis_variables, running_valkey


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    """Build for this machine what is not built yet, with the stack on a laptop, whose build this is too."""
    subprocess.run([sys.executable, "-m", "local.build"], cwd=ROOT, check=True)
    runtime = tmp_path_factory.mktemp("runtime")
    link_runtime(runtime)
    return Artefacts(build_folder(ARCHITECTURE) / "sam", runtime)


@dataclass(frozen=True, slots=True)
class Backends:
    """SQS and Secrets Manager by moto, Redis by Valkey."""

    endpoint: str
    queue_url: str
    workflow_queue_url: str
    sqs: Any
    variables: dict[str, dict[str, str]]

    def of(self, function: str, **more: str) -> dict[str, str]:
        """Return a function's environment: the template's own, with the addresses of the backends."""
        return {**self.variables[function], **more}


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    with running_aws() as endpoint, running_valkey() as redis:
        session = boto3.Session("test", "test", region_name="us-east-1")
        sqs = session.client("sqs", endpoint_url=endpoint)
        queue_url = sqs.create_queue(QueueName="sluice-tasks")["QueueUrl"]
        workflow_queue_url = sqs.create_queue(QueueName="sluice-workflows")["QueueUrl"]
        secrets = session.client("secretsmanager", endpoint_url=endpoint)
        keys = {hashlib.sha256(b"local").hexdigest(): {"tenant": "local"}}
        secrets.create_secret(Name="sluice/api-keys", SecretString=json.dumps(keys))
        secrets.create_secret(Name="sluice/openai-api-key", SecretString="made-up")
        secrets.create_secret(Name="sluice/webhook-signing", SecretString="made-up" * 6)
        stack = Stack.of(read_template())
        made = {
            **redis_variables(redis),
            "REDIS_IAM": "false",
            "REDIS_USERNAME": "",
            "QUEUE_URL": queue_url,
            "WORKFLOW_QUEUE_URL": workflow_queue_url,
            "WEBHOOK_QUEUE_URL": sqs.create_queue(QueueName="sluice-webhooks")["QueueUrl"],
            "RECEIPT_QUEUE_URL": sqs.create_queue(QueueName="sluice-receipts")["QueueUrl"],
        }
        # Absent on AWS, and so from the variables of the template.
        local = {"AWS_ENDPOINT_URL": endpoint}
        variables = {
            name: {key: made.get(key, str(value)) for key, value in stack.variables(name).items()} | local
            for name, _ in stack.of_type("Lambda::Function")
        }
        variables["WorkflowFunction"]["QUEUE_URL"] = workflow_queue_url
        yield Backends(endpoint, queue_url, workflow_queue_url, sqs, variables)
