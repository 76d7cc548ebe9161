"""Test ids and the transitions of tasks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.task import (
    MAX_BATCH_SIZE,
    TRANSITIONS,
    TaskRef,
    TaskStatus,
    batch_id_of_key,
    birth_of,
    is_batch_id,
    new_batch_id,
)

BATCH_ID = new_batch_id(1_700_000_000_000, bytes(16))


@given(
    now_ms=st.integers(0, 2**48 - 1),
    random=st.binary(min_size=16, max_size=16),
    index=st.integers(0, MAX_BATCH_SIZE - 1),
)
def test_a_task_id_comes_back_as_the_task_it_names(now_ms: int, random: bytes, index: int) -> None:
    ref = TaskRef("acme", new_batch_id(now_ms, random), index)

    assert is_batch_id(ref.batch_id)
    assert TaskRef.parse("acme", ref.task_id) == ref


@given(early=st.integers(0, 2**48 - 2), random=st.binary(min_size=16, max_size=16))
def test_batch_ids_sort_by_birth(early: int, random: bytes) -> None:
    assert new_batch_id(early, random) < new_batch_id(early + 1, bytes(16))


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        BATCH_ID,
        f"{BATCH_ID}-",
        f"{BATCH_ID}-01",
        f"{BATCH_ID}-10000",
        f"{BATCH_ID}--1",
        f"{BATCH_ID}-1\n",
        f"{BATCH_ID}-\u0661",
        f"{BATCH_ID.upper()}x-1",
        f" {BATCH_ID}-1",
        f"{BATCH_ID[:-1]}w-1",
        f"{BATCH_ID}0-1",
    ],
)
def test_what_no_task_can_have_is_no_task_id(task_id: str) -> None:
    assert TaskRef.parse("acme", task_id) is None


def test_a_batch_id_needs_all_its_random_bytes() -> None:
    with pytest.raises(ValueError, match="16 random bytes"):
        new_batch_id(0, bytes(15))


@given(tenant=st.text(), key=st.text(), other=st.text())
def test_a_key_always_gives_one_id_of_its_own_for_each_tenant(tenant: str, key: str, other: str) -> None:
    batch_id = batch_id_of_key(tenant, key)

    assert is_batch_id(batch_id)
    assert batch_id == batch_id_of_key(tenant, key)
    assert (batch_id == batch_id_of_key(tenant, other)) == (key == other)
    assert (batch_id == batch_id_of_key(other, key)) == (tenant == other)


@given(now_ms=st.integers(0, 2**48 - 1), random=st.binary(min_size=16, max_size=16))
def test_a_batch_id_tells_its_birth(now_ms: int, random: bytes) -> None:
    batch_id = new_batch_id(now_ms, random)

    assert birth_of(batch_id) == (None if batch_id.startswith("v") else now_ms)


@given(tenant=st.text(), key=st.text())
def test_the_id_of_a_key_has_no_birth(tenant: str, key: str) -> None:
    assert birth_of(batch_id_of_key(tenant, key)) is None


def test_only_ends_are_terminal() -> None:
    assert {status for status in TaskStatus if status.is_terminal} == {"completed", "failed", "cancelled"}
    assert set(TRANSITIONS) == set(TaskStatus)
