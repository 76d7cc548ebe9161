"""Say which calls there are, what they take and which answers they may get."""

from typing import Any, Final

from common.api.http import JSON, PROBLEM_JSON
from common.api.long_poll import Until
from common.api.serializers import BATCH_FIELDS, TASK_FIELDS
from common.domain.task import MAX_BATCH_SIZE, TaskStatus
from functions.status.query import DEFAULT_LIMIT, MOST_IDS, MOST_LIMIT
from tools.openapi.schemas import Schema, reference

type Operation = dict[str, Any]

_SECONDS: Final[Schema] = {"type": "integer", "minimum": 1}
RETRY_AFTER: Final[Schema] = {"description": "Seconds after which it makes sense to ask again.", "schema": _SECONDS}

_PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    400: ("Invalid", "The request breaks a rule; `errors` names each item at fault."),
    401: ("Unauthorized", "There is no key, or it is not known."),
    403: ("Forbidden", "Something before the API, such as a firewall, refused the request."),
    404: ("NotFound", "You have nothing of this id."),
    409: ("Conflict", "The request contradicts an earlier one."),
    410: ("Gone", "The time of what had this id is over."),
    413: ("TooLarge", "The request is over a limit of size or count."),
    429: ("TooMany", "Too many requests at once, a budget is used up, or the queue is full."),
    500: ("Fault", "The fault is ours."),
    503: ("Unavailable", "The same request may succeed later."),
}
_ALWAYS: Final = (401, 403, 429, 500, 503)
_LATER: Final = (409, 429, 503)

PROBLEM_ANSWERS: Final[dict[str, Schema]] = {
    name: {
        "description": about,
        **({"headers": {"Retry-After": RETRY_AFTER}} if status in _LATER else {}),
        "content": {PROBLEM_JSON: {"schema": reference("Problem")}},
    }
    for status, (name, about) in _PROBLEMS.items()
}


def _listed(name: str, values: frozenset[str] | None, about: str, **more: Any) -> Operation:  # noqa: ANN401  # JSON
    items: Schema = {"type": "string", "enum": sorted(values)} if values else {"type": "string"}
    schema: Schema = {"type": "array", "items": items}
    if not values:
        schema |= {"minItems": 1, "maxItems": MOST_IDS}
    return {
        "name": name,
        "in": "query",
        "style": "form",
        "explode": False,
        "schema": schema,
        "description": about,
        **more,
    }


def _in_path(name: str) -> Operation:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _number(name: str, least: int, most: int, default: int, about: str) -> Operation:
    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return {"name": name, "in": "query", "schema": schema, "description": about}


def _header(name: str, schema: Schema, about: str) -> Operation:
    return {"name": name, "in": "header", "schema": schema, "description": about}


