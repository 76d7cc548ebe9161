"""Test the smoke test of a deployment on the local stack."""

import pytest

from tests.local_stack import Up
from tools.smoke import main


def test_a_prompt_is_answered(stack: Up, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLUICE_KEY", "local")

    assert main(["--url", stack.url]) == 0
    assert capsys.readouterr().out.startswith("completed in ")


def test_a_key_that_nobody_has_is_refused(
    stack: Up, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_KEY", "nobodys")

    assert main(["--url", stack.url]) == 1
    assert "POST /tasks: 401 unauthorized" in capsys.readouterr().err
