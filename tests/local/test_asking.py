"""Test the options of submission: repeats, templates, JSON, tools and their cost."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import httpx
import pytest

from local.answers import prompt_digest
from tests.local.calls import accept, ended, problem
from tests.local_stack import Up

pytestmark = pytest.mark.timeout(300)


def test_a_repeat_with_its_idempotency_key_gets_the_same_ids_and_asks_nothing_twice(
    stack: Up, api: httpx.Client
) -> None:
    prompt, key = f"Once only {uuid4()}", uuid4().hex

    # GIVEN the same request many times at once
    def send(_: int) -> httpx.Response:
        return api.post("/tasks", json={"prompts": [prompt]}, headers={"Idempotency-Key": key})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))

    # THEN one is accepted, and the others are its repeats or told to come again
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len([answer for answer in accepted if "Idempotent-Replayed" not in answer.headers]) == 1
    for answer in answers:
        if answer not in accepted:
            assert problem(answer) == (409, "idempotency_key_in_use")
            assert int(answer.headers["Retry-After"]) > 0
    # AND a repeat later is the same, whatever its spacing
    later = api.post("/tasks", content=f'{{ "prompts" : ["{prompt}"] }}', headers={"Idempotency-Key": key})
    assert (later.status_code, later.headers["Idempotent-Replayed"]) == (202, "true")
    assert {answer.json()["batch_id"] for answer in [*accepted, later]} == {later.json()["batch_id"]}
    # AND another body is refused
    other = api.post("/tasks", json={"prompts": ["Another"]}, headers={"Idempotency-Key": key})
    assert problem(other) == (409, "idempotency_key_reused")
    # AND the model was asked once
    ended(api, later.json()["task_ids"])
    by_prompt = stack.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    assert by_prompt[prompt_digest(prompt)] == 1


def test_a_template_makes_a_task_of_each_input(stack: Up, api: httpx.Client) -> None:
    topics = ("a magical forest", "a brave robot")
    inputs = [{"topic": topic, "custom_id": f"row-{n}"} for n, topic in enumerate(topics)]

    accepted = accept(api, {"template": "Write a short story about {topic}.", "inputs": inputs})

    tasks = ended(api, accepted["task_ids"])
    assert [(task["custom_id"], task["status"]) for task in tasks] == [("row-0", "completed"), ("row-1", "completed")]
    by_prompt = stack.calls()["by_prompt"]
    assert isinstance(by_prompt, dict)
    assert all(by_prompt[prompt_digest(f"Write a short story about {topic}.")] == 1 for topic in topics)


def test_a_variable_that_is_missing_is_named(api: httpx.Client) -> None:
    refused = api.post("/tasks", json={"template": "About {topic}.", "inputs": [{"topic": "x"}, {}]})

    assert problem(refused) == (400, "missing_variable")
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/inputs/1/topic"]


JOKE = {
    "type": "object",
    "properties": {"joke": {"type": "string"}},
    "required": ["joke"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def test_a_schema_brings_json_that_fits_it(api: httpx.Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "joke", "strict": True, "schema": JOKE}}

    accepted = accept(api, {"prompts": ["A joke about plants"], "params": {"response_format": form}})

    [task] = ended(api, accepted["task_ids"])
    answer = json.loads(task["result"])
    assert set(answer) == {"joke"}
    assert isinstance(answer["joke"], str)


def test_a_tool_is_called_and_what_it_found_is_answered(api: httpx.Client) -> None:
    # GIVEN a model that must call a tool
    question = {"role": "user", "content": "Will it rain in Bonn?"}
    params = {"tool_choice": "required", "tools": [WEATHER]}
    [called] = ended(api, accept(api, {"prompts": [{"messages": [question], "params": params}]})["task_ids"])
    assert (called["finish_reason"], called["result"]) == ("tool_calls", "")
    [call] = called["tool_calls"]
    assert set(json.loads(call["function"]["arguments"])) == {"city"}

    # WHEN its call is sent back as it is, with what the tool has found
    messages = [
        question,
        {"role": "assistant", "tool_calls": called["tool_calls"]},
        {"role": "tool", "tool_call_id": call["id"], "content": "It will."},
    ]
    accepted = accept(api, {"prompts": [{"messages": messages, "params": {"tools": [WEATHER]}}]})

    # THEN there is an answer
    [task] = ended(api, accepted["task_ids"])
    assert (task["status"], task["finish_reason"]) == ("completed", "stop")
    assert task["result"]


def test_a_batch_adds_up_what_its_answers_took_and_cost(api: httpx.Client) -> None:
    prompts = ["A joke about food", {"prompt": "One about plants", "model": "gpt-5-nano"}, "[[fault:401]]"]
    accepted = accept(api, {"prompts": prompts})

    *completed, failed = ended(api, accepted["task_ids"])
    batch = api.get(f"/batches/{accepted['batch_id']}").json()

    assert failed["status"] == "failed"
    assert {"usage", "cost"}.isdisjoint(failed)
    assert [task["model"] for task in completed] == ["gpt-5-mini", "gpt-5-nano"]
    for name, total in batch["usage"].items():
        assert total == sum(task["usage"][name] for task in completed)
    assert Decimal(batch["cost"]["usd"]) == sum(Decimal(task["cost"]["usd"]) for task in completed) > 0
