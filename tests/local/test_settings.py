"""Test the settings of the local stack: defaults, and errors that name the invalid setting."""

import pytest

from common.worker.deadlines import margin_of
from local.errors import SettingError
from local.settings import read_settings


def test_without_settings_the_stand_in_answers_and_the_limits_are_the_documented_ones() -> None:
    settings = read_settings({})

    assert settings.uses_stand_in
    assert (settings.port, settings.concurrency, settings.workers, settings.worker_timeout) == (8000, 3, 2, 300)


def test_an_empty_setting_is_as_good_as_none() -> None:
    empty = dict.fromkeys(("PORT", "CONCURRENCY", "MODELS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL_LATENCY"), "")

    assert read_settings(empty) == read_settings({})


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_a_real_model_takes_the_place_of_the_stand_in(name: str) -> None:
    assert not read_settings({name: "https://models.example/v1"}).uses_stand_in


def test_the_first_of_the_models_is_the_default() -> None:
    assert read_settings({"MODELS": "small, large"}).models == ("small", "large")


@pytest.mark.parametrize("seconds", [2, 3, 5, 30, 300, 900])
def test_the_times_hold_each_other_up(seconds: int) -> None:
    settings = read_settings({"WORKER_TIMEOUT": str(seconds)})

    assert 1 <= settings.model_timeout <= settings.worker_timeout
    assert settings.visibility_timeout == seconds + 30


@pytest.mark.parametrize(("concurrency", "batch", "window"), [(3, 10, 0), (10, 10, 0), (11, 11, 1), (900, 900, 1)])
def test_a_worker_is_handed_as_many_tasks_as_it_may_work_on(concurrency: int, batch: int, window: int) -> None:
    settings = read_settings({"CONCURRENCY": str(concurrency)})

    assert (settings.batch_size, settings.batching_window) == (batch, window)


@pytest.mark.parametrize("seconds", [2, 3, 4, 5, 9, 40, 150, 900])
def test_the_worker_accepts_its_times(seconds: int) -> None:
    settings = read_settings({"WORKER_TIMEOUT": str(seconds)})

    assert settings.model_timeout <= seconds - margin_of(seconds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "9" * 5000),
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "901"),
        ("WORKERS", "1"),
        ("WORKERS", "²"),
        ("WORKER_TIMEOUT", "1"),
        ("WORKER_TIMEOUT", "901"),
        ("WORKER_TIMEOUT", "1.5"),
        ("MODELS", "one,,two"),
        ("OPENAI_BASE_URL", "localhost:8080"),
        ("OPENAI_BASE_URL", "http://[broken"),
        ("OPENAI_BASE_URL", "http://user:password@127.0.0.1:11434/v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1#chat"),
        ("MODEL_LATENCY", "soon"),
        ("MODEL_CHUNK_DELAY", "nan"),
    ],
)
def test_a_value_that_can_not_work_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} must be .*"):
        read_settings({name: value})
