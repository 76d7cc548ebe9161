"""Bound the items of a call, each of which becomes a task: how many, how large, and no name twice."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from common.api.pagination import size_of
from common.domain.errors import CallerError, InvalidRequest, RequestTooLarge
from common.submission.json_body import MAX_ERRORS, refuse_all
from common.submission.limits import Limits
from common.submission.service import Prompt

MOST_CALL_BYTES: Final = 20_000_000
"""Bytes of all prompts of a call in the queue. A full request of 6 MB, all emoji, takes 18 MB; a template or a system
prompt, which each task repeats, must not make far more of it than our memory and time have room for."""


MOST_NAME_BYTES: Final = 3_600_000
"""Bytes of all custom_ids of a call as they travel in its answer, which Lambda must be able to carry. A thousand of the
longest fit, all emoji."""


def check_count(name: str, items: Sequence[object], limits: Limits) -> None:
    """Refuse a call of no items, or of too many."""
    if not items:
        raise InvalidRequest("must not be empty", pointer=f"/{name}", code="no_prompts")
    if len(items) > limits.most_prompts:
        raise RequestTooLarge(
            f"has {len(items)} items; a call takes at most {limits.most_prompts}",
            pointer=f"/{name}",
            code="too_many_prompts",
        )


def prompts_of(
    name: str, items: Sequence[Any], make: Callable[[Any, str], Prompt], limits: Limits
) -> tuple[Prompt, ...]:
    """Make a prompt of each item of the field `name`; `make` is handed the item and its JSON pointer.

    Raises:
        CallerError: the first fault of each item, up to MAX_ERRORS of them.

    """
    prompts: list[Prompt] = []
    faults: list[CallerError] = []
    places: dict[str, str] = {}
    room, name_room = MOST_CALL_BYTES, MOST_NAME_BYTES
    for index, item in enumerate(items):
        place = f"/{name}/{index}"
        try:
            prompt = make(item, place)
            room -= _measured(prompt, place, limits)
            name_room -= 0 if prompt.custom_id is None else size_of({"": prompt.custom_id})
            if prompt.custom_id is not None and places.setdefault(prompt.custom_id, place) != place:
                raise InvalidRequest(
                    f"is already the custom_id of {places[prompt.custom_id]}",
                    pointer=f"{place}/custom_id",
                    code="duplicate_custom_id",
                )
        except CallerError as fault:
            faults.append(fault)
            if len(faults) == MAX_ERRORS:
                break
        else:
            prompts.append(prompt)
        if room < 0:
            taken = f"the prompts before it take up the {MOST_CALL_BYTES} bytes that a call has in the queue"
            faults.append(RequestTooLarge(f"is too much: {taken}", pointer=place))
            break
        if name_room < 0:
            taken = f"the custom_ids before it take up the {MOST_NAME_BYTES} bytes that the answer has for them"
            faults.append(RequestTooLarge(f"is too much: {taken}", pointer=f"{place}/custom_id"))
            break
    refuse_all(faults)
    return tuple(prompts)


def _measured(prompt: Prompt, place: str, limits: Limits) -> int:
    """Return the bytes that a prompt takes in the queue, if it may."""
    size = len(json.dumps(prompt.request.body, separators=(",", ":")))
    if size > limits.most_prompt_bytes:
        raise RequestTooLarge(
            f"takes {size} bytes in the queue, with its params; a prompt may take {limits.most_prompt_bytes}",
            pointer=place,
            code="prompt_too_large",
        )
    return size
