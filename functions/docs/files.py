"""Hand out the files of the console. Each is read when it is first asked for: the description waits for none of them.

They are modules at addresses of their own and are not put together by any step. Their names are a closed list, so that
no address leads anywhere else.
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

# Trusted types: the browser itself refuses whatever would turn text into markup or code.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""A key is typed into the page: it runs nothing but its own files, and speaks to this API alone."""


def answer(name: str, known_tag: str | None) -> dict[str, Any]:
    """Answer with a file; 304 where `If-None-Match` says that the caller has it, and 404 for any other name."""
    if name not in NAMES:
        return _plain(404, {"Content-Type": "application/problem+json"}, _NOT_FOUND)
    text, tag = _read(name)
    # Always asked for anew: the files of two versions must not meet on one page.
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
        "detail": "The console has no such file",
    }
)


@cache
def _read(name: str) -> tuple[str, str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _plain(status: int, headers: dict[str, str], body: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
