"""Test that every error of the Redis library is mapped."""

import inspect

import pytest
from redis import exceptions

from common.domain.errors import StoreUnavailable
from common.store.client import REDIS_ERRORS, redis_errors

KNOWN = [
    member
    for _, member in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(member, Exception) and member.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("error", [*KNOWN, ConnectionResetError, TimeoutError], ids=lambda error: error.__name__)
def test_an_error_of_the_redis_library_means_that_the_store_is_unavailable(error: type[Exception]) -> None:
    # Some take arguments of their own; which of them is raised does not matter.
    raised = error.__new__(error)

    with pytest.raises(StoreUnavailable) as caught, redis_errors():
        raise raised

    assert str(caught.value) == error.__name__
    assert caught.value.__cause__ is raised


def test_the_list_of_the_librarys_errors_is_not_empty() -> None:
    assert {exceptions.ConnectionError, exceptions.OutOfMemoryError, exceptions.SlotNotCoveredError} <= set(KNOWN)


def test_an_error_of_our_own_is_left_alone() -> None:
    with pytest.raises(KeyError), redis_errors():
        raise KeyError("a bug")
    assert not issubclass(KeyError, REDIS_ERRORS)
