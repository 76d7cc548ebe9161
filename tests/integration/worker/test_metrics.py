"""Test the metrics of the worker's handler."""

import os

import pytest

from tests.emf import sums_in
from tests.integration.worker.environment import WorkerEnvironment


def test_an_invocation_tells_what_its_tasks_came_to_what_they_used_and_how_long_they_took(
    environment: WorkerEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    service = os.environ["POWERTOOLS_SERVICE_NAME"]
    secret = "attack at dawn"
    environment.send(secret, f"[[fault:500]] {secret}", f"[[fault:429]] {secret}", f"[[fault:quota]] {secret}")

    environment.invoke(environment.receive())

    printed = capsys.readouterr().out
    sums = sums_in(printed)
    # THEN the endings are counted, and those that have one by their code
    assert sums["TasksCompleted", service] == 1
    assert sums["TasksRetried", service] == sums["TasksRetried", "server_error", service] == 1
    assert sums["TasksRateLimited", service] == sums["TasksRateLimited", "rate_limited", service] == 1
    assert sums["TasksFailed", service] == sums["TasksFailed", "quota_exhausted", service] == 1
    assert sums["ServiceRefused", service] == sums["ServiceRefused", "quota_exhausted", service] == 1
    # AND the calls, their times and tokens, by model
    assert sums["Calls", service] == sums["Calls", "gpt-test", service] == 4
    for name in ("CallSeconds", "WaitSeconds", "PromptTokens", "CompletionTokens"):
        assert sums[name, service] == sums[name, "gpt-test", service] > 0, name
    # AND nothing is said of the prompt
    assert "attack" not in printed


def test_the_next_invocation_tells_of_itself_alone(
    environment: WorkerEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    service = os.environ["POWERTOOLS_SERVICE_NAME"]
    for prompt in ("one", "two"):
        environment.send(prompt)
        environment.invoke(environment.receive())
        assert sums_in(capsys.readouterr().out)["Calls", "gpt-test", service] == 1
