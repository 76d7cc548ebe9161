"""Test the built artefacts: each works alone, lacks nothing and contains nothing that it does not need."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import boto3
import pytest

from local.build import SERVICES
from local.model import StandIn
from tests.artefacts.conftest import Backends
from tests.artefacts.emulator import PYTHON, Artefacts, Emulator, read_event, running

FOLDERS = {
    "AuthorizerFunction": "authorizer",
    "CancelFunction": "cancel",
    "DeadLetterFunction": "dead_letter",
    "DocsFunction": "docs",
    "OpenaiFunction": "openai",
    "ReceiptFunction": "receipt",
    "StatusFunction": "status",
    "SubmitFunction": "submit",
    "WebhookFunction": "webhook",
    "WorkerFunction": "worker",
    "WorkflowFunction": "workflow",
}
REDIS = ["REDIS_HOST"]
STORE = [*REDIS, "WEBHOOK_QUEUE_URL"]
CALLING = [
    *STORE,
    *("QUEUE_URL", "CONCURRENCY", "WORKER_TIMEOUT_SECONDS", "MODEL_TIMEOUT_SECONDS", "OPENAI_API_KEY_SECRET"),
]
REQUIRED = {
    "AuthorizerFunction": ["API_KEYS_SECRET"],
    "CancelFunction": STORE,
    "DeadLetterFunction": STORE,
    "OpenaiFunction": [*STORE, "QUEUE_URL", "ALLOWED_MODELS"],
    "ReceiptFunction": REDIS,
    "StatusFunction": STORE,
    "SubmitFunction": [*STORE, "QUEUE_URL", "WORKFLOW_QUEUE_URL", "ALLOWED_MODELS"],
    "WebhookFunction": ["WEBHOOK_QUEUE_URL", "RECEIPT_QUEUE_URL", "WEBHOOK_SECRET"],
    "WorkerFunction": CALLING,
    "WorkflowFunction": [*CALLING, "DEFAULT_MODEL"],
}

# The first use may have to build.
pytestmark = pytest.mark.timeout(600)


def start(artefacts: Artefacts, function: str, variables: dict[str, str], folder: Path) -> Any:  # noqa: ANN401
    """Run a function by the name it has in the template."""
    return running(artefacts, function, f"functions.{FOLDERS[function]}.handler.lambda_handler", variables, folder)


async def submit(function: Emulator, prompt: str) -> str:
    """Submit one prompt and return its task's id."""
    event = {**read_event("submit"), "body": json.dumps({"prompts": [prompt]})}
    answer = await function.invoke(event)
    assert answer["statusCode"] == 202, answer
    task_id: str = json.loads(answer["body"])["task_ids"][0]
    return task_id


async def look_up(function: Emulator, task_id: str) -> dict[str, Any]:
    """Ask for one task."""
    event = {**read_event("task"), "path": f"/tasks/{task_id}", "pathParameters": {"task_id": task_id}}
    answer = await function.invoke(event)
    assert answer["statusCode"] == 200, answer
    task: dict[str, Any] = json.loads(answer["body"])
    return task


def receive(backends: Backends, event: str, queue_url: str = "") -> dict[str, Any]:
    """Take a message from a queue, as the poller hands it to a function; from that of prompts where none is named."""
    queue_url = queue_url or backends.queue_url
    message = backends.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1)["Messages"][0]
    backends.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    captured: dict[str, Any] = read_event(event)
    made = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}
    return {"Records": [{**captured["Records"][0], **made}]}


async def test_a_prompt_goes_through_the_built_functions(
    artefacts: Artefacts, backends: Backends, tmp_path: Path
) -> None:
    model = StandIn(("gpt-5-mini",))
    async with (
        model.serve() as model_url,
        start(artefacts, "SubmitFunction", backends.of("SubmitFunction"), tmp_path) as submitting,
        start(
            artefacts, "WorkerFunction", backends.of("WorkerFunction", OPENAI_BASE_URL=model_url), tmp_path
        ) as worker,
        start(artefacts, "StatusFunction", backends.of("StatusFunction"), tmp_path) as status,
    ):
        # Twice: the second is a warm start.
        for prompt in ("Tell a joke about the economy.", "Tell a joke about animals."):
            # WHEN a prompt is submitted, THEN it is queued
            task_id = await submit(submitting, prompt)
            assert (await look_up(status, task_id))["status"] == "queued"

            # WHEN its message reaches the worker, THEN nothing has to come back, and the answer can be read
            assert await worker.invoke(receive(backends, "worker")) == {"batchItemFailures": []}
            task = await look_up(status, task_id)
            assert task["status"] == "completed"
            assert task["progress"] == 100
            assert task["result"]
    assert model.calls.total == 2


