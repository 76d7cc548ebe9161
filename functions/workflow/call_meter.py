"""Measure each model call of a chain, to adapt the concurrency and to settle its reservation of tokens."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.task import Usage
from common.kinds.tokens import CHARACTERS_PER_TOKEN
from common.worker.concurrency import OVERLOAD_CODES, AdaptiveConcurrency, Origin
from common.worker.permit import Permit


@dataclass(slots=True)
class CallMeter:
    """Measurements of one call."""

    permit: Permit
    usage: Usage | None = None
    first_at: float | None = None
    pieces: int = 0
    characters: int = 0

    def take(self, text: str) -> None:
        """Count the next piece of the answer, with or without text."""
        if self.first_at is None:
            self.first_at = _now()
            self.permit.begun()
        self.pieces += 1
        self.characters += len(text)

    @property
    def tokens(self) -> int:
        """Return the estimated number of received tokens."""
        return max(self.pieces, self.characters // CHARACTERS_PER_TOKEN)


@contextmanager
def measured(concurrency: AdaptiveConcurrency, origin: Origin, permit: Permit) -> Iterator[CallMeter]:
    """Report the outcome of the call in this block to the concurrency, and settle its reservation by its usage."""
    meter, started = CallMeter(permit), _now()
    try:
        yield meter
    except BaseException as error:
        if isinstance(error, ModelError) and error.usage is not None:
            permit.answered(error.usage, meter.tokens)
        # A refusal is billed only if the answer had begun.
        elif meter.pieces or not isinstance(error, ModelBusy | ModelRefused):
            permit.cut_off(meter.tokens)
        if isinstance(error, ModelBusy | ModelFailed) and error.code in OVERLOAD_CODES:
            concurrency.refused(origin, started, _now())
        raise
    else:
        permit.answered(meter.usage, meter.tokens)
        concurrency.succeeded(origin, started, _now(), (meter.first_at or _now()) - started)
    finally:
        permit.settle()


def _now() -> float:
    return asyncio.get_running_loop().time()
