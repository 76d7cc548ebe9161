"""Bound the calls that the service accepts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from common.domain.errors import InvalidRequest, RequestTooLarge
from common.domain.request import Kind, Request
from common.webhooks.model import BadAddress, target_of

LONGEST_RETENTION_SECONDS: Final = 30 * 86_400
"""How long an ended task can be kept, at most."""

MOST_DEADLINE_SECONDS: Final = 9 * 86_400
"""A day less than TaskQueue keeps a message. SQS has 14 days at most, of which four are the dead-letter queue's."""


EMBEDDING_MODELS: Final = ("text-embedding-*",)
"""The models of embeddings where the operator names none: OpenAI's."""

_EMBEDS: Final = (Kind.EMBEDDINGS,)
_GENERATES: Final = (Kind.CHAT, Kind.RESPONSES)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bound one call. The first model of a kind is its default; a prompt is measured as it is queued.

    `embedding_models` are patterns of names: these models take embeddings alone, and all others take anything else.
    Deadline and retention are the defaults of a call. With `allow_loopback` a webhook may be on this
    machine.
    """

    models: tuple[str, ...]
    most_prompts: int
    most_prompt_bytes: int
    deadline_seconds: int
    retention_seconds: int
    allow_loopback: bool = False
    embedding_models: tuple[str, ...] = EMBEDDING_MODELS

    def kinds_of(self, model: str) -> tuple[Kind, ...]:
        """Return the kinds of requests that a model takes."""
        is_embedder = any(fnmatchcase(model, pattern) for pattern in self.embedding_models)
        return _EMBEDS if is_embedder else _GENERATES

    def check_model(self, model: str, kind: Kind, place: str) -> None:
        """Check that a model takes requests of a kind; `place` is its JSON pointer.

        Raises:
            InvalidRequest: the caller has no access to it, or it does not take them.

        """
        if model not in self.models:
            rule = f"must be one of {', '.join(self.models)}"
            raise InvalidRequest(rule, pointer=place, code="model_not_allowed")
        kinds = self.kinds_of(model)
        if kind not in kinds:
            raise InvalidRequest(
                f"is a model for {' and '.join(kinds)}, not for {kind}", pointer=place, code="model_not_supported"
            )

    def default_model(self, kind: Kind, place: str) -> str:
        """Return the model of a request that names none; `place` is the JSON pointer of its `model`.

        Raises:
            InvalidRequest: no model that the caller may use takes such requests.

        """
        for model in self.models:
            if kind in self.kinds_of(model):
                return model
        raise InvalidRequest(
            f"is missing, and none of {', '.join(self.models)} is a model for {kind}",
            pointer=place,
            code="model_not_supported",
        )

    def check_webhook_url(self, url: str, pointer: str) -> None:
        """Refuse an address that a webhook may not have. The address that its host resolves to is checked later."""
        try:
            target_of(url, allow_loopback=self.allow_loopback)
        except BadAddress as rule:
            raise InvalidRequest(str(rule), pointer=pointer, code="invalid_webhook_url") from None

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
