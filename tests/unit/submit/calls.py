"""Make calls, and read them within the limits of these tests."""

from typing import Any

import pytest

from common.domain.errors import CallerError
from common.submission.limits import Limits
from common.submission.model import Prompt
from functions.submit.parsing import parse_call

LIMITS = Limits(
    models=("small", "large"),
    most_prompts=5,
    most_prompt_bytes=300,
    deadline_seconds=60,
    retention_seconds=100,
)


def refusal(document: object) -> CallerError:
    with pytest.raises(CallerError) as caught:
        parse_call(document, LIMITS)
    return caught.value


def only(document: dict[str, Any]) -> Prompt:
    [prompt] = parse_call(document, LIMITS).prompts
    return prompt


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def prompts(*items: object) -> dict[str, Any]:
    return {"prompts": list(items)}
