"""Parse the JSON of a call into the prompts to accept, or name each item that breaks a rule.

A call is parsed in one walk: the call as a whole, then each item, then the terms that apply to all items. `model` and
`system` of a prompt replace those of the call; `params` are merged key by key. `system` becomes the first message;
`messages` that include a system or developer message keep that one instead.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from common.api.conversion import converted, shaped
from common.api.json_body import MAX_ERRORS, refuse_all
from common.api.pagination import size_of
from common.domain.errors import CallerError, InvalidRequest, RequestTooLarge
from common.domain.request import Kind, Request
from common.kinds.chat.validation import check_messages, check_params
from common.submission.limits import Limits
from common.submission.model import Prompt, SubmitCall
from common.webhooks.model import BATCH_EVENTS, Webhook, WebhookEvent
from functions.submit.requests import kind_of_call, parse_request
from functions.submit.schema import OBJECTS, CallBody, NamedInput, PromptBody, Terms, WebhookBody, WorkflowBody
from functions.submit.template import CUSTOM_ID, Template, read_template
from functions.submit.workflows import WorkflowDescription

MOST_CALL_BYTES: Final = 20_000_000
"""Bytes of all prompts of a call in the queue. A full request of 6 MB, all emoji, takes 18 MB; a template or a system
prompt, which each task repeats, must not make far more of it than our memory and time have room for."""

MOST_NAME_BYTES: Final = 3_600_000
"""Bytes of all custom_ids of a call as encoded in its response, which Lambda must be able to return. A thousand of the
longest fit, all emoji."""


def parse_call(document: object, limits: Limits) -> SubmitCall:
    """Parse the body of POST /tasks.

    Raises:
        CallerError: the first fault of the call, or the first fault of each prompt, up to MAX_ERRORS of them.

    """
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object with `prompts`", code="invalid_value")
    call = shaped(document, CallBody, "", OBJECTS)
    name, items = _items(call)
    _check_count(name, items, limits)
    if call.requests is not None:
        return _with_terms(call, _requests(call, items, limits), limits)
    _check_options(call, "", limits)
    template = None if call.template is None else _template(call.template, limits)

    def parse_item(item: Any, place: str) -> Prompt:  # noqa: ANN401  # any JSON
        body = _prompt_body(item, place) if template is None else _filled(template, item, place, limits)
        return _chat_prompt(body, call, place, limits)

    return _with_terms(call, _each(name, items, parse_item, limits), limits)


def parse_workflow_call(document: object, workflow: WorkflowDescription, limits: Limits) -> SubmitCall:
    """Parse the body of POST /workflows/{name}.

    Raises:
        CallerError: the first fault of the call, or the first fault of each input, up to MAX_ERRORS of them.

    """
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object with `inputs`", code="invalid_value")
    call = shaped(document, WorkflowBody, "", OBJECTS)
    _check_count("inputs", call.inputs, limits)

    def parse_item(item: dict[str, Any], place: str) -> Prompt:
        return _workflow_prompt(item, workflow, place)

    return _with_terms(call, _each("inputs", call.inputs, parse_item, limits), limits)


def _items(call: CallBody) -> tuple[str, list[Any]]:
    """Return the name of the field whose items become one task each, and these items."""
    fields = ("prompts", "template", "inputs", "endpoint", "requests")
    match [name for name in fields if getattr(call, name) is not None]:
        case ["prompts"]:
            return "prompts", call.prompts or []
        case ["template", "inputs"]:
            return "inputs", call.inputs or []
        case ["endpoint", "requests"]:
            return "requests", call.requests or []
    raise InvalidRequest(
        "must have either `prompts`, or `template` with `inputs`, or `endpoint` with `requests`",
        pointer="",
        code="invalid_value",
    )


def _requests(call: CallBody, items: Sequence[Any], limits: Limits) -> list[Prompt]:
    kind = kind_of_call(call)

    def parse_item(item: Any, place: str) -> Prompt:  # noqa: ANN401  # any JSON
        return parse_request(item, kind, call, place, limits)

    return _each("requests", items, parse_item, limits)


def _check_count(name: str, items: Sequence[object], limits: Limits) -> None:
    if not items:
        raise InvalidRequest("must not be empty", pointer=f"/{name}", code="no_prompts")
    if len(items) > limits.most_prompts:
        raise RequestTooLarge(
            f"has {len(items)} items; a call takes at most {limits.most_prompts}",
            pointer=f"/{name}",
            code="too_many_prompts",
        )


def _check_options(body: CallBody | PromptBody, place: str, limits: Limits) -> None:
    """Check the options that both a call and each of its prompts may have."""
    if body.model is not None:
        limits.check_model(body.model, Kind.CHAT, f"{place}/model")
    if body.system is not None and not body.system.strip():
        raise InvalidRequest("must not be blank", pointer=f"{place}/system", code="blank_text")
    if body.params is not None:
        check_params(body.params, f"{place}/params")


def _template(text: str, limits: Limits) -> Template:
    if len(text) > limits.most_prompt_bytes:
        raise RequestTooLarge(
            f"has {len(text)} characters; a prompt may take {limits.most_prompt_bytes} bytes",
            pointer="/template",
            code="prompt_too_large",
        )
    return read_template(text)


def _each(name: str, items: Sequence[Any], parse_item: Callable[[Any, str], Prompt], limits: Limits) -> list[Prompt]:
    """Parse each item of the field `name`, with its JSON pointer, and check what the items take up together."""
    prompts: list[Prompt] = []
    faults: list[CallerError] = []
    places: dict[str, str] = {}
    room, name_room = MOST_CALL_BYTES, MOST_NAME_BYTES
    for index, item in enumerate(items):
        place = f"/{name}/{index}"
        try:
            prompt = parse_item(item, place)
            room -= limits.check_size(prompt.request, place)
            name_room -= 0 if prompt.custom_id is None else size_of({"": prompt.custom_id})
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
            taken = f"the prompts before it fill the {MOST_CALL_BYTES} bytes that a call may take in the queue"
            faults.append(RequestTooLarge(f"does not fit: {taken}", pointer=place))
            break
        if name_room < 0:
            taken = f"the custom_ids before it fill the {MOST_NAME_BYTES} bytes that a response has for them"
            faults.append(RequestTooLarge(f"does not fit: {taken}", pointer=f"{place}/custom_id"))
            break
    if faults:
        refuse_all(faults)
    return prompts


def _prompt_body(item: object, place: str) -> PromptBody:
    if isinstance(item, str):
        return PromptBody(prompt=item)
    if isinstance(item, dict):
        return shaped(item, PromptBody, place)
    raise InvalidRequest("must be a string or an object", pointer=place, code="invalid_value")


def _filled(template: Template, values: dict[str, Any], place: str, limits: Limits) -> PromptBody:
    text = template.fill(values, place, most=limits.most_prompt_bytes)
    if not text.strip():
        raise InvalidRequest("must not make a blank prompt", pointer=place, code="blank_text")
    return converted({"prompt": text, CUSTOM_ID: values.get(CUSTOM_ID)}, PromptBody, place)


def _chat_prompt(body: PromptBody, call: CallBody, place: str, limits: Limits) -> Prompt:
    _check_options(body, place, limits)
    return Prompt(
        model=body.model or call.model or limits.default_model(Kind.CHAT, f"{place}/model"),
        request=Request(
            Kind.CHAT,
            {"messages": _messages(body, call.system, place), **(call.params or {}), **(body.params or {})},
        ),
        custom_id=body.custom_id,
        expected_tokens=body.expected_tokens,
    )


def _messages(body: PromptBody, system_of_call: str | None, place: str) -> list[dict[str, Any]]:
    """Return the messages to send, the instructions first."""
    if (body.prompt is None) == (body.messages is None):
        raise InvalidRequest("must have either `prompt` or `messages`", pointer=place, code="invalid_value")
    has_instructions = False
    if body.messages is not None:
        messages = body.messages
        has_instructions = check_messages(messages, f"{place}/messages")
    elif (body.prompt or "").strip():
        messages = [{"role": "user", "content": body.prompt}]
    else:
        raise InvalidRequest("must not be blank", pointer=f"{place}/prompt", code="blank_text")
    if has_instructions:
        if body.system is not None:
            raise InvalidRequest(
                "must be omitted: `messages` have a system or developer message",
                pointer=f"{place}/system",
                code="invalid_value",
            )
        return messages
    system = body.system or system_of_call
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def _workflow_prompt(item: dict[str, Any], workflow: WorkflowDescription, place: str) -> Prompt:
    custom_id = None
    if not workflow.has_input(CUSTOM_ID):
        custom_id = converted({CUSTOM_ID: item.get(CUSTOM_ID)}, NamedInput, place).custom_id
        item = {name: value for name, value in item.items() if name != CUSTOM_ID}
    workflow.check(item, place)
    return Prompt(workflow.name, request=Request(Kind.WORKFLOW, item), custom_id=custom_id)


def _with_terms(call: Terms, prompts: Sequence[Prompt], limits: Limits) -> SubmitCall:
    """Add the terms of a call, which apply to all its prompts."""
    retention = call.retention_seconds or limits.retention_seconds
    deadline = call.deadline_seconds or min(limits.deadline_seconds, retention)
    if deadline > retention:
        raise InvalidRequest(
            f"must be at most the retention, which is {retention}", pointer="/deadline_seconds", code="invalid_value"
        )
    webhook = None if call.webhook is None else _webhook(call.webhook, limits)
    return SubmitCall(tuple(prompts), deadline, retention, call.metadata, webhook)


def _webhook(body: WebhookBody, limits: Limits) -> Webhook:
    """Return the webhook of a call. The address that its host name resolves to is checked before each delivery."""
    limits.check_webhook_url(body.url, "/webhook/url")
    for index, event in enumerate(body.events or []):
        if event not in BATCH_EVENTS:
            raise InvalidRequest(
                f"must be one of {', '.join(BATCH_EVENTS)}", pointer=f"/webhook/events/{index}", code="unknown_event"
            )
    return Webhook(body.url, tuple(map(WebhookEvent, body.events or BATCH_EVENTS)))
