"""Parse query parameters, or name the parameter that is out of bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from common.api.serializers import BATCH_FIELDS
from common.domain.errors import InvalidRequest
from common.domain.task import MAX_BATCH_SIZE, TaskStatus

type Query = Mapping[str, Sequence[str]]
"""Each parameter with all the values it came with."""

MOST_IDS: Final = 1_000
"""Tasks in one request. API Gateway ends a URL at about 10,000 characters, some 240 ids; other servers don't."""

LONGEST_ID: Final = 64
"""Characters of an id, ours have at most 41: a longer one would be echoed."""

MOST_LIMIT: Final = 1_000
"""Tasks on one page of a batch."""

DEFAULT_LIMIT: Final = 100
"""Tasks on a page by default."""


@dataclass(frozen=True, slots=True)
class Page:
    """Select the tasks of a batch to show: from the one at place `start` on, `limit` at most.

    With a status only those that have it; `fields` are of the batch, None means all.
    """

    start: int = 0
    limit: int = DEFAULT_LIMIT
    status: TaskStatus | None = None
    fields: frozenset[str] | None = None

    def following(self, start: int) -> str:
        """Write the query of the page that starts elsewhere."""
        query = f"?cursor={start}&limit={self.limit}"
        if self.status is not None:
            query += f"&status={self.status}"
        return query + query_of(self.fields)


def task_ids(query: Query) -> list[str]:
    """Return the ids of `task_ids`: a comma list, given once or more often. Order and repeats stay."""
    ids = _listed(query, "task_ids")
    if not ids:
        raise InvalidRequest("task_ids must name at least one task, as in ?task_ids=a,b,c", code="no_task_ids")
    if len(ids) > MOST_IDS:
        raise InvalidRequest(
            f"task_ids names {len(ids)} tasks; at most {MOST_IDS} in one call", code="too_many_task_ids"
        )
    if any(len(each) > LONGEST_ID for each in ids):
        raise InvalidRequest(f"an id in task_ids has more than {LONGEST_ID} characters", code="task_id_too_long")
    return ids


def page(query: Query) -> Page:
    """Return which tasks of a batch to show."""
    status = query.get("status", [""])[-1]
    if status and status not in set(TaskStatus):
        raise InvalidRequest(f"status must be one of {', '.join(TaskStatus)}", code="invalid_status")
    return Page(
        start=_number(query, "cursor", least=0, most=MAX_BATCH_SIZE, default=0),
        limit=_number(query, "limit", least=1, most=MOST_LIMIT, default=DEFAULT_LIMIT),
        status=TaskStatus(status) if status else None,
        fields=fields(query, BATCH_FIELDS),
    )


def fields(query: Query, known: frozenset[str]) -> frozenset[str] | None:
    """Return the names in `fields`, a comma list as in `task_ids`; None if there is none."""
    names = frozenset(_listed(query, "fields"))
    if names - known:
        raise InvalidRequest(f"fields may name {', '.join(sorted(known))}", code="invalid_fields")
    return names or None


def query_of(names: frozenset[str] | None) -> str:
    """Write chosen fields to follow another parameter of a URL."""
    return f"&fields={','.join(sorted(names))}" if names else ""


def _listed(query: Query, name: str) -> list[str]:
    lists = [unquote(value).split(",") for value in query.get(name, ())]
    return [each.strip() for values in lists for each in values if each.strip()]


def _number(query: Query, name: str, *, least: int, most: int, default: int) -> int:
    values = query.get(name)
    if not values:
        return default
    text = values[-1]
    # Length first: int() of a very long text is slow, and raises.
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise InvalidRequest(f"{name} must be a whole number from {least} to {most}", code=f"invalid_{name}")
    return int(text)
