"""Define the JSON Schemas of the OpenAI-compatible operations."""

from typing import Any, Final

import msgspec

from common.kinds.embeddings.validation import KnownParams as EmbeddingParams
from common.kinds.responses.validation import KnownParams as ResponseParams
from functions.openai.chat_request import ChatFields, StreamOptions
from functions.openai.responses import ResponseFields
from functions.openai.responses import StreamOptions as ResponseStreamOptions

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


def _body_of(*structs: type[msgspec.Struct], about: str, required: list[str]) -> Schema:
    """Describe a body by the fields of these structs; the last of three is that of `stream_options`."""
    _, named = msgspec.json.schema_components(structs)
    properties: Schema = {"model": {"type": "string", "minLength": 1}}
    for struct in structs:
        properties |= named[struct.__name__]["properties"] if struct is not ResponseStreamOptions else {}
    if ResponseStreamOptions in structs:
        properties["stream_options"] = named[ResponseStreamOptions.__name__]
    return {
        "type": "object",
        "description": f"The body of OpenAI's {about}. A field that is null is absent. Fields that are not listed here "
        "are passed on to the model; docs/openai.md lists those that are refused.",
        "properties": properties,
        "required": required,
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
    "ResponseBody": _body_of(
        ResponseParams, ResponseFields, ResponseStreamOptions, about="POST /responses", required=["model", "input"]
    ),
    "Response": _open(
        {
            "id": _TEXT,
            "object": {"const": "response"},
            "created_at": {"type": "number"},
            "status": {"enum": ["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]},
            "model": _TEXT,
            "output": {"type": "array", "items": {"type": "object"}},
            "parallel_tool_calls": {"type": "boolean"},
            "tools": {"type": "array", "items": {"type": "object"}},
            "usage": {"type": "object"},
        },
        ["id", "object", "created_at", "status", "model", "output", "parallel_tool_calls", "tool_choice", "tools"],
        "The provider's object with the ID of Sluice.",
    ),
    "DeletedResponse": _open(
        {"id": _TEXT, "object": {"const": "response"}, "deleted": {"const": True}},
        ["id", "object", "deleted"],
        "A response that was deleted.",
    ),
    "InputItems": _open(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"type": "object"}},
            "first_id": _NULLABLE,
            "last_id": _NULLABLE,
            "has_more": {"type": "boolean"},
        },
        ["object", "data", "first_id", "last_id", "has_more"],
        "A page of input items, the newest first unless `order` says otherwise.",
    ),
    "EmbeddingsBody": _body_of(EmbeddingParams, about="POST /embeddings", required=["model", "input"]),
    "Embeddings": _open(
        {
            "object": {"const": "list"},
            "model": _TEXT,
            "data": {
                "type": "array",
                "items": _open(
                    {
                        "object": {"const": "embedding"},
                        "index": _COUNT,
                        "embedding": {"type": ["array", "string"], "items": {"type": "number"}},
                    },
                    ["object", "index", "embedding"],
                    "One embedding, in the encoding that the request asked for.",
                ),
            },
            "usage": {"type": "object"},
        },
        ["object", "model", "data", "usage"],
        "The embeddings, in the order of the inputs.",
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
