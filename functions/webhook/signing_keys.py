"""Derive each tenant's signing key from one secret, so that no key is stored. Standard library only.

The secret contains one text, or two during a rotation: the newest first, separated by white space.
"""

import base64
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
SHORTEST_TEXT: Final = 32
MOST_TEXTS: Final = 2


class BadSecret(ValueError):
    """The secret is invalid; the text gives the rule without quoting the secret."""


def texts_of(secret: str) -> list[str]:
    """Return the texts of a secret, the newest first; raise BadSecret if they cannot be used."""
    texts = secret.split()
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise BadSecret(f"must hold one text, or {MOST_TEXTS} with white space between them")
    if any(len(text) < SHORTEST_TEXT for text in texts):
        raise BadSecret(f"must have at least {SHORTEST_TEXT} characters in each text")
    return texts


def key_of(text: str, tenant: str) -> str:
    """Derive a tenant's key in the format of Standard Webhooks."""
    digest = hmac.digest(text.encode(), f"sluice webhook {tenant}".encode(), hashlib.sha256)
    return PREFIX + base64.b64encode(digest).decode()
