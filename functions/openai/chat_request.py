"""Parse the body of POST /chat/completions."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from common.api.conversion import converted, shaped
from common.domain.errors import InvalidRequest
from common.domain.request import Kind, Request
from common.kinds.chat.validation import KEPT_IN_RESPONSE, check_messages, check_params
from common.submission.limits import Limits
from common.submission.model import Prompt

UNSUPPORTED: Final = "unsupported_parameter"

_NO_BACKGROUND: Final = "is a parameter of /responses; a chat completion is held until it is there"
_NO_OBFUSCATION: Final = "must be false: a replayed stream has no timing to hide"


class ChatFields(Struct, frozen=True, kw_only=True):
    """The fields that Sluice reads itself. All others are passed on to the model."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    """The options of a replayed stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Hold a valid request, and how its response is shown."""

    prompt: Prompt
    is_streamed: bool = False
    includes_usage: bool = False


def parse_chat_request(document: object, limits: Limits) -> ChatRequest:
    """Parse a body; a field that is null is absent.

    Raises:
        CallerError: the first field that breaks a rule, and the rule.

    """
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_value")
    fields = {name: value for name, value in document.items() if value is not None}
    for name in ("model", "messages"):
        if name not in fields:
            raise InvalidRequest("is required", pointer=f"/{name}", code="missing_required_parameter")
    if "background" in fields:
        raise InvalidRequest(_NO_BACKGROUND, pointer="/background", code=UNSUPPORTED)
    own = converted({name: fields[name] for name in ChatFields.__struct_fields__ if name in fields}, ChatFields, "")
    params = {name: value for name, value in fields.items() if name not in ChatFields.__struct_fields__}
    limits.check_model(own.model, Kind.CHAT, "/model")
    check_messages(own.messages, "/messages")
    _check_params(params)
    request = Request(Kind.CHAT, {"messages": own.messages, **params})
    limits.check_size(request, "")
    return ChatRequest(Prompt(model=own.model, request=request), own.stream, _includes_usage(own))


def _check_params(params: dict[str, Any]) -> None:
    try:
        check_params(params, "", allowed=KEPT_IN_RESPONSE)
    except InvalidRequest as error:
        if error.code != "reserved_param":
            raise
        raise InvalidRequest(error.detail, pointer=error.pointer, code=UNSUPPORTED) from None


def _includes_usage(own: ChatFields) -> bool:
    if own.stream_options is None:
        return False
    if not own.stream:
        raise InvalidRequest("must not be set without `stream`", pointer="/stream_options", code="invalid_value")
    options = shaped(own.stream_options, StreamOptions, "/stream_options")
    if options.include_obfuscation:
        raise InvalidRequest(_NO_OBFUSCATION, pointer="/stream_options/include_obfuscation", code=UNSUPPORTED)
    return bool(options.include_usage)
