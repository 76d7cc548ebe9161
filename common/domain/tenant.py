"""Define the names of tenants. Standard library only."""

import re
from typing import Final

_TENANT: Final = re.compile(r"[a-z0-9-]{1,64}")
"""A tenant stands inside the hash tag of every Redis key, so braces and slashes must stay out of its name."""


def is_tenant(text: object) -> bool:
    """Return whether a tenant can have this name."""
    return isinstance(text, str) and _TENANT.fullmatch(text) is not None
