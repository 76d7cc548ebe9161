"""Prove the promises over the real scripts, and that the proof would notice if they broke."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from common.domain.task import TRANSITIONS
from common.domain.transitions import ClaimOutcome, CreateOutcome, EndOutcome, ReleaseOutcome
from common.runtime.settings import RedisSettings
from common.store import connect
from tests.integration.store.harness import ValkeyHarness, scripts_on_test_time
from tests.integration.store.machine import LossyScripts, StoreMachine
from tests.integration.store.planted import PLANTED, Fault

PROOF: Final = settings(
    phases=[Phase.generate],
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HUNT: Final = settings(PROOF, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
"""Stop at the first failure, unshrunk: that there is one is all we ask."""

WAYS: Final[set[object]] = {
    *(f"create {outcome}" for outcome in CreateOutcome),
    "completed by complete",
    "failed by fail",
    "failed by release",
    "failed by claim attempts_exhausted",
    "failed by dead_letter",
    "cancelled by cancel",
    *(f"claim {outcome} on a lost record" for outcome in (ClaimOutcome.CLAIMED, ClaimOutcome.ENDED)),
    *(f"{how} {EndOutcome.ENDED} on a lost record" for how in ("complete", "fail")),
    *(f"claim {outcome}" for outcome in ClaimOutcome),
    *(f"late claim {outcome}" for outcome in (ClaimOutcome.CLAIMED, ClaimOutcome.BUSY, ClaimOutcome.ENDED)),
    *(f"release {outcome}" for outcome in ReleaseOutcome),
    *(f"complete {outcome}" for outcome in (EndOutcome.ENDED, EndOutcome.ALREADY)),
    *(f"fail {outcome}" for outcome in (EndOutcome.ENDED, EndOutcome.ALREADY, EndOutcome.LOST)),
    *(f"dead_letter {outcome}" for outcome in (EndOutcome.ENDED, EndOutcome.ALREADY, EndOutcome.LOST)),
    *(f"cancel {outcome}" for outcome in (EndOutcome.ENDED, EndOutcome.ALREADY, EndOutcome.MISSING)),
    "progress True",
    "progress False",
    "accept True",
    "accept False",
    "retry True",
    "retry False",
    "announced",
    *(f"{how} could not announce" for how in ("claim", "release", "complete", "fail", "dead_letter")),
}

type Drive = Callable[[Mapping[str, str], settings], Counter[object]]


@pytest.fixture
def drive(valkey: RedisSettings) -> Iterator[Drive]:
    """Run the machine on a set of script sources and count the outcomes that it reached."""
    with asyncio.Runner() as runner:
        client = connect(valkey)

        def drive_machine(sources: Mapping[str, str], how: settings) -> Counter[object]:
            scripts = LossyScripts(sources)

            async def open_store() -> ValkeyHarness:
                await client.flushall()
                harness = ValkeyHarness(client, scripts)
                await harness.advance(0)
                return harness

            class Machine(StoreMachine):
                """One for each run: Hypothesis keeps what it learns of a machine on its class."""

            Machine.reached = Counter()
            Machine.run = runner.run
            Machine.open_store = lambda: (runner.run(open_store()), scripts)
            run_state_machine_as_test(Machine, settings=how)
            return Machine.reached

        yield drive_machine
        runner.run(client.aclose())


@pytest.mark.timeout(300)
def test_the_promises_hold_whatever_happens_and_everything_happens(drive: Drive) -> None:
    reached = drive(scripts_on_test_time(), PROOF)

    wanted = WAYS | {
        (before, after) for before, afters in TRANSITIONS.items() for after in afters if before is not after
    }
    assert wanted - set(reached) == set()


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found(drive: Drive, fault: Fault) -> None:
    sources = fault.plant(scripts_on_test_time())

    with pytest.raises(AssertionError):
        drive(sources, HUNT)
