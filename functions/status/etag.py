"""Compute the ETag of a response, so that an unchanged one is not sent again (RFC 9110, section 8.8.3)."""

import hashlib
import re
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')


def etag_of(body: str) -> str:
    """Return the ETag of a body. It is weak: it promises the same JSON, not the same headers."""
    return f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Return whether the header If-None-Match names the tag, or any."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(if_none_match)
