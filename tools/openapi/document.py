"""Assemble the OpenAPI document."""

import json
from pathlib import Path
from typing import Any, Final

from tools.openapi.openai_operations import OPENAI_PATHS
from tools.openapi.openai_schemas import OPENAI_SCHEMAS
from tools.openapi.operations import PATHS, PROBLEM_ANSWERS
from tools.openapi.schemas import SCHEMAS

PATH: Final = Path(__file__).parents[2] / "functions/docs/openapi.json"
"""The file that DocsFunction serves."""

ABOUT: Final = (
    "Send many prompts in one call and get an id for each immediately. Read the state of any task at any time. "
    "Every error is application/problem+json with a stable `code`."
)


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice", "version": "0.1.0", "description": ABOUT, "license": {"name": "Apache-2.0"}},
        # Relative to this document: valid behind any stage, proxy or domain.
        "servers": [{"url": "."}],
        "security": [{"key": []}],
        "paths": {**PATHS, **OPENAI_PATHS},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`make key` issues keys."}},
            "schemas": {**SCHEMAS, **OPENAI_SCHEMAS},
            "responses": PROBLEM_ANSWERS,
        },
    }


def written() -> str:
    """Return the document as the text of the file."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
