"""Run every fault and check its cost."""

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.conftest import Suite
from tests.faults.faults import Fault

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("faults"),
    # They run side by side, so that whichever test comes first waits for many.
    pytest.mark.timeout(900),
]


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.slug, marks=() if fault.is_quick else pytest.mark.faults) for fault in FAULTS],
)
async def test_nothing_is_lost_and_nothing_paid_beyond_the_bound(suite: Suite, fault: Fault) -> None:
    row = await suite.row(fault)
    if row.wrong:
        print(row.logs)  # noqa: T201  # pytest shows it with the failure
    assert row.wrong == []
    assert (row.lost, row.paid_too_often) == (0, 0)
