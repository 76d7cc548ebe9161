from collections.abc import Callable, Iterator

import pytest

from tests.unit.worker.stage import Stage


@pytest.fixture
def make_stage() -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(**choices: float) -> Stage:
        stages.append(Stage(**choices))  # type: ignore[arg-type]  # the choices of Stage, all numbers
        return stages[-1]

    yield make
    for stage in stages:
        stage.runner.close()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage()
