"""Test that an unchanged response is not sent again."""

import pytest

from functions.status.etag import etag_of, is_known

TAG = etag_of("body")
STRONG = TAG.removeprefix("W/")


def test_a_tag_is_weak_and_each_bodys_own() -> None:
    assert TAG.startswith('W/"')
    assert etag_of("body") == TAG
    assert etag_of("other") != TAG


@pytest.mark.parametrize("header", [TAG, STRONG, "*", f'"other", {TAG}', f'W/"a,b" ,{STRONG}', f" {TAG} "])
def test_a_tag_is_known_if_it_is_named(header: str) -> None:
    assert is_known(TAG, header)


@pytest.mark.parametrize("header", [None, "", '"other"', STRONG.strip('"'), etag_of("other"), '"', "W/", f'"{TAG}"'])
def test_another_tag_is_not(header: str | None) -> None:
    assert not is_known(TAG, header)
