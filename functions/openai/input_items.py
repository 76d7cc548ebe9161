"""List the input items of a response, as GET /responses/{response_id}/input_items shows them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from common.domain.errors import InvalidRequest

MOST_ITEMS: Final = 100
"""Items of one page, at most: OpenAI's own limit."""

DEFAULT_ITEMS: Final = 20
_WITH_STATUS: Final = frozenset(
    {
        *("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
        "reasoning",
    }
)
"""Types of items that have a status, which callers may leave out."""

_ORDERS: Final = ("asc", "desc")


def encode_input(body: Mapping[str, Any]) -> str:
    """Encode what the record keeps of a request: its input."""
    return json.dumps(body["input"], separators=(",", ":"))


def list_items(stored: str, task_id: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of the items; each has an ID, the caller's own or one of its place.

    Raises:
        InvalidRequest: `limit`, `order` or `after` breaks a rule.

    """
    given = json.loads(stored)
    raw = [{"role": "user", "content": given}] if isinstance(given, str) else given
    items = [_item(each, f"{task_id}-{place}") for place, each in enumerate(raw)]
    if query.get("order", "desc") not in _ORDERS:
        raise InvalidRequest(f"must be one of {', '.join(_ORDERS)}", pointer="/order", code="invalid_value")
    if query.get("order", "desc") == "desc":
        items.reverse()
    start = _place_after(items, query["after"]) if "after" in query else 0
    limit = _limit(query.get("limit"))
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def _item(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Complete an item: a message may come without a type, with text as its content, and without an ID."""
    item = dict(raw)
    kind = item.setdefault("type", "message")
    item["id"] = item.get("id") or f"{'msg' if kind == 'message' else 'item'}_{name}"
    if kind in _WITH_STATUS:
        item["status"] = item.get("status") or "completed"
    if kind == "message" and isinstance(item.get("content"), str):
        item["content"] = [_text_part(item["role"], item["content"])]
    return item


def _text_part(role: str, text: str) -> dict[str, Any]:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _place_after(items: list[dict[str, Any]], name: str) -> int:
    for place, item in enumerate(items):
        if item["id"] == name:
            return place + 1
    raise InvalidRequest("must be the ID of an item of this response", pointer="/after", code="invalid_value")


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_ITEMS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= MOST_ITEMS:
        raise InvalidRequest(f"must be 1 to {MOST_ITEMS}", pointer="/limit", code="invalid_value")
    return int(text)
