"""Test the examples of the README on the deployed template."""

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from local.answers import prompt_digest
from local.settings import ROOT
from tests.local import pages
from tests.local.calls import ANSWER_SECONDS, ENDED, ended, look_up, submit
from tests.local_stack import CONCURRENCY, WORKERS, Up, eventually
from tools.keys import KeyStore

pytestmark = pytest.mark.timeout(300)


def test_four_prompts_in_one_call_get_four_answers_in_their_order(api: httpx.Client) -> None:
    topics = ("the economy", "animals", "plants", "food")

    tasks = ended(api, submit(api, *(f"Tell me a joke about {topic}." for topic in topics)))

    assert [task["status"] for task in tasks] == ["completed"] * 4
    assert [task["progress"] for task in tasks] == [100] * 4
    assert len({task["result"] for task in tasks}) == 4


def test_the_batch_and_each_task_can_be_looked_up_by_themselves(api: httpx.Client) -> None:
    accepted = api.post("/tasks", json={"prompts": ["What is a queue?", "What is a lease?"]}).json()
    task_ids = accepted["task_ids"]
    ended(api, task_ids)

    task = api.get(f"/tasks/{task_ids[1]}")
    batch = api.get(f"/batches/{accepted['batch_id']}")

    assert task.status_code == 200
    assert (task.json()["task_id"], task.json()["status"]) == (task_ids[1], "completed")
    assert batch.status_code == 200
    assert batch.json()["batch_id"] == accepted["batch_id"]


def test_the_links_of_an_answer_lead_to_its_tasks(api: httpx.Client) -> None:
    answer = api.post("/tasks", json={"prompts": ["What is a link?"]})

    followed = api.get(str(answer.url.join(answer.headers["Location"])))

    assert followed.status_code == 200
    assert answer.json()["task_ids"][0] in followed.text


def test_a_caller_sees_tasks_queued_processing_completed_and_failed(api: httpx.Client) -> None:
    # GIVEN more slow prompts than the workers may ask at once, and one that the model refuses
    slow = [f"{n} [[tokens:40]] [[delay:0.03]]" for n in range(CONCURRENCY * WORKERS + 4)]
    task_ids = submit(api, "[[fault:401]]", *slow)

    # WHEN they are watched to their end
    seen: set[object] = set()

    def look() -> list[dict[str, object]]:
        tasks = look_up(api, task_ids)
        seen.update(task["status"] for task in tasks)
        return tasks

    tasks = eventually(look, until=lambda found: all(task["status"] in ENDED for task in found), seconds=ANSWER_SECONDS)

    # THEN every state was there, and the end is right
    assert seen == {"queued", "processing", "completed", "failed"}
    assert [task["status"] for task in tasks] == ["failed"] + ["completed"] * len(slow)


def test_an_unknown_task_is_not_found_and_does_not_fail_the_call(api: httpx.Client) -> None:
    task_ids = submit(api, "Who is there?")
    unknown = f"{'v' * 36}-0"

    tasks = look_up(api, [unknown, *task_ids])

    assert tasks[0] == {"task_id": unknown, "status": "not_found"}
    assert tasks[1]["task_id"] == task_ids[0]
    alone = api.get(f"/tasks/{unknown}")
    assert (alone.status_code, alone.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "local"}], ids=str)
@pytest.mark.parametrize("path", ["/tasks?task_ids=x", "/tasks/x", "/batches/x"])
def test_nobody_gets_in_without_the_right_key(stack: Up, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(stack.url + path, headers=headers, timeout=60, trust_env=False)

    assert answer.status_code in (401, 403)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] in ("unauthorized", "forbidden")


def test_the_description_and_its_page_need_no_key(stack: Up) -> None:
    description = httpx.get(f"{stack.url}/openapi.json", timeout=60, trust_env=False)
    page = httpx.get(f"{stack.url}/docs", timeout=60, trust_env=False)

    assert (description.status_code, description.json()["openapi"]) == (200, "3.1.0")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'sha256-" in page.headers["Content-Security-Policy"]


def test_a_path_that_does_not_exist_is_a_problem_too(api: httpx.Client) -> None:
    answer = api.get("/nothing/here")

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_a_body_that_is_no_json_is_refused(api: httpx.Client) -> None:
    answer = api.post("/tasks", content=b'{"prompts": [')

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")


