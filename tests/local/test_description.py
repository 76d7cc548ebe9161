"""Test that the gateway conforms to openapi.json: schemathesis calls the deployed template by HTTP."""

import logging
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.stack import AUTHORIZATION
from tests.local.calls import Json, accept, ended
from tests.local_stack import Up
from tools.openapi.document import document

pytestmark = pytest.mark.timeout(300)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MODEL, EMBEDDING_MODEL = "gpt-5-mini", "text-embedding-3-small"
OPERATIONS = [(path, method) for path, methods in document()["paths"].items() for method in methods]
EXAMPLE = document()["paths"]["/tasks"]["post"]["requestBody"]["content"]["application/json"]["example"]
OPENAI = "/openai/"
RESPONSES = "/openai/v1/responses"
BODIES = {
    ("/tasks", "post"): EXAMPLE,  # a call is prompts or a template, which the description says in words only
    ("/openai/v1/chat/completions", "post"): {"model": MODEL, "messages": [{"role": "user", "content": "a"}]},
    (RESPONSES, "post"): {"model": MODEL, "input": "a"},
    ("/openai/v1/embeddings", "post"): {"model": EMBEDDING_MODEL, "input": "a"},
}
"""Bodies that pass: what else is valid, the model's own rules say."""

LONGEST_HEAD = 2_000
"""Bytes of parameters and headers, each of which may take three or more as it is sent."""

EXAMPLES = 12
"""Of each operation and mode: tests/integration/http has more of them, without the gateway between."""

# Held answers and streams of what has not ended would each take their time; both have tests of their own.
HELD = ("Prefer", "prefer")


@pytest.fixture(scope="module")
def known(stack: Up) -> tuple[str, list[str], dict[str, str]]:
    """Make a batch of a task that is completed, one that failed and one that was cancelled; and objects of OpenAI's."""
    with httpx.Client(base_url=stack.url, headers=AUTHORIZATION, timeout=60, trust_env=False) as api:
        prompts: list[Json | str] = [{"prompt": "a", "custom_id": "a"}, "[[fault:401]]", "[[latency:60]]"]
        accepted = accept(api, {"prompts": prompts, "metadata": {"a": "b"}})
        assert api.post(f"/tasks/{accepted['task_ids'][2]}/cancel").status_code == 200
        tasks = ended(api, accepted["task_ids"])
        made = {
            endpoint: accept(
                api, {"endpoint": f"/v1/{endpoint}", "requests": [{"body": {"model": model, "input": "a"}}]}
            )["task_ids"][0]
            for endpoint, model in (("responses", MODEL), ("embeddings", EMBEDDING_MODEL))
        }
        assert {task["status"] for task in ended(api, list(made.values()))} == {"completed"}
    assert [task["status"] for task in tasks] == ["completed", "failed", "cancelled"]
    objects = {
        "completion_id": f"chatcmpl-{accepted['task_ids'][0]}",
        "response_id": f"resp_{made['responses']}",
        "embeddings_id": f"embd-{made['embeddings']}",
    }
    return accepted["batch_id"], accepted["task_ids"], objects


def new_response(stack: Up) -> str:
    """Create a response of its own for each test: one of them deletes it."""
    body = BODIES[RESPONSES, "post"] | {"background": True}
    created = httpx.post(f"{stack.url}{RESPONSES}", json=body, headers=AUTHORIZATION, timeout=60, trust_env=False)
    return str(created.raise_for_status().json()["id"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_every_answer_of_the_gateway_is_one_that_the_description_has(
    stack: Up, known: tuple[str, list[str], dict[str, str]], path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    # GIVEN the described operation, and the ids of tasks that have ended among any others
    logging.getLogger("schemathesis").setLevel(logging.WARNING)
    schema = schemathesis.openapi.from_dict({**document(), "servers": []})
    strategy = schema[path][method.upper()].as_strategy(generation_mode=mode)
    batch_id, task_ids, objects = known
    if "{response_id}" in path:
        objects = objects | {"response_id": new_response(stack)}
    seen: set[int] = set()

    # WHEN it is called with anything that its description allows, or with what it does not
    @given(case=strategy, task_id=st.none() | st.sampled_from(task_ids))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any, task_id: str | None) -> None:  # noqa: ANN401  # schemathesis' own
        if task_id is not None:
            real = {"task_id": task_id, "batch_id": batch_id, "name": "story", "model": MODEL, **objects}
            case.path_parameters = {name: real.get(name, "x") for name in case.path_parameters or {}}
            if path == "/workflows/{name}" and mode is schemathesis.GenerationMode.POSITIVE:
                case.body = {"inputs": [{"topic": "trees"}]}  # what an input is, the workflow says
            if (path, method) in BODIES and mode is schemathesis.GenerationMode.POSITIVE:
                case.body = BODIES[path, method]
        for name in HELD:
            (case.headers or {}).pop(name, None)
        (case.query or {}).pop("hop", None)  # set by the function itself: behind the last one it ends a call with 504
        # A URL and headers that are longer than any gateway takes are refused before the API.
        assume(len(f"{case.query}{case.headers}".encode("unicode_escape")) < LONGEST_HEAD)
        # THEN nothing fails on our side, and status, type and body are described
        held = {"Prefer": "wait=0"} if path.startswith(OPENAI) else {}  # these are held by default
        answer = case.call_and_validate(
            base_url=stack.url, checks=CHECKS, headers=AUTHORIZATION | held, allow_redirects=False
        )
        seen.add(answer.status_code)

    call()
    # A 401 is described too: for no key, and, from the emulator, whose policies match no line break, for one in an id.
    assert seen - {401}
    if mode is schemathesis.GenerationMode.POSITIVE:
        assert seen & {200, 202, 204, 303, 409}
