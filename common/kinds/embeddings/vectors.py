"""Convert embeddings between the two encodings of the API: arrays of numbers, and base64 of little-endian float32."""

import base64
import binascii
import math
import struct
from typing import Any, Final

FLOAT_BYTES: Final = 4

_DIGITS: Final = 9
"""Decimal digits that identify any float32."""


def encoded(embedding: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return an embedding of either encoding as base64.

    Raises:
        TypeError, ValueError: it is neither, or not all its numbers are finite float32.

    """
    if isinstance(embedding, str):
        _numbers_of(embedding)
        return embedding
    if not isinstance(embedding, list) or not embedding:
        raise TypeError
    try:
        return base64.b64encode(struct.pack(f"<{len(embedding)}f", *embedding)).decode()
    except (struct.error, OverflowError):
        raise ValueError from None


def decoded(embedding: str) -> list[float]:
    """Return an embedding in base64 as numbers, each with the digits that identify it and no more."""
    return [float(f"{number:.{_DIGITS}g}") for number in _numbers_of(embedding)]


def _numbers_of(embedding: str) -> tuple[float, ...]:
    try:
        raw = base64.b64decode(embedding, validate=True)
    except binascii.Error:
        raise ValueError from None
    if not raw or len(raw) % FLOAT_BYTES:
        raise ValueError
    numbers = struct.unpack(f"<{len(raw) // FLOAT_BYTES}f", raw)
    if not all(map(math.isfinite, numbers)):
        raise ValueError
    return numbers