def test_a_running_task_is_aborted_and_a_queued_one_is_never_asked(stack: Up, api: httpx.Client) -> None:
    # GIVEN more prompts than the model may be asked at once, with answers that would last half a minute
    prompts = [f"Cancel {n} [[tokens:600]] [[delay:0.05]]" for n in range(10 * WORKERS)]
    accepted = api.post("/tasks", json={"prompts": prompts}).json()
    # One is enough: a worker whose calls have failed in another test makes fewer at a time for a while.
    tasks = eventually(
        lambda: look_up(api, accepted["task_ids"]),
        until=lambda tasks: any("partial_result" in task for task in tasks),
        seconds=ANSWER_SECONDS,
    )
    waiting = next(task for task in reversed(tasks) if task["status"] == "queued")

    # WHEN one that waits is cancelled, and then all of them are
    alone = api.post(f"/tasks/{waiting['task_id']}/cancel")
    batch = api.post(f"/batches/{accepted['batch_id']}/cancel")

    # THEN the running calls end at once, long before their answers would have
    assert (alone.status_code, alone.json()["status"]) == (200, "cancelled")
    assert (batch.status_code, batch.json()["counts"]["cancelled"]) == (200, len(prompts))
    assert eventually(lambda: stack.calls()["in_flight"], until=lambda count: count == 0, seconds=5) == 0
    # and when the workers have come to what waited, they have not asked for it
    [after] = ended(api, submit(api, "Cancel nothing"))
    assert after["status"] == "completed"
    tasks = look_up(api, accepted["task_ids"])
    assert {task["status"] for task in tasks} == {"cancelled"}
    never_tried = [prompt for prompt, task in zip(prompts, tasks, strict=True) if not task["attempts"]]
    by_prompt = stack.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    assert never_tried
    assert not [prompt for prompt in never_tried if prompt_digest(prompt) in by_prompt]


def test_a_flood_is_answered_without_ever_asking_the_model_more_at_once_than_allowed(
    stack: Up, api: httpx.Client
) -> None:
    prompts = [f"Flood {n} [[tokens:20]] [[delay:0.01]]" for n in range(40)]

    tasks = ended(api, submit(api, *prompts))

    assert [task["status"] for task in tasks] == ["completed"] * len(prompts)
    calls = stack.calls()
    by_prompt, peak = calls["by_prompt"], calls["peak_in_flight"]
    assert isinstance(by_prompt, dict)
    assert isinstance(peak, int)
    assert CONCURRENCY <= peak <= CONCURRENCY * WORKERS
    assert [by_prompt[prompt_digest(prompt)] for prompt in prompts] == [1] * len(prompts)


def run_as_written(commands: str, stack: Up) -> list[Any]:
    """Paste a block of the README into a shell, with this stack's address, and return the JSON that it prints."""
    shown_address = "http://127.0.0.1:8000"
    assert shown_address in commands
    done = subprocess.run(
        ["sh", "-eu", "-c", commands.replace(shown_address, stack.url)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    decoder, rest, answers = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].lstrip()
    return answers


def test_the_curl_lines_of_the_readme_do_what_it_says(stack: Up, api: httpx.Client) -> None:
    # WHEN its lines are pasted one after the other
    accepted, tasks, task, batch = run_as_written(pages.commands()["api"], stack)

    # THEN the calls are answered, each with what it is about
    ids = [f"{accepted['batch_id']}-{n}" for n in range(2)]
    assert accepted["task_ids"] == ids == [task["task_id"] for task in tasks["tasks"]]
    assert (task["task_id"], task["custom_id"], batch["batch_id"]) == (ids[1], "plants", accepted["batch_id"])

    # AND the answers have the fields that it shows
    shown_acceptance, shown_task = pages.examples()
    assert pages.fields(accepted) == pages.fields(shown_acceptance)
    assert pages.fields(ended(api, ids)[1]) == pages.fields(shown_task)


def test_the_stack_of_the_secrets_makes_what_make_key_writes_into(stack: Up) -> None:
    # GIVEN the stack of the secrets beside the application, under other names than the laptop's own
    cloudformation = stack.aws("cloudformation")
    names = {
        "OpenAIApiKeySecret": "other/openai-api-key",
        "ApiKeysSecret": "other/api-keys",
        "WebhookSecret": "other/webhook-signing",
    }
    cloudformation.create_stack(
        StackName="secrets",
        TemplateBody=(ROOT / "infra" / "secrets.yaml").read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in names.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName="secrets")

    # WHEN a key is issued THEN it is the first
    secrets = stack.aws("secretsmanager")
    assert set(names.values()) <= {secret["Name"] for secret in secrets.list_secrets()["SecretList"]}
    store = KeyStore(secrets, names["ApiKeysSecret"], now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert not list(store.lines())
    store.issue("acme")
    assert len(list(store.lines())) == 1


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    # `make demo` has a test of its own, and so has `make local`.
    assert set(pages.commands()[pages.UNMARKED].splitlines()) <= {"make demo", "make local"}
    # `command` is run with the other pages of the client, in test_client.py. `deployment` needs AWS: tests/infra holds
    # each of its commands against the program that it calls; the stack of the secrets is deployed above.
    assert set(pages.commands()) == {pages.UNMARKED, "api", "command", "deployment"}
