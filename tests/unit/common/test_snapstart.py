"""Test the requirements of SnapStart: no connection before the snapshot, and a new random seed after it."""

import random
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from common.runtime.snapstart import RUNTIME_HOOKS, prepare_for_snapshots
from tests.init import FUNCTIONS, run_init

INIT = """
import importlib, sys

def watch(event, args):
    if event in {"socket.connect", "socket.getaddrinfo", "subprocess.Popen"}:
        print(event, args[1:], file=sys.stderr)
        sys.exit(3)

sys.addaudithook(watch)
importlib.import_module(f"functions.{sys.argv[1]}.handler")
"""


class Hooks(ModuleType):
    """Stand for the module of Lambda's runtime."""

    def __init__(self) -> None:
        super().__init__(RUNTIME_HOOKS)
        self.__spec__ = sys.__spec__
        self.hooks: list[Callable[[], None]] = []

    def register_after_restore(self, hook: Callable[[], None]) -> None:
        self.hooks.append(hook)


def test_environments_of_one_snapshot_do_not_retry_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a function whose init is over
    hooks = Hooks()
    monkeypatch.setitem(sys.modules, RUNTIME_HOOKS, hooks)
    prepare_for_snapshots()
    snapshot = random.getstate()
    drawn = []

    # WHEN two environments are restored from it
    for _ in range(2):
        random.setstate(snapshot)
        for hook in hooks.hooks:
            hook()
        drawn.append(random.random())  # noqa: S311  # the jitter's source is what this is about

    # THEN their jitter differs
    assert drawn[0] != drawn[1]


def test_outside_of_lambda_there_is_nothing_to_prepare() -> None:
    state = random.getstate()

    prepare_for_snapshots()

    assert random.getstate() == state


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_opens_a_connection_before_its_first_invocation(function: str) -> None:
    run_init(function, INIT)
