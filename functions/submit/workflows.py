"""List the workflows of this service, and validate their inputs; `make workflows` writes the list from the chains.

The function ships no LangChain. fastjsonschema is imported for the first call of a workflow: calls of prompts don't
need it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.api.conversion import unknown_field
from common.api.json_body import pointer_to
from common.domain.errors import InvalidRequest, NotFound
from common.domain.request import Kind
from common.kinds.registry import public_model

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

LIST: Final = Path(__file__).with_name("workflows.json")
"""What `make workflows` has written."""


class UnknownWorkflow(NotFound):
    """There is no workflow of this name."""

    code = "unknown_workflow"


@dataclass(frozen=True)
class WorkflowDescription:
    """Describe a workflow to its callers. The schema is JSON Schema, as pydantic writes it."""

    name: str
    description: str
    input_schema: Mapping[str, Any] = field(repr=False)

    @property
    def model(self) -> str:
        """Return the name that the API and API keys use for it as a model."""
        return public_model(Kind.WORKFLOW, self.name)

    def has_input(self, name: str) -> bool:
        """Return whether the schema has a field of this name."""
        return name in self.input_schema.get("properties", {})

    def check(self, given: Mapping[str, Any], place: str) -> None:
        """Validate an input against the schema; `place` is its JSON pointer.

        Raises:
            InvalidRequest: with the field and the rule, and nothing of its value.

        """
        from fastjsonschema import JsonSchemaValueException  # noqa: PLC0415  # only for workflows

        try:
            self._validate(given)
        except JsonSchemaValueException as error:
            raise _refused(error, place) from None

    @cached_property
    def _validate(self) -> Callable[[Any], Any]:
        import fastjsonschema  # noqa: PLC0415  # only for workflows

        validate: Callable[[Any], Any] = fastjsonschema.compile(dict(self.input_schema), use_default=False)
        return validate


class WorkflowCatalogue:
    """Hold the workflows of this service."""

    def __init__(self, workflows: Sequence[WorkflowDescription]) -> None:
        """Create the catalogue; the order is that of GET /workflows."""
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
        """Return those that the caller's key allows; None allows all."""
        return [
            {"name": each.name, "description": each.description, "input_schema": each.input_schema}
            for each in self._by_name.values()
            if models is None or each.model in models
        ]

    def find(self, name: str, models: Sequence[str] | None) -> WorkflowDescription:
        """Return the workflow of this name, if the models of the caller's key include it; None includes all.

        Raises:
            UnknownWorkflow: there is none of this name, or the caller may not start it.

        """
        workflow = self._by_name.get(name)
        if workflow is None or (models is not None and workflow.model not in models):
            raise UnknownWorkflow("there is no workflow of this name; GET /workflows lists them")
        return workflow


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
