"""Define the JSON Schemas of the OpenAI-compatible operations."""

from typing import Any, Final

import msgspec

from functions.openai.chat_request import ChatFields, StreamOptions

type Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_NULLABLE: Final[Schema] = {"type": ["string", "null"]}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def _open(properties: dict[str, Schema], required: list[str], about: str) -> Schema:
    """Describe an object that has these fields and may have others: the provider's are kept."""
    return {"type": "object", "description": about, "properties": properties, "required": required}


def _body() -> Schema:
    _, named = msgspec.json.schema_components([ChatFields, StreamOptions])
    body: Schema = named["ChatFields"]
    properties = {**body["properties"], "stream_options": named["StreamOptions"]}
    return {
        "type": "object",
        "description": "The body of OpenAI's POST /chat/completions. A field that is null is absent. Fields that are "
        "not listed here are passed on to the model; docs/openai.md lists those that are refused.",
        "properties": properties,
        "required": body["required"],
    }


OPENAI_SCHEMAS: Final[dict[str, Schema]] = {
    "ChatCompletionBody": _body(),
    "ChatCompletion": _open(
        {
            "id": _TEXT,
            "object": {"const": "chat.completion"},
            "created": _COUNT,
            "model": _TEXT,
            "choices": {
                "type": "array",
                "items": _open(
                    {"index": _COUNT, "message": {"type": "object"}, "finish_reason": _TEXT},
                    ["index", "message", "finish_reason"],
                    "One choice.",
                ),
            },
            "usage": {"type": "object"},
        },
        ["id", "object", "created", "model", "choices"],
        "The provider's object with the ID of Sluice.",
    ),
    "Models": _open(
        {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}},
        ["object", "data"],
        "The models that the key may use.",
    ),
    "Model": _open(
        {"id": _TEXT, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT},
        ["id", "object", "created", "owned_by"],
        "One model.",
    ),
    "OpenAIProblem": _open(
        {
            "code": _TEXT,
            "detail": _TEXT,
            "error": _open(
                {"message": _TEXT, "type": _TEXT, "param": _NULLABLE, "code": _TEXT},
                ["message", "type", "param", "code"],
                "The error as OpenAI's API writes it.",
            ),
        },
        ["code", "detail", "error"],
        "A problem (RFC 9457) with the member `error`, which the SDKs of OpenAI read.",
    ),
}
