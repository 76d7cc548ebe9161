"""Parse the requests of an endpoint: the inline form of an OpenAI batch."""

from typing import Any

from common.api.conversion import shaped
from common.domain.errors import InvalidRequest
from common.domain.request import Kind, Request
from common.kinds.registry import kinds_by_endpoint, registration_of
from common.submission.limits import Limits
from common.submission.model import Prompt
from functions.submit.schema import CallBody, RequestBody

_OF_PROMPTS = ("system", "params")
"""The fields of a call that apply to prompts alone."""


def kind_of_call(call: CallBody) -> Kind:
    """Return the kind of the requests of a call.

    Raises:
        InvalidRequest: its endpoint is none, or it has a field that applies to prompts alone.

    """
    kinds = kinds_by_endpoint()
    kind = kinds.get(call.endpoint or "")
    if kind is None:
        rule = f"must be one of {', '.join(kinds)}"
        raise InvalidRequest(rule, pointer="/endpoint", code="invalid_value")
    for name in _OF_PROMPTS:
        if getattr(call, name) is not None:
            raise InvalidRequest(
                "applies to `prompts`, not to `requests`; set it in each body", pointer=f"/{name}", code="invalid_value"
            )
    return kind


def parse_request(item: Any, kind: Kind, call: CallBody, place: str, limits: Limits) -> Prompt:  # noqa: ANN401  # any JSON
    """Parse one request; `place` is its JSON pointer.

    Raises:
        CallerError: the first field that breaks a rule, and the rule.

    """
    if not isinstance(item, dict):
        raise InvalidRequest("must be an object with `body`", pointer=place, code="invalid_value")
    line = shaped(item, RequestBody, place)
    if line.url is not None and line.url != call.endpoint:
        raise InvalidRequest("must be the `endpoint` of the call", pointer=f"{place}/url", code="invalid_value")
    model, model_place = line.body.get("model"), f"{place}/body/model"
    if model is None:
        model = call.model or limits.default_model(kind, model_place)
    if not isinstance(model, str):
        raise InvalidRequest("must be text", pointer=model_place, code="invalid_value")
    limits.check_model(model, kind, model_place)
    body = registration_of(kind).validation.parse_body(line.body, f"{place}/body")
    return Prompt(model=model, request=Request(kind, body), custom_id=line.custom_id)
