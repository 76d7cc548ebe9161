"""Test reads: order, ownership, and the size limit of a response."""

import json
from collections.abc import Sequence

import pytest

from common.api.pagination import CHUNK, MOST_BYTES
from common.domain.errors import Gone, NotFound
from common.domain.task import (
    FailureCode,
    NewBatch,
    TaskRecord,
    TaskRef,
    TaskSpec,
    TaskStatus,
    batch_id_of_key,
    new_batch_id,
)
from functions.status.query import Page
from functions.status.service import (
    QUEUED_RETRY_AFTER_SECONDS,
    RUNNING_RETRY_AFTER_SECONDS,
    StatusService,
)
from tests.fakes import FakeStore
from tests.unit.stored_batch import BATCH, NOW_MS, StoredBatch

KEYED = batch_id_of_key("acme", "key")
SIX_MB = 6_291_556


class Stage(StoredBatch):
    """A batch, some of its tasks further than others, and what looks them up."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = StatusService(self.store, now_ms=lambda: self.now_ms)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_tasks_come_in_the_order_asked_and_unknown_ones_in_their_place(stage: Stage) -> None:
    first, second = await stage.create(2)
    foreign = TaskRef("acme", BATCH, 2).task_id

    view = await stage.lookup.tasks("acme", [second, "nonsense", first, foreign, second])

    assert [(task["task_id"], task["status"]) for task in view.body["tasks"]] == [
        (second, "queued"),
        ("nonsense", "not_found"),
        (first, "queued"),
        (foreign, "not_found"),
        (second, "queued"),
    ]
    assert "next" not in view.body


async def test_another_tenant_sees_nothing(stage: Stage) -> None:
    [task_id] = await stage.create(1)

    view = await stage.lookup.tasks("other", [task_id])

    assert view.body["tasks"] == [{"task_id": task_id, "status": "not_found"}]
    with pytest.raises(NotFound):
        await stage.lookup.task("other", task_id)
    with pytest.raises(NotFound):
        await stage.lookup.batch("other", BATCH, Page())


@pytest.mark.parametrize(
    "bad", ["", "x", "../x", BATCH, f"{BATCH}-", f"{BATCH}-01", f"{BATCH}-10000", f"{'A' * 36}-0", f"{'z' * 36}-0"]
)
async def test_an_id_that_no_task_can_have_is_not_found(stage: Stage, bad: str) -> None:
    await stage.create(1)

    with pytest.raises(NotFound):
        await stage.lookup.task("acme", bad)


@pytest.mark.parametrize("bad", ["", "x", f"{BATCH}-0", new_batch_id(2, bytes(16))])
async def test_an_unknown_batch_is_not_found(stage: Stage, bad: str) -> None:
    await stage.create(1)

    with pytest.raises(NotFound):
        await stage.lookup.batch("acme", bad, Page())


async def test_an_id_that_has_outlived_its_record_is_expired(stage: Stage) -> None:
    [task_id] = await stage.create(1)
    unknown = new_batch_id(stage.now_ms, bytes(16))
    stage.now_ms += 3_600_001

    view = await stage.lookup.tasks("acme", [task_id, f"{unknown}-0", f"{KEYED}-0", f"{task_id}x"])

    assert [task["status"] for task in view.body["tasks"]] == ["expired", "expired", "not_found", "not_found"]
    for error, ask in (
        (Gone, stage.lookup.task("acme", task_id)),
        (Gone, stage.lookup.batch("acme", BATCH, Page())),
        (NotFound, stage.lookup.task("acme", f"{KEYED}-0")),
        (NotFound, stage.lookup.batch("acme", KEYED, Page())),
    ):
        with pytest.raises(error):
            await ask


async def test_an_answer_says_when_to_ask_again_until_nothing_can_change(stage: Stage) -> None:
    queued, other = await stage.create(2)
    assert (await stage.lookup.task("acme", queued)).retry_after == QUEUED_RETRY_AFTER_SECONDS

    await stage.claim(0)
    assert (await stage.lookup.tasks("acme", [queued, other])).retry_after == RUNNING_RETRY_AFTER_SECONDS

    await stage.complete(0)
    assert (await stage.lookup.task("acme", queued)).retry_after is None
    assert (await stage.lookup.tasks("acme", ["unknown"])).retry_after is None


@pytest.mark.parametrize("letter", ["a", '"', "\n", "é", "😀", "\\", "\0"])
async def test_results_that_do_not_fit_come_on_the_next_page(stage: Stage, letter: str) -> None:
    ids = await stage.create(4)
    for index in range(4):
        # As it is in the answer, a third of what fits: one page takes two of them, whatever the letter.
        await stage.complete(index, letter * (MOST_BYTES * 2 // 5 // len(json.dumps(json.dumps(letter))[3:-3])))

    shown = []
    left = ids
    while left:
        view = await stage.lookup.tasks("acme", left)
        assert len(json.dumps({"body": json.dumps(view.body)})) < SIX_MB
        shown += view.body["tasks"]
        following = view.body.get("next")
        left = following.removeprefix("?task_ids=").split(",") if following else []

    assert [task["task_id"] for task in shown] == ids
    assert all(set(task["result"]) == {letter} for task in shown)


async def test_a_result_larger_than_any_answer_is_an_error_in_its_place(stage: Stage) -> None:
    ids = await stage.create(3)
    await stage.complete(0, "small")
    await stage.complete(1, "x" * (MOST_BYTES + 1))
    await stage.complete(2, "small")

    shown = (await stage.lookup.tasks("acme", ids)).body["tasks"]
    alone = (await stage.lookup.task("acme", ids[1])).body

    assert [task["task_id"] for task in shown] == ids
    assert [task.get("result") for task in shown] == ["small", None, "small"]
    assert shown[1] == alone
    assert (alone["status"], alone["error"]["code"]) == ("completed", "answer_too_large")


async def test_a_page_of_a_batch_ends_where_the_answer_is_full(stage: Stage) -> None:
    # GIVEN a thousand tasks with the longest names there are, of the characters that take the most room
    size, name = 1_000, "😀" * 256
    specs = tuple(TaskSpec("m" * 1_000, f"{index:04}{name[4:]}") for index in range(size))
    batch = NewBatch("acme", BATCH, specs, 60_000, 100_000, metadata={"run": "😀" * 512})
    await stage.store.create(batch)

    # WHEN all are asked for at once
    shown, start = [], 0
    while True:
        view = await stage.lookup.batch("acme", BATCH, Page(start, size))
        assert len(json.dumps({"body": json.dumps(view.body)})) < SIX_MB
        shown += view.body["tasks"]
        if "next" not in view.body:
            break
        start = len(shown)
        assert view.body["next"] == f"?cursor={start}&limit={size}"

    # THEN none is missing
    assert [task["custom_id"] for task in shown] == [spec.custom_id for spec in specs]


async def test_more_tasks_than_are_read_at_once_are_all_shown(stage: Stage) -> None:
    ids = await stage.create(2 * CHUNK + 1)

    view = await stage.lookup.tasks("acme", ids)

    assert [task["task_id"] for task in view.body["tasks"]] == ids


async def test_a_batch_comes_with_a_page_of_its_tasks_without_results(stage: Stage) -> None:
    ids = await stage.create(5)
    await stage.complete(0)

    shown = []
    start = 0
    while True:
        view = await stage.lookup.batch("acme", BATCH, Page(start, 2))
        assert (view.body["size"], view.body["counts"]["completed"], view.body["progress"]) == (5, 1, 20)
        shown += view.body["tasks"]
        if "next" not in view.body:
            break
        start += 2
        assert view.body["next"] == f"?cursor={start}&limit=2"

    assert [task["task_id"] for task in shown] == ids
    assert not any("result" in task for task in shown)


async def test_the_tasks_of_one_status_are_listed_page_by_page(stage: Stage) -> None:
    # GIVEN every other task of seven failed
    ids = await stage.create(7)
    for index in range(0, 7, 2):
        await stage.store.fail(await stage.claim(index), FailureCode.CONTENT_POLICY)

    # WHEN the failed are asked for, three at a time
    first = await stage.lookup.batch("acme", BATCH, Page(limit=3, status=TaskStatus.FAILED))
    second = await stage.lookup.batch("acme", BATCH, Page(6, 3, TaskStatus.FAILED))

    # THEN they come with their reasons, and the counts are still those of all
    assert first.body["next"] == "?cursor=6&limit=3&status=failed"
    assert "next" not in second.body
    shown = first.body["tasks"] + second.body["tasks"]
    assert [task["task_id"] for task in shown] == ids[::2]
    assert {task["error"]["code"] for task in shown} == {"content_policy"}
    assert first.body["counts"] == second.body["counts"]
    assert first.body["counts"]["queued"] == 3


async def test_only_the_fields_that_were_asked_for_are_shown(stage: Stage) -> None:
    done, queued = await stage.create(2)
    await stage.complete(0)
    fields = frozenset({"result", "model"})

    alone = await stage.lookup.task("acme", done, fields)
    among = await stage.lookup.tasks("acme", [done, queued, "x"], fields)

    shown = {"task_id": done, "batch_id": BATCH, "status": "completed", "result": "done", "model": "m"}
    assert alone.body == shown
    assert among.body["tasks"] == [
        shown,
        {"task_id": queued, "batch_id": BATCH, "status": "queued", "model": "m"},
        {"task_id": "x", "status": "not_found"},
    ]


async def test_what_is_not_asked_for_is_not_even_read(stage: Stage) -> None:
    [done] = await stage.create(1)
    await stage.complete(0)
    read: list[bool] = []

    class Watched(FakeStore):
        async def read(self, refs: Sequence[TaskRef], *, with_text: bool = True) -> list[TaskRecord | None]:
            read.append(with_text)
            return await stage.store.read(refs, with_text=with_text)

    lookup = StatusService(Watched(lambda: NOW_MS), now_ms=lambda: NOW_MS)
    for names in ({"progress"}, {"progress", "usage"}):
        await lookup.tasks("acme", [done], frozenset(names))

    assert read == [False, True]


async def test_fields_stay_chosen_on_the_next_page(stage: Stage) -> None:
    ids = await stage.create(2)
    await stage.complete(0, "x" * (MOST_BYTES // 2))
    await stage.complete(1, "x" * (MOST_BYTES // 2))

    view = await stage.lookup.tasks("acme", ids, frozenset({"result", "model"}))
    batch = await stage.lookup.batch("acme", BATCH, Page(0, 1, fields=frozenset({"tasks", "size"})))

    assert view.body["next"] == f"?task_ids={ids[1]}&fields=model,result"
    assert batch.body["next"] == "?cursor=1&limit=1&fields=size,tasks"


async def test_a_batch_may_be_asked_for_without_its_tasks(stage: Stage) -> None:
    await stage.create(2)

    view = await stage.lookup.batch("acme", BATCH, Page(fields=frozenset({"progress"})))

    assert view.body == {"batch_id": BATCH, "status": "queued", "progress": 0}


async def test_a_page_behind_the_end_is_empty(stage: Stage) -> None:
    await stage.create(2)

    view = await stage.lookup.batch("acme", BATCH, Page(7, 2))

    assert view.body["tasks"] == []
    assert "next" not in view.body


async def test_a_task_whose_record_is_lost_is_not_found_in_its_batch(stage: Stage) -> None:
    ids = await stage.create(2)
    stage.store.lose(TaskRef("acme", BATCH, 1))

    view = await stage.lookup.batch("acme", BATCH, Page(0, 2))

    assert view.body["tasks"][1] == {"task_id": ids[1], "status": "not_found"}
