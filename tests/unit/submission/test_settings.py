"""A wrong environment stops the start, by the variable's name."""

import pytest

from common.domain.errors import SettingError
from common.submission.settings import SubmissionSettings

ENVIRONMENT = {
    "REDIS_HOST": "localhost",
    "QUEUE_URL": "https://queue",
    "WORKFLOW_QUEUE_URL": "https://workflows",
    "WEBHOOK_QUEUE_URL": "https://webhooks",
    "ALLOWED_MODELS": "small, large",
}


def test_what_is_not_said_has_its_default() -> None:
    settings = SubmissionSettings.from_env(ENVIRONMENT)

    assert settings.queue_url == "https://queue"
    assert settings.limits.models == ("small", "large")
    assert settings.limits.deadline_seconds == 21_600
    assert settings.limits.retention_seconds == 86_400
    assert settings.limits.most_prompts == 1_000
    assert settings.limits.most_prompt_bytes == 262_144


@pytest.mark.parametrize("name", list(ENVIRONMENT))
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        SubmissionSettings.from_env({**ENVIRONMENT, name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_MODELS", "small,,large"),
        ("DEADLINE_SECONDS", "86401"),
        ("DEADLINE_SECONDS", "soon"),
        ("RETENTION_SECONDS", "3599"),
        ("RETENTION_SECONDS", "2592001"),
        ("MAX_PROMPTS", "10001"),
        ("MAX_PROMPT_BYTES", "1048576"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        SubmissionSettings.from_env({**ENVIRONMENT, name: value})


def test_a_deadline_is_over_before_the_queue_forgets_its_message() -> None:
    month = {**ENVIRONMENT, "RETENTION_SECONDS": "2592000"}

    assert SubmissionSettings.from_env({**month, "DEADLINE_SECONDS": "777600"}).limits.deadline_seconds == 777_600
    with pytest.raises(SettingError, match="DEADLINE_SECONDS"):
        SubmissionSettings.from_env({**month, "DEADLINE_SECONDS": "777601"})
