"""Read what a caller asks for out of a URL; refuse what is out of bounds, by the parameter's name."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from common.errors import InvalidRequest
from common.tasks import MAX_BATCH_SIZE

type Query = Mapping[str, Sequence[str]]
"""Each parameter with all the values it came with."""

MOST_IDS: Final = 1_000
"""Tasks in one question. API Gateway ends a URL at about 10,000 characters, some 240 ids; other servers don't."""

LONGEST_ID: Final = 64
"""Characters of an id, ours have at most 41: what is longer is no typing error, and would be echoed."""

MOST_LIMIT: Final = 1_000
"""Tasks on one page of a batch."""

DEFAULT_LIMIT: Final = 100
"""Tasks on a page if nothing is said."""


def task_ids(query: Query) -> list[str]:
    """Return the ids of `task_ids`: a comma list, given once or more often. Order and repeats stay."""
    lists = [unquote(value).split(",") for value in query.get("task_ids", ())]
    ids = [each.strip() for values in lists for each in values if each.strip()]
    if not ids:
        raise InvalidRequest("task_ids must name at least one task, as in ?task_ids=a,b,c", code="no_task_ids")
    if len(ids) > MOST_IDS:
        raise InvalidRequest(
            f"task_ids names {len(ids)} tasks; at most {MOST_IDS} in one call", code="too_many_task_ids"
        )
    if any(len(each) > LONGEST_ID for each in ids):
        raise InvalidRequest(f"an id in task_ids has more than {LONGEST_ID} characters", code="task_id_too_long")
    return ids


def page(query: Query) -> tuple[int, int]:
    """Return where a page of a batch starts, and how many tasks it may have."""
    start = _number(query, "cursor", least=0, most=MAX_BATCH_SIZE, default=0)
    return start, _number(query, "limit", least=1, most=MOST_LIMIT, default=DEFAULT_LIMIT)


def _number(query: Query, name: str, *, least: int, most: int, default: int) -> int:
    values = query.get(name)
    if not values:
        return default
    text = values[-1]
    # Length first: int() of a very long text is slow, and raises.
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise InvalidRequest(f"{name} must be a whole number from {least} to {most}", code=f"invalid_{name}")
    return int(text)