async def test_each_workflow_goes_through_the_built_functions(
    artefacts: Artefacts, backends: Backends, tmp_path: Path
) -> None:
    model = StandIn(("gpt-5-mini",))
    given = {
        "story": {"topic": "a magical forest"},
        "summarize_articles": {"articles": ["About trees.", "About the sea."]},
        "translate_and_review": {"text": "Good morning.", "language": "German"},
    }
    async with (
        model.serve() as model_url,
        start(artefacts, "SubmitFunction", backends.of("SubmitFunction"), tmp_path) as submitting,
        start(
            artefacts, "WorkflowFunction", backends.of("WorkflowFunction", OPENAI_BASE_URL=model_url), tmp_path
        ) as worker,
        start(artefacts, "StatusFunction", backends.of("StatusFunction"), tmp_path) as status,
    ):
        for name, fields in given.items():
            called = {"resource": "/workflows/{name}", "path": f"/workflows/{name}", "pathParameters": {"name": name}}
            # WHEN a workflow is called, THEN it waits in the queue of workflows
            body = json.dumps({"inputs": [fields]})
            answer = await submitting.invoke({**read_event("submit"), **called, "body": body})
            assert answer["statusCode"] == 202, answer
            [task_id] = json.loads(answer["body"])["task_ids"]

            # WHEN its message reaches the worker, THEN its answer can be read
            event = receive(backends, "workflow", backends.workflow_queue_url)
            assert await worker.invoke(event) == {"batchItemFailures": []}
            task = await look_up(status, task_id)
            assert (task["status"], task["model"]) == ("completed", f"workflow/{name}")
            assert task["result"]
    assert model.calls.total == 1 + 3 + 2


async def test_the_captured_workflow_is_run(artefacts: Artefacts, backends: Backends, tmp_path: Path) -> None:
    model = StandIn(("gpt-5-mini",))
    async with model.serve() as model_url:
        variables = backends.of("WorkflowFunction", OPENAI_BASE_URL=model_url)
        async with start(artefacts, "WorkflowFunction", variables, tmp_path) as worker:
            assert await worker.invoke(read_event("workflow")) == {"batchItemFailures": []}
    assert model.calls.total == 1


async def test_the_built_dead_letter_function_ends_a_task(
    artefacts: Artefacts, backends: Backends, tmp_path: Path
) -> None:
    async with (
        start(artefacts, "SubmitFunction", backends.of("SubmitFunction"), tmp_path) as submitting,
        start(artefacts, "DeadLetterFunction", backends.of("DeadLetterFunction"), tmp_path) as dead_letter,
        start(artefacts, "StatusFunction", backends.of("StatusFunction"), tmp_path) as status,
    ):
        task_id = await submit(submitting, "A prompt that nobody could answer.")
        assert await dead_letter.invoke(receive(backends, "dead_letter")) == {"batchItemFailures": []}
        task = await look_up(status, task_id)
    assert task["status"] == "failed"
    assert task["error"]["code"]


async def test_the_built_cancel_function_takes_a_task_back(
    artefacts: Artefacts, backends: Backends, tmp_path: Path
) -> None:
    async with (
        start(artefacts, "SubmitFunction", backends.of("SubmitFunction"), tmp_path) as submitting,
        start(artefacts, "CancelFunction", backends.of("CancelFunction"), tmp_path) as cancel,
        start(artefacts, "StatusFunction", backends.of("StatusFunction"), tmp_path) as status,
    ):
        task_id = await submit(submitting, "A prompt that nobody wants answered any more.")
        answer = await cancel.invoke({**read_event("cancel_task"), "path": f"/tasks/{task_id}/cancel"})
        task = await look_up(status, task_id)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == task
    assert task["status"] == "cancelled"
    receive(backends, "worker")


