"""Parse the body of an endpoint whose kind validates it as a whole: /embeddings, /responses."""

from typing import Any

from common.domain.errors import InvalidRequest
from common.domain.request import Kind, Request
from common.kinds.registry import registration_of
from common.submission.limits import Limits
from common.submission.model import Prompt
from functions.openai.chat_request import UNSUPPORTED


def parse_endpoint_request(document: object, kind: Kind, limits: Limits) -> tuple[Prompt, dict[str, Any]]:
    """Return the prompt of a body, and its fields; a field that is null is absent.

    Raises:
        CallerError: the first field that breaks a rule, and the rule.

    """
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_value")
    fields = {name: value for name, value in document.items() if value is not None}
    for name in ("model", "input"):
        if name not in fields:
            raise InvalidRequest("is required", pointer=f"/{name}", code="missing_required_parameter")
    model = fields["model"]
    if not isinstance(model, str):
        raise InvalidRequest("must be text", pointer="/model", code="invalid_value")
    limits.check_model(model, kind, "/model")
    try:
        body = registration_of(kind).validation.parse_body(fields, "")
    except InvalidRequest as error:
        if error.code != "reserved_param":
            raise
        raise InvalidRequest(error.detail, pointer=error.pointer, code=UNSUPPORTED) from None
    request = Request(kind, body)
    limits.check_size(request, "")
    return Prompt(model, request=request), fields


def without(document: object, name: str) -> object:
    """Return a body without one field, which is not the model's."""
    if not isinstance(document, dict):
        return document
    return {each: value for each, value in document.items() if each != name}
