"""Share one stack among the tests of a process, and decide which tests go to the same process."""

from collections.abc import Iterator
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.local_stack import CONCURRENCY, WORKERS, Up, started

ON_THE_STACK: Final = ("tests/browser/", "tests/local/", "tests/sdk/")
"""Their files share a stack, which takes ten seconds of a processor to start: a process gets all files of a folder."""

WITH_STACKS_OF_THEIR_OWN: Final = ("tests/local/test_deployment.py", "tests/local/test_lifecycle.py")

INDEPENDENT: Final = ("tests/integration/store/test_machine.py",)
"""Each test of these files takes seconds and shares only a server with the others: it may go to any process."""

FIRST: Final = (
    *ON_THE_STACK,
    "tests/artefacts/",
    *INDEPENDENT,
    "tests/integration/workflow/",
    "tests/faults/",
)
"""What takes longest begins first, so that no process is left alone with it at the end."""


def unit_of(nodeid: str) -> str:
    """Name what a test goes to a process with: its file, whose tests share servers, or more or less than that."""
    file = nodeid.partition("::")[0]
    if file in INDEPENDENT:
        return nodeid
    if file in WITH_STACKS_OF_THEIR_OWN:
        return file
    return next((folder for folder in ON_THE_STACK if file.startswith(folder)), file)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist carries no types
    """Give units of work to the processes in their order."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, and leave the order as it is otherwise."""
    items.sort(key=lambda item: next((n for n, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST)))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run one stack for all tests that only use it; its model is quick."""
    settings = {"CONCURRENCY": str(CONCURRENCY), "WORKERS": str(WORKERS)}
    pace = {"MODEL_LATENCY": "0.05", "MODEL_CHUNK_DELAY": "0.002"}
    with started(tmp_path_factory.mktemp("stack"), **settings, **pace) as up:
        yield up
