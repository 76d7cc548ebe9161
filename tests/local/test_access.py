"""Test authentication and the isolation of tenants."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from local.aws import API_KEYS_SECRET
from tests.local.calls import ended, look_up, problem, submit
from tests.local_stack import Up, usable
from tools.keys import KeyStore

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def neighbour(stack: Up) -> Iterator[httpx.Client]:
    """Issue a key for another tenant, as `make key` does."""
    secrets = stack.aws("secretsmanager")
    key = KeyStore(secrets, API_KEYS_SECRET, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)).issue("neighbour")
    headers = {"Authorization": f"Bearer {usable(stack, key)}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def test_a_tenant_sees_and_stops_nothing_of_another(api: httpx.Client, neighbour: httpx.Client) -> None:
    # GIVEN a task of one tenant
    [task_id] = submit(api, "Whose is this?")
    batch_id = task_id.rpartition("-")[0]

    # WHEN another asks for it by its id, THEN there is no such thing
    assert look_up(neighbour, [task_id]) == [{"task_id": task_id, "status": "not_found"}]
    for method, path in [
        *(("GET", f"/tasks/{task_id}"), ("GET", f"/tasks/{task_id}/stream"), ("GET", f"/batches/{batch_id}")),
        *(("POST", f"/tasks/{task_id}/cancel"), ("POST", f"/batches/{batch_id}/cancel")),
    ]:
        assert problem(neighbour.request(method, path)) == (404, "not_found"), path

    # AND nothing has happened to it
    assert ended(api, [task_id])[0]["status"] == "completed"


def test_the_same_idempotency_key_of_two_tenants_is_two_keys(api: httpx.Client, neighbour: httpx.Client) -> None:
    answers = [
        client.post("/tasks", json={"prompts": [prompt]}, headers={"Idempotency-Key": "one"})
        for client, prompt in ((api, "Mine"), (neighbour, "Not mine"))
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["batch_id"] for answer in answers}) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "/tasks"), ("GET", "/tasks?task_ids=x"), ("GET", "/tasks/x"), ("GET", "/tasks/x/stream")),
        *(("GET", "/batches/x"), ("POST", "/tasks/x/cancel"), ("POST", "/batches/x/cancel")),
    ],
)
@pytest.mark.parametrize("authorization", [None, "Bearer", "local", "Basic local", "Bearer wrong"])
def test_no_call_is_answered_without_a_key_that_is_known(
    stack: Up, method: str, path: str, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    answer = httpx.request(method, stack.url + path, headers=headers, timeout=60, trust_env=False)

    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
