"""The worker's settings: a wrong one stops the start with its name."""

import pytest

from common.domain.errors import SettingError
from common.worker.settings import WorkerSettings

GOOD = {
    "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/tasks",
    "WEBHOOK_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/webhooks",
    "CONCURRENCY": "10",
    "WORKER_TIMEOUT_SECONDS": "300",
    "MODEL_TIMEOUT_SECONDS": "120",
    "OPENAI_API_KEY_SECRET": "sluice/openai",
    "REDIS_HOST": "cache",
}


def test_the_settings_are_read() -> None:
    settings = WorkerSettings.from_env({**GOOD, "OPENAI_BASE_URL": "", "MAX_ATTEMPTS": "5"})

    assert settings.openai_base_url is None
    assert settings.max_attempts == 5
    assert settings.redis.host == "cache"
    assert settings.margin_seconds == 8


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_setting_is_named(name: str) -> None:
    env = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(SettingError) as caught:
        WorkerSettings.from_env(env)

    assert caught.value.name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUEUE_URL", "tasks"),
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "many"),
        ("MAX_ATTEMPTS", "0"),
        ("WORKER_TIMEOUT_SECONDS", "901"),
        ("MODEL_TIMEOUT_SECONDS", "0"),
        ("OPENAI_BASE_URL", "api.openai.com/v1"),
        ("OPENAI_BASE_URL", "ftp://api.openai.com"),
        ("OPENAI_BASE_URL", "http://"),
        ("OPENAI_BASE_URL", "http://[half"),
        ("OPENAI_BASE_URL", "http://model:eighty"),
        ("OPENAI_BASE_URL", "http://model/v1#chat"),
        ("OPENAI_BASE_URL", "http://model/v1?a=1#"),
        ("OPENAI_BASE_URL", "http://user:password@model/v1"),
        ("OPENAI_BASE_URL", "http://@model/v1"),
        ("OPENAI_BASE_URL", "http://model/a path"),
        ("OPENAI_BASE_URL", "http://model/\tv1"),
        ("OPENAI_BASE_URL", "http://modèle/v1"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        WorkerSettings.from_env({**GOOD, name: value})

    assert caught.value.name == name


@pytest.mark.parametrize(
    "url", ["https://azure/openai/deployments/m?api-version=2024-10-21", "http://10.0.0.1:8000/v1/"]
)
def test_a_base_url_may_have_a_query(url: str) -> None:
    assert WorkerSettings.from_env({**GOOD, "OPENAI_BASE_URL": url}).openai_base_url == url


@pytest.mark.parametrize(("worker", "model"), [("300", "293"), ("20", "17"), ("4", "4")])
def test_a_call_that_could_outlast_its_invocation_is_refused(worker: str, model: str) -> None:
    with pytest.raises(SettingError) as caught:
        WorkerSettings.from_env({**GOOD, "WORKER_TIMEOUT_SECONDS": worker, "MODEL_TIMEOUT_SECONDS": model})

    assert caught.value.name == "MODEL_TIMEOUT_SECONDS"


@pytest.mark.parametrize(("worker", "model"), [("300", "292"), ("20", "16"), ("35", "28"), ("4", "3")])
def test_a_call_that_just_fits_is_taken(worker: str, model: str) -> None:
    env = {**GOOD, "WORKER_TIMEOUT_SECONDS": worker, "MODEL_TIMEOUT_SECONDS": model}

    assert WorkerSettings.from_env(env).model_timeout_seconds == int(model)
