"""Test retries, models, budgets and the limit of the queue on the stack."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from common.domain.budgets import Budgets
from local.aws import API_KEYS_SECRET
from tests.local.calls import accept, ended, look_up, problem
from tests.local_stack import KEY, Up, eventually, started, usable
from tools.keys import KeyStore

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def keys(stack: Up) -> dict[str, str]:
    """Issue keys with limits, as `make key` does."""
    store = KeyStore(stack.aws("secretsmanager"), API_KEYS_SECRET, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    issued = {
        "nano": store.issue("nano", ["gpt-5-nano"]),
        "counted": store.issue("counted", budgets=Budgets(requests=3)),
        "thrifty": store.issue("thrifty", budgets=Budgets(tokens=1)),
    }
    return {tenant: usable(stack, key) for tenant, key in issued.items()}


def client_of(stack: Up, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture
def tenant(request: pytest.FixtureRequest, stack: Up, keys: dict[str, str]) -> Iterator[httpx.Client]:
    with client_of(stack, keys[request.param]) as client:
        yield client


def test_what_failed_is_listed_with_its_reason_and_asked_again_once(api: httpx.Client) -> None:
    # GIVEN a call of which one task has failed, as the model refused it the first time
    body = accept(api, {"prompts": ["Fine.", {"prompt": "Odd. [[fault:400x1]]", "custom_id": "odd"}]})
    ended(api, body["task_ids"])
    batch = api.get(f"/batches/{body['batch_id']}", params={"status": "failed"}).json()
    assert [(task["custom_id"], task["error"]["code"]) for task in batch["tasks"]] == [("odd", "bad_request")]

    # WHEN it is retried, and again
    first = api.post(f"/batches/{body['batch_id']}/retry")
    again = api.post(f"/batches/{body['batch_id']}/retry")

    # THEN that one is asked again, once
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    [line] = first.json()["tasks"]
    assert (line["custom_id"], line["retry_of"]) == ("odd", body["task_ids"][1])
    [task] = ended(api, first.json()["task_ids"])
    assert (task["status"], task["custom_id"], len(task["attempts"])) == ("completed", "odd", 1)
    old = look_up(api, body["task_ids"])[1]
    assert (old["status"], old["retried_as"], len(old["attempts"])) == ("failed", line["task_id"], 1)
    assert api.get(str(first.url.join(first.headers["Location"]))).json()["size"] == 1


def test_a_batch_without_a_failure_has_nothing_to_retry(api: httpx.Client) -> None:
    body = accept(api, {"prompts": ["Fine."]})
    ended(api, body["task_ids"])

    assert problem(api.post(f"/batches/{body['batch_id']}/retry")) == (409, "nothing_to_retry")


@pytest.mark.parametrize("tenant", ["nano"], indirect=True)
def test_a_key_asks_only_its_models(tenant: httpx.Client) -> None:
    refused = tenant.post("/tasks", json={"prompts": ["Why?"], "model": "gpt-5-mini"})
    assert problem(refused) == (400, "model_not_allowed")

    [task] = ended(tenant, accept(tenant, {"prompts": ["Why?"]})["task_ids"])
    assert (task["status"], task["model"]) == ("completed", "gpt-5-nano")


@pytest.mark.parametrize("tenant", ["counted"], indirect=True)
def test_a_budget_of_requests_refuses_what_is_over_it(tenant: httpx.Client) -> None:
    accept(tenant, {"prompts": ["a", "b"]})

    refused = tenant.post("/tasks", json={"prompts": ["c", "d"]})

    assert problem(refused) == (429, "budget_exhausted")
    assert refused.json()["budget"] == "requests"
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    usage = tenant.get("/usage").json()
    assert (usage["requests"], usage["budgets"]) == (2, {"requests": 3})


@pytest.mark.parametrize("tenant", ["thrifty"], indirect=True)
def test_accepted_tasks_wait_when_the_budget_is_used_up(tenant: httpx.Client) -> None:
    # GIVEN more tasks than can start at once
    body = accept(tenant, {"prompts": [f"Number {number}" for number in range(60)]})

    # WHEN the first answers have used the budget up
    def waiting() -> list[dict[str, Any]]:
        return [task for task in look_up(tenant, body["task_ids"]) if task.get("waiting_on") == "budget"]

    # THEN the others wait for the next day, unpaid
    held = eventually(waiting, until=bool, seconds=60)
    assert held
    assert all(task["attempts"] == [] for task in held)
    refused = tenant.post("/tasks", json={"prompts": ["One more"]})
    assert (problem(refused), refused.json()["budget"]) == ((429, "budget_exhausted"), "tokens")
    assert tenant.get("/usage").json()["usage"]["total_tokens"] >= 1
    assert tenant.post(f"/batches/{body['batch_id']}/cancel").status_code == 200


def test_a_queue_takes_a_tenants_share_and_no_more_than_it_holds(tmp_path_factory: pytest.TempPathFactory) -> None:
    # GIVEN a stack whose queue is capped, with two tenants, and a model that takes its time
    capped = {"MAX_QUEUE_DEPTH": "5", "TENANT_QUEUE_SHARE": "80", "MODEL_LATENCY": "60"}
    with (
        started(tmp_path_factory.mktemp("capped"), **capped) as up,
        httpx.Client(base_url=up.url, headers=KEY, timeout=60, trust_env=False) as api,
    ):
        store = KeyStore(up.aws("secretsmanager"), API_KEYS_SECRET, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        other_key = store.issue("other")
        accept(api, {"prompts": ["a", "b", "c"]}, **{"Idempotency-Key": "k"})

        refused = api.post("/tasks", json={"prompts": ["d", "e"]})

        assert problem(refused) == (429, "queue_share_full")
        assert int(refused.headers["Retry-After"]) >= 1
        accept(api, {"prompts": ["a", "b", "c"]}, **{"Idempotency-Key": "k"})
        with client_of(up, other_key) as other:
            eventually(lambda: other.get("/usage").status_code, until=lambda status: status == 200, seconds=30)
            assert problem(other.post("/tasks", json={"prompts": ["f", "g", "h"]})) == (429, "queue_full")
            accept(other, {"prompts": ["f"]})
