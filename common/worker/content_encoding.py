"""Decompress an answer's body where its bytes are compressed, whatever its Content-Encoding says.

Gateways unpack a body and leave the label on it, or pack one and lose the label. JSON and server-sent events are text,
which never begins with gzip's two magic bytes, so those bytes decide.
"""

import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final

from common.domain.errors import ModelFailed
from common.domain.task import FailureCode

ACCEPT_ENCODING: Final = "gzip"
"""What requests ask for. Brotli and zstd would each need a library that Python 3.13 does not have."""

_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = zlib.MAX_WBITS | 16
"""`wbits` for data with gzip's header and trailer."""

_PIECE_BYTES: Final = 256 * 1024
"""Bytes that are decompressed at a time: a few kilobytes may stand for gigabytes."""


async def decoded(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the body, decompressed if it is gzip; close the pieces with it.

    Raises:
        ModelFailed: unreadable_answer, where it begins as gzip and goes on as something else.

    """
    async with aclosing(pieces):
        head = b""
        async for piece in pieces:
            head += piece
            if len(head) >= len(_MAGIC):
                break
        if not head.startswith(_MAGIC):
            if head:
                yield head
            async for piece in pieces:
                yield piece
            return
        gzip = _Gzip()
        for part in gzip.decompress(head):
            yield part
        async for piece in pieces:
            for part in gzip.decompress(piece):
                yield part


class _Gzip:
    """Decompress gzip as it comes; it may have several members, and padding behind the last one."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)

    def decompress(self, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                if self._member.eof:
                    if not data.startswith(_MAGIC[:1]):
                        return
                    self._member = zlib.decompressobj(_GZIP)
                part = self._member.decompress(data, _PIECE_BYTES)
                data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
                if part:
                    yield part
                elif not data:
                    return
        except zlib.error:
            raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None
