"""Test the metrics of the functions behind the API."""

import json
from typing import Any

import pytest

from tests.emf import Sums, sums_in
from tests.integration.http.client import Api


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401  # the settings of conftest.py, of one server
    return request.getfixturevalue("valkey")


def test_accepted_tasks_are_counted_and_a_repeat_is_not(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    sums: list[Sums] = []
    for _ in range(2):
        api.post({"prompts": ["attack at dawn", "two"]}, key="key-1")
        printed = capsys.readouterr().out
        assert "attack" not in printed
        sums.append(sums_in(printed))

    assert sums[0]["TasksSubmitted", "test"] == 2
    assert ("TasksSubmitted", "test") not in sums[1]


@pytest.mark.parametrize(
    ("body", "code"), [("{", "malformed_json"), (json.dumps({"prompts": []}), None), (json.dumps({"p": "x" * 9}), None)]
)
def test_a_refused_call_is_counted_by_its_code(
    api: Api, capsys: pytest.CaptureFixture[str], body: str, code: str | None
) -> None:
    answer = api.post(body)

    sums = sums_in(capsys.readouterr().out)
    assert answer.status == 400
    assert sums["ClientErrors", code or answer.body["code"], "test"] == sums["ClientErrors", "test"] == 1
