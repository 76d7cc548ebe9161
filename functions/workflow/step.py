"""Encode and decode a completed step: the model's answer and its cost."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, message_to_dict, messages_from_dict
from pydantic import BaseModel

from common.domain.task import Usage


@dataclass(frozen=True, slots=True)
class Step:
    """One answered model call; the cost is in billionths of a US dollar, None if it is unknown."""

    message: AIMessage = field(repr=False)
    finish_reason: str | None
    usage: Usage | None
    cost_nanos: int | None

    def encode(self) -> str:
        """Encode the step as JSON."""
        return json.dumps(
            {
                "message": message_to_dict(self.message),
                "finish_reason": self.finish_reason,
                "usage": self.usage and astuple(self.usage),
                "cost_nanos": self.cost_nanos,
            },
            default=_plain,
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, text: str) -> "Step":
        """Decode the result of `encode`."""
        raw = json.loads(text)
        [message] = messages_from_dict([raw["message"]])
        if not isinstance(message, AIMessage):
            raise TypeError
        usage = raw["usage"]
        return cls(message, raw["finish_reason"], Usage(*usage) if usage else None, raw["cost_nanos"])


def digest_of(request: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a call's request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    return repr(value)