_PREFER: Final = _header(
    "Prefer",
    {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
    "`wait=N` holds the answer until the tasks have ended, 25 seconds at most; not over the limit of held answers.",
)
_UNTIL: Final[Operation] = {
    "name": "until",
    "in": "query",
    "schema": {"enum": list(Until), "default": Until.ALL},
    "description": "Whether one of them is enough to be waited for.",
}
_HELD: Final[dict[str, Schema]] = {
    "Preference-Applied": {
        "description": "How long the answer may have been held; absent where it was not held.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    }
}

_IF_NONE_MATCH: Final = _header("If-None-Match", {"type": "string"}, "The ETag of the answer that you have.")


def _operation(  # noqa: PLR0913  # each is a part of an operation
    name: str,
    summary: str,
    *,
    status: int,
    schema: str,
    parameters: list[Operation],
    problems: tuple[int, ...],
    headers: dict[str, Schema] | None = None,
    held: tuple[int, str, str] | None = None,
    **more: Any,  # noqa: ANN401  # JSON
) -> Operation:
    answers: dict[str, Schema] = {
        str(status): {
            "description": "Accepted." if status == 202 else "What there is.",  # noqa: PLR2004  # HTTP's
            "headers": {"Retry-After": RETRY_AFTER, **(headers or {})},
            "content": {JSON: {"schema": reference(schema)}},
        }
    }
    if held:
        answers[str(held[0])] = {
            "description": held[1],
            "headers": {"Retry-After": RETRY_AFTER, **(headers or {})},
            "content": {JSON: {"schema": reference(held[2])}},
        }
    if _IF_NONE_MATCH in parameters:
        answers["304"] = {"description": "You have it already.", "headers": {"Retry-After": RETRY_AFTER}}
    for each in sorted({*problems, *_ALWAYS}):
        answers[str(each)] = {"$ref": f"#/components/responses/{_PROBLEMS[each][0]}"}
    return {"operationId": name, "summary": summary, "parameters": parameters, **more, "responses": answers}


def _get(name: str, summary: str, schema: str, parameters: list[Operation], problems: tuple[int, ...]) -> Operation:
    parameters = [*parameters, _PREFER, _UNTIL, _IF_NONE_MATCH]
    return _operation(
        name,
        summary,
        status=200,
        schema=schema,
        parameters=parameters,
        problems=problems,
        headers={"ETag": {"schema": {"type": "string"}}, **_HELD},
        held=(202, "They have not ended: the wait is over, or the answer was not held.", schema),
    )


_CALL: Final = {
    "prompts": ["Tell a joke about the economy.", {"prompt": "And one about food.", "custom_id": "row-2"}],
    "system": "You are brief.",
}
_KEY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
_FIELDS_OF_TASK: Final = _listed("fields", TASK_FIELDS, "Only these fields, with the ids and the status.")

_IDEMPOTENCY_KEY: Final = _header("Idempotency-Key", _KEY, "A repeat with the same key gets the same answer.")


def _accepting(  # noqa: PLR0913  # as _operation
    name: str, summary: str, body: str, example: Schema, *, parameters: tuple[Operation, ...], problems: tuple[int, ...]
) -> Operation:
    return _operation(
        name,
        summary,
        status=202,
        schema="AcceptedBody",
        parameters=[*parameters, _IDEMPOTENCY_KEY, _PREFER, _UNTIL],
        problems=problems,
        held=(200, "Accepted, and all have ended during the wait.", "HeldBody"),
        headers={
            "Location": {"schema": {"type": "string"}},
            "Idempotent-Replayed": {"schema": {"const": "true"}},
            **_HELD,
        },
        requestBody={"required": True, "content": {JSON: {"schema": reference(body), "example": example}}},
    )


PATHS: Final[dict[str, dict[str, Operation]]] = {
    "/tasks": {
        "post": _accepting(
            "submit", "Send prompts, get an id for each", "CallBody", _CALL, parameters=(), problems=(400, 409, 413)
        ),
        "get": _get(
            "showTasks",
            "Look at any tasks",
            "Tasks",
            [_listed("task_ids", None, "Their ids.", required=True), _FIELDS_OF_TASK],
            (400,),
        ),
    },
    "/tasks/{task_id}": {
        "get": _get("showTask", "Look at one task", "Task", [_in_path("task_id"), _FIELDS_OF_TASK], (400, 404, 410)),
    },
    "/tasks/{task_id}/stream": {
        "get": {
            "operationId": "followTask",
            "summary": "Follow a task as server-sent events, a step an answer",
            "parameters": [
                _in_path("task_id"),
                {
                    "name": "starting_after",
                    "in": "query",
                    "schema": {"type": "string", "pattern": r"^[0-9]{1,9}$"},
                    "description": "Characters of the text that you have, or the id of the last event.",
                },
                _header(
                    "Last-Event-ID",
                    {"type": "string", "pattern": r"^[0-9]{1,4}\.[0-9]{1,9}\.[a-z]{1,10}$"},
                    "The id of the last event; an EventSource sends it.",
                ),
            ],
            "responses": {
                "200": {
                    "description": "The events since: `status`, `delta`, `reset`, `ended`.",
                    "content": {"text/event-stream": {}},
                },
                "204": {"description": "It has ended, and you know all of it."},
                **{
                    str(each): {"$ref": f"#/components/responses/{_PROBLEMS[each][0]}"}
                    for each in sorted({400, 404, 410, *_ALWAYS})
                },
            },
        },
    },
    "/tasks/{task_id}/cancel": {
        "post": _operation(
            "cancelTask",
            "Take one task back",
            status=200,
            schema="Task",
            parameters=[_in_path("task_id")],
            problems=(404, 409, 410),
        ),
    },
    "/batches/{batch_id}": {
        "get": _get(
            "showBatch",
            "Look at a whole call, and a page of its tasks",
            "Batch",
            [
                _in_path("batch_id"),
                {
                    "name": "status",
                    "in": "query",
                    "schema": {"enum": list(TaskStatus)},
                    "description": "Only tasks of this status.",
                },
                _number("cursor", 0, MAX_BATCH_SIZE, 0, "Where the page starts."),
                _number("limit", 1, MOST_LIMIT, DEFAULT_LIMIT, "Tasks on a page."),
                _listed("fields", BATCH_FIELDS, "Only these fields, with the id and the status."),
            ],
            (400, 404, 410),
        ),
    },
    "/workflows": {
        "get": _operation(
            "listWorkflows",
            "List the workflows that you may start",
            status=200,
            schema="Workflows",
            parameters=[],
            problems=(),
        ),
    },
    "/workflows/{name}": {
        "post": _accepting(
            "startWorkflow",
            "Start a workflow for each input, get an id for each",
            "WorkflowBody",
            {"inputs": [{"topic": "a magical forest"}]},
            parameters=(_in_path("name"),),
            problems=(400, 404, 409, 413),
        ),
    },
    "/usage": {
        "get": _operation(
            "showUsage",
            "Look at what you have used today, and at your budgets",
            status=200,
            schema="Usage",
            parameters=[],
            problems=(),
        ),
    },
    "/batches/{batch_id}/retry": {
        "post": _operation(
            "retryBatch",
            "Make new tasks of the failed ones of a call",
            status=202,
            schema="RetriedBody",
            parameters=[
                _in_path("batch_id"),
                _IDEMPOTENCY_KEY,
            ],
            problems=(400, 404, 409, 410, 413),
            headers={
                "Location": {"schema": {"type": "string"}},
                "Idempotent-Replayed": {"schema": {"const": "true"}},
            },
        ),
    },
    "/batches/{batch_id}/cancel": {
        "post": _operation(
            "cancelBatch",
            "Take back what has not ended of a call",
            status=200,
            schema="Batch",
            parameters=[_in_path("batch_id")],
            problems=(404, 410),
        ),
    },
}
