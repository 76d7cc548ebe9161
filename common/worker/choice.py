"""Assemble one choice of a chat completion from its deltas, or from its whole message, with every field it has.

The fields merge as in the OpenAI SDK: strings concatenate, lists merge by `index`, of other values the last wins.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from common.worker.text import paired
from common.worker.tool_calls import ToolCallAccumulator

_NOTHING: Final[Mapping[str, Any]] = {}
_OF_CHOICE: Final = frozenset({"delta", "message", "text", "index", "finish_reason", "logprobs", "usage", "error"})
"""Fields of a choice that are assembled by their own rules, or belong to the whole answer."""

_OF_MESSAGE: Final = frozenset({"content", "tool_calls"})
_LAST_WINS: Final = frozenset({"role", "type", "id", "index"})
"""Strings that every delta may repeat."""

_REASONING_FIELDS: Final = frozenset({"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"})
_REASONING_PARTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})


class _Pieces(list[str]):
    """Hold the pieces of a string; a list of strings that the provider sent is a plain list."""


class ChoiceAccumulator:
    """Collect the events of one choice; texts are joined once, at the end."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.texts: list[str] = []
        """The pieces of the text that the caller sees as the result."""
        self.tool_calls = ToolCallAccumulator()
        self.has_message = False
        """Whether an event had a whole `message` in place of a `delta`."""
        self.has_other_content = False
        """Whether it has content that is neither text nor a tool call, such as reasoning."""
        self._characters = 0
        self._parts: list[Any] | None = None
        self._refusals: list[str] = []
        self._message: dict[str, Any] = {"role": "assistant"}
        self._logprobs: dict[str, Any] | None = None
        self._others: dict[str, Any] = {}

    @property
    def characters(self) -> int:
        """Return how many characters were collected so far."""
        return self._characters + self.tool_calls.characters

    def add(self, choice: Mapping[str, Any]) -> str | None:
        """Take one event's part and return the text that it adds: "" for a tool call, None for nothing.

        Raises:
            TypeError, AttributeError, ValueError, KeyError: it is not what the protocol says.

        """
        delta = choice.get("delta")
        message = delta or self._message_of(choice)
        content = message.get("content")
        text = content if isinstance(content, str) else self._take_content(content) if content else ""
        if text:
            self.texts.append(text)
            self._characters += len(text)
            if self._parts is not None and content is text:
                self._parts.append({"type": "text", "text": text})
        calls_tools = False
        if len(message) > 1 or not text:
            calls_tools = self._take_fields(message)
        if not delta and ("message" in choice or "text" in choice):
            self.has_message = True
        if choice.get("logprobs"):
            self._take_logprobs(choice["logprobs"])
        for name, value in choice.items():
            if name not in _OF_CHOICE and (value is not None or name not in self._others):
                self._set(self._others, name, value)
        return text or ("" if calls_tools else None)

    def _message_of(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the message of a choice that has no delta; behind deltas it only repeats them."""
        if not self.has_message and (self.texts or self.tool_calls):
            return _NOTHING
        return choice.get("message") or {"content": choice.get("text")}

    def _take_fields(self, message: Mapping[str, Any]) -> bool:
        """Take what a message has beside its text, and return whether it calls tools."""
        if not self.texts and not _REASONING_FIELDS.isdisjoint(message):
            self.has_other_content = self.has_other_content or any(map(message.get, _REASONING_FIELDS))
        for name, value in message.items():
            if name not in _OF_MESSAGE:
                self._merge(name, value)
        calls = message.get("tool_calls")
        if not calls and (call := message.get("function_call")):  # what chat completions had before tool calls
            calls = [{"index": 0, "function": call}]
        return self.tool_calls.add(calls)

    def _merge(self, name: str, value: object) -> None:
        known = self._message.get(name)
        if value is None or known is None:
            if value is not None or name not in self._message:
                pieces = _Pieces([value]) if isinstance(value, str) and name not in _LAST_WINS else value
                self._set(self._message, name, pieces)
        elif name in _LAST_WINS:
            self._message[name] = value
        elif isinstance(value, str) and isinstance(known, _Pieces):
            known.append(value)
            self._characters += len(value)
        else:
            self._characters += _size_of(value)
            self._message[name] = merged(known, value)

    def _set(self, fields: dict[str, Any], name: str, value: object) -> None:
        self._characters += _size_of(value)
        fields[name] = value

    def _take_content(self, content: object) -> str:
        """Keep a content that is in parts, and return the text among them."""
        if isinstance(content, dict):
            content = [content]
        if not isinstance(content, list):
            raise TypeError
        parts = [{"type": "text", "text": text} for text in self.texts] if self._parts is None else self._parts
        self._parts = [*parts, *content]
        return "".join(map(self._text_of_part, content))

    def _text_of_part(self, part: Any) -> str:  # noqa: ANN401  # any JSON value
        if isinstance(part, str):
            return part
        text = None if part.get("type") in _REASONING_PARTS else part.get("text")
        if text is None:
            if refusal := part.get("refusal"):
                self._refusals.append(str(refusal))
            else:
                self.has_other_content = True
            self._characters += _size_of(part)
            return ""
        if not isinstance(text, str):
            raise TypeError
        return text

    def _take_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        known = self._logprobs = self._logprobs or {}
        for name, value in logprobs.items():
            self._characters += _size_of(value)
            if isinstance(value, list) and isinstance(known.get(name), list):
                known[name] += value
            elif value is not None or name not in known:
                known[name] = list(value) if isinstance(value, list) else value

    @property
    def refusal(self) -> str | None:
        """Return the text in which the model refused to answer."""
        return str(_joined(self._message.get("refusal")) or "") or "".join(self._refusals) or None

    def finish(self, finish_reason: str | None, *, with_text: bool) -> dict[str, Any]:
        """Join the choice as a `chat.completion` has it; without text it has no `content` where that is all text."""
        message = {name: _joined(value) for name, value in self._message.items()}
        if self._parts is not None:
            message["content"] = self._parts
        elif with_text and self.texts:
            message["content"] = paired("".join(self.texts))
        elif not self.texts:
            message["content"] = None if self.tool_calls or message.get("refusal") else ""
        message.setdefault("refusal", None)
        if (calls := self.tool_calls.shown()) and "function_call" not in message:
            message["tool_calls"] = calls
        logprobs = self._logprobs
        return {
            "index": self.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
            **self._others,
        }


def merged(known: object, value: object) -> object:
    """Merge a value of a later event into an earlier one, by the rules of the OpenAI SDK."""
    if isinstance(known, dict) and isinstance(value, dict):
        return known | {
            name: merged(known[name], each) if known.get(name) is not None and name not in _LAST_WINS else each
            for name, each in value.items()
            if each is not None or name not in known
        }
    if isinstance(known, list) and isinstance(value, list):
        return _merged_lists(known, value)
    if isinstance(known, str) and isinstance(value, str):
        return known + value
    return value


def _merged_lists(known: list[Any], value: list[Any]) -> list[Any]:
    result = list(known)
    places = {each["index"]: place for place, each in enumerate(result) if _is_indexed(each)}
    for each in value:
        place = places.get(each["index"]) if _is_indexed(each) else None
        if place is None:
            if _is_indexed(each):
                places[each["index"]] = len(result)
            result.append(each)
        else:
            result[place] = merged(result[place], each)
    return result


def _is_indexed(entry: object) -> bool:
    return isinstance(entry, dict) and type(entry.get("index")) is int


def _joined(value: object) -> object:
    return paired("".join(value)) if isinstance(value, _Pieces) else value


def _size_of(value: object) -> int:
    if value is None or isinstance(value, str | bool | int | float):
        return len(value) if isinstance(value, str) else 0
    return len(json.dumps(value))
