"""Test that the handlers conform to openapi.json."""

import logging
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.test import Client

from common.domain.task import Answer as ModelAnswer
from common.domain.task import FailureCode, Usage
from common.domain.transitions import Lease, ProgressNote
from tests.integration.http.client import Api
from tests.integration.http.queue import Queue
from tests.integration.http.wsgi import Gateway
from tools.openapi.document import PATH, document, written

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [(path, method) for path, methods in document()["paths"].items() for method in methods]

RESPONSES = "/openai/v1/responses"
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("/openai/v1/chat/completions", "post"): {"model": "small", "messages": [{"role": "user", "content": "Hello"}]},
    (RESPONSES, "post"): {"model": "small", "input": "Hello"},
    ("/openai/v1/embeddings", "post"): {"model": "embedder", "input": "Hello"},
}


def test_the_file_is_what_the_code_says() -> None:
    assert PATH.read_text(encoding="utf-8") == written(), "run: make openapi"


@pytest.mark.parametrize("redis", ["valkey"], indirect=True)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_every_answer_is_one_that_the_description_has(
    api: Api, queue: Queue, path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    # GIVEN the described operation, on the real handlers, and the ids of tasks in every state among any others
    logging.getLogger("schemathesis").setLevel(logging.WARNING)
    schema = schemathesis.openapi.from_dict({**document(), "servers": []})
    schema.app = Gateway(api)
    strategy = schema[path][method.upper()].as_strategy(generation_mode=mode)
    batch_id, task_ids = worked_on(api, queue)
    embedded = api.post({"endpoint": "/v1/embeddings", "requests": [{"body": {"input": "a"}}]}).body["task_ids"][0]
    response = Client(schema.app).post(RESPONSES, json={**BODIES[RESPONSES, "post"], "background": True}).get_json()
    seen: set[int] = set()

    # WHEN it is called with anything that its description allows, or with what it does not
    @given(case=strategy, known=st.none() | st.sampled_from(task_ids))
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any, known: str | None) -> None:  # noqa: ANN401  # schemathesis' own
        if known is not None:
            real = {
                "task_id": known,
                "batch_id": batch_id,
                "name": "story",
                "completion_id": f"chatcmpl-{known}",
                "response_id": response["id"],
                "embeddings_id": f"embd-{embedded}",
                "model": "small",
            }
            case.path_parameters = {name: real[name] for name in case.path_parameters or {}}
            if path == "/workflows/{name}" and mode is schemathesis.GenerationMode.POSITIVE:
                case.body = {"inputs": [{"topic": known}]}  # what an input is, the workflow says, not the description
            if (path, method) in BODIES and mode is schemathesis.GenerationMode.POSITIVE:
                case.body = BODIES[path, method]  # only these pass
        (case.query or {}).pop("hop", None)  # set by the function itself: behind the last one it ends a call with 504
        # THEN nothing fails on our side, and status, type and body are described
        seen.add(case.call_and_validate(checks=CHECKS).status_code)

    call()
    queue.drain()
    if mode is schemathesis.GenerationMode.POSITIVE:
        assert seen & {200, 202, 303}


def worked_on(api: Api, queue: Queue) -> tuple[str, list[str]]:
    """Make a batch with a task that waits, one that runs, one that failed and one that is completed."""
    accepted = api.post({"prompts": [{"prompt": "a", "custom_id": "a"}, "b", "c", "d"], "metadata": {"a": "b"}}).body
    store, run = api.worker, api.status.runner.run
    messages = queue.drain()
    _, *leases = [Lease(message.task, "owner", 60_000, 3) for message in messages]
    for lease in leases:
        run(store.claim(lease))
    running, failed, completed = leases
    run(store.progress([ProgressNote(running.task.ref, "owner", 50, "half", 60_000)]))
    run(store.fail(failed, FailureCode.CONTENT_POLICY))
    run(store.save_request(failed.task.ref, messages[2].encode()))
    run(store.complete(completed, ModelAnswer("done", "length", Usage(1, 2, 3))))
    return accepted["batch_id"], accepted["task_ids"]
