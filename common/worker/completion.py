"""Assemble the events of a chat completion, streamed or whole, into an Answer. No network here."""

from collections.abc import Mapping
from typing import Any, Final

from common.api.pagination import MOST_ANSWER_BYTES
from common.domain.errors import ModelError, ModelFailed, ModelRefused
from common.domain.task import TRUNCATED, Answer, FailureCode, Usage
from common.worker import finish_reasons
from common.worker.choice import ChoiceAccumulator
from common.worker.provider_errors import classify_in_stream
from common.worker.text import paired
from common.worker.usage import UsageAccumulator

_NOTHING: Final[Mapping[str, Any]] = {}

_CALLS_TOOLS: Final = frozenset({"tool_calls", "tool_use", "function_call"})
"""Finish reasons of an answer that calls tools."""

_NOT_KEPT: Final = frozenset({"choices", "usage", "error", "object", "obfuscation"})
"""Fields of an event that are assembled by their own rules, or say nothing of the answer."""


class CompletionAccumulator:
    """Collect what the events of one answer add up to; joined once, at the end.

    The first choice that comes is the answer's text, finish reason and tool calls. The others are kept in the response.
    """

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        """Why the answer ended, as the provider says it. What may follow is its usage."""
        self.is_too_large = False
        """Whether it has more characters than an answer that is kept may have: they are dropped, its usage is read."""
        self._choices: dict[int, ChoiceAccumulator] = {}
        self._first: ChoiceAccumulator | None = None
        self._fields: dict[str, Any] = {}
        self._usage = UsageAccumulator()
        self._raw_usage: object = None
        self._error: object = None
        self._has_choices: bool | None = None
        self._has_begun = False

    @property
    def is_done(self) -> bool:
        """Return False: usage may follow the finish reason, so the end is `[DONE]`."""
        return False

    @property
    def usage(self) -> Usage | None:
        """Return what the provider has said so far of the tokens that it billed."""
        return self._usage.usage

    @property
    def has_message(self) -> bool:
        """Return whether an event had a whole `message` in place of a `delta`."""
        return self._first is not None and self._first.has_message

    def add(self, event: Mapping[str, Any]) -> str | None:
        """Take one event and return the text that it adds: "" where it adds to a tool call, None where to nothing.

        Raises:
            ModelError: the event reports an error, or is not what the protocol says.

        """
        usage = event.get("usage")
        if usage:
            self._take_usage(usage)
        if error := event.get("error") or (event if event.get("object") == "error" else None):
            raise classify_in_stream(error, begun=self._has_begun)
        if usage:
            self._has_begun = True
        for name, value in event.items():
            if name not in _NOT_KEPT and (value is not None or name not in self._fields):
                self._fields[name] = value
        choices = event.get("choices")
        if not choices:
            # Pings, content filters of the prompt, usage.
            self._has_choices = self._has_choices or choices is not None
            return None
        try:
            self._has_choices = True
            if not self._has_begun:
                self._has_begun = any(map(_is_billed, choices))
            grown = [self._take(choice) for choice in choices]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
        if len(grown) == 1:
            return grown[0]
        texts = [text for text in grown if text is not None]
        return "".join(texts) if texts else None

    def _take_usage(self, usage: object) -> None:
        self._usage.add(usage)
        self._raw_usage = usage

    def _take(self, event: Mapping[str, Any]) -> str | None:
        """Take one choice of an event, and return what it adds to the answer's own text."""
        index = event.get("index") or 0
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceAccumulator(index)
            self._first = self._first or choice
        # The text of what is dropped still counts as tokens.
        text = (ChoiceAccumulator(index) if self.is_too_large else choice).add(event)
        if reason := event.get("finish_reason"):
            self._end(choice, event, str(reason))
        if usage := event.get("usage"):
            self._take_usage(usage)
        if choice.characters > MOST_ANSWER_BYTES or (
            len(self._choices) > 1 and sum(each.characters for each in self._choices.values()) > MOST_ANSWER_BYTES
        ):
            self._drop()
        return text if self._first and index == self._first.index else None

    def _drop(self) -> None:
        """Drop what is too large to be kept: a model that never stops must not fill the memory of its neighbours."""
        self.is_too_large = True
        self._choices = {index: ChoiceAccumulator(index) for index in self._choices}
        self._first = next(iter(self._choices.values()))

    def _end(self, choice: ChoiceAccumulator, event: Mapping[str, Any], reason: str) -> None:
        # A fault of the provider after the answer has ended takes nothing away from it. A filter takes it back.
        if choice.finish_reason is not None and finish_reasons.failure_of(reason) not in {
            None,
            FailureCode.CONTENT_POLICY,
        }:
            return
        choice.finish_reason = reason
        if self._first and choice.index == self._first.index:
            self.finish_reason, self._error = reason, event.get("error")

    def finish(self, *, is_done: bool) -> Answer:
        """Join the answer; `is_done` where the provider has said by other means that this is all.

        Raises:
            ModelRefused: content_policy, where the provider's filter withheld the answer; answer_too_large.
            ModelFailed: stream_cut, where it did not end; unreadable_answer, where it is none or calls a tool without
                a name, or none though it ended to call one; no_content, where it is nothing but reasoning; or what
                its finish reason says.

        """
        if self.is_too_large:
            raise ModelRefused(FailureCode.ANSWER_TOO_LARGE)
        first = self._first or ChoiceAccumulator(0)
        failure = self._failure(first, is_done=is_done)
        if failure is not None:
            raise failure
        try:
            tool_calls = first.tool_calls.finish()
        except ValueError:
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
        reason = None if self.finish_reason is None else finish_reasons.shown(self.finish_reason)
        if not (first.texts or tool_calls or first.refusal) and reason != TRUNCATED:
            if first.has_other_content:
                raise ModelFailed(FailureCode.NO_CONTENT)
            if reason in _CALLS_TOOLS:
                raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
        return Answer(
            paired("".join(first.texts)),
            reason,
            self.usage,
            tool_calls,
            refusal=first.refusal,
            response=self._response(reason),
        )

    def _response(self, reason: str | None) -> dict[str, Any]:
        choices = [
            each.finish(reason, with_text=False)
            if each is self._first
            else each.finish(each.finish_reason, with_text=True)
            for each in self._choices.values()
        ]
        usage = {} if self._raw_usage is None else {"usage": self._raw_usage}
        return {"object": "chat.completion", **self._fields, "choices": choices, **usage}

    def _failure(self, first: ChoiceAccumulator, *, is_done: bool) -> ModelError | None:
        if self.finish_reason is None:
            if is_done and (first.texts or first.tool_calls or first.refusal):
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
    """Return whether the model has begun in this choice, if only to reason."""
    message = choice.get("delta") or choice.get("message") or _NOTHING
    return any(value for name, value in message.items() if name != "role") or bool(choice.get("text"))
