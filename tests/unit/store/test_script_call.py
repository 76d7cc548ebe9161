"""The arguments of a script travel by name, and any text survives."""

from common.store.scripts import ScriptCall, named


def test_arguments_are_names_and_values_and_an_absent_one_is_omitted() -> None:
    call = ScriptCall("end", ["key"], {"owner": "a", "code": None, "size": 3})

    assert call.arguments() == ["owner", b"a", "size", 3]


def test_the_arguments_of_each_item_follow_its_index() -> None:
    call = ScriptCall("create", ["key"], {"nonce": "n"}, [{"model": "m", "custom_id": None}, {}, {"model": "k"}])

    assert call.arguments() == ["nonce", b"n", "item", 0, "model", b"m", "item", 1, "item", 2, "model", b"k"]


def test_a_text_that_looks_like_a_name_stays_a_value() -> None:
    assert ScriptCall("end", ["key"], {"text": "item"}).arguments() == ["text", b"item"]


def test_any_text_that_json_can_hold_is_encoded() -> None:
    assert ScriptCall("end", ["key"], {"text": "\ud800\0é"}).arguments() == ["text", b"\xed\xa0\x80\0\xc3\xa9"]


def test_an_answer_is_read_by_name() -> None:
    assert named([b"outcome", b"busy", b"wait_ms", 7]) == {"outcome": b"busy", "wait_ms": 7}
