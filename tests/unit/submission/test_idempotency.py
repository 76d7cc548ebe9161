"""What makes a request safe to repeat."""

import pytest

from common.domain.errors import CallerError
from common.submission.idempotency import read_repeatable


def test_without_a_key_a_request_is_not_repeatable() -> None:
    assert read_repeatable(None, {}) is None


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é", "a\n"])
def test_a_key_is_printable_ascii_of_a_sane_length(key: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_repeatable(key, {})

    assert caught.value.code == "invalid_idempotency_key"
    assert caught.value.detail == "Idempotency-Key must be 1 to 255 printable ASCII characters"


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b~!"])
def test_the_digest_tells_requests_apart_but_not_their_spelling(key: str) -> None:
    one, same, other = (
        read_repeatable(key, document)
        for document in ({"prompts": ["a"], "model": "m"}, {"model": "m", "prompts": ["a"]}, {"prompts": ["b"]})
    )

    assert one is not None
    assert other is not None
    assert one == same
    assert one.key == key
    assert one.digest != other.digest
