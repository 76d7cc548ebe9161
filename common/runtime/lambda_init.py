"""Disable the garbage collector during a cold start, whose objects live as long as the function.

Handlers import this module first and call `complete` last. During imports the collector traverses a hundred thousand
objects and frees none; this takes a tenth of the time. Frozen objects are not traversed during requests either. Outside
Lambda this module has no effect.
"""

import gc
import os

_IN_LAMBDA = "LAMBDA_TASK_ROOT" in os.environ

if _IN_LAMBDA:
    gc.disable()


def complete() -> None:
    """Enable the collector for objects that are created from now on."""
    if _IN_LAMBDA:
        gc.freeze()
        gc.enable()
