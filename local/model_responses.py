"""The stand-in's `/responses`: a request as chat completions takes it, and the answer as a response and its events."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any


def chat_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of chat completions that makes the same request."""
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    for item in items:
        if "role" in item:
            messages.append({"role": item["role"], "content": item["content"]})
        elif "output" in item:
            messages.append({"role": "tool", "content": item["output"]})
    tools = [{"type": "function", "function": tool} for tool in body.get("tools") or [] if tool["type"] == "function"]
    choice = body.get("tool_choice")
    form = (body.get("text") or {}).get("format") or {}
    return {
        "model": body.get("model"),
        "messages": messages,
        "stream": body.get("stream"),
        "max_completion_tokens": body.get("max_output_tokens"),
        "tools": tools,
        "tool_choice": {"function": choice} if isinstance(choice, dict) else choice,
        "parallel_tool_calls": body.get("parallel_tool_calls"),
        "response_format": {"type": form.get("type"), "json_schema": form} if form else None,
    }


def response_of(  # noqa: PLR0913  # what a response says
    body: dict[str, Any],
    name: str,
    *,
    text: str,
    tool_calls: Sequence[tuple[str, str]],
    usage: dict[str, int],
    is_cut: bool,
) -> dict[str, Any]:
    """Return a `response` object; `name` makes its IDs."""
    output: list[dict[str, Any]] = [
        {
            "type": "function_call",
            "id": f"fc_{name}_{index}",
            "call_id": f"call_{tool}_{index}",
            "name": tool,
            "arguments": arguments,
            "status": "completed",
        }
        for index, (tool, arguments) in enumerate(tool_calls)
    ]
    if not output:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        status = "incomplete" if is_cut else "completed"
        message = {"type": "message", "id": f"msg_{name}", "status": status, "role": "assistant", "content": [part]}
        output = [message]
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body.get("model"),
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "metadata": body.get("metadata") or {},
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }


def events_of(response: dict[str, Any], pieces: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a response; the text comes in these pieces."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        events += _events_of_item(index, item, pieces)
    events.append({"type": f"response.{response['status']}", "response": response})
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def _events_of_item(index: int, item: dict[str, Any], pieces: Sequence[str]) -> Iterator[dict[str, Any]]:
    place = {"output_index": index, "item_id": item["id"]}
    if item["type"] == "function_call":
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": ""}}
        yield {"type": "response.function_call_arguments.delta", "delta": item["arguments"], **place}
    else:
        [part] = item["content"]
        place["content_index"] = 0
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, "content": []}}
        yield {"type": "response.content_part.added", "part": {**part, "text": ""}, **place}
        for piece in pieces:
            yield {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **place}
        yield {"type": "response.output_text.done", "text": part["text"], "logprobs": [], **place}
        yield {"type": "response.content_part.done", "part": part, **place}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def encoded(event: dict[str, Any]) -> bytes:
    """Write an event as the stream has it."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()
