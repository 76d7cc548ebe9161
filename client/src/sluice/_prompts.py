"""The types of prompts, and the check that a call gets a collection of them."""

from collections.abc import Iterable, Iterator, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol

type Prompt = str | Mapping[str, Any]
"""A text, or an object with `prompt` or `messages`, and `custom_id`, `model`, `system`, `params`, `expected_tokens`."""


class Indexed[T](Protocol):
    """A sequence that is neither a str nor a mapping.

    Type checkers reject a str here because its `__contains__` takes only a str, and a mapping because its
    `__getitem__` takes a key.
    """

    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> T: ...
    def __iter__(self) -> Iterator[T]: ...
    def __len__(self) -> int: ...


type Items[T] = Iterator[T] | Indexed[T] | AbstractSet[T] | ValuesView[T]
"""Any iterable but a str or a mapping, as far as types can say; wrap a class of your own in `iter()`."""
type Prompts = Items[Prompt]
"""A list, a generator, or another collection of prompts."""

_SINGLE: Final = (str, bytes, bytearray, memoryview, Mapping)


def require_collection(value: object, name: str, call: str) -> None:
    """Check that an argument is a collection of items. Iterating over one item would send its characters or keys.

    Raises:
        TypeError: it is one item; the message shows the correct call, and never the value.

    """
    if isinstance(value, _SINGLE):
        raise TypeError(f"{name} must be a list or another iterable of items, not one {type(value).__name__}: {call}")


def as_list[T](items: Iterable[T] | None, name: str, call: str) -> list[T] | None:
    """Return the items of an argument as a list, or None.

    Raises:
        TypeError: the argument is one item instead of a collection.

    """
    require_collection(items, name, call)
    return None if items is None else list(items)
