"""Test the garbage collector during the start of a function."""

import json

import pytest

from tests.init import FUNCTIONS, run_init

INIT = """
import gc, importlib, json, sys

runs = []
gc.callbacks.append(lambda phase, info: runs.append(phase))
import common.runtime.lambda_init
runs.clear()
importlib.import_module(f"functions.{sys.argv[1]}.handler")
print(json.dumps({"runs": len(runs), "works": gc.isenabled(), "left alone": gc.get_freeze_count()}))
"""


@pytest.mark.parametrize("function", sorted({*FUNCTIONS} - {"docs"}))
def test_nothing_is_collected_while_a_function_starts_nor_looked_through_later(function: str) -> None:
    seen = json.loads(run_init(function, INIT, LAMBDA_TASK_ROOT="/var/task", POWERTOOLS_TRACE_DISABLED="true"))

    assert (seen["runs"], seen["works"]) == (0, True)
    assert seen["left alone"] > 10_000


def test_outside_of_lambda_the_collector_is_left_as_it_is() -> None:
    seen = json.loads(run_init("cancel", INIT))

    assert seen["runs"] > 0
    assert (seen["works"], seen["left alone"]) == (True, 0)
