"""What one tenant's calls cost another tenant in the same environment: nothing but its share of the slots."""

from collections.abc import Callable

import pytest

from common.domain.errors import ModelFailed
from common.domain.task import FailureCode
from common.worker.message import ReceivedMessage
from tests.unit.worker.stage import Script, Stage, answers, drips, raises

type MakeStage = Callable[..., Stage]

ACME = [f"acme {n}" for n in range(20)]
OTHER = [f"other {n}" for n in range(50)]
FAILS = raises(ModelFailed(FailureCode.SERVER_ERROR), seconds=0.5)


def of_other(stage: Stage, script: Script, prompts: list[str] = OTHER) -> list[ReceivedMessage]:
    stage.model.scripts |= dict.fromkeys(prompts, script)
    return [stage.delivery(prompt, tenant="other") for prompt in prompts]


def seconds_of_acme(stage: Stage, *beside: ReceivedMessage, remaining: float = 300.0) -> float:
    """Run one invocation, and return how long it took until the last of acme's calls, of a second each, had ended."""
    began = stage.loop.now
    back = stage.work(*beside, *(stage.delivery(prompt) for prompt in ACME), remaining=remaining)
    assert not set(back) & set(ACME)
    return max(stage.model.started_at[prompt] for prompt in ACME) + 1 - began


@pytest.mark.parametrize("code", [FailureCode.SERVER_ERROR, FailureCode.TIMEOUT])
def test_after_one_tenants_failures_another_has_all_its_calls_at_a_time(stage: Stage, code: FailureCode) -> None:
    stage.work(*of_other(stage, raises(ModelFailed(code))))

    assert seconds_of_acme(stage) == 2


def test_beside_one_tenants_failures_another_is_as_fast_as_beside_its_answers(make_stage: MakeStage) -> None:
    healthy, failing = make_stage(), make_stage()

    beside_answers = seconds_of_acme(healthy, *of_other(healthy, answers(seconds=0.5)))
    beside_failures = seconds_of_acme(failing, *of_other(failing, FAILS))

    assert beside_failures <= beside_answers


def test_beside_one_tenants_calls_that_never_end_another_has_half_of_the_slots(stage: Stage) -> None:
    assert seconds_of_acme(stage, *of_other(stage, drips())) == 4


def test_after_one_tenants_answers_that_begin_late_another_has_all_its_calls_at_a_time(stage: Stage) -> None:
    stage.work(*of_other(stage, answers(seconds=0.1)))
    for _ in range(3):
        stage.work(*of_other(stage, answers(seconds=20)))

    assert seconds_of_acme(stage) == 2


def test_one_tenants_long_calls_do_not_keep_anothers_short_ones_from_starting(make_stage: MakeStage) -> None:
    # GIVEN a tenant whose calls have taken longer than is left of the invocation
    stage = make_stage(concurrency=2)
    long_ones = of_other(stage, answers(seconds=20), OTHER[:2])

    assert seconds_of_acme(stage, *long_ones, remaining=50.0) < 40

    assert sorted(stage.model.calls) == sorted([*OTHER[:2], *ACME])
