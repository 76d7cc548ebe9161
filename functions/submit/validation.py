"""Turn the JSON of a call into what shall be asked of the model, or say which item breaks which rule.

`model` and `system` of a prompt replace those of the call; `params` are merged key by key. `system` becomes the first
message, but `messages` that have a system or developer message of their own keep that one instead.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from common.errors import CallerError, InvalidRequest, RequestTooLarge
from functions.submit.body import MAX_ERRORS, pointer_to, refuse_all
from functions.submit.schema import RESERVED_PARAMS, CallBody, KnownParams, PromptBody, Terms, WorkflowBody
from functions.submit.service import Call, Prompt, Repeatable
from functions.submit.target import read_webhook
from functions.submit.template import CUSTOM_ID, Template, read_template

MOST_CALL_BYTES: Final = 20_000_000
"""Bytes of all prompts of a call in the queue. A full request of 6 MB, all emoji, takes 18 MB; a template or a system
prompt, which each task repeats, must not make far more of it than our memory and time have room for."""

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_INSTRUCTIONS: Final = ("system", "developer")
_KEY: Final = re.compile(r"[ -~]{1,255}")
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bound what one call may ask for. The first model is the default; a prompt is measured as it is queued.

    Deadline and retention are those of a call that says nothing of them. With `allow_loopback` a webhook may be on this
    machine.
    """

    models: tuple[str, ...]
    most_prompts: int
    most_prompt_bytes: int
    deadline_seconds: int
    retention_seconds: int
    allow_loopback: bool = False

    def narrowed(self, models: Sequence[str] | None) -> "Limits":
        """Leave only those models that a caller may ask, in the caller's order; None leaves all.

        Raises:
            InvalidRequest: none is left.

        """
        if models is None:
            return self
        left = tuple(model for model in models if model in self.models)
        if not left:
            raise InvalidRequest("your key may ask no model that this service has", code="model_not_allowed")
        return replace(self, models=left)


def read_call(document: object, limits: Limits) -> Call:
    """Check a call as a whole and then each of its prompts.

    Raises:
        CallerError: the first fault of the call, or the first fault of each prompt, up to MAX_ERRORS of them.

    """
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object with `prompts`", code="invalid_value")
    body = shaped(document, CallBody, "")
    name, items = _items(body)
    check_count(name, items, limits)
    _check_common(body, "", limits)
    return call_of(body, _prompts(body, name, items, limits), limits)


def check_count(name: str, items: Sequence[object], limits: Limits) -> None:
    """Refuse a call of no items, or of too many."""
    if not items:
        raise InvalidRequest("must not be empty", pointer=f"/{name}", code="no_prompts")
    if len(items) > limits.most_prompts:
        raise RequestTooLarge(
            f"has {len(items)} items; a call takes at most {limits.most_prompts}",
            pointer=f"/{name}",
            code="too_many_prompts",
        )


def call_of(body: Terms, prompts: tuple[Prompt, ...], limits: Limits) -> Call:
    """Check what holds for all prompts of a call."""
    retention = body.retention_seconds or limits.retention_seconds
    deadline = body.deadline_seconds or min(limits.deadline_seconds, retention)
    if deadline > retention:
        raise InvalidRequest(
            f"must be at most the retention, which is {retention}", pointer="/deadline_seconds", code="invalid_value"
        )
    webhook = read_webhook(body.webhook, allow_loopback=limits.allow_loopback)
    return Call(prompts, deadline, retention, body.metadata, webhook)


def read_repeatable(key: str | None, document: object) -> Repeatable | None:
    """Return what makes the request safe to repeat; None without an Idempotency-Key.

    Two bodies are the same request if they are the same JSON, however it is spaced and its fields are ordered.
    """
    if (key := read_key(key)) is None:
        return None
    return Repeatable(key, hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest())


