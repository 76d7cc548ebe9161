"""Collect a response's body within a size limit, compressed and decompressed."""

import zlib
from typing import Final

from sluice._exceptions import UnreadableAnswerError
from sluice._operations import TransportError

MAX_BYTES: Final = 10 * 1024 * 1024
"""API Gateway's limit for a response; Lambda's, which applies to Sluice, is 6 MB."""
ACCEPT_ENCODING: Final = "gzip"
"""The encoding that is decompressed here. The HTTP client would decompress a whole chunk, whatever its size becomes."""
_GZIP: Final = 16 + zlib.MAX_WBITS


class ResponseBody:
    """The body of one response. It keeps at most MAX_BYTES in memory and reads no more than that from the network."""

    def __init__(self, content_encoding: str = "") -> None:
        match content_encoding.strip().lower():
            case "" | "identity":
                self._gzip = None
            case "gzip" | "x-gzip":
                self._gzip = zlib.decompressobj(_GZIP)
            case _:
                raise TransportError("the response has an unknown Content-Encoding")
        self._received = 0
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes from the network.

        Raises:
            UnreadableAnswerError: the body is too large.
            TransportError: the body is not valid gzip.

        """
        self._received += len(data)
        if self._received <= MAX_BYTES:
            self._body += data if self._gzip is None else self._decompress(self._gzip, data)
        if max(self._received, len(self._body)) > MAX_BYTES:
            raise UnreadableAnswerError(f"The response has more than {MAX_BYTES:,} bytes. Check the URL.")

    def _decompress(self, gzip: "zlib._Decompress", data: bytes) -> bytes:
        try:
            return gzip.decompress(data, MAX_BYTES - len(self._body) + 1)
        except zlib.error as error:
            raise TransportError("the response is not valid gzip") from error

    def finish(self) -> bytes:
        """Return the whole body.

        Raises:
            TransportError: the compressed body is incomplete.

        """
        if self._gzip and self._received and not self._gzip.eof:
            raise TransportError("the response is incomplete")
        return bytes(self._body)
