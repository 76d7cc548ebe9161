"""Call POST /responses, streamed.

The stream repeats itself: the deltas of a text are followed by the whole text, and the last event has the whole
response. The response is what is kept. The deltas show progress.
"""

import json
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any, Final

from common.api.pagination import MOST_ANSWER_BYTES
from common.domain.errors import ModelFailed, ModelRefused
from common.domain.task import TRUNCATED, Answer, FailureCode, Usage
from common.kinds.responses.views import refusal_of, text_of, tool_calls_of, without_text
from common.worker import finish_reasons
from common.worker.completion_stream import read_completion
from common.worker.provider_errors import classify_in_stream
from common.worker.text import paired
from common.worker.usage import UsageAccumulator

PATH: Final = "responses"
"""The path of the endpoint, behind the base URL."""

_SET_HERE: Final = {"stream": True, "store": False}
"""`store`: callers know the IDs of Sluice alone, so a copy at the provider would be of no use."""

_ENDS: Final = frozenset({"completed", "failed", "incomplete", "cancelled"})
"""The statuses of a response that has ended."""

_DELTA: Final = ".delta"
_TEXT_DELTA: Final = "response.output_text.delta"


def encode(model: str, body: Mapping[str, Any], /) -> bytes:
    """Write the body of the HTTP request; the model and what Sluice sets replace the caller's.

    Raises:
        ModelRefused: bad_request, for text that no HTTP body can carry.

    """
    try:
        return json.dumps({**body, "model": model, **_SET_HERE}, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ModelRefused(FailureCode.BAD_REQUEST) from None


async def read(
    body: Mapping[str, Any],  # noqa: ARG001  # the signature of every kind
    chunks: AsyncIterable[bytes],
    on_text: Callable[[str], None],
    /,
    *,
    ends_at: float,
) -> Answer:
    """Read the body of the HTTP response, as `read_completion` does."""
    return await read_completion(chunks, on_text, ResponseAccumulator(), ends_at=ends_at)


class ResponseAccumulator:
    """Collect the events of one response, or its whole body."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        """Why the response ended; None until it has."""
        self.is_too_large = False
        """Whether its text has more characters than an answer that is kept may have."""
        self.has_message = False
        """Whether an event was the whole response."""
        self._response: Mapping[str, Any] = {}
        self._items: list[Any] = []
        self._characters = 0
        self._usage = UsageAccumulator()
        self._has_begun = False

    @property
    def is_done(self) -> bool:
        """Return whether nothing follows: the event that ends a response is the last one."""
        return self.finish_reason is not None

    @property
    def usage(self) -> Usage | None:
        """Return what the provider has said so far of the tokens that it billed."""
        return self._usage.usage

    def add(self, event: Mapping[str, Any]) -> str | None:
        """Take one event and return the text that it adds: "" where it adds to anything else, None where to nothing.

        Raises:
            ModelError: the event reports an error, or is not what the protocol says.

        """
        try:
            return self._add(event)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None

    def _add(self, event: Mapping[str, Any]) -> str | None:
        name = str(event.get("type") or "")
        if name.endswith(_DELTA):
            self._has_begun = True
            return self._take_text(event["delta"]) if name == _TEXT_DELTA else ""
        if name == "response.output_item.done":
            self._items.append(event["item"])
            return None
        response = event.get("response") if name else event
        if isinstance(response, Mapping) and ("output" in response or response.get("object") == "response"):
            return self._take_response(response, name)
        if error := event.get("error") or (event if name == "error" else None):
            raise classify_in_stream(error, begun=self._has_begun)
        if not name:
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
        return None

    def _take_text(self, text: str) -> str:
        self._characters += len(text)
        if self._characters > MOST_ANSWER_BYTES:
            self.is_too_large = True
            self._items.clear()
        return text

    def _take_response(self, response: Mapping[str, Any], event: str) -> str | None:
        """Take a response as an event shows it, or as the body, and return the text that no delta has brought."""
        self._usage.add(response.get("usage"))
        status = response.get("status") or event.rpartition(".")[2]
        if status not in _ENDS:
            if not event:  # the body is all that comes, and says that the model is still at work
                raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
            return None
        if status == "failed":
            begun = self._has_begun or self.usage is not None
            raise classify_in_stream(response.get("error") or {}, begun=begun)
        if status == "cancelled":
            raise ModelFailed(FailureCode.STREAM_CUT)
        # Some servers leave the items out of the last event, and send each of them before.
        self._response = response if response.get("output") else {**response, "output": self._items}
        text = text_of(self._response)
        has_streamed = self._characters > 0
        self._characters = max(self._characters, len(text))
        self.is_too_large = self.is_too_large or len(text) > MOST_ANSWER_BYTES
        self.has_message = not event
        reason = (response.get("incomplete_details") or {}).get("reason")
        self.finish_reason = str(reason or "incomplete") if status == "incomplete" else "completed"
        return None if has_streamed else text

    def finish(self, *, is_done: bool) -> Answer:  # noqa: ARG002  # the last event alone says so
        """Return the answer.

        Raises:
            ModelRefused: content_policy, where the provider's filter withheld the answer; answer_too_large.
            ModelFailed: stream_cut, where it did not end; no_content, where it is nothing but reasoning; or what its
                reason says.

        """
        if self.is_too_large:
            raise ModelRefused(FailureCode.ANSWER_TOO_LARGE)
        if self.finish_reason is None:
            raise ModelFailed(FailureCode.STREAM_CUT)
        code = finish_reasons.failure_of(self.finish_reason)
        if code is not None:
            raise ModelRefused(code) if code is FailureCode.CONTENT_POLICY else ModelFailed(code)
        try:
            text, calls = text_of(self._response), tool_calls_of(self._response)
            refusal = refusal_of(self._response)
            response = without_text(self._response)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
        reason = self._reason(has_calls=bool(calls))
        if not (text or calls or refusal) and reason != TRUNCATED and self._response["output"]:
            raise ModelFailed(FailureCode.NO_CONTENT)
        return Answer(paired(text), reason, self.usage, calls, refusal=refusal, response=response)

    def _reason(self, *, has_calls: bool) -> str:
        """Return the finish reason as chat completions name it."""
        if self.finish_reason == "completed":
            return "tool_calls" if has_calls else "stop"
        return finish_reasons.shown(str(self.finish_reason))
