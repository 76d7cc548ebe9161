"""The stand-in's `/embeddings`: the same text has always the same embedding, of length one."""

import base64
import hashlib
import math
import struct
from typing import Any

DIMENSIONS = 1_536


def inputs_of(body: dict[str, Any]) -> list[Any]:
    """Return the inputs one by one, each a text or an array of tokens."""
    given = body["input"]
    return given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]


def embeddings_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the embeddings of a request."""
    inputs = inputs_of(body)
    size = body.get("dimensions") or DIMENSIONS
    vectors = [_vector(each, size) for each in inputs]
    is_packed = body.get("encoding_format") == "base64"
    tokens = sum(len(each) if isinstance(each, list) else len(each.split()) for each in inputs)
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if is_packed else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _vector(given: object, size: int) -> list[float]:
    digest = hashlib.shake_256(repr(given).encode(errors="surrogatepass")).digest(2 * size)
    numbers = [each / 32_768 for each in struct.unpack(f"<{size}h", digest)]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
