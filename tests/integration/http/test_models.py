"""Test that a key can use only its allowed models."""

import pytest

from tests.integration.http.client import Api
from tests.integration.http.queue import Queue


def test_a_key_is_held_to_its_models_and_defaults_to_the_first_of_them(api: Api, queue: Queue) -> None:
    api.context = {"models": '["large", "gone"]'}

    assert api.post({"prompts": ["a", {"prompt": "b", "model": "large"}]}).status == 202
    refused = api.post({"prompts": [{"prompt": "b", "model": "small"}]})
    assert (refused.status, refused.body["code"]) == (400, "model_not_allowed")
    assert refused.body["errors"][0]["pointer"] == "/prompts/0/model"
    assert api.post({"prompts": ["a"], "model": "gone"}).body["code"] == "model_not_allowed"

    assert [message.task.model for message in queue.drain()] == ["large", "large"]


def test_a_key_without_any_model_of_the_service_asks_nothing(api: Api) -> None:
    api.context = {"models": '["gone"]'}

    answer = api.post({"prompts": ["a"]})

    assert (answer.status, answer.body["code"]) == (400, "model_not_allowed")


@pytest.mark.parametrize("context", [{"models": "small"}, {"models": "[]"}, {"budgets": "{}"}, {"budgets": "null"}])
def test_what_no_authorizer_of_ours_has_written_lets_nobody_through(api: Api, context: dict[str, str]) -> None:
    api.context = context

    assert api.post({"prompts": ["a"]}).status == 500
