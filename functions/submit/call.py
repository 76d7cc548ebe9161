"""Turn the JSON of a call into what shall be asked of the model, or say which item breaks which rule.

`model` and `system` of a prompt replace those of the call; `params` are merged key by key. `system` becomes the first
message, but `messages` that have a system or developer message of their own keep that one instead.
"""

from collections.abc import Sequence
from typing import Any

from common.domain.errors import InvalidRequest, RequestTooLarge
from common.domain.request import Kind, Request
from common.submission.conversion import converted, shaped
from common.submission.limits import Limits
from common.submission.params import check_params
from common.submission.service import Prompt, SubmitCall
from functions.submit.items import check_count, prompts_of
from functions.submit.messages import messages_of
from functions.submit.schema import OBJECTS, CallBody, PromptBody, Terms
from functions.submit.template import CUSTOM_ID, Template, read_template
from functions.submit.webhook import read_webhook


def read_call(document: object, limits: Limits) -> SubmitCall:
    """Check a call as a whole and then each of its prompts.

    Raises:
        CallerError: the first fault of the call, or the first fault of each prompt, up to MAX_ERRORS of them.

    """
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object with `prompts`", code="invalid_value")
    body = shaped(document, CallBody, "", OBJECTS)
    name, items = _items(body)
    check_count(name, items, limits)
    _check_common(body, "", limits)
    return call_of(body, _prompts(body, name, items, limits), limits)


def call_of(body: Terms, prompts: tuple[Prompt, ...], limits: Limits) -> SubmitCall:
    """Check what holds for all prompts of a call."""
    retention = body.retention_seconds or limits.retention_seconds
    deadline = body.deadline_seconds or min(limits.deadline_seconds, retention)
    if deadline > retention:
        raise InvalidRequest(
            f"must be at most the retention, which is {retention}", pointer="/deadline_seconds", code="invalid_value"
        )
    webhook = read_webhook(body.webhook, allow_loopback=limits.allow_loopback)
    return SubmitCall(prompts, deadline, retention, body.metadata, webhook)


def _items(call: CallBody) -> tuple[str, list[Any]]:
    """Return what becomes one task each, and the name of the field it is in."""
    if call.prompts is not None and call.template is None and call.inputs is None:
        return "prompts", call.prompts
    if call.prompts is None and call.template is not None and call.inputs is not None:
        return "inputs", call.inputs
    raise InvalidRequest("must have either `prompts`, or `template` with `inputs`", pointer="", code="invalid_value")


def _prompts(call: CallBody, name: str, items: Sequence[Any], limits: Limits) -> tuple[Prompt, ...]:
    template = None if call.template is None else _template(call.template, limits)

    def prompt(item: Any, place: str) -> Prompt:  # noqa: ANN401  # any JSON
        body = _prompt_body(item, place) if template is None else _filled(template, item, place, limits)
        return _prompt(body, call, place, limits)

    return prompts_of(name, items, prompt, limits)


def _prompt_body(item: object, place: str) -> PromptBody:
    if isinstance(item, str):
        return PromptBody(prompt=item)
    if isinstance(item, dict):
        return shaped(item, PromptBody, place)
    raise InvalidRequest("must be a string or an object", pointer=place, code="invalid_value")


def _template(text: str, limits: Limits) -> Template:
    if len(text) > limits.most_prompt_bytes:
        raise RequestTooLarge(
            f"has {len(text)} characters; a prompt may take {limits.most_prompt_bytes} bytes",
            pointer="/template",
            code="prompt_too_large",
        )
    return read_template(text)


def _filled(template: Template, values: dict[str, Any], place: str, limits: Limits) -> PromptBody:
    text = template.fill(values, place, most=limits.most_prompt_bytes)
    if not text.strip():
        raise InvalidRequest("must not make a blank prompt", pointer=place, code="blank_text")
    return converted({"prompt": text, CUSTOM_ID: values.get(CUSTOM_ID)}, PromptBody, place)


def _prompt(body: PromptBody, call: CallBody, place: str, limits: Limits) -> Prompt:
    _check_common(body, place, limits)
    return Prompt(
        model=body.model or call.model or limits.models[0],
        request=Request(
            Kind.CHAT,
            {
                "messages": messages_of(body, call.system, place),
                **(call.params or {}),
                **(body.params or {}),
            },
        ),
        custom_id=body.custom_id,
        expected_tokens=body.expected_tokens,
    )


def _check_common(body: CallBody | PromptBody, place: str, limits: Limits) -> None:
    if body.model is not None and body.model not in limits.models:
        raise InvalidRequest(
            f"must be one of {', '.join(limits.models)}", pointer=f"{place}/model", code="model_not_allowed"
        )
    if body.system is not None and not body.system.strip():
        raise InvalidRequest("must not be blank", pointer=f"{place}/system", code="blank_text")
    if body.params is not None:
        check_params(body.params, place)