def read_key(key: str | None) -> str | None:
    """Return an Idempotency-Key that is one; None stays None."""
    if key is not None and _KEY.fullmatch(key) is None:
        raise InvalidRequest(
            "Idempotency-Key must be 1 to 255 printable ASCII characters", code="invalid_idempotency_key"
        )
    return key


def _items(call: CallBody) -> tuple[str, list[Any]]:
    """Return what becomes one task each, and the name of the field it is in."""
    if call.prompts is not None and call.template is None and call.inputs is None:
        return "prompts", call.prompts
    if call.prompts is None and call.template is not None and call.inputs is not None:
        return "inputs", call.inputs
    raise InvalidRequest("must have either `prompts`, or `template` with `inputs`", pointer="", code="invalid_value")


def _prompts(call: CallBody, name: str, items: Sequence[Any], limits: Limits) -> tuple[Prompt, ...]:
    template = None if call.template is None else read_template(call.template)

    def prompt(item: Any, place: str) -> Prompt:  # noqa: ANN401  # any JSON
        body = _prompt_body(item, place) if template is None else _filled(template, item, place)
        return _prompt(body, call, place, limits)

    return prompts_of(name, items, prompt, limits)


def prompts_of(
    name: str, items: Sequence[Any], make: Callable[[Any, str], Prompt], limits: Limits
) -> tuple[Prompt, ...]:
    """Make a prompt of each item of the field `name`; `make` is handed the item and its JSON pointer.

    Raises:
        CallerError: the first fault of each item, up to MAX_ERRORS of them.

    """
    prompts: list[Prompt] = []
    faults: list[CallerError] = []
    places: dict[str, str] = {}
    room = MOST_CALL_BYTES
    for index, item in enumerate(items):
        place = f"/{name}/{index}"
        try:
            prompt = make(item, place)
            room -= _measured(prompt, place, limits)
            if prompt.custom_id is not None and places.setdefault(prompt.custom_id, place) != place:
                raise InvalidRequest(
                    f"is already the custom_id of {places[prompt.custom_id]}",
                    pointer=f"{place}/custom_id",
                    code="duplicate_custom_id",
                )
        except CallerError as fault:
            faults.append(fault)
            if len(faults) == MAX_ERRORS:
                break
        else:
            prompts.append(prompt)
        if room < 0:
            taken = f"the prompts before it take up the {MOST_CALL_BYTES} bytes that a call has in the queue"
            faults.append(RequestTooLarge(f"is too much: {taken}", pointer=place))
            break
    refuse_all(faults)
    return tuple(prompts)


def _prompt_body(item: object, place: str) -> PromptBody:
    if isinstance(item, str):
        return PromptBody(prompt=item)
    if isinstance(item, dict):
        return shaped(item, PromptBody, place)
    raise InvalidRequest("must be a string or an object", pointer=place, code="invalid_value")


def _filled(template: Template, values: dict[str, Any], place: str) -> PromptBody:
    text = template.fill(values, place)
    if not text.strip():
        raise InvalidRequest("must not make a blank prompt", pointer=place, code="blank_text")
    return converted({"prompt": text, CUSTOM_ID: values.get(CUSTOM_ID)}, PromptBody, place)


def _prompt(body: PromptBody, call: CallBody, place: str, limits: Limits) -> Prompt:
    _check_common(body, place, limits)
    return Prompt(
        model=body.model or call.model or limits.models[0],
        messages=_messages(body, call.system, place),
        params={**(call.params or {}), **(body.params or {})},
        custom_id=body.custom_id,
        expected_tokens=body.expected_tokens,
    )


def _measured(prompt: Prompt, place: str, limits: Limits) -> int:
    """Return the bytes that a prompt takes in the queue, if it may."""
    size = len(json.dumps(prompt.input or [prompt.messages, prompt.params], separators=(",", ":")))
    if size > limits.most_prompt_bytes:
        raise RequestTooLarge(
            f"takes {size} bytes in the queue, with its params; a prompt may take {limits.most_prompt_bytes}",
            pointer=place,
            code="prompt_too_large",
        )
    return size


