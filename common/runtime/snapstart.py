"""Prepare a function for SnapStart, which starts many environments with the same memory.

Lambda takes a snapshot after a function's init and starts every environment from it. No connection is opened at init.
Owner tokens and ids use the system's randomness, which differs in each environment. botocore renews the role's
credentials when they expire. Only Python's `random` remains, which redis-py and botocore use for the jitter of their
retries: with the seed of the snapshot all environments would retry at the same times.
"""

import random
from importlib import import_module
from importlib.util import find_spec

RUNTIME_HOOKS = "snapshot_restore_py"
"""A module of Lambda's runtime for Python, from 3.12 on; it has no effect if SnapStart is off."""


def prepare_for_snapshots() -> None:
    """Seed `random` in each restored environment; no effect outside Lambda."""
    if find_spec(RUNTIME_HOOKS) is not None:
        import_module(RUNTIME_HOOKS).register_after_restore(random.seed)
