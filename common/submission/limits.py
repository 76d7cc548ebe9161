"""Bound the calls that the service accepts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from common.domain.errors import InvalidRequest, RequestTooLarge
from common.domain.request import Request

LONGEST_RETENTION_SECONDS: Final = 30 * 86_400
"""How long an ended task can be kept, at most."""

MOST_DEADLINE_SECONDS: Final = 9 * 86_400
"""A day less than TaskQueue keeps a message. SQS has 14 days at most, of which four are the dead-letter queue's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bound one call. The first model is the default; a prompt is measured as it is queued.

    Deadline and retention are the defaults of a call. With `allow_loopback` a webhook may be on this
    machine.
    """

    models: tuple[str, ...]
    most_prompts: int
    most_prompt_bytes: int
    deadline_seconds: int
    retention_seconds: int
    allow_loopback: bool = False

    def check_size(self, request: Request, place: str) -> int:
        """Return the bytes that a request takes in the queue; `place` is its JSON pointer.

        Raises:
            RequestTooLarge: they are more than a request may take.

        """
        size = len(json.dumps(request.body, separators=(",", ":")))
        if size > self.most_prompt_bytes:
            raise RequestTooLarge(
                f"takes {size} bytes in the queue, with its params; a prompt may take {self.most_prompt_bytes}",
                pointer=place,
                code="prompt_too_large",
            )
        return size

    def narrowed(self, models: Sequence[str] | None) -> "Limits":
        """Return the limits with only the models of the caller's key, in its order; None keeps all.

        Raises:
            InvalidRequest: the key allows none of the models.

        """
        if models is None:
            return self
        allowed = tuple(model for model in models if model in self.models)
        if not allowed:
            raise InvalidRequest("this key has no access to any available model", code="model_not_allowed")
        return replace(self, models=allowed)
