"""Call the handlers as API Gateway does."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit
from uuid import uuid4

from common.store import TaskStore
from tests.invocation import Context

BASE = "https://api.example/v1/"


@dataclass(frozen=True)
class Answer:
    """An answer as a caller gets it; `url` is where the question went."""

    url: str
    status: int
    headers: dict[str, str]
    body: Any

    def follow(self, reference: str) -> str:
        """Resolve a link of the answer, as a caller has to."""
        return urljoin(self.url, reference)


class Api:
    """Route requests to the functions; the tenant is what the authorizer would say."""

    def __init__(
        self,
        submit: Any,  # noqa: ANN401  # a module, as the next three
        status: Any,  # noqa: ANN401
        cancel: Any,  # noqa: ANN401
        openai: Any,  # noqa: ANN401
        *,
        worker: TaskStore,
        tenant: str,
    ) -> None:
        """Take the handlers, and a store for tests that do a worker's part, on the loop of `status.runner`."""
        self.submit = submit
        self.status = status
        self.cancel = cancel
        self.openai = openai
        self.worker = worker
        self.tenant = tenant
        self.context: dict[str, str] = {}  # what else the authorizer says

    def post(self, body: object, *, key: str | None = None, tenant: str | None = None) -> Answer:
        """Send JSON, or a string as it is."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.post_text(body if isinstance(body, str) else json.dumps(body), headers, tenant=tenant)

    def post_text(
        self,
        text: str | None,
        headers: dict[str, str] | None = None,
        *,
        is_base64: bool = False,
        tenant: str | None = None,
    ) -> Answer:
        """Send a body as API Gateway hands it over."""
        event = self._event("POST", BASE + "tasks", tenant)
        event |= {
            "body": text,
            "isBase64Encoded": is_base64,
            "headers": {"content-type": "application/json", **(headers or {})},
        }
        return _answer(BASE + "tasks", self.submit.lambda_handler(event, Context()))

    def start(self, workflow: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        """Start a workflow."""
        url = urljoin(BASE, f"workflows/{workflow}")
        event = self._event("POST", url, None) | {"body": json.dumps(body), "headers": headers or {}}
        return _answer(url, self.submit.lambda_handler(event, Context()))

    def workflows(self) -> Answer:
        """List the workflows."""
        url = urljoin(BASE, "workflows")
        return _answer(url, self.submit.lambda_handler(self._event("GET", url, None), Context()))

    def get(self, reference: str, headers: dict[str, str] | None = None, *, tenant: str | None = None) -> Answer:
        """Ask a URL, absolute or relative to the API."""
        url = urljoin(BASE, reference)
        event = self._event("GET", url, tenant) | {"headers": headers or {}}
        return _answer(url, self.status.lambda_handler(event, Context()))

    def take_back(self, reference: str, *, tenant: str | None = None) -> Answer:
        """Cancel a task or a batch, by a URL such as `tasks/<id>`."""
        url = urljoin(BASE, f"{reference}/cancel")
        return _answer(url, self.cancel.lambda_handler(self._event("POST", url, tenant), Context()))

    def retry(self, batch_id: str, headers: dict[str, str] | None = None, *, tenant: str | None = None) -> Answer:
        """Retry the failed tasks of a batch."""
        url = urljoin(BASE, f"batches/{batch_id}/retry")
        event = self._event("POST", url, tenant) | {"headers": headers or {}}
        return _answer(url, self.submit.lambda_handler(event, Context()))

    def _event(self, method: str, url: str, tenant: str | None) -> dict[str, Any]:
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        event = event_of(method, parts.path.removeprefix("/v1"), query, tenant or self.tenant)
        event["requestContext"]["authorizer"] |= self.context
        return event


def event_of(method: str, path: str, query: dict[str, list[str]], tenant: str) -> dict[str, Any]:
    """Make the event of a request, without headers and body."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "stage": "v1",
            "path": f"/v1{path}",
            "httpMethod": method,
            "requestId": str(uuid4()),
            "authorizer": {"tenant": tenant, "principalId": tenant},
        },
        "body": None,
        "isBase64Encoded": False,
    }


def _answer(url: str, answer: dict[str, Any]) -> Answer:
    # What Lambda hands on is JSON, and at most 6 MB of it.
    wire = json.dumps(answer)
    assert len(wire) < 6_291_556
    headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
    assert headers["Cache-Control"] == "no-store"
    status = answer["statusCode"]
    assert headers["Content-Type"] == ("application/json" if status < 400 else "application/problem+json")
    return Answer(url, status, headers, json.loads(answer["body"]) if answer["body"] else None)
