"""Know the workflows there are, and check their inputs; `make workflows` writes both down from the chains.

LangChain is not needed for that, and is not here. fastjsonschema is imported for the first workflow that is called: a
prompt waits for neither.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from common.domain.errors import InvalidRequest, NotFound
from common.domain.request import Kind, Request
from common.kinds.registry import public_model
from common.submission.conversion import converted, shaped, unknown_field
from common.submission.json_body import pointer_to
from common.submission.limits import Limits
from common.submission.service import Prompt, SubmitCall
from functions.submit.call import call_of
from functions.submit.items import check_count, prompts_of
from functions.submit.schema import OBJECTS, CustomId, WorkflowBody
from functions.submit.template import CUSTOM_ID

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

LIST: Final = Path(__file__).with_name("workflows.json")
"""What `make workflows` has written."""


class _Named(Struct, frozen=True):
    custom_id: CustomId | None


class UnknownWorkflow(NotFound):
    """There is no workflow of this name."""

    code = "unknown_workflow"


@dataclass(frozen=True)
class WorkflowDescription:
    """Hold what callers are told of a workflow. The schema is JSON Schema, as pydantic writes it."""

    name: str
    description: str
    input_schema: Mapping[str, Any] = field(repr=False)

    @property
    def model(self) -> str:
        """Return the name that the API and API keys use for it as a model."""
        return public_model(Kind.WORKFLOW, self.name)

    def prompt(self, given: dict[str, Any], place: str) -> Prompt:
        """Make the task of an input; `place` is its JSON pointer.

        Raises:
            InvalidRequest: the schema does not take it; it names the field and the rule, and nothing of its value.

        """
        custom_id = None
        if CUSTOM_ID not in self.input_schema.get("properties", {}):
            custom_id = converted({CUSTOM_ID: given.get(CUSTOM_ID)}, _Named, place).custom_id
            given = {name: value for name, value in given.items() if name != CUSTOM_ID}
        self._check(given, place)
        return Prompt(self.name, Request(Kind.WORKFLOW, given), custom_id)

    def _check(self, given: Mapping[str, Any], place: str) -> None:
        from fastjsonschema import JsonSchemaValueException  # noqa: PLC0415  # as said above

        try:
            self._validate(given)
        except JsonSchemaValueException as error:
            raise _refused(error, place) from None

    @cached_property
    def _validate(self) -> Callable[[Any], Any]:
        import fastjsonschema  # noqa: PLC0415  # as said above

        validate: Callable[[Any], Any] = fastjsonschema.compile(dict(self.input_schema), use_default=False)
        return validate


class WorkflowCatalogue:
    """List the workflows of this service, and read calls of them."""

    def __init__(self, workflows: Sequence[WorkflowDescription]) -> None:
        """Take the workflows, in the order that they are shown."""
        self._by_name = {workflow.name: workflow for workflow in workflows}

    @classmethod
    def from_file(cls, path: Path = LIST) -> "WorkflowCatalogue":
        """Read the list that `make workflows` has written."""
        return cls(
            [WorkflowDescription(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["workflows"]]
        )

    @property
    def models(self) -> tuple[str, ...]:
        """Return the names that the API and API keys use for them as models."""
        return tuple(workflow.model for workflow in self._by_name.values())

    def shown(self, models: Sequence[str] | None) -> list[dict[str, Any]]:
        """Show those that a caller may start; None where it may all."""
        return [
            {"name": each.name, "description": each.description, "input_schema": each.input_schema}
            for each in self._by_name.values()
            if models is None or each.model in models
        ]

    def read(self, name: str, document: object, limits: Limits, models: Sequence[str] | None) -> SubmitCall:
        """Check a call of a workflow.

        Raises:
            UnknownWorkflow: there is none of this name, or the caller may not start it.
            CallerError: the first fault of the call, or the first fault of each input, up to MAX_ERRORS of them.

        """
        workflow = self._by_name.get(name)
        if workflow is None or (models is not None and workflow.model not in models):
            raise UnknownWorkflow("there is no workflow of this name; GET /workflows lists them")
        if not isinstance(document, dict):
            raise InvalidRequest("the body must be a JSON object with `inputs`", code="invalid_value")
        body = shaped(document, WorkflowBody, "", OBJECTS)
        check_count("inputs", body.inputs, limits)
        return call_of(body, prompts_of("inputs", body.inputs, workflow.prompt, limits), limits)


def _refused(error: "JsonSchemaValueException", place: str) -> InvalidRequest:
    """Name the field and the rule. A missing or unknown field is named itself, and not what it is missing from."""
    pointer = place
    for step in error.path[1:]:
        pointer = pointer_to(pointer, str(step))
    match error.rule:
        case "required":
            missing = next(name for name in error.definition["required"] if name not in error.value)
            return InvalidRequest("is missing", pointer=pointer_to(pointer, missing), code="invalid_value")
        case "additionalProperties":
            known = error.definition.get("properties", {})
            return unknown_field(pointer, next(name for name in error.value if name not in known), known)
        case _:
            rule = str(error.message).removeprefix(str(error.name)).strip()
            return InvalidRequest(rule, pointer=pointer, code="invalid_value")
