"""Define the OpenAI-compatible operations. Their bodies are OpenAI's: the schemas name the fields that Sluice reads."""

from typing import Any, Final

from common.api.http import JSON, PROBLEM_JSON
from functions.openai.call import MOST_HOPS
from tools.openapi.schemas import Schema, reference

type Operation = dict[str, Any]

ROOT: Final = "/openai/v1"

_REQUEST_ID: Final[dict[str, Schema]] = {"x-request-id": {"schema": {"type": "string"}}}
_REDIRECT: Final[Schema] = {
    "description": "The task has not ended. `Location` is the relative URL of a GET that is held again.",
    "headers": {"Location": {"required": True, "schema": {"type": "string"}}, **_REQUEST_ID},
}
_ERRORS: Final[dict[str, str]] = {
    "4XX": "The request breaks a rule or is refused for now, or the task failed because of it.",
    "5XX": "A dependency is unavailable, the provider failed, or the task did not end in time.",
}
_PREFER: Final[Operation] = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
    "description": "`wait=N` holds each hop for N seconds at most; the default is 25.",
}
_QUERY: Final[tuple[Operation, ...]] = (
    {
        "name": "hop",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0, "maximum": MOST_HOPS},
        "description": "The number of redirects that led to the request; a redirect sets it.",
    },
    {
        "name": "stream",
        "in": "query",
        "schema": {"enum": ["true"]},
        "description": "Replay the completion as server-sent events.",
    },
    {
        "name": "include_usage",
        "in": "query",
        "schema": {"enum": ["true"]},
        "description": "End the stream with a chunk that has the usage.",
    },
)


_ON_CREATE: Final[tuple[Operation, ...]] = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "description": "A repeat with the same key joins the same task.",
    },
    {
        "name": "x-stainless-retry-count",
        "in": "header",
        "schema": {"type": "integer", "minimum": 0, "maximum": 99},
        "description": "Set by the SDKs: how often they have sent the request before. From 1 on it joins the "
        "task of its first try.",
    },
    _PREFER,
)


def _body(schema: str, example: object) -> Schema:
    return {"required": True, "content": {JSON: {"schema": reference(schema), "example": example}}}


def _operation(name: str, summary: str, schema: str, *parameters: Operation, is_held: bool, **more: Any) -> Operation:  # noqa: ANN401  # JSON
    content: dict[str, Schema] = {JSON: {"schema": reference(schema)}}
    if is_held:
        content["text/event-stream"] = {}
    answers: dict[str, Schema] = {
        "200": {"description": "The object.", "headers": _REQUEST_ID, "content": content},
        **({"303": _REDIRECT} if is_held else {}),
        **{
            status: {"description": about, "content": {PROBLEM_JSON: {"schema": reference("OpenAIProblem")}}}
            for status, about in _ERRORS.items()
        },
    }
    return {"operationId": name, "summary": summary, "parameters": list(parameters), **more, "responses": answers}


def _in_path(name: str) -> Operation:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


OPENAI_PATHS: Final[dict[str, dict[str, Operation]]] = {
    f"{ROOT}/chat/completions": {
        "post": _operation(
            "createChatCompletion",
            "Create a chat completion, as OpenAI's API does",
            "ChatCompletion",
            *_ON_CREATE,
            is_held=True,
            requestBody=_body(
                "ChatCompletionBody",
                {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Tell a joke."}]},
            ),
        ),
    },
    f"{ROOT}/chat/completions/{{completion_id}}": {
        "get": _operation(
            "retrieveChatCompletion",
            "Read a stored chat completion",
            "ChatCompletion",
            _in_path("completion_id"),
            _PREFER,
            *_QUERY,
            is_held=True,
        ),
    },
    f"{ROOT}/responses": {
        "post": _operation(
            "createResponse",
            "Create a response, as OpenAI's API does",
            "Response",
            *_ON_CREATE,
            is_held=True,
            requestBody=_body("ResponseBody", {"model": "gpt-5-mini", "input": "Tell a joke."}),
        ),
    },
    f"{ROOT}/responses/{{response_id}}": {
        "get": _operation(
            "retrieveResponse",
            "Read a response in its current state",
            "Response",
            _in_path("response_id"),
            _PREFER,
            *_QUERY[:2],
            {
                "name": "starting_after",
                "in": "query",
                "schema": {"type": "integer", "minimum": 0},
                "description": "Replay the events after this sequence number.",
            },
            is_held=True,
        ),
        "delete": _operation(
            "deleteResponse", "Delete a response", "DeletedResponse", _in_path("response_id"), is_held=False
        ),
    },
    f"{ROOT}/responses/{{response_id}}/input_items": {
        "get": _operation(
            "listInputItems",
            "List the input items of a response",
            "InputItems",
            _in_path("response_id"),
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            },
            {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "desc"}},
            {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The ID of an item."},
            is_held=False,
        ),
    },
    f"{ROOT}/responses/{{response_id}}/cancel": {
        "post": _operation(
            "cancelResponse", "Cancel a response that has not ended", "Response", _in_path("response_id"), is_held=False
        ),
    },
    f"{ROOT}/embeddings": {
        "post": _operation(
            "createEmbeddings",
            "Create embeddings, as OpenAI's API does",
            "Embeddings",
            *_ON_CREATE,
            is_held=True,
            requestBody=_body("EmbeddingsBody", {"model": "text-embedding-3-small", "input": "A magical forest"}),
        ),
    },
    f"{ROOT}/embeddings/{{embeddings_id}}": {
        "get": _operation(
            "retrieveEmbeddings",
            "Read the embeddings of a redirected call",
            "Embeddings",
            _in_path("embeddings_id"),
            _PREFER,
            _QUERY[0],
            is_held=True,
        ),
    },
    f"{ROOT}/models": {
        "get": _operation("listModels", "List the models that your key may use", "Models", is_held=False),
    },
    f"{ROOT}/models/{{model}}": {
        "get": _operation("retrieveModel", "Read one model", "Model", _in_path("model"), is_held=False),
    },
}