async def test_the_built_authorizer_knows_a_key_and_refuses_another(
    artefacts: Artefacts, backends: Backends, tmp_path: Path
) -> None:
    event = read_event("authorizer")
    async with start(artefacts, "AuthorizerFunction", backends.of("AuthorizerFunction"), tmp_path) as authorizer:
        known = await authorizer.invoke(event)
        unknown = await authorizer.invoke({**event, "authorizationToken": "Bearer other"})
    assert known["context"] == {"tenant": "local"}
    assert known["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    assert unknown["policyDocument"]["Statement"][0]["Effect"] == "Deny"


async def test_the_built_docs_function_serves_the_description_and_the_pages(
    artefacts: Artefacts, backends: Backends, tmp_path: Path
) -> None:
    async with start(artefacts, "DocsFunction", backends.of("DocsFunction"), tmp_path) as docs:
        description = await docs.invoke(read_event("openapi"))
        page = await docs.invoke(read_event("docs"))
        console = await docs.invoke({**read_event("docs"), "resource": "/console", "path": "/console"})
    assert json.loads(description["body"])["openapi"] == "3.1.0"
    assert page["body"].startswith("<!doctype html>")
    assert 'src="console/app.js"' in console["body"]


async def test_the_captured_events_are_understood(artefacts: Artefacts, backends: Backends, tmp_path: Path) -> None:
    async with (
        start(artefacts, "SubmitFunction", backends.of("SubmitFunction"), tmp_path) as submitting,
        start(artefacts, "StatusFunction", backends.of("StatusFunction"), tmp_path) as status,
        start(artefacts, "CancelFunction", backends.of("CancelFunction"), tmp_path) as cancel,
    ):
        accepted = await submitting.invoke(read_event("submit"))
        found = [(await status.invoke(read_event(name)))["statusCode"] for name in ("status", "task", "batch")]
        cancelled = [(await cancel.invoke(read_event(name)))["statusCode"] for name in ("cancel_task", "cancel_batch")]
    assert accepted["statusCode"] == 202
    # The ids of the events are older than any record: many are reported one by one, a single one is gone.
    assert found == [200, 410, 410]
    assert cancelled == [410, 410]
    while backends.sqs.receive_message(QueueUrl=backends.queue_url).get("Messages"):
        backends.sqs.purge_queue(QueueUrl=backends.queue_url)


@pytest.mark.parametrize(("function", "variable"), [(f, v) for f, names in REQUIRED.items() for v in names])
async def test_a_missing_setting_stops_the_start_with_its_name(
    artefacts: Artefacts, backends: Backends, tmp_path: Path, function: str, variable: str
) -> None:
    variables = {name: value for name, value in backends.of(function).items() if name != variable}
    async with start(artefacts, function, variables, tmp_path) as broken:
        answer = await broken.invoke({})
    assert answer["errorType"] == "SettingError", answer
    assert answer["errorMessage"] == f"{variable} must be set"


def modules_after_import(artefacts: Artefacts, function: str, variables: dict[str, str]) -> set[str]:
    """Import the built handler in a fresh interpreter and return the top-level names of all that came with it."""
    program = (
        f"import functions.{FOLDERS[function]}.handler, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    )
    command = [*PYTHON, "-c", program]
    folder = artefacts.build / function
    environment = artefacts.environment(function, variables)
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


RUNTIMES_OWN = {"simplejson", "snapshot_restore_py"}
"""What Lambda's runtime brings; it has it loaded before a function is."""

POWERTOOLS = {"aws_lambda_powertools", "botocore", "jmespath", "typing_extensions"}
CACHE = {"hiredis", "redis"}
BOTO3 = {"boto3", "dateutil", "six", "urllib3"}
AIOHTTP = {
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl"),
}
OPENAI = {
    *("annotated_types", "anyio", "h11", "httpcore2", "httpx2", "openai", "pydantic", "pydantic_core", "sniffio"),
    *("truststore", "typing_inspection"),
}
LANGCHAIN = {
    *("certifi", "charset_normalizer", "distro", "jiter", "jsonpatch", "jsonpointer", "langchain_core"),
    *("langchain_openai", "langchain_protocol", "langsmith", "orjson", "packaging", "requests", "requests_toolbelt"),
    *("tenacity", "tiktoken", "tiktoken_ext", "urllib3", "uuid_utils", "xxhash", "yaml", "zstandard"),
}
BUDGETS = {
    "AuthorizerFunction": POWERTOOLS | BOTO3,
    "CancelFunction": POWERTOOLS | CACHE,
    "DeadLetterFunction": POWERTOOLS | CACHE,
    "DocsFunction": set[str](),
    "OpenaiFunction": POWERTOOLS | BOTO3 | CACHE | {"msgspec"},
    "ReceiptFunction": POWERTOOLS | CACHE,
    "StatusFunction": POWERTOOLS | CACHE,
    "SubmitFunction": POWERTOOLS | BOTO3 | CACHE | {"msgspec"},
    "WebhookFunction": POWERTOOLS | BOTO3 | {"standardwebhooks"},
    # aioboto3, and boto3 for the key, are imported where they are used.
    "WorkerFunction": POWERTOOLS | AIOHTTP | OPENAI | CACHE,
    "WorkflowFunction": POWERTOOLS | AIOHTTP | OPENAI | LANGCHAIN | CACHE,
}
"""What each may import at its start, beside the standard library and our own: a cold start pays for all of it."""


@pytest.mark.parametrize("function", FOLDERS)
def test_a_built_function_imports_nothing_beyond_its_budget(
    artefacts: Artefacts, backends: Backends, function: str
) -> None:
    loaded = modules_after_import(artefacts, function, backends.of(function)) - sys.stdlib_module_names - RUNTIMES_OWN
    # What begins with an underscore is a part of another module, or the build's own.
    foreign = {name for name in loaded if not name.startswith("_")} - {"common", "functions", "cython_runtime"}
    assert foreign <= BUDGETS[function]


CALLERS = {"WorkerFunction", "WorkflowFunction"}
"""The functions that call the model."""


def shipped_with(artefacts: Artefacts, function: str) -> set[str]:
    """Return the names at the top of a function's folder and of the layer."""
    return {path.name for place in artefacts.path_of(function)[:2] for path in place.iterdir()}


@pytest.mark.parametrize("function", sorted(FOLDERS.keys() - CALLERS))
def test_only_the_workers_ship_the_models_client(artefacts: Artefacts, function: str) -> None:
    models_client = {"openai", "aiohttp", "aioboto3", "aiobotocore", "pydantic", "pydantic_core"}
    assert not shipped_with(artefacts, function) & models_client


@pytest.mark.parametrize("function", FOLDERS)
def test_only_the_workflow_worker_ships_langchain(artefacts: Artefacts, function: str) -> None:
    shipped = {name for name in shipped_with(artefacts, function) if name.startswith(("langchain", "langsmith"))}
    assert bool(shipped) == (function == "WorkflowFunction"), shipped


def test_the_sdk_that_ships_describes_only_what_is_called(artefacts: Artefacts) -> None:
    places = list(artefacts.build.glob("**/botocore/data"))

    assert len(places) == 3  # the layer's, and each worker's own
    assert all({path.name for path in place.iterdir() if path.is_dir()} == set(SERVICES) for place in places)


def test_the_sdk_that_ships_knows_the_same_addresses_as_the_whole_one(artefacts: Artefacts) -> None:
    regions = ("us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1", "us-isof-south-1", "eusc-de-east-1")
    program = (
        "import boto3, sys\n"
        f"for region in {regions}:\n"
        f"    for name in {SERVICES}:\n"
        "        print(name, region, boto3.client(name, region_name=region).meta.endpoint_url)\n"
    )
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    layer = {"PYTHONPATH": str(artefacts.build / "CommonLayer" / "python")}

    shipped, whole = (
        subprocess.run([*PYTHON, "-c", program], env=keys | more, check=True, capture_output=True, text=True).stdout
        for more in (layer, {"PYTHONPATH": str(Path(boto3.__file__).parent.parent)})
    )

    assert shipped == whole
    assert len(shipped.splitlines()) == len(regions) * len(SERVICES)


def test_a_function_is_traced_with_the_sdk_of_the_layer(artefacts: Artefacts, backends: Backends) -> None:
    # GIVEN a function where it is traced, as in Lambda
    variables = {**artefacts.environment("StatusFunction", backends.of("StatusFunction")), "AWS_SAM_LOCAL": ""}
    program = "import functions.status.handler, aws_xray_sdk.core, botocore; print(botocore.__file__)"

    # WHEN it starts
    done = subprocess.run([*PYTHON, "-c", program], env=variables, check=True, capture_output=True, text=True)

    # THEN the X-Ray SDK has found the botocore that it was tested with
    assert done.stdout.startswith(str(artefacts.build / "CommonLayer"))


def test_a_built_function_cannot_reach_what_is_only_installed_here(artefacts: Artefacts) -> None:
    # GIVEN the interpreter and the path of a built function
    command = [*PYTHON, "-c", "import pytest"]
    environment = artefacts.environment("StatusFunction", {})
    # WHEN it imports what only this environment has, THEN it fails, and so would a forgotten dependency
    done = subprocess.run(command, cwd=artefacts.build, env=environment, check=False, capture_output=True, text=True)
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(
    ("artefact", "most_kilobytes"),
    [
        ("AuthorizerFunction", 50),
        ("CancelFunction", 50),
        ("DeadLetterFunction", 50),
        ("DocsFunction", 100),
        ("ReceiptFunction", 50),
        ("StatusFunction", 50),
        ("SubmitFunction", 540),
        ("WebhookFunction", 60),
        ("WorkerFunction", 22_000),
        ("WorkflowFunction", 42_000),
        ("CommonLayer", 8_900),
    ],
)
def test_an_artefact_stays_within_its_size(
    artefacts: Artefacts, tmp_path: Path, artefact: str, most_kilobytes: int
) -> None:
    folder = artefacts.build / artefact
    with ZipFile(tmp_path / "artefact.zip", "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    assert (tmp_path / "artefact.zip").stat().st_size <= most_kilobytes * 1000


@pytest.mark.parametrize("artefact", [*FOLDERS, "CommonLayer"])
def test_an_artefact_ships_bytecode_and_no_tests(artefacts: Artefacts, artefact: str) -> None:
    folder = artefacts.build / artefact
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py*")]
    assert any(name.endswith("handler.cpython-313.pyc" if artefact in FOLDERS else ".pyc") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "local/", "python/tests/"))]
