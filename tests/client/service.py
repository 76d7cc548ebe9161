"""A service to test the client against: real HTTP on loopback, tasks that end when told to, faults on demand."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "sk-sluice-not-for-eyes"
RESET = 0
"""A fault: the connection ends without an answer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Fault:
    """What to answer instead of the truth: a status, or RESET, and to which request."""

    status: int
    to: Callable[[Seen], bool]
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


class Service:
    """Tasks in memory. Each question ends as many of the tasks asked about as `pace` says, oldest first."""

    def __init__(self) -> None:
        self.url = ""
        self.pace = 10_000
        self.holds = True
        """Whether it knows Prefer."""
        self.outcomes: dict[str, dict[str, Any]] = {}
        """What becomes of a prompt, by its text; else it is completed and says it back."""
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.asked: list[str] = []
        """The prompts that the model was asked, each time it was."""
        self.peak = 0
        self.streams: deque[tuple[int, str]] = deque()
        self._batches: dict[str, tuple[Any, str, list[str]]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()

    def fail(
        self, status: int, to: str | Callable[[Seen], bool] = "", *, times: int = 1, body: Any = None, **headers: str
    ) -> None:
        """Answer so for some times, where a part of the path is `to` or the request is as it says."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = (lambda seen: to in seen.path) if isinstance(to, str) else to
        self.faults.extend([Fault(status, asked, named, body)] * times)

    def posts(self) -> list[Seen]:
        """Give the calls that brought prompts."""
        return [seen for seen in self.seen if seen.method == "POST" and seen.path == "/tasks"]

    def answer(  # noqa: PLR0911 - a return for each route
        self, seen: Seen
    ) -> tuple[int, dict[str, str], Any]:
        """Answer a request."""
        with self.lock:
            self.seen.append(seen)
            for fault in list(self.faults):
                if fault.to(seen):
                    self.faults.remove(fault)
                    return fault.status, fault.headers, fault.body or problem(fault.status, f"fault_{fault.status}")
            if seen.headers.get("authorization") != f"Bearer {KEY}":
                return 401, {}, problem(401, "unauthorized")
            match seen.method, seen.path.strip("/").split("/"):
                case "POST", ["tasks"]:
                    return self._accept(seen)
                case "GET", ["tasks"]:
                    return self._look(seen)
                case "GET", ["tasks", _, "stream"]:
                    status, events = self.streams.popleft()
                    return status, {"Content-Type": "text/event-stream"}, events.encode()
                case "GET", ["tasks", task_id]:
                    task = self.tasks.get(task_id)
                    return (200, {}, task) if task else (404, {}, problem(404, "not_found"))
                case "GET", ["batches", batch_id]:
                    tasks = [task for task in self.tasks.values() if task["batch_id"] == batch_id]
                    ended = sum(task["status"] == "completed" for task in tasks)
                    counts = {"completed": ended, "queued": len(tasks) - ended}
                    shown = {"batch_id": batch_id, "status": "queued" if ended < len(tasks) else "ended"}
                    return 200, {}, {**shown, "size": len(tasks), "counts": counts, "tasks": tasks}
                case "POST", ["batches", batch_id, "retry"]:
                    return self._retry(batch_id)
                case _:
                    return 404, {}, problem(404, "not_found")

    def _retry(self, batch_id: str) -> tuple[int, dict[str, str], Any]:
        """Make new tasks of the failed ones, each once; a repeated call gets the same batch."""
        failed = [task for task in self.tasks.values() if task["batch_id"] == batch_id and task["status"] == "failed"]
        new = [task for task in failed if "retried_as" not in task]
        if not failed:
            return 409, {}, problem(409, "nothing_to_retry")
        if not new:
            retried = [task["retried_as"] for task in failed]
            shown = {"batch_id": retried[0].rpartition("-")[0], "task_ids": retried, "status": "queued"}
            return 202, {"Idempotent-Replayed": "true"}, shown
        made = f"{batch_id}r"
        for place, task in enumerate(new):
            task["retried_as"] = f"{made}-{place}"
            kept: dict[str, Any] = {name: task[name] for name in ("custom_id", "prompt") if name in task}
            self.tasks[f"{made}-{place}"] = {
                "task_id": f"{made}-{place}",
                "batch_id": made,
                "status": "queued",
                "progress": 0,
                **kept,
            }
            self.asked.append(task["prompt"])
        return 202, {}, {"batch_id": made, "task_ids": [task["retried_as"] for task in new], "status": "queued"}

    def _accept(self, seen: Seen) -> tuple[int, dict[str, str], Any]:
        key = seen.headers["idempotency-key"]
        if key in self._batches:
            body, batch_id, ids = self._batches[key]
            if body != seen.body:
                return 409, {}, problem(409, "idempotency_key_reused")
            return 202, {"Idempotent-Replayed": "true"}, {"batch_id": batch_id, "task_ids": ids, "status": "queued"}
        batch_id = f"b{len(self._batches)}"
        ids = []
        for place, prompt in enumerate(seen.body.get("requests") or seen.body["prompts"]):
            said: dict[str, Any] = {"prompt": prompt} if isinstance(prompt, str) else prompt
            text = said["body"]["input"] if "body" in said else said.get("prompt") or said["messages"][-1]["content"]
            task: dict[str, Any] = {
                "task_id": f"{batch_id}-{place}",
                "batch_id": batch_id,
                "status": "queued",
                "progress": 0,
            }
            task |= {"custom_id": said["custom_id"]} if said.get("custom_id") else {}
            self.tasks[task["task_id"]] = task | {"prompt": text}
            self.asked.append(self.tasks[task["task_id"]]["prompt"])
            ids.append(task["task_id"])
        self._batches[key] = (seen.body, batch_id, ids)
        self.peak = max(self.peak, sum(task["status"] == "queued" for task in self.tasks.values()))
        return 202, {}, {"batch_id": batch_id, "task_ids": ids, "status": "queued", "a_field_of_tomorrow": [1]}

    def _look(self, seen: Seen) -> tuple[int, dict[str, str], Any]:
        ids = [each.strip() for each in seen.query["task_ids"][0].split(",") if each.strip()]
        left = self.pace
        for task_id in ids:
            task = self.tasks.get(task_id)
            if task and task["status"] == "queued" and left:
                left -= 1
                cost = {"usage": {"total_tokens": 7}, "cost": {"usd": "0.001"}}
                end = {"status": "completed", "progress": 100, "result": f"Re: {task['prompt']}", **cost}
                task |= self.outcomes.get(task["prompt"], end)
        known = [self.tasks.get(task_id, {"task_id": task_id, "status": "not_found"}) for task_id in ids]
        shown = [{name: value for name, value in task.items() if name != "prompt"} for task in known]
        headers = {"Preference-Applied": "wait=1"} if self.holds and "prefer" in seen.headers else {}
        return 200, headers, {"tasks": shown}


def problem(status: int, code: str, **more: Any) -> dict[str, Any]:
    """Write an error as the API does."""
    return {"type": "about:blank", "status": status, "code": code, "detail": f"This is {code}.", **more}


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """Serve it on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(content) if content else None
            seen = Seen(self.command, unquote(parts.path), parse_qs(parts.query), headers, body)
            status, more, answer = service.answer(seen)
            if status == RESET:
                self.close_connection = True
                return
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if "Content-Type" not in more:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(ConnectionError):  # the client may stop reading
                self.wfile.write(data)

        do_GET = do_POST = _do  # noqa: N815 - http.server's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
