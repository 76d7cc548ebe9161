"""Deploy to MiniStack, through the API of AWS."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.errors import DeployError

REGION = "us-east-1"
BUCKET = "sluice-artefacts"
STACK = "sluice"
TEMPLATE = "template.yaml"
ALIAS = "live"
# The API key of the local stack, and its tenant.
API_KEY, TENANT = "local", "local"
API_KEYS_SECRET = "sluice/api-keys"  # noqa: S105 - a name
OPENAI_KEY_SECRET = "sluice/openai-api-key"  # noqa: S105 - a name
WEBHOOK_SECRET = "sluice/webhook-signing"  # noqa: S105 - a name
# The signing keys of local webhooks are derived from this; `make webhook-secret` prints them.
WEBHOOK_SIGNING = "local-webhook-signing-secret-of-no-worth"
FUNCTIONS = (
    "SubmitFunction",
    "OpenaiFunction",
    "WorkerFunction",
    "WorkflowFunction",
    "StatusFunction",
    "CancelFunction",
    "DocsFunction",
    "DeadLetterFunction",
    "AuthorizerFunction",
    "WebhookFunction",
    "ReceiptFunction",
)
WORKERS = ("WorkerFunction", "WorkflowFunction")
_GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"
_POLL_SECONDS = 0.05
_DEPLOY_SECONDS = 60


def credentials(endpoint: str) -> dict[str, str]:
    """Return environment variables that direct every AWS client to MiniStack only."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # A user's own profile must have no effect.
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Aws:
    """Client of MiniStack's control plane; every method blocks."""

    def __init__(self, endpoint: str) -> None:
        """Create the clients without connecting."""
        self.endpoint = endpoint
        session = boto3.Session("test", "test", region_name=REGION)
        config = Config(
            connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
        )

        # Any: three of the five clients have no stubs here.
        def client(name: str) -> Any:  # noqa: ANN401
            return session.client(name, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]

        self._physical_ids: dict[str, str] = {}
        self._s3 = client("s3")
        self._cloudformation = client("cloudformation")
        self._secrets = client("secretsmanager")
        self._api_gateway = client("apigateway")
        self._lambda = client("lambda")

    def create_bucket(self) -> None:
        """Create the bucket for the artefacts."""
        self._s3.create_bucket(Bucket=BUCKET)

    def upload_all(self, folder: Path) -> None:
        """Upload every file of a folder to the bucket."""
        for path in folder.iterdir():
            self._s3.put_object(Bucket=BUCKET, Key=path.name, Body=path.read_bytes())

    def download_all(self, folder: Path) -> None:
        """Download every object of the bucket to a folder."""
        for item in self._s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            body = self._s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            (folder / item["Key"]).write_bytes(body)

    def put_secrets(self, openai_api_key: str) -> None:
        """Create the secrets: the provider key, the callers' API keys and the webhook signing secret."""
        keys = {hashlib.sha256(API_KEY.encode()).hexdigest(): {"tenant": TENANT}}
        self._secrets.create_secret(Name=API_KEYS_SECRET, SecretString=json.dumps(keys))
        self._secrets.create_secret(Name=OPENAI_KEY_SECRET, SecretString=openai_api_key)
        self._secrets.create_secret(Name=WEBHOOK_SECRET, SecretString=WEBHOOK_SIGNING)

    def create_stack(self, template: str, parameters: Mapping[str, str]) -> None:
        """Create the stack and wait until it is complete; raises DeployError with the reasons."""
        # From the bucket, as sam deploy does: a request may contain at most 50 KB of template.
        self._s3.put_object(Bucket=BUCKET, Key=TEMPLATE, Body=template.encode())
        self._cloudformation.create_stack(
            StackName=STACK,
            TemplateURL=f"https://s3.{REGION}.amazonaws.com/{BUCKET}/{TEMPLATE}",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
        end = time.monotonic() + _DEPLOY_SECONDS
        while time.monotonic() < end:
            status = self._cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
            if status == "CREATE_COMPLETE":
                return
            if not status.endswith("_IN_PROGRESS"):
                raise DeployError(f"The stack has the status {status}.\n" + "\n".join(self._reasons()))
            time.sleep(_POLL_SECONDS)
        raise DeployError(f"The stack was not created within {_DEPLOY_SECONDS} s.")

    def map_root(self, host: str, stage: str) -> None:
        """Serve the API's stage at the root of a host, as a custom domain name does on AWS."""
        self._api_gateway.create_domain_name(domainName=host)
        self._api_gateway.create_base_path_mapping(domainName=host, restApiId=self._physical_id("Api"), stage=stage)

    def apply_gateway_responses(self, stage: str) -> None:
        """Create the API's gateway responses, which MiniStack 1.5.33 ignores in the template."""
        api = self._physical_id("Api")
        template = self._cloudformation.get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
        responses = template["Resources"]["Api"]["Properties"]["Body"].get(_GATEWAY_RESPONSES, {})
        for kind, response in responses.items():
            self._api_gateway.put_gateway_response(restApiId=api, responseType=kind, **response)
        # They take effect with the next deployment.
        self._api_gateway.create_deployment(restApiId=api, stageName=stage)

    def set_task_sources(self, workers: int, batch_size: int) -> None:
        """Set the numbers of the workers' event source mappings.

        MiniStack 1.5.33 keeps numbers from parameters as text, and its poller then fails on a comparison.
        """
        for uuid in self._task_mappings():
            self._lambda.update_event_source_mapping(
                UUID=uuid, BatchSize=batch_size, ScalingConfig={"MaximumConcurrency": workers}
            )

    def set_deliveries(self, *, enabled: bool) -> None:
        """Enable or disable the event source mappings of the workers."""
        for uuid in self._task_mappings():
            self._lambda.update_event_source_mapping(UUID=uuid, Enabled=enabled)

    def warm_worker(self) -> None:
        """Start one environment of the worker with an empty batch."""
        self._lambda.invoke(
            FunctionName=self._physical_id("WorkerFunction"), Qualifier=ALIAS, Payload=b'{"Records": []}'
        )

    def function_variables(self) -> dict[str, dict[str, str]]:
        """Return each function's environment variables by its logical ID."""
        return {name: self._variables(name) for name in FUNCTIONS}

    def _variables(self, logical_id: str) -> dict[str, str]:
        configuration = self._lambda.get_function_configuration(FunctionName=self._physical_id(logical_id))
        variables: dict[str, str] = configuration["Environment"]["Variables"]
        return variables

    def _task_mappings(self) -> Iterator[str]:
        for worker in map(self._physical_id, WORKERS):
            [mapping] = self._lambda.list_event_source_mappings(FunctionName=worker)["EventSourceMappings"]
            yield mapping["UUID"]

    def _physical_id(self, logical_id: str) -> str:
        if not self._physical_ids:
            resources = self._cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
            self._physical_ids = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources}
        return self._physical_ids[logical_id]

    def _reasons(self) -> list[str]:
        events = self._cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        return [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
        ]
