"""Embeddings are read in either encoding, kept exactly, and shown in the encoding that the caller asked for."""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from common.domain.errors import ModelBusy, ModelFailed, ModelRefused
from common.domain.request import Kind
from common.domain.task import Answer, FailureCode, Usage
from common.kinds.embeddings import joint, upstream
from common.kinds.embeddings.estimates import inputs_of, prompt_tokens
from tests.unit.kinds.reading import SIZES, answer_to, shown

VECTOR = [0.5, -0.25, 1e-3]
ROUNDED = [0.5, -0.25, 0.00100000005]
"""The same as float32, each with nine digits at most."""
TWO = {"input": ["One", "Two"]}
USAGE = {"prompt_tokens": 8, "total_tokens": 8}


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def item(index: int | None, embedding: object) -> dict[str, Any]:
    return {"object": "embedding", "embedding": embedding} | ({} if index is None else {"index": index})


def body(*data: dict[str, Any], **fields: object) -> bytes:
    return json.dumps({"object": "list", "data": data, "model": "m-1", "usage": USAGE, **fields}).encode()


def read(data: bytes, request: dict[str, Any] = TWO, *, size: int = 100_000) -> Answer:
    return answer_to(Kind.EMBEDDINGS, request, data, size=size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sent", [VECTOR, packed(VECTOR)])
@pytest.mark.parametrize(("encoding", "expected"), [("float", ROUNDED), ("base64", packed(VECTOR)), (None, ROUNDED)])
def test_either_encoding_of_the_provider_is_shown_in_the_one_asked_for(
    size: int, sent: object, encoding: str | None, expected: object
) -> None:
    asked = TWO | ({"encoding_format": encoding} if encoding else {})

    answer = read(body(item(0, sent), item(1, sent), x_unknown=7), asked, size=size)

    assert (answer.text, answer.finish_reason, answer.usage) == ("", None, Usage(8, 0, 8))
    assert shown(Kind.EMBEDDINGS, answer) == {
        "object": "list",
        "data": [item(0, expected), item(1, expected)],
        "model": "m-1",
        "usage": USAGE,
        "x_unknown": 7,
    }


def test_numbers_are_shown_as_the_type_of_the_sdk_has_them() -> None:
    answer = read(body(item(0, VECTOR), item(1, VECTOR)))

    CreateEmbeddingResponse.model_validate(shown(Kind.EMBEDDINGS, answer), strict=True)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_no_number_changes_on_its_way(vector: list[float]) -> None:
    answer = read(body(item(0, packed(vector))), {"input": "One"})

    (only,) = shown(Kind.EMBEDDINGS, answer)["data"]

    assert struct.pack(f"<{len(vector)}f", *only["embedding"]) == struct.pack(f"<{len(vector)}f", *vector)


def test_the_order_is_that_of_the_indices() -> None:
    answer = read(body(item(1, [1.0]), item(0, [0.0])))

    assert [each["embedding"] for each in shown(Kind.EMBEDDINGS, answer)["data"]] == [[0.0], [1.0]]


def test_without_indices_the_order_is_that_of_the_inputs() -> None:
    answer = read(body(item(None, [1.0]), item(None, [2.0])))

    assert shown(Kind.EMBEDDINGS, answer)["data"] == [item(0, [1.0]), item(1, [2.0])]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="html"),
        pytest.param(b"[1]", id="no-object"),
        pytest.param(b'{"object": "list"}', id="no-data"),
        pytest.param(body(item(0, [1.0])), id="one-too-few"),
        pytest.param(body(item(0, [1.0]), item(1, [1.0]), item(2, [1.0])), id="one-too-many"),
        pytest.param(body(item(0, [1.0]), item(0, [1.0])), id="one-index-twice"),
        pytest.param(body(item(0, [1.0]), item(2, [1.0])), id="a-wrong-index"),
        pytest.param(body(item(0, [1.0]), item(1, [])), id="an-empty-one"),
        pytest.param(body(item(0, [1.0]), item(1, ["1"])), id="no-numbers"),
        pytest.param(body(item(0, [1.0]), item(1, [1e300])), id="no-float32"),
        pytest.param(body(item(0, [1.0]), item(1, "####")), id="no-base64"),
        pytest.param(body(item(0, [1.0]), item(1, "AAA=")), id="half-a-number"),
        pytest.param(body(item(0, [1.0]), item(1, packed([float("nan")]))), id="not-a-number"),
        pytest.param(b'{"data": 7, "usage": null}', id="data-of-another-type"),
    ],
)
def test_what_is_no_embedding_for_each_input_is_a_failure(data: bytes) -> None:
    with pytest.raises(ModelFailed) as failed:
        read(data)

    assert failed.value.code is FailureCode.UNREADABLE_ANSWER


