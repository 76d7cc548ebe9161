"""Name the batches under way when an iteration ends early, so that paid work can be found."""

import logging
from typing import Final

from sluice._bulk import BulkRun, Outcome
from sluice._operations import Iteration

MAX_SHOWN: Final = 100
"""Batch IDs in one message; the idempotency key leads to all of them."""
_LOGGER: Final = logging.getLogger("sluice")


def name_batches_on_interrupt(run: BulkRun, key: str) -> Iteration[Outcome]:
    """Iterate over a run's outcomes; `key` is its idempotency key.

    An exception that ends the run, Ctrl-C for example, gets a note with the IDs. If the caller stops iterating,
    because of `break` or an exception of its own, the IDs are logged as a warning.
    """
    try:
        yield from run.outcomes()
    except GeneratorExit:
        if text := _describe(run, key):
            _LOGGER.warning(text)
        raise
    except BaseException as error:
        if text := _describe(run, key):
            error.add_note(text)
        raise


def _describe(run: BulkRun, key: str) -> str:
    batch_ids = run.batches_under_way
    more = f" and {len(batch_ids) - MAX_SHOWN:,} more" if len(batch_ids) > MAX_SHOWN else ""
    parts = []
    if batch_ids:
        parts.append(f"These batches continue: {', '.join(batch_ids[:MAX_SHOWN])}{more}.")
    if run.is_sending:
        parts.append("One more request may have been accepted.")
    if parts:
        parts.append(f"The same call with idempotency_key={key!r} resumes without paying twice.")
    return " ".join(parts)
