"""Define the JSON Schemas: requests are generated from their structs, responses are listed field by field."""

from dataclasses import fields
from typing import Any, Final

import msgspec

from common.api.missing import EXPIRED, NOT_FOUND
from common.api.serializers import BATCH_FIELDS, ENDED, TASK_FIELDS
from common.domain.budgets import BudgetKind
from common.domain.task import FailureCode, TaskStatus, Usage, WaitingOn
from common.kinds.chat.validation import RESERVED_PARAMS, KnownParams
from common.kinds.registry import kinds_by_endpoint
from common.webhooks.model import BATCH_EVENTS, WebhookDeliveryCode, WebhookDeliveryStatus
from functions.submit.responses import AcceptedBody, RetriedBody
from functions.submit.retry import SkipReason
from functions.submit.schema import (
    CallBody,
    PromptBody,
    RequestBody,
    WebhookBody,
    WorkflowBody,
)

type Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
PERCENT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 100}
CODE: Final[Schema] = {"enum": list(FailureCode)}
STATUS: Final[Schema] = {"enum": [*TaskStatus, NOT_FOUND, EXPIRED]}


def reference(name: str) -> Schema:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: dict[str, Schema], required: list[str], about: str = "") -> Schema:
    """Describe an object that has these fields and no other."""
    described = {"description": about} if about else {}
    return {
        **described,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


USAGE: Final = closed({field.name: COUNT for field in fields(Usage)}, ["total_tokens"])
USAGE_OF_TASK: Final = {
    "type": "object",
    "properties": {field.name: COUNT for field in fields(Usage)},
    "required": ["total_tokens"],
    "additionalProperties": {"type": ["integer", "number", "object"]},
    "description": "The counts that every answer has, and the others that the provider gave, as it names them: "
    "`completion_tokens_details.reasoning_tokens`, `prompt_tokens_details.audio_tokens`.",
}
COST: Final = closed({"usd": {"type": "string", "pattern": r"^\d+(\.\d+)?$"}}, ["usd"])

ESTIMATED: Final = closed(
    {"total_tokens": COUNT, "cost": COST},
    ["total_tokens", "cost"],
    "The part of `usage` and `cost` that is an estimate, for calls whose usage the provider did not report.",
)

PROVIDER_ERROR: Final = closed(
    {"code": TEXT, "param": TEXT, "request_id": TEXT},
    [],
    "Identifies the error at the provider: its code, the faulty parameter and the id of the request.",
)

WEBHOOK: Final = closed(
    {
        "url": TEXT,
        "events": {"type": "array", "items": {"enum": list(BATCH_EVENTS)}},
        "status": {"enum": list(WebhookDeliveryStatus)},
        "attempts": COUNT,
        "last_status_code": {"type": "integer"},
        "last_error": {"enum": list(WebhookDeliveryCode)},
        "next_attempt_at": TIME,
        "delivered_at": TIME,
    },
    ["url", "events", "status", "attempts"],
    "The address to notify of the batch's end, and the state of the delivery.",
)

_OF_TASKS: Final[dict[str, Schema]] = {
    "task_id": TEXT,
    "batch_id": TEXT,
    "custom_id": TEXT,
    "status": STATUS,
    "progress": PERCENT,
    "model": TEXT,
    "attempts": {
        "type": "array",
        "items": closed(
            {"started_at": TIME, "ended_at": TIME, "code": CODE, "provider_error": PROVIDER_ERROR}, ["started_at"]
        ),
        "description": "Attempts that may have cost money, oldest first.",
    },
    "waiting_on": {"enum": list(WaitingOn)},
    "result": TEXT,
    "tool_calls": {"type": "array", "items": {"type": "object"}},
    "finish_reason": {
        "type": ["string", "null"],
        "description": "The provider's own term; `length` for its token limit; null if it sends none.",
    },
    "truncated": {"const": True},
    "refusal": {"type": "string", "description": "The text in which the model refused to answer."},
    "response": {
        "type": "object",
        "description": "The provider's whole object, unknown fields included; shown where `fields` names it.",
    },
    "usage": USAGE_OF_TASK,
    "cost": COST,
    "partial_result": {
        "type": "string",
        "description": "The text so far; of a failed task, what the content filter let through.",
    },
    "error": closed(
        {"code": CODE, "detail": TEXT, "last_code": CODE, "type": TEXT, "provider_error": PROVIDER_ERROR},
        ["code", "detail"],
    ),
    "retried_as": {"type": "string", "description": "The id of the task that a retry created."},
    "created_at": TIME,
    "started_at": TIME,
    "ended_at": TIME,
    "deadline_at": TIME,
    "expires_at": TIME,
}

_OF_BATCHES: Final[dict[str, Schema]] = {
    "batch_id": TEXT,
    "status": {"enum": [TaskStatus.QUEUED, TaskStatus.PROCESSING, ENDED]},
    "progress": PERCENT,
    "size": COUNT,
    "counts": closed(dict.fromkeys(STATUS["enum"], COUNT), STATUS["enum"]),
    "metadata": {"type": "object", "additionalProperties": TEXT},
    "usage": USAGE,
    "cost": COST,
    "estimated": ESTIMATED,
    "tasks": {"type": "array", "items": reference("Task"), "description": "A page of its tasks, without results."},
    "webhook": WEBHOOK,
    "created_at": TIME,
    "deadline_at": TIME,
    "expires_at": TIME,
}

_NEXT: Final[Schema] = {"type": "string", "description": "The link to the rest, relative to the URL of the call."}


def _fields(known: frozenset[str], described: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schema of every field; raise KeyError with the name of a field that has none."""
    for name in known - described.keys():
        raise KeyError(name)
    return {name: schema for name, schema in described.items() if name in known}


def _requests() -> dict[str, Schema]:
    # The structs define types and ranges. Free-form values below them are checked by hand-written validation.
    _, made = msgspec.json.schema_components(
        [CallBody, PromptBody, RequestBody, KnownParams, AcceptedBody, RetriedBody, WebhookBody, WorkflowBody],
        ref_template="#/components/schemas/{name}",
    )
    call, prompt, params, accepted = (made[each] for each in ("CallBody", "PromptBody", "KnownParams", "AcceptedBody"))
    made["WebhookBody"]["additionalProperties"] = False
    made["LeftTaskBody"]["properties"] = {"task_id": TEXT, "code": {"enum": list(SkipReason)}, "retried_as": TEXT}
    answered = (made[each] for each in ("AcceptedTask", "RetriedBody", "RetriedTask", "LeftTaskBody", "WorkflowBody"))
    for body in (call, prompt, made["RequestBody"], accepted, *answered):
        body["additionalProperties"] = False
    call["properties"]["prompts"] = {
        "type": ["array", "null"],
        "minItems": 1,
        "items": {"anyOf": [{"type": "string", "pattern": r"\S"}, reference("PromptBody")]},
    }
    call["properties"]["inputs"] = {
        "type": ["array", "null"],
        "minItems": 1,
        "items": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
    }
    call["properties"]["endpoint"] = {"enum": [*kinds_by_endpoint(), None]}
    call["properties"]["requests"] = {
        "type": ["array", "null"],
        "minItems": 1,
        "items": reference("RequestBody"),
    }
    made["RequestBody"]["properties"]["url"] = {"enum": [*kinds_by_endpoint(), None]}
    made["WorkflowBody"]["properties"]["inputs"] |= {"minItems": 1}
    for body in (call, prompt):
        body["properties"]["params"] = {"anyOf": [reference("KnownParams"), {"type": "null"}]}
    params["propertyNames"] = {"not": {"enum": list(RESERVED_PARAMS)}}
    return made


SCHEMAS: Final[dict[str, Schema]] = {
    **_requests(),
    "Task": closed(
        _fields(TASK_FIELDS, _OF_TASKS), ["task_id", "status"], "A task. A field is present once it has a value."
    ),
    "Tasks": closed({"tasks": {"type": "array", "items": reference("Task")}, "next": _NEXT}, ["tasks"]),
    "Batch": closed({**_fields(BATCH_FIELDS, _OF_BATCHES), "next": _NEXT}, ["batch_id", "status"]),
    "Usage": closed(
        {
            "day": {"type": "string", "format": "date"},
            "resets_at": TIME,
            "requests": {**COUNT, "description": "Tasks accepted under a budget."},
            "answers": COUNT,
            "usage": USAGE,
            "cost": COST,
            "unpriced": {**COUNT, "description": "Calls whose cost is unknown, because their model has no price."},
            "estimated": ESTIMATED,
            "budgets": closed({"requests": COUNT, "tokens": COUNT, "usd": COST["properties"]["usd"]}, []),
        },
        ["day", "resets_at", "requests", "answers", "usage", "cost", "unpriced", "budgets"],
    ),
    "Workflows": closed(
        {
            "workflows": {
                "type": "array",
                "items": closed(
                    {
                        "name": TEXT,
                        "description": TEXT,
                        "input_schema": {"type": "object", "description": "JSON Schema of an input."},
                    },
                    ["name", "description", "input_schema"],
                ),
            }
        },
        ["workflows"],
    ),
    "HeldBody": closed(
        {
            **dict.fromkeys(("batch_id", "status", "created_at", "deadline_at", "expires_at"), TEXT),
            "task_ids": {"type": "array", "items": TEXT},
            "tasks": {"type": "array", "items": reference("Task"), "description": "The tasks with all their fields."},
            "links": {"type": "object", "additionalProperties": TEXT},
            "next": _NEXT,
        },
        ["batch_id", "status", "task_ids", "tasks"],
    ),
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "A stable code for programs."},
            "detail": TEXT,
            "request_id": TEXT,
            "errors": {
                "type": "array",
                "items": closed({"pointer": TEXT, "code": TEXT, "detail": TEXT}, ["pointer", "code", "detail"]),
                "description": "Each faulty item by its JSON pointer (RFC 6901).",
            },
            "budget": {"enum": list(BudgetKind), "description": "The budget that is exhausted."},
            "task_status": {
                "enum": list(TaskStatus),
                "description": "The final status of the task that could not be cancelled.",
            },
        },
        "required": ["type", "title", "code", "detail"],
    },
}