def test_what_was_billed_of_an_unreadable_answer_is_kept() -> None:
    with pytest.raises(ModelFailed) as failed:
        read(body(item(0, [1.0])))

    assert failed.value.usage == Usage(8, 0, 8)


def test_an_error_in_a_body_with_status_200_is_classified() -> None:
    with pytest.raises(ModelBusy):
        read(b'{"error": {"code": "rate_limit_exceeded"}}')


def test_a_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_BODY_BYTES", 50)

    with pytest.raises(ModelRefused) as refused:
        read(body(item(0, VECTOR), item(1, VECTOR)))

    assert refused.value.code is FailureCode.ANSWER_TOO_LARGE


def test_the_provider_is_asked_for_base64() -> None:
    sent = json.loads(upstream.encode("embedder", {"input": "One", "dimensions": 256, "encoding_format": "float"}))

    assert sent == {"input": "One", "dimensions": 256, "model": "embedder", "encoding_format": "base64"}


@pytest.mark.parametrize(
    ("given", "inputs", "tokens"),
    [
        ("a" * 40, 1, 10),
        (["a" * 40, "b"], 2, 11),
        ([1, 2, 3], 1, 3),
        ([[1, 2, 3], [4]], 2, 4),
    ],
)
def test_each_form_of_the_input_is_counted(given: object, inputs: int, tokens: int) -> None:
    assert len(inputs_of(given)) == inputs
    assert prompt_tokens({"input": given}) == tokens


# ─── Joint calls ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_requests_are_of_one_group_where_params_and_form_are_equal() -> None:
    group = joint.group_of({"input": "One", "dimensions": 256, "encoding_format": "float"})

    assert joint.group_of({"input": ["One", "Two"], "encoding_format": "base64", "dimensions": 256}) == group
    assert joint.group_of({"input": "One"}) != group
    assert joint.group_of({"input": [1, 2], "dimensions": 256}) != group
    assert joint.group_of({"input": "One", "dimensions": 256, "user": "ann"}) != group


def test_an_answer_is_split_by_the_inputs_of_each_request() -> None:
    requests: list[dict[str, Any]] = [
        {"input": "One"},
        {"input": ["Two", "Three"], "encoding_format": "base64"},
        {"input": ["Four"]},
    ]
    whole = read(body(*(item(index, [float(index)]) for index in range(4))), joint.joined(requests))

    parts = [shown(Kind.EMBEDDINGS, each) for each in joint.split(whole, requests)]

    assert [each["data"] for each in parts] == [
        [item(0, [0.0])],
        [item(0, packed([1.0])), item(1, packed([2.0]))],
        [item(0, [3.0])],
    ]
    assert all(each["model"] == "m-1" for each in parts)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)
def test_the_shares_of_the_usage_add_up_to_the_whole(lengths: list[int], prompt: int, cached: int) -> None:
    bodies = [{"input": list(range(length))} for length in lengths]

    parts = joint.shares(Usage(prompt, 0, prompt, cached), bodies)

    assert [sum(getattr(each, name) for each in parts) for name in ("prompt_tokens", "total_tokens")] == [prompt] * 2
    assert sum(each.cached_tokens for each in parts if each) == cached
    assert all(each and each.prompt_tokens == each.total_tokens for each in parts)


def test_a_share_follows_the_length_of_its_request() -> None:
    parts = joint.shares(Usage(40, 0, 40), [{"input": [1] * 10}, {"input": [[1] * 20, [1] * 10]}])

    assert parts == [Usage(10, 0, 10), Usage(30, 0, 30)]
