"""Be one environment of many that begin with the same memory: what SnapStart does with a function.

Lambda takes a snapshot after a function's init and starts every environment from it. Nothing here connects at init;
owner tokens and ids come from the system's randomness, which is fresh in each environment; botocore's keys of the
role say when they end, and are asked for anew then. What is left is Python's own `random`, from which redis-py and
botocore take the jitter of their retries: seeded before the snapshot, it would have all environments retry in step.
"""

import random
from importlib import import_module
from importlib.util import find_spec

RUNTIME_HOOKS = "snapshot_restore_py"
"""A module of Lambda's runtime for Python, from 3.12 on; it does nothing where SnapStart is off."""


def prepare_for_snapshots() -> None:
    """Have each environment seed `random` anew when it is restored; elsewhere do nothing."""
    if find_spec(RUNTIME_HOOKS) is not None:
        import_module(RUNTIME_HOOKS).register_after_restore(random.seed)
