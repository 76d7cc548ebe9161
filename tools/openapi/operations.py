"""Define the operations: their parameters, bodies and possible responses."""

from typing import Any, Final

from common.api.http import JSON, PROBLEM_JSON
from common.api.long_poll import Until
from common.api.serializers import BATCH_FIELDS, TASK_FIELDS
from common.domain.task import MAX_BATCH_SIZE, TaskStatus
from functions.status.query import DEFAULT_LIMIT, MOST_IDS, MOST_LIMIT
from tools.openapi.schemas import Schema, reference

type Operation = dict[str, Any]

_SECONDS: Final[Schema] = {"type": "integer", "minimum": 1}
RETRY_AFTER: Final[Schema] = {"description": "Seconds to wait before the next request.", "schema": _SECONDS}

_PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    400: ("Invalid", "The request breaks a rule; `errors` names each item at fault."),
    401: ("Unauthorized", "The key or token is missing, unknown or expired."),
    403: ("Forbidden", "A component in front of the API, such as a firewall, refused the request."),
    404: ("NotFound", "You have no task, batch or workflow of this id."),
    409: ("Conflict", "The request conflicts with an earlier one or with the present state."),
    410: ("Gone", "The task or batch of this id has expired."),
    413: ("TooLarge", "The request exceeds a limit of size or count."),
    429: ("TooMany", "There are too many requests, a budget is exhausted, or the queue is full."),
    500: ("Fault", "An internal error of the service."),
    503: ("Unavailable", "A dependency is unavailable. The same request may succeed later."),
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
    "`wait=N` holds the response until the tasks have ended, for at most 25 s and within the limit of held responses.",
)
_UNTIL: Final[Operation] = {
    "name": "until",
    "in": "query",
    "schema": {"enum": list(Until), "default": Until.ALL},
    "description": "Wait for the end of all tasks, or of any one.",
}
_HELD: Final[dict[str, Schema]] = {
    "Preference-Applied": {
        "description": "The longest time for which the response was held; absent if it was not held.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    }
}

_IF_NONE_MATCH: Final = _header("If-None-Match", {"type": "string"}, "The ETag of an earlier response.")


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
            "description": "Accepted." if status == 202 else "The present state.",  # noqa: PLR2004  # HTTP's
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
        answers["304"] = {
            "description": "Nothing has changed since the response with this ETag.",
            "headers": {"Retry-After": RETRY_AFTER},
        }
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
        held=(202, "The tasks have not ended: the wait is over, or the response was not held.", schema),
    )


_CALL: Final = {
    "prompts": ["Tell a joke about the economy.", {"prompt": "And one about food.", "custom_id": "row-2"}],
    "system": "You are brief.",
}
_KEY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
_FIELDS_OF_TASK: Final = _listed("fields", TASK_FIELDS, "Return only these fields, the ids and the status.")

_IDEMPOTENCY_KEY: Final = _header("Idempotency-Key", _KEY, "A repeat with the same key returns the same response.")


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
        held=(200, "Accepted, and all tasks ended during the wait.", "HeldBody"),
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
            "submit", "Send prompts and get an id for each", "CallBody", _CALL, parameters=(), problems=(400, 409, 413)
        ),
        "get": _get(
            "showTasks",
            "Read any tasks",
            "Tasks",
            [_listed("task_ids", None, "The ids of the tasks.", required=True), _FIELDS_OF_TASK],
            (400,),
        ),
    },
    "/tasks/{task_id}": {
        "get": _get("showTask", "Read one task", "Task", [_in_path("task_id"), _FIELDS_OF_TASK], (400, 404, 410)),
    },
    "/tasks/{task_id}/stream": {
        "get": {
            "operationId": "followTask",
            "summary": "Follow a task as server-sent events, one step per response",
            "parameters": [
                _in_path("task_id"),
                {
                    "name": "starting_after",
                    "in": "query",
                    "schema": {"type": "string", "pattern": r"^[0-9]{1,9}$"},
                    "description": "The number of characters that you have, or the id of the last event.",
                },
                _header(
                    "Last-Event-ID",
                    {"type": "string", "pattern": r"^[0-9]{1,4}\.[0-9]{1,9}\.[a-z]{1,10}$"},
                    "The id of the last event; an EventSource sends it.",
                ),
            ],
            "responses": {
                "200": {
                    "description": "The new events: `status`, `delta`, `reset`, `ended`.",
                    "content": {"text/event-stream": {}},
                },
                "204": {"description": "The task has ended, and you have all its events."},
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
            "Cancel one task",
            status=200,
            schema="Task",
            parameters=[_in_path("task_id")],
            problems=(404, 409, 410),
        ),
    },
    "/batches/{batch_id}": {
        "get": _get(
            "showBatch",
            "Read a batch and a page of its tasks",
            "Batch",
            [
                _in_path("batch_id"),
                {
                    "name": "status",
                    "in": "query",
                    "schema": {"enum": list(TaskStatus)},
                    "description": "Return only tasks of this status.",
                },
                _number("cursor", 0, MAX_BATCH_SIZE, 0, "The index of the first task of the page."),
                _number("limit", 1, MOST_LIMIT, DEFAULT_LIMIT, "The number of tasks on a page."),
                _listed("fields", BATCH_FIELDS, "Return only these fields, the id and the status."),
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
            "Start a workflow for each input and get an id for each",
            "WorkflowBody",
            {"inputs": [{"topic": "a magical forest"}]},
            parameters=(_in_path("name"),),
            problems=(400, 404, 409, 413),
        ),
    },
    "/usage": {
        "get": _operation(
            "showUsage",
            "Read today's usage and your budgets",
            status=200,
            schema="Usage",
            parameters=[],
            problems=(),
        ),
    },
    "/batches/{batch_id}/retry": {
        "post": _operation(
            "retryBatch",
            "Retry the failed tasks of a batch as new tasks",
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
            "Cancel all tasks of a batch that have not ended",
            status=200,
            schema="Batch",
            parameters=[_in_path("batch_id")],
            problems=(404, 410),
        ),
    },
}
