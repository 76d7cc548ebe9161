"""Read the Idempotency-Key of a request, and compute the digest of its body."""

import hashlib
import json
import re
from typing import Final

from common.domain.errors import InvalidRequest
from common.submission.model import IdempotentRequest

_KEY: Final = re.compile(r"[ -~]{1,255}")


def read_repeatable(key: str | None, document: object) -> IdempotentRequest | None:
    """Return the key and the digest of a request; None without an Idempotency-Key.

    Two bodies are the same request if they are the same JSON, however it is spaced and its fields are ordered.
    """
    if (key := read_key(key)) is None:
        return None
    return IdempotentRequest(key, digest_of(document))


def digest_of(document: object) -> str:
    """Return the SHA-256 of a JSON value; it is the same however the JSON was spaced and its fields were ordered."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def read_key(key: str | None) -> str | None:
    """Validate an Idempotency-Key; None stays None."""
    if key is not None and _KEY.fullmatch(key) is None:
        raise InvalidRequest(
            "Idempotency-Key must be 1 to 255 printable ASCII characters", code="invalid_idempotency_key"
        )
    return key
