"""Tool calls as providers identify them: by index, by ID, by both or by neither."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from common.domain.errors import ModelFailed
from common.domain.task import FailureCode, ToolCall, ToolKind
from tests.unit.worker.completions import DONE, ROLE, Send, answer_in, both_ways, delta, error_in, piece

type Fields = dict[str, Any]

BONN, ROME, ZONE = '{"city": "Bonn"}', '{"city": "Rome"}', '{"zone": "UTC"}'
TWO = (ToolCall("a", "weather", BONN), ToolCall("b", "clock", ZONE))
SAME_TWICE = (ToolCall("a", "weather", BONN), ToolCall("b", "weather", ROME))
NO_INDEX: tuple[Fields, Fields] = ({}, {})

indexed = pytest.mark.parametrize(
    "indexes",
    [
        pytest.param(({"index": 0}, {"index": 1}), id="0-and-1"),
        pytest.param(NO_INDEX, id="none"),
        pytest.param(({"index": None}, {"index": None}), id="null"),
        pytest.param(({"index": 0}, {"index": 0}), id="all-0"),
        pytest.param(({"index": "0"}, {"index": "1"}), id="texts"),
        pytest.param(({"index": 4}, {"index": 7}), id="not-from-0"),
    ],
)
"""How the first and the second call of an answer may say which they are."""


def call(name: str | None = None, arguments: object = None, **fields: object) -> Fields:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function}


def read(*lists: Iterable[Fields]) -> tuple[ToolCall, ...]:
    """Return the calls of a stream with a delta for each list of pieces."""
    deltas = [delta(tool_calls=list(pieces)) for pieces in lists]
    return answer_in(ROLE, *deltas, delta("tool_calls"), DONE).tool_calls


# ─── Which call a piece belongs to ────────────────────────────────────────────────────────────────────────────────────


@indexed
def test_calls_in_chunks_of_their_own_stay_apart(indexes: tuple[Fields, Fields]) -> None:
    first, second = indexes

    assert read([call("weather", BONN, id="a", **first)], [call("clock", ZONE, id="b", **second)]) == TWO
    assert read([call("weather", BONN, id="a", **first)], [call("weather", ROME, id="b", **second)]) == SAME_TWICE


@indexed
def test_calls_in_one_chunk_stay_apart(indexes: tuple[Fields, Fields]) -> None:
    first, second = indexes

    assert read([call("weather", BONN, id="a", **first), call("clock", ZONE, id="b", **second)]) == TWO
    assert read([call("weather", BONN, id="a", **first), call("weather", ROME, id="b", **second)]) == SAME_TWICE


@indexed
@pytest.mark.parametrize("with_id", [True, False])
def test_arguments_in_pieces_belong_to_the_call_before_them(indexes: tuple[Fields, Fields], *, with_id: bool) -> None:
    def pieces(name: str, arguments: str, call_id: str, index: Fields) -> list[list[Fields]]:
        more = {"id": call_id} if with_id else {}
        return [
            [call(name, "", id=call_id, type="function", **index)],
            *([call(None, character, **more, **index)] for character in arguments),
        ]

    first, second = indexes
    assert read(*pieces("weather", BONN, "a", first), *pieces("clock", ZONE, "b", second)) == TWO
    assert read(*pieces("weather", BONN, "a", first), *pieces("weather", ROME, "b", second)) == SAME_TWICE


@indexed
def test_calls_without_ids_stay_apart(indexes: tuple[Fields, Fields]) -> None:
    first, second = indexes

    for ids in ({}, {"id": ""}, {"id": None}):
        calls = read([call("weather", BONN, **ids, **first)], [call("clock", ZONE, **ids, **second)])
        assert calls == (ToolCall("", "weather", BONN), ToolCall("", "clock", ZONE))
        calls = read([call("weather", BONN, **ids, **first)], [call("weather", ROME, **ids, **second)])
        assert calls == (ToolCall("", "weather", BONN), ToolCall("", "weather", ROME))


@indexed
def test_calls_that_share_an_id_stay_apart(indexes: tuple[Fields, Fields]) -> None:
    first, second = indexes

    calls = read([call("weather", BONN, id="call", **first)], [call("clock", ZONE, id="call", **second)])
    assert calls == (ToolCall("call", "weather", BONN), ToolCall("call", "clock", ZONE))


def test_calls_without_arguments_in_one_list_stay_apart() -> None:
    calls = read([call("now"), call("now"), call("today", id="a"), call("today", id="a")])

    assert [each.name for each in calls] == ["now", "now", "today", "today"]


def test_pieces_of_two_calls_may_alternate() -> None:
    for known in (("index", 0, 1), ("id", "a", "b")):
        name, first, second = known
        heads = [call("weather", "", id="a", index=0), call("clock", "", id="b", index=1 if name == "index" else 0)]
        alternating = [
            [call(None, part, **{name: each})]
            for parts in zip(BONN, ZONE, strict=False)
            for part, each in zip(parts, (first, second), strict=True)
        ]
        rest = [[call(None, BONN[len(ZONE) :], **{name: first})]]
        assert read(heads, *alternating, *rest) == TWO


def test_pieces_of_two_calls_may_come_in_lists_without_indexes() -> None:
    heads = [call("weather", "", id="a"), call("clock", "", id="b")]
    lists = [[call(None, "{"), call(None, "{")], [call("weather", BONN[1:]), call("clock", ZONE[1:])]]

    assert read(heads, *lists) == TWO


@pytest.mark.parametrize("index", [{}, {"index": 0}, {"index": None}])
def test_a_provider_may_repeat_name_and_id_with_every_piece(index: Fields) -> None:
    for ids in ({"id": "a"}, {}):
        calls = read(*([call("weather", part, **ids, **index)] for part in ("", *BONN, "")))
        assert calls == (ToolCall(ids.get("id", ""), "weather", BONN),)


@pytest.mark.parametrize("index", [{}, {"index": 0}])
def test_an_id_that_changes_within_a_call_is_not_glued(index: Fields) -> None:
    named = read([call("weather", BONN[:9], id="1", **index)], [call("weather", BONN[9:], id="2", **index)])
    unnamed = read([call("weather", BONN[:9], id="1", **index)], [call(None, BONN[9:], id="2", **index)])

    assert named == unnamed == (ToolCall("1", "weather", BONN),)


def test_an_index_that_counts_pieces_begins_no_calls() -> None:
    pieces = [[call(None, part, index=place)] for place, part in enumerate(BONN, 1)]

    assert read([call("weather", "", index=0, id="a")], *pieces) == (ToolCall("a", "weather", BONN),)


def test_whole_arguments_that_are_repeated_at_the_end_are_taken_once() -> None:
    repeated = call("weather", BONN, index=0, id="a")

    assert read([call("weather", BONN[:9], index=0, id="a")], [call(None, BONN[9:], index=0)], [repeated]) == TWO[:1]


def test_calls_come_in_the_order_of_their_indexes() -> None:
    assert read([call("clock", ZONE, id="b", index=1)], [call("weather", BONN, id="a", index=0)]) == TWO


def test_an_empty_piece_at_the_end_is_no_call() -> None:
    assert read([call("weather", BONN, id="a", index=0)], [{"index": 1}]) == TWO[:1]


# ─── What a call is ───────────────────────────────────────────────────────────────────────────────────────────────────


@both_ways
@pytest.mark.parametrize("value", [{"city": "Bonn"}, {"größe": [1, None]}, ["x"], {}, [], 7, False])
def test_arguments_that_are_not_text_become_json(send: Send, value: object) -> None:
    [made] = answer_in(send({"tool_calls": [call("weather", value, id="a", index=0)]}, "tool_calls")).tool_calls

    assert made == ToolCall("a", "weather", json.dumps(value))


@both_ways
@pytest.mark.parametrize("arguments", [None, ""])
def test_arguments_may_be_missing(send: Send, arguments: str | None) -> None:
    raw = {"id": "a", "function": {"name": "now", "arguments": arguments}}

    assert answer_in(send({"tool_calls": [raw]}, "tool_calls")).tool_calls == (ToolCall("a", "now", ""),)


@both_ways
@pytest.mark.parametrize("kind", ["function", "", None, "builtin_function", "magic"])
def test_a_call_of_any_other_type_is_that_of_a_function(send: Send, kind: str | None) -> None:
    raw = call("$web_search", BONN, id="a", index=0, type=kind)

    assert answer_in(send({"tool_calls": [raw]}, "tool_calls")).tool_calls == (ToolCall("a", "$web_search", BONN),)


@both_ways
@pytest.mark.parametrize("kind", [{"type": "custom"}, {"type": ""}, {}])
def test_a_call_of_a_custom_tool_has_its_input(send: Send, kind: Fields) -> None:
    raw = {"id": "b", **kind, "custom": {"name": "shell", "input": "ls"}}

    assert answer_in(send({"content": "Let me look.", "tool_calls": [raw]}, "tool_calls")).tool_calls == (
        ToolCall("b", "shell", "ls", ToolKind.CUSTOM),
    )


def test_the_input_of_a_custom_tool_comes_in_pieces_that_may_be_alike() -> None:
    head = {"index": 0, "id": "b", "type": "custom", "custom": {"name": "say", "input": ""}}
    pieces = [[{"index": 0, "custom": {"input": text}}] for text in ("ha", "ha", "}", "}")]

    assert read([head], *pieces) == (ToolCall("b", "say", "haha}}", ToolKind.CUSTOM),)


@both_ways
def test_a_call_may_have_its_fields_without_an_inner_object(send: Send) -> None:
    raw = {"id": "a", "name": "weather", "arguments": BONN}

    assert answer_in(send({"tool_calls": [raw]}, "tool_calls")).tool_calls == TWO[:1]


@both_ways
def test_the_call_of_a_function_by_the_old_name_is_a_tool_call(send: Send) -> None:
    answer = answer_in(
        send({"content": None, "function_call": {"name": "weather", "arguments": BONN}}, "function_call")
    )

    assert (answer.tool_calls, answer.finish_reason) == ((ToolCall("", "weather", BONN),), "function_call")


def test_each_piece_of_a_call_is_a_step_of_the_progress_without_text() -> None:
    pieces: list[str] = []
    parts = [delta(tool_calls=[call("weather", "", index=0)]), delta(tool_calls=[call(None, BONN, index=0)])]

    answer_in(ROLE, piece("Well, "), *parts, delta("tool_calls"), DONE, pieces=pieces)

    assert pieces == ["Well, ", "", ""]


@both_ways
@pytest.mark.parametrize(
    "calls",
    [
        pytest.param({"index": 0}, id="no-list"),
        pytest.param([{"index": 0, "function": "a"}], id="function-as-text"),
        pytest.param([{"index": 0, "function": {"name": ["a"]}}], id="name-as-a-list"),
        pytest.param([{"index": 0, "id": {}, "function": {"name": "a"}}, {"id": {"a": 1}}], id="id-as-an-object"),
        pytest.param([{"index": 0, "function": {"arguments": "{}"}}], id="no-name"),
        pytest.param([{"index": 0, "type": "magic"}], id="nothing"),
        pytest.param([], id="none"),
        pytest.param(["a"], id="text"),
        pytest.param([None], id="null"),
    ],
)
def test_tool_calls_that_are_none_make_the_answer_unreadable(send: Send, calls: object) -> None:
    caught = error_in(send({"tool_calls": calls}, "tool_calls"))

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.UNREADABLE_ANSWER)
