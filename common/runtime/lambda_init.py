"""Keep the garbage collector out of a cold start: what a function imports and makes then stays for its life.

Handlers import this first, and call `over` last. While modules load, the collector finds nothing to free, and looks
through a hundred thousand objects in vain; a tenth of the time goes there. Later it would do so once more, in the
middle of a request. Outside Lambda, nothing is changed.
"""

import gc
import os

_IN_LAMBDA = "LAMBDA_TASK_ROOT" in os.environ

if _IN_LAMBDA:
    gc.disable()


def complete() -> None:
    """Have the collector work as usual, on what is made from now on."""
    if _IN_LAMBDA:
        gc.freeze()
        gc.enable()
