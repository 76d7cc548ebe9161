"""Write functions/submit/workflows.json: the names, descriptions and input schemas of the workflows."""

import json
from pathlib import Path
from typing import Final

from functions.workflow.chains import WORKFLOWS

TARGET: Final = Path(__file__).parents[1] / "functions" / "submit" / "workflows.json"


def listed() -> str:
    """Return the content of the file for the current chains."""
    entries = [
        {
            "name": workflow.name,
            "description": workflow.description,
            "input_schema": workflow.input.model_json_schema(),
        }
        for workflow in WORKFLOWS
    ]
    return json.dumps({"workflows": entries}, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(listed(), encoding="utf-8")
