"""Send the inputs of several requests in one call, and split its answer again."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from common.domain.task import Answer, Usage
from common.kinds.embeddings.estimates import inputs_of, prompt_tokens
from common.kinds.embeddings.views import ENCODING

MOST_ITEMS: Final = 2_048
"""Inputs of one call: OpenAI's limit."""

MOST_TOKENS: Final = 200_000
"""Tokens of one call, by our estimate. OpenAI's limit is 300,000; an estimate may be a third too low."""

_OWN: Final = frozenset({"input", ENCODING})
"""The params that requests of one call need not share."""


def group_of(body: Mapping[str, Any], /) -> Hashable:
    """Return what requests have in common that may be sent together: their params, and the form of their inputs."""
    has_tokens = isinstance(inputs_of(body["input"])[0], list)
    params = {name: value for name, value in body.items() if name not in _OWN}
    return has_tokens, json.dumps(params, sort_keys=True)


def items_of(body: Mapping[str, Any], /) -> int:
    """Return how many of MOST_ITEMS a request takes."""
    return len(inputs_of(body["input"]))


def joined(bodies: Sequence[Mapping[str, Any]], /) -> dict[str, Any]:
    """Return the body of one call for all requests of a group."""
    return {**bodies[0], "input": [each for body in bodies for each in inputs_of(body["input"])]}


def split(answer: Answer, bodies: Sequence[Mapping[str, Any]], /) -> list[Answer]:
    """Return the part of the answer that belongs to each request, with its share of the usage."""
    response = answer.response or {}
    answers, start = [], 0
    for body, usage in zip(bodies, shares(answer.usage, bodies), strict=True):
        items = response["data"][start : start + items_of(body)]
        start += len(items)
        data = [{**item, "index": index} for index, item in enumerate(items)]
        own = {**response, "data": data, ENCODING: body.get(ENCODING) or "float"}
        if usage is not None:
            own["usage"] = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
        answers.append(replace(answer, usage=usage, response=own))
    return answers


def shares(usage: Usage | None, bodies: Sequence[Mapping[str, Any]], /) -> list[Usage | None]:
    """Divide the usage of a call by the estimated tokens of its requests; the sums are equal to the whole."""
    if usage is None:
        return [None] * len(bodies)
    weights = [prompt_tokens(body) for body in bodies]
    columns = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cached_tokens)
    prompt, completion, total, cached = (_divided(count, weights) for count in columns)
    return [Usage(*counts) for counts in zip(prompt, completion, total, cached, strict=True)]


def _divided(count: int, weights: Sequence[int]) -> list[int]:
    """Divide a count by weights into whole numbers, by cumulative rounding."""
    whole, seen, given, parts = sum(weights), 0, 0, []
    for weight in weights:
        seen += weight
        upto = count * seen // whole
        parts.append(upto - given)
        given = upto
    return parts
