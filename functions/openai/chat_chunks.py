"""Replay a whole chat completion as `chat.completion.chunk` events. Standard library only."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

MOST_PIECES: Final = 500
"""Pieces of one text, at most: their envelopes must not make a response that fits Lambda's 6 MB too large for it."""

SHORTEST_PIECE: Final = 40
"""Characters of a piece, at least; only the last one may be shorter."""

_SHARED: Final = ("id", "created", "model", "service_tier", "system_fingerprint")
"""The fields that every chunk repeats."""

_TEXTS: Final = ("content", "refusal")
_IN_ORDER: Final = frozenset({"role", "tool_calls", *_TEXTS})


def replay(completion: Mapping[str, Any], *, includes_usage: bool) -> str:
    """Return the server-sent events of a whole completion, unknown fields included, closed by `[DONE]`."""
    events = (f"data: {json.dumps(chunk)}\n\n" for chunk in chunks_of(completion, includes_usage=includes_usage))
    return "".join((*events, "data: [DONE]\n\n"))


def chunks_of(completion: Mapping[str, Any], *, includes_usage: bool) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a completion: those of each choice in turn, then its usage if the caller wants it."""
    shared = {name: completion[name] for name in _SHARED if name in completion}
    envelope = {**shared, "object": "chat.completion.chunk"}
    without_usage = {"usage": None} if includes_usage else {}
    extra = {
        name: value
        for name, value in completion.items()
        if name not in {*_SHARED, "object", "choices", "usage"} and value is not None
    }
    for choice in completion["choices"]:
        for partial in _choice_chunks(choice):
            yield {**envelope, **extra, "choices": [partial], **without_usage}
            extra = {}
    if includes_usage:
        yield {**envelope, "choices": [], "usage": completion.get("usage")}


def _choice_chunks(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    index, message = choice["index"], choice["message"]

    def chunk(delta: Mapping[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
        return {"index": index, "delta": delta, "finish_reason": None, **fields}

    yield chunk({"role": message.get("role", "assistant"), "content": ""})
    for name, value in message.items():
        if name not in _IN_ORDER and value is not None:
            yield from (chunk({name: piece}) for piece in _pieces(value))
    for name in _TEXTS:
        yield from (chunk({name: piece}) for piece in _pieces(message.get(name)))
    for place, call in enumerate(message.get("tool_calls") or ()):
        yield chunk({"tool_calls": [{"index": place, **call}]})
    if choice.get("logprobs") is not None:
        yield chunk({}, logprobs=choice["logprobs"])
    known = {"index", "message", "logprobs", "finish_reason"}
    extra = {name: value for name, value in choice.items() if name not in known and value is not None}
    yield chunk({}, **{**extra, "finish_reason": choice["finish_reason"]})


def _pieces(value: object) -> Sequence[object]:
    """Cut a text; anything else is one piece, and an absent value none."""
    if not isinstance(value, str):
        return [] if value is None else [value]
    size = max(SHORTEST_PIECE, -(-len(value) // MOST_PIECES))
    return [value[start : start + size] for start in range(0, len(value), size)]
