"""Serve the handler over HTTP, as API Gateway does below the path of its stage."""

import asyncio
import json
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from common.domain.task import Answer, FailureCode, Task, TaskRef
from common.domain.transitions import NO_REPORT, CallReport, Claim, Lease
from common.runtime.settings import RedisSettings
from common.store import TaskStore, connect
from tests.integration.http.client import event_of
from tests.integration.http.queue import Queue
from tests.invocation import Context

STAGE = "/v1"
ROOT = "/openai/v1"
HELLO = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Response:
    """A response as Lambda hands it on."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:  # noqa: ANN401  # any JSON
        return json.loads(self.text)


@dataclass
class Service:
    """Invoke the function; `tenant` and `context` are what the authorizer would say."""

    function: Any
    queue: Queue
    redis: RedisSettings
    tenant: str
    context: dict[str, str] = field(default_factory=dict)

    def invoke(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        tenant: str | None = None,
    ) -> Response:
        """Send a request to a path below /openai/v1; a string is sent as it is."""
        parts = urlsplit(path)
        query = parse_qs(parts.query, keep_blank_values=True)
        event = event_of(method, ROOT + parts.path, query, tenant or self.tenant)
        event["requestContext"]["authorizer"] |= self.context
        event |= {
            "headers": dict(headers or {}),
            "body": body if isinstance(body, str | None) else json.dumps(body),
        }
        answer = self.function.lambda_handler(event, Context())
        assert len(json.dumps(answer)) < 6_291_556  # what Lambda hands on
        found = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
        return Response(answer["statusCode"], found, answer["body"])

    def accept(
        self,
        body: Mapping[str, Any] = HELLO,
        headers: Mapping[str, str] | None = None,
        *,
        endpoint: str = "/chat/completions",
    ) -> TaskRef:
        """Send a request that is not held, and return its task."""
        response = self.invoke("POST", endpoint, body, {"Prefer": "wait=0", **(headers or {})})
        assert response.status == 303, response.text
        name = response.headers["Location"].rpartition("/")[2].split("?")[0]
        ref = TaskRef.parse(self.tenant, re.split("[-_]", name, maxsplit=1)[1])
        assert ref is not None
        return ref

    def complete(self, ref: TaskRef, answer: Answer) -> None:
        """Complete a task, as a worker does."""
        self._as_worker(ref, lambda store, lease: store.complete(lease, answer))

    def fail(self, ref: TaskRef, code: FailureCode, report: CallReport = NO_REPORT) -> None:
        """Fail a task for good, as a worker does."""
        self._as_worker(ref, lambda store, lease: store.fail(lease, code, report=report))

    def cancel(self, ref: TaskRef) -> None:
        """Cancel a task, as its owner does."""
        self._as_worker(ref, lambda store, lease: store.cancel([lease.task.ref]))

    def claim(self, task: Task) -> Claim:
        """Claim a task by its message, as a worker does."""
        claims: list[Claim] = []

        async def work() -> None:
            client = connect(self.redis)
            claims.append(await TaskStore(client).claim(Lease(task, uuid4().hex, 10_000, 3)))
            await client.aclose()

        thread = threading.Thread(target=asyncio.run, args=(work(),))
        thread.start()
        thread.join()
        return claims[0]

    def _as_worker(self, ref: TaskRef, end: Callable[[TaskStore, Lease], Awaitable[object]]) -> None:
        async def work() -> None:
            client = connect(self.redis)
            store = TaskStore(client)
            [record] = await store.read([ref])
            assert record is not None
            task = Task(
                ref=ref,
                batch_size=1,
                created_ms=record.created_ms,
                deadline_ms=record.deadline_ms,
                retention_ms=86_400_000,
                model=record.model,
                kind=record.kind,
            )
            lease = Lease(task, uuid4().hex, 10_000, 3)
            await store.claim(lease)
            await end(store, lease)
            await client.aclose()

        thread = threading.Thread(target=asyncio.run, args=(work(),))
        thread.start()
        thread.join()


class Gateway:
    """Serve one tenant below the path of a stage. A function serves one request at a time, as on Lambda."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.requests: deque[tuple[str, str, Mapping[str, str]]] = deque()
        """The method, path and headers of each request, in their order."""
        self.redirected: SimpleQueue[str] = SimpleQueue()
        """The locations of redirects, as they are sent."""
        self.dropped: SimpleQueue[str] = SimpleQueue()
        """The paths of requests whose connections were closed instead of a response."""
        self.drops = 0
        """How many of the next requests are served without a response."""
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}{STAGE}{ROOT}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Print nothing."""

            def serve(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size).decode() if size else None
                # A client that drops the key on a redirect would get a 401.
                assert self.headers["Authorization"] == "Bearer key"
                gateway.requests.append((self.command, self.path, dict(self.headers)))
                with gateway.lock:
                    path = self.path.removeprefix(STAGE + ROOT)
                    response = gateway.service.invoke(self.command, path, body, dict(self.headers))
                if gateway.drops:
                    gateway.drops -= 1
                    self.close_connection = True
                    gateway.dropped.put(self.path)
                    return
                data = response.text.encode()
                self.send_response(response.status)
                for name, value in {**response.headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                if response.status == 303:
                    gateway.redirected.put(response.headers["Location"])

            do_GET = do_POST = do_DELETE = serve  # noqa: N815  # the names of the base class

        return Handler
