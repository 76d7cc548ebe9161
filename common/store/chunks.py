"""Cut work on many tasks into script calls: each on one slot, and short enough to keep nobody else waiting."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Any

from common.domain.task import TaskRef


def in_order(chunks: Sequence[tuple[int, ...]], answers: Sequence[Any]) -> list[Any]:
    """Put the answers of the chunks back into the order of the refs."""
    found = {
        place: answer
        for places, part in zip(chunks, answers, strict=True)
        for place, answer in zip(places, part, strict=True)
    }
    return [found[place] for place in range(len(found))]


def by_batch(refs: Sequence[TaskRef], chunk: int) -> Iterator[tuple[int, ...]]:
    """Group the places of the refs by slot, and cut the groups to what one script call may hold."""
    places_of: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, ref in enumerate(refs):
        places_of[ref.tenant, ref.batch_id].append(place)
    for places in places_of.values():
        yield from batched(places, chunk, strict=False)
