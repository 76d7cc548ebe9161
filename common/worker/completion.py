"""Assemble the events of a chat completion, streamed or whole, into an Answer. No network here."""

from collections.abc import Mapping
from typing import Any, Final

from common.api.pagination import MOST_ANSWER_BYTES
from common.domain.errors import ModelError, ModelFailed, ModelRefused
from common.domain.task import TRUNCATED, Answer, FailureCode, Usage
from common.worker import finish_reasons
from common.worker.provider_errors import classify_in_stream
from common.worker.text import paired
from common.worker.tool_calls import ToolCallAccumulator
from common.worker.usage import UsageAccumulator

_NOTHING: Final[Mapping[str, Any]] = {}

_CALLS_TOOLS: Final = frozenset({"tool_calls", "tool_use", "function_call"})
"""Finish reasons of an answer that calls tools."""

_REASONING_FIELDS: Final = frozenset({"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"})
_REASONING_PARTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})


class CompletionAccumulator:
    """Collect what the events of one answer add up to; joined once, at the end."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        """Why the answer ended, as the provider says it. What may follow is its usage."""
        self.has_message = False
        """Whether an event had a whole `message` in place of a `delta`."""
        self.is_too_large = False
        """Whether it has more characters than an answer that is kept may have: they are dropped, its usage is read."""
        self._texts: list[str] = []
        self._characters = 0
        self._tool_calls = ToolCallAccumulator()
        self._usage = UsageAccumulator()
        self._error: object = None
        self._index: object = None
        self._has_choices: bool | None = None
        self._has_begun = False
        self._has_other_content = False
        self._refused = False

    @property
    def usage(self) -> Usage | None:
        """Return what the provider has said so far of the tokens that it billed."""
        return self._usage.usage

    def add(self, event: Mapping[str, Any]) -> str | None:
        """Take one event and return the text that it adds: "" where it adds to a tool call, None where to nothing.

        Raises:
            ModelError: the event reports an error, or is not what the protocol says.

        """
        usage = event.get("usage")
        if usage:
            self._usage.add(usage)
        if error := event.get("error") or (event if event.get("object") == "error" else None):
            raise classify_in_stream(error, begun=self._has_begun)
        if usage:
            self._has_begun = True
        choices = event.get("choices")
        if not choices:
            # Pings, content filters of the prompt, usage.
            self._has_choices = self._has_choices or choices is not None
            return None
        try:
            if self._index is None:
                self._has_choices, self._index = True, choices[0].get("index") or 0
            if not self._has_begun:
                self._has_begun = any(map(_is_billed, choices))
            # One answer a task: of several choices only the first is kept.
            grown = [self._take(choice) for choice in choices if (choice.get("index") or 0) == self._index]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
        if len(grown) == 1:
            return grown[0]
        texts = [text for text in grown if text is not None]
        return "".join(texts) if texts else None

    def _take(self, choice: Mapping[str, Any]) -> str | None:
        delta = choice.get("delta")
        message = delta or self._message_of(choice)
        text = message.get("content")
        if text and not isinstance(text, str):
            text = self._text_of(text)
        if text:
            self._keep(text)
        calls_tools = False
        if len(message) > 1 or not text:
            calls_tools = self._take_others(message)
        if reason := choice.get("finish_reason"):
            self._end(choice, reason)
        if usage := choice.get("usage"):
            self._usage.add(usage)
        if not delta and ("message" in choice or "text" in choice):
            self.has_message = True
        return text or ("" if calls_tools else None)

    def _keep(self, text: str) -> None:
        self._characters += len(text)
        if self._characters + self._tool_calls.characters > MOST_ANSWER_BYTES:
            self._drop()
        else:
            self._texts.append(text)

    def _drop(self) -> None:
        """Drop what is too large to be kept: a model that never stops must not fill the memory of its neighbours."""
        self.is_too_large = True
        self._texts = [""]
        self._tool_calls = ToolCallAccumulator()

    def _message_of(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the message of a choice that has no delta; behind deltas it only repeats them."""
        if not self.has_message and (self._texts or self._tool_calls):
            return _NOTHING
        return choice.get("message") or {"content": choice.get("text")}

    def _take_others(self, message: Mapping[str, Any]) -> bool:
        """Take what a message has beside its text, and tell whether it calls tools."""
        self._refused = self._refused or bool(message.get("refusal"))
        if not self._texts and not _REASONING_FIELDS.isdisjoint(message):
            self._has_other_content = self._has_other_content or any(map(message.get, _REASONING_FIELDS))
        calls = message.get("tool_calls")
        if not calls and (call := message.get("function_call")):  # what chat completions had before tool calls
            calls = [{"index": 0, "function": call}]
        calls_tools = self._tool_calls.add(calls)
        if self.is_too_large or self._characters + self._tool_calls.characters > MOST_ANSWER_BYTES:
            self._drop()
        return calls_tools

    def _text_of(self, content: object) -> str:
        """Return the text of a content that is in parts, and note what else it has."""
        if isinstance(content, dict):
            content = [content]
        if not isinstance(content, list):
            raise TypeError
        return "".join(map(self._text_of_part, content))

    def _text_of_part(self, part: Any) -> str:  # noqa: ANN401  # any JSON value
        if isinstance(part, str):
            return part
        text = None if part.get("type") in _REASONING_PARTS else part.get("text")
        if text is None:
            self._refused = self._refused or bool(part.get("refusal"))
            self._has_other_content = True
            return ""
        if not isinstance(text, str):
            raise TypeError
        return text

    def _end(self, choice: Mapping[str, Any], reason: object) -> None:
        reason = str(reason)
        # A fault of the provider after the answer has ended takes nothing away from it. A filter takes it back.
        if self.finish_reason is None or finish_reasons.failure_of(reason) in {None, FailureCode.CONTENT_POLICY}:
            self.finish_reason, self._error = reason, choice.get("error")

    def finish(self, *, is_done: bool) -> Answer:
        """Join the answer; `is_done` where the provider has said by other means that this is all.

        Raises:
            ModelRefused: content_policy, where the provider or the model itself refused; answer_too_large.
            ModelFailed: stream_cut, where it did not end; unreadable_answer, where it is none or calls a tool without
                a name, or none though it ended to call one; no_content, where it is nothing but reasoning; or what
                its finish reason says.

        """
        if self.is_too_large:
            raise ModelRefused(FailureCode.ANSWER_TOO_LARGE)
        failure = self._failure(is_done=is_done)
        if failure is not None:
            raise failure
        try:
            tool_calls = self._tool_calls.finish()
        except ValueError:
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
        reason = None if self.finish_reason is None else finish_reasons.shown(self.finish_reason)
        if not (self._texts or tool_calls) and reason != TRUNCATED:
            if self._has_other_content:
                raise ModelFailed(FailureCode.NO_CONTENT)
            if reason in _CALLS_TOOLS:
                raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
        return Answer(paired("".join(self._texts)), reason, self.usage, tool_calls)

    def _failure(self, *, is_done: bool) -> ModelError | None:
        if self._refused:
            return ModelRefused(FailureCode.CONTENT_POLICY)
        if self.finish_reason is None:
            if is_done and (self._texts or self._tool_calls):
                return None
            unread = self._has_choices is False
            return ModelFailed(FailureCode.UNREADABLE_ANSWER if unread else FailureCode.STREAM_CUT)
        code = finish_reasons.failure_of(self.finish_reason)
        if code is None:
            return None
        if code is FailureCode.CONTENT_POLICY:
            return ModelRefused(code)
        return classify_in_stream(self._error, begun=True) if self._error else ModelFailed(code)


def _is_billed(choice: Mapping[str, Any]) -> bool:
    """Tell whether the model has begun in this choice, if only to reason."""
    message = choice.get("delta") or choice.get("message") or _NOTHING
    return any(value for name, value in message.items() if name != "role") or bool(choice.get("text"))
