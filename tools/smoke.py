"""Smoke test of a deployment: submit one prompt and wait for its result: `python -m tools.smoke --outputs FILE`.

It uses only the standard library, so that a deployment job needs no packages. FILE is the output of
`sam list stack-outputs --output json`; `--url` gives the API's URL instead. The API key comes from SLUICE_KEY; neither
the key nor the result is printed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

REQUEST_SECONDS: Final = 35
"""Longer than API Gateway's timeout of 29 seconds."""

PAUSE_SECONDS: Final = 2.0
"""Pause between two polls."""

PROMPT: Final = "Answer with the word ready."
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class SmokeError(Exception):
    """The smoke test failed; the message says where."""


@dataclass(frozen=True, slots=True)
class Api:
    """Client of one API with one key."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request and return the status and JSON of the response; raise SmokeError if there is none."""
        parts = urlsplit(f"{self.url.rstrip('/')}/{path}")
        if parts.scheme != "https" and parts.hostname not in LOCAL:
            raise SmokeError("the URL must begin with https, because the key must not be sent unencrypted")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.netloc, timeout=REQUEST_SECONDS)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "Prefer": "wait=20"}
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, HTTPException, ValueError) as error:
            raise SmokeError(f"{method} /{path.partition('?')[0]}: {type(error).__name__}") from None
        finally:
            connection.close()


def smoke(api: Api, *, seconds: float, sleep: Callable[[float], object] = time.sleep) -> str:
    """Submit one prompt, wait up to `seconds` for its result and return a summary line; raise SmokeError."""
    started = time.monotonic()
    _expect(api.ask("GET", "openapi.json"), 200, "GET /openapi.json")
    status, accepted = api.ask("POST", "tasks", {"prompts": [PROMPT]})
    if status not in {200, 202}:
        raise SmokeError(f"POST /tasks: {status} {_code(accepted)}")
    [task_id] = accepted["task_ids"]
    while True:
        task = _expect(api.ask("GET", f"tasks/{task_id}"), 200, "GET /tasks/{task_id}", or_else=202)
        if task["status"] == "completed" and task["result"]:
            return f"completed in {time.monotonic() - started:.1f} s"
        if task["status"] not in {"queued", "processing"}:
            raise SmokeError(f"the task is {task['status']} {_code(task.get('error') or {})}")
        if time.monotonic() - started > seconds:
            raise SmokeError(f"the task is {task['status']} after {seconds:g} s")
        sleep(PAUSE_SECONDS)


def _expect(answer: tuple[int, Any], wanted: int, what: str, or_else: int | None = None) -> Any:  # noqa: ANN401  # JSON
    status, body = answer
    if status not in {wanted, or_else}:
        raise SmokeError(f"{what}: {status} {_code(body)}")
    return body


def _code(body: Mapping[str, Any]) -> str:
    return str(body.get("code", ""))


def url_in(outputs: Path) -> str:
    """Return ApiUrl of a stack's outputs; raise SmokeError if it is missing."""
    for output in json.loads(outputs.read_text()):
        if output["OutputKey"] == "ApiUrl":
            return str(output["OutputValue"])
    raise SmokeError(f"{outputs} has no ApiUrl")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if the task completed."""
    parser = argparse.ArgumentParser(prog="python -m tools.smoke", description=(__doc__ or "").partition("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--outputs", type=Path, help="file with the stack's outputs as JSON")
    where.add_argument("--url", help="URL of the API")
    parser.add_argument("--seconds", type=float, default=180, help="how long to wait for the result (default 180)")
    given = parser.parse_args(arguments)
    key = os.environ.get("SLUICE_KEY", "")
    if not key:
        print("SLUICE_KEY is not set; set it to an API key", file=sys.stderr)
        return 1
    try:
        print(smoke(Api(given.url or url_in(given.outputs), key), seconds=given.seconds))
    except SmokeError as error:
        print(f"The smoke test failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
