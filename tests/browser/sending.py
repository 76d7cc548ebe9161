"""Intercept the console's POST requests, and hold each until a test answers it."""

import json
import time
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route

CALL_SECONDS = 60
"""How long a page may take to make a call, beside all else that the machine does."""
POLL_MS = 20
COUNTS = dict.fromkeys(("queued", "processing", "completed", "failed", "cancelled", "not_found", "expired"), 0)


def refuse(route: Route, status: int, code: str, detail: str, *, retry_after: int) -> None:
    """Answer a call as the service does that refuses it for now."""
    headers = {"Content-Type": "application/problem+json", "Retry-After": str(retry_after)}
    body = {"status": status, "code": code, "title": "Refused", "detail": detail}
    route.fulfill(status=status, headers=headers, body=json.dumps(body))


@dataclass
class Held:
    """The calls of a page to one path."""

    page: Page
    path: str
    keys: list[str | None] = field(default_factory=list)
    """The Idempotency-Key of each call so far."""
    _waiting: list[Route] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Stand between the page and the service."""
        self.page.route(self.path, self._hold)

    def next(self) -> Route:
        """Return the next call, once the page has made it."""
        end = time.monotonic() + CALL_SECONDS
        while not self._waiting:
            assert time.monotonic() < end, f"the page made no call to {self.path} after {len(self.keys)}"
            self.page.wait_for_timeout(POLL_MS)  # Playwright hands out what the page calls while it waits
        return self._waiting.pop(0)

    def _hold(self, route: Route) -> None:
        self.keys.append(route.request.header_value("idempotency-key"))
        self._waiting.append(route)


@dataclass
class Batches:
    """Answers for the service: a batch for each key, whose tasks wait for good."""

    page: Page
    calls: Held
    _sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Stand between the page and the service."""
        self.page.route("**/batches/**", self._tell_batch)
        self.page.route("**/tasks?task_ids=**", self._tell_tasks)

    def accept(self) -> str:
        """Accept the next call and return the id of its batch."""
        route = self.calls.next()
        batch_id = ascii_lowercase[self.calls.keys.index(route.request.header_value("idempotency-key"))] * 36
        self._sizes[batch_id] = len(json.loads(route.request.post_data or "")["prompts"])
        tasks = [_queued(f"{batch_id}-{place}") for place in range(self._sizes[batch_id])]
        body = {"batch_id": batch_id, "task_ids": [each["task_id"] for each in tasks], "tasks": tasks}
        route.fulfill(status=202, body=json.dumps(body))
        return batch_id

    def _tell_batch(self, route: Route) -> None:
        size = self._sizes.get(urlsplit(route.request.url).path.rpartition("/")[2], 1)
        told = {"status": "processing", "size": size, "counts": {**COUNTS, "queued": size}, "tasks": []}
        route.fulfill(body=json.dumps({**told, "created_at": "2026-01-01T00:00:00.000Z"}))

    def _tell_tasks(self, route: Route) -> None:
        [ids] = parse_qs(urlsplit(route.request.url).query)["task_ids"]
        route.fulfill(body=json.dumps({"tasks": [_queued(each) for each in ids.split(",")]}))


def _queued(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id, "status": "queued", "progress": 0}
