"""Replay a whole response as the events of its stream. Standard library only."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_BEGUN: Final[Mapping[str, Any]] = {
    "status": "in_progress",
    "output": [],
    "usage": None,
    "error": None,
    "incomplete_details": None,
}
_ARGUMENTS: Final = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
"""The field of a tool call that comes in deltas, and the name of its events."""

_TEXTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "output_text": ("text", {"logprobs": []}),
    "refusal": ("refusal", {}),
}
"""The field of a part that comes in deltas, and what its events have beside it."""


def replay(response: Mapping[str, Any], *, starting_after: int = -1) -> str:
    """Return the server-sent events of a response that has ended, from the one after a sequence number."""
    return "".join(
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
        for number, event in enumerate(events_of(response))
        if number > starting_after
    )


def events_of(response: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a response, without their sequence numbers."""
    begun = {**response, **_BEGUN}
    yield {"type": "response.created", "response": {**begun, "status": "queued"}}
    yield {"type": "response.queued", "response": {**begun, "status": "queued"}}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        yield from _events_of_item(index, item)
    yield {"type": f"response.{response['status']}", "response": dict(response)}


def _events_of_item(index: int, item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"output_index": index, "item_id": str(item.get("id") or f"item_{index}")}
    if item.get("type") == "message":
        added: dict[str, Any] = {**item, "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": index, "item": added}
        for number, part in enumerate(item.get("content") or ()):
            yield from _events_of_part({**place, "content_index": number}, part)
    elif item.get("type") in _ARGUMENTS:
        field, event = _ARGUMENTS[item["type"]]
        text = item.get(field) or ""
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, field: ""}}
        yield {"type": f"{event}.delta", "delta": text, **place}
        yield {"type": f"{event}.done", field: text, **place}
    else:
        yield {"type": "response.output_item.added", "output_index": index, "item": dict(item)}
        for number, part in enumerate(item.get("summary") or ()):
            yield from _events_of_summary({**place, "summary_index": number}, part)
    yield {"type": "response.output_item.done", "output_index": index, "item": dict(item)}


def _events_of_part(place: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    known = _TEXTS.get(part.get("type", ""))
    if known is None:
        yield {"type": "response.content_part.added", "part": dict(part), **place}
    else:
        field, beside = known
        text, name = part.get(field) or "", f"response.{part['type']}"
        empty = {**part, field: "", **({"annotations": []} if "annotations" in part else {})}
        yield {"type": "response.content_part.added", "part": empty, **place}
        yield {"type": f"{name}.delta", "delta": text, **beside, **place}
        for number, annotation in enumerate(part.get("annotations") or ()):
            shown = {"annotation": annotation, "annotation_index": number}
            yield {"type": f"{name}.annotation.added", **shown, **place}
        yield {"type": f"{name}.done", field: text, **beside, **place}
    yield {"type": "response.content_part.done", "part": dict(part), **place}


def _events_of_summary(place: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    text = part.get("text") or ""
    yield {"type": "response.reasoning_summary_part.added", "part": {**part, "text": ""}, **place}
    yield {"type": "response.reasoning_summary_text.delta", "delta": text, **place}
    yield {"type": "response.reasoning_summary_text.done", "text": text, **place}
    yield {"type": "response.reasoning_summary_part.done", "part": dict(part), **place}