def _check_common(body: CallBody | PromptBody, place: str, limits: Limits) -> None:
    if body.model is not None and body.model not in limits.models:
        raise InvalidRequest(
            f"must be one of {', '.join(limits.models)}", pointer=f"{place}/model", code="model_not_allowed"
        )
    if body.system is not None and not body.system.strip():
        raise InvalidRequest("must not be blank", pointer=f"{place}/system", code="blank_text")
    if body.params is not None:
        for name, reason in RESERVED_PARAMS.items():
            if name in body.params:
                raise InvalidRequest(reason, pointer=f"{place}/params/{name}", code="reserved_param")
        converted(body.params, KnownParams, f"{place}/params")


def _messages(body: PromptBody, system_of_call: str | None, place: str) -> list[dict[str, Any]]:
    if (body.prompt is None) == (body.messages is None):
        raise InvalidRequest("must have either `prompt` or `messages`", pointer=place, code="invalid_value")
    if body.messages is None:
        if not (body.prompt or "").strip():
            raise InvalidRequest("must not be blank", pointer=f"{place}/prompt", code="blank_text")
        messages: list[dict[str, Any]] = [{"role": "user", "content": body.prompt}]
    else:
        messages = body.messages
        for index, message in enumerate(messages):
            _check_message(message, f"{place}/messages/{index}")
    has_instructions = any(message["role"] in _INSTRUCTIONS for message in messages)
    if body.system is not None and has_instructions:
        raise InvalidRequest(
            "must not stand beside `messages` that have a system or developer message",
            pointer=f"{place}/system",
            code="invalid_value",
        )
    system = None if has_instructions else body.system or system_of_call
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def _check_message(message: dict[str, Any], place: str) -> None:
    if message.get("role") not in ROLES:
        raise InvalidRequest(f"must be one of {', '.join(ROLES)}", pointer=f"{place}/role", code="invalid_value")
    content = message.get("content")
    if message["role"] == "tool" and not _is_name(message.get("tool_call_id")):
        raise InvalidRequest(
            "must say which of the assistant's tool_calls it answers",
            pointer=f"{place}/tool_call_id",
            code="invalid_value",
        )
    if content is None and message["role"] == "assistant":
        return  # an answer that only called tools
    if content == "" and (message["role"] == "tool" or message.get("tool_calls")):
        return  # a tool may have nothing to say, and so may an answer that only called tools
    is_text = isinstance(content, str) and bool(content.strip())
    is_parts = isinstance(content, list) and bool(content) and all(isinstance(part, dict) for part in content)
    if not is_text and not is_parts:
        raise InvalidRequest(
            "must be text that is not blank, or a list of content parts",
            pointer=f"{place}/content",
            code="blank_text" if content == "" else "invalid_value",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def shaped[Body: (CallBody, PromptBody, WorkflowBody)](value: dict[str, Any], kind: type[Body], place: str) -> Body:
    """Convert an object, and refuse fields that it does not have."""
    for name in value:
        if name not in kind.__struct_fields__:
            raise InvalidRequest(
                f"is not a field here; there are {', '.join(kind.__struct_fields__)}",
                pointer=pointer_to(place, name),
                code="unknown_field",
            )
    return converted(value, kind, place)


def converted[Body](value: dict[str, Any], kind: type[Body], place: str) -> Body:
    """Convert an object; `place` is its JSON pointer. Raise InvalidRequest with the rule and the place."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # "Expected `int` >= 1 - at `$.params.seed`": the rule and the place, and nothing of the value.
        rule, _, path = str(error).partition(" - at `$")
        steps = "".join(f"/{name or index}" for name, index in _STEP.findall(path))
        raise InvalidRequest(rule, pointer=place + steps, code="invalid_value") from None
