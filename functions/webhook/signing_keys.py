"""Derive each tenant's signing key from one secret, so that none has to be kept. Standard library only.

The secret holds one text, or two while it is being changed: the newest first, with white space between.
"""

import base64
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
SHORTEST_TEXT: Final = 32
MOST_TEXTS: Final = 2


class BadSecret(ValueError):
    """The secret is not what it must be, which the text says without quoting it."""


def texts_of(secret: str) -> list[str]:
    """Return the texts that a secret holds, the newest first; raise BadSecret where they are none to sign with."""
    texts = secret.split()
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise BadSecret(f"must hold one text, or {MOST_TEXTS} with white space between them")
    if any(len(text) < SHORTEST_TEXT for text in texts):
        raise BadSecret(f"must have at least {SHORTEST_TEXT} characters in each text")
    return texts


def key_of(text: str, tenant: str) -> str:
    """Derive a tenant's key, as Standard Webhooks writes one."""
    digest = hmac.digest(text.encode(), f"sluice webhook {tenant}".encode(), hashlib.sha256)
    return PREFIX + base64.b64encode(digest).decode()
