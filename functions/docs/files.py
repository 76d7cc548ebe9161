"""Serve the files of the console. Each file is read on its first request, so that cold starts stay short.

There is no build step: each file has its own URL. Only listed names are served, so no path can leave the directory.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "console"
PAGE: Final = "index.html"
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
NAMES: Final = frozenset(path.name for path in FOLDER.iterdir() if path.suffix in TYPES)

# Trusted types: the browser rejects code that turns text into markup or script.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The page holds an API key, so it may run only its own files and connect only to this API."""


def answer(name: str, known_tag: str | None) -> dict[str, Any]:
    """Return a file; 304 if `If-None-Match` is current, 404 for an unknown name."""
    if name not in NAMES:
        return _plain(404, {"Content-Type": "application/problem+json"}, _NOT_FOUND)
    text, tag = _read(name)
    # Always revalidated: a page must not mix files of two versions.
    headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if known_tag == tag:
        return _plain(304, headers, "")
    headers["Content-Type"] = f"{TYPES[Path(name).suffix]}; charset=utf-8"
    if name == PAGE:
        headers |= {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return _plain(200, headers, text)


_NOT_FOUND: Final = json.dumps(
    {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "The console has no file of this name",
    }
)


@cache
def _read(name: str) -> tuple[str, str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _plain(status: int, headers: dict[str, str], body: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
