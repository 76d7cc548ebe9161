"""Serve GET /openapi.json, /docs and /console: the API description, the API reference page and the console."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from functions.docs import files

FOLDER = Path(__file__).parent
DESCRIPTION = (FOLDER / "openapi.json").read_text(encoding="utf-8")
PAGE = (FOLDER / "page.html").read_text(encoding="utf-8")


def _hash_of(tag: str) -> str:
    """Return the Content-Security-Policy hash of the page's inline script or style."""
    [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


# The page holds an API key, so only its own script may run, and it may connect only to this API.
POLICY = (
    f"default-src 'none'; script-src {_hash_of('script')}; style-src {_hash_of('style')}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ANSWERS = {
    "/openapi.json": (DESCRIPTION, {"Content-Type": "application/json"}),
    "/docs": (PAGE, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}),
}


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Handle an API Gateway event of one of these routes."""
    if event["resource"] not in ANSWERS:
        name = (event.get("pathParameters") or {}).get("file", files.PAGE)
        given = {each.lower(): value for each, value in (event.get("headers") or {}).items()}
        return files.answer(name, given.get("if-none-match"))
    body, headers = ANSWERS[event["resource"]]
    headers = {**headers, "Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
    return {"statusCode": 200, "headers": headers, "body": body, "isBase64Encoded": False}
