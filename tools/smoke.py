"""Ask a deployed Sluice one prompt and wait for its answer: `python -m tools.smoke --outputs FILE`.

It uses the standard library alone, so that what deploys needs nothing more. FILE is what
`sam list stack-outputs --output json` has said; `--url` names the API directly. The caller's key comes from SLUICE_KEY
and is never shown, nor is the answer.
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
"""API Gateway gives up after 29."""

PAUSE_SECONDS: Final = 2.0
"""Between two questions, where the API did not hold the answer back."""

PROMPT: Final = "Answer with the word ready."
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class SmokeError(Exception):
    """It does not work; the text says what."""


@dataclass(frozen=True, slots=True)
class Api:
    """Speak to one API with one key."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and JSON of an answer; raise SmokeError where there is none."""
        parts = urlsplit(f"{self.url.rstrip('/')}/{path}")
        if parts.scheme != "https" and parts.hostname not in LOCAL:
            raise SmokeError("the address must begin with https, or the key could be overheard")
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
    """Send one prompt, wait at most so long for its answer, and say what came of it in a line; raise SmokeError."""
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
    """Find ApiUrl in a stack's outputs; raise SmokeError where it is not."""
    for output in json.loads(outputs.read_text()):
        if output["OutputKey"] == "ApiUrl":
            return str(output["OutputValue"])
    raise SmokeError(f"{outputs} has no ApiUrl")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return 0 where a prompt was answered."""
    parser = argparse.ArgumentParser(prog="python -m tools.smoke", description=(__doc__ or "").partition("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--outputs", type=Path, help="file that holds the stack's outputs as JSON")
    where.add_argument("--url", help="address of the API")
    parser.add_argument("--seconds", type=float, default=180, help="how long to wait for the answer (180)")
    given = parser.parse_args(arguments)
    key = os.environ.get("SLUICE_KEY", "")
    if not key:
        print("SLUICE_KEY, the caller's key, is not set", file=sys.stderr)
        return 1
    try:
        print(smoke(Api(given.url or url_in(given.outputs), key), seconds=given.seconds))
    except SmokeError as error:
        print(f"It does not work: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
