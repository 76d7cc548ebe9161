"""The API's calls, written once as operations for the blocking and the asyncio client."""

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import batched
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, urljoin, urlsplit
from uuid import uuid4

from sluice._exceptions import ServiceUnreachableError, SluiceError, UnreadableAnswerError, problem_of
from sluice._fields import mappings, text
from sluice._ids import TaskIds, ids_in, segment
from sluice._models import Batch, Submission, Task, Workflow
from sluice._operations import Iteration, Operation, Request, Response, Sleep, TransportError, YieldItem
from sluice._prompts import Items, Prompts, as_list
from sluice._retries import TRANSIENT, OnRetry, Retry, is_transient, pause

MAX_IDS_PER_REQUEST: Final = 200
"""IDs in one request: API Gateway limits a URL to about 10,000 characters, which is about 240 IDs."""
PAGE_SIZE: Final = 1_000
"""Tasks on a page of a batch; the API's maximum."""
MAX_PAGES: Final = 10_000
"""Pages of a batch that are followed: a service whose pages never end must not be followed without end."""
_REDIRECT: Final = 300
_REFUSED: Final = 400
_SERVER_ERROR: Final = 500
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class PollResult:
    """The tasks of one poll; `held` is true if the service applied `Prefer: wait`; `retry_after` is in seconds."""

    tasks: tuple[Task, ...]
    held: bool
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class ApiCalls:
    """Build the operations of one client.

    `patience` is how long a request is retried, in seconds; `on_retry` is called before each retry.
    """

    clock: Callable[[], float]
    patience: float = 60.0
    on_retry: OnRetry | None = None
    jitter: random.Random = field(default_factory=random.Random, repr=False)

    # ---- Calls ---------------------------------------------------------------------------------------------------

    def submit(  # noqa: PLR0913 - the fields of the call
        self,
        prompts: Prompts | None = None,
        *,
        workflow: str | None = None,
        template: str | None = None,
        inputs: Items[Mapping[str, Any]] | None = None,
        endpoint: str | None = None,
        requests: Items[Mapping[str, Any]] | None = None,
        model: str | None = None,
        system: str | None = None,
        params: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline_seconds: int | None = None,
        retention_seconds: int | None = None,
        idempotency_key: str | None = None,
        wait_seconds: float = 0,
        extra_body: Mapping[str, Any] | None = None,
    ) -> Operation[Submission]:
        """Submit prompts; see Sluice.submit.

        The inputs of a `workflow` may be passed as `prompts` too. With `wait_seconds` (at most 25) the service holds
        the response until all tasks have ended; results that do not fit it are fetched.
        """
        given = as_list(prompts, "prompts", "submit([prompt])")
        given_inputs = as_list(inputs, "inputs", "submit(inputs=[{…}])")
        workflow_inputs = given if given_inputs is None and workflow is not None else given_inputs
        fields = {
            "prompts": given if workflow is None else None,
            "template": template,
            "inputs": workflow_inputs,
            "endpoint": endpoint,
            "requests": as_list(requests, "requests", "submit(requests=[{…}])"),
            "model": model,
            "system": system,
            "params": params,
            "metadata": metadata,
            "deadline_seconds": deadline_seconds,
            "retention_seconds": retention_seconds,
            **(extra_body or {}),
        }
        body = {name: value for name, value in fields.items() if value is not None}
        path = "/tasks" if workflow is None else f"/workflows/{segment(workflow)}"
        return self._post(path, body, idempotency_key, wait_seconds)

    def workflows(self) -> Operation[list[Workflow]]:
        """List the workflows that this key may start."""
        body = read_json((yield from self.call(Request("GET", "/workflows"))))
        return [Workflow.of(each) for each in mappings(body, "workflows")]

    def get(self, task_id: str, *, wait_seconds: float = 0) -> Operation[Task]:
        """Return a task; see Sluice.get."""
        answer = yield from self.call(_get(f"/tasks/{segment(task_id)}", hold=wait_seconds))
        return Task.of(read_json(answer))

    def get_many(self, tasks: TaskIds) -> Operation[list[Task]]:
        """Return any number of tasks in the order asked."""
        found: list[Task] = []
        for ids in batched(ids_in(tasks), MAX_IDS_PER_REQUEST):
            found.extend((yield from self.poll(ids)).tasks)
        return found

    def get_batch(self, batch_id: str, *, wait_seconds: float = 0) -> Operation[Batch]:
        """Return a batch; see Sluice.get_batch."""
        answer = yield from self.call(_get(f"/batches/{segment(batch_id)}", hold=wait_seconds))
        return Batch.of(read_json(answer))

    def batch_tasks(self, batch_id: str, *, status: str | None = None) -> Iteration[Task]:
        """Iterate over a batch's tasks without their results, page by page."""
        path = f"/batches/{segment(batch_id)}"
        query = (("limit", str(PAGE_SIZE)), *((("status", status),) if status else ()))
        seen: set[tuple[tuple[str, str], ...]] = set()
        while query:
            if query in seen or len(seen) == MAX_PAGES:
                raise UnreadableAnswerError("The pages of the batch do not end. Check the URL.")
            seen.add(query)
            body = read_json((yield from self.call(_get(path, query))))
            for task in Batch.of(body).tasks:
                yield YieldItem(task)
            query = _next_of(body, path)

    def cancel(self, task_id: str) -> Operation[Task]:
        """Cancel a task; see Sluice.cancel."""
        return Task.of(read_json((yield from self.call(Request("POST", f"/tasks/{segment(task_id)}/cancel")))))

    def cancel_batch(self, batch_id: str) -> Operation[Batch]:
        """Cancel the tasks of a batch that have not ended."""
        return Batch.of(read_json((yield from self.call(Request("POST", f"/batches/{segment(batch_id)}/cancel")))))

    def retry(self, batch_id: str, *, idempotency_key: str | None = None) -> Operation[Submission]:
        """Submit the failed tasks of a batch again as a new batch; see Sluice.retry.

        If no task has failed since the last retry, the service returns that retry's batch with `replayed`.
        """
        return self._post(f"/batches/{segment(batch_id)}/retry", None, idempotency_key)

    # ---- Building blocks -----------------------------------------------------------------------------------------

    def poll(
        self, task_ids: Sequence[str], *, hold: float = 0, fields: Iterable[str] | None = None
    ) -> Operation[PollResult]:
        """Return at most MAX_IDS_PER_REQUEST tasks; with `hold`, when one has ended or the seconds are over."""
        query: tuple[tuple[str, str], ...] = (("task_ids", ",".join(task_ids)),)
        query += (("fields", ",".join(fields)),) if fields else ()
        query += (("until", "any"),) if hold else ()
        tasks: list[Task] = []
        answer = yield from self.call(_get("/tasks", query, hold))
        first = answer
        while True:
            body = read_json(answer)
            page = [Task.of(each) for each in mappings(body, "tasks")]
            tasks.extend(page)
            query = _next_of(body, "/tasks")
            if not query:
                break
            if not page or len(tasks) > len(task_ids):
                raise UnreadableAnswerError("The response has more pages than tasks were requested. Check the URL.")
            answer = yield from self.call(_get("/tasks", query))
        return PollResult(tuple(tasks), "preference-applied" in first.headers, _retry_after(first))

    def call(self, request: Request) -> Operation[Response]:
        """Send a request, and retry transient errors until the patience is over.

        Raises:
            ProblemError: the service refused the request.
            ServiceUnreachableError: no response arrived.
            UnreadableAnswerError: the response is not Sluice's.

        """
        end = self.clock() + self.patience
        attempt = 0
        while True:
            attempt += 1
            error: SluiceError
            retry_after = None
            try:
                answer: Response = yield request
            except TransportError as failure:
                error = ServiceUnreachableError(str(failure))
            else:
                if answer.status < _REDIRECT:
                    return answer
                error, retry_after = _refusal(answer), _retry_after(answer)
                if not is_transient(error):
                    raise error
            seconds = pause(attempt, retry_after, self.jitter)
            if self.clock() + seconds > end:
                raise error
            if self.on_retry:
                self.on_retry(Retry(error, seconds, attempt))
            yield Sleep(seconds)

    def _post(
        self, path: str, body: Mapping[str, Any] | None, key: str | None, wait_seconds: float = 0
    ) -> Operation[Submission]:
        key = key or uuid4().hex
        headers = {"Idempotency-Key": key, **_preference(wait_seconds)}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        answer = yield from self.call(Request("POST", path, headers=headers, body=content, hold=wait_seconds))
        replayed = answer.headers.get("idempotent-replayed") == "true"
        body = read_json(answer)
        submission = Submission.of(body, idempotency_key=key, replayed=replayed)
        if not body.get("next"):
            return submission
        # Fetched by their IDs: the `next` link names every task that did not fit, and may exceed the limit of a URL.
        rest = yield from self.get_many(submission.task_ids[len(submission.tasks) :])
        return replace(submission, tasks=(*submission.tasks, *rest))


def read_json(answer: Response) -> dict[str, Any]:
    """Return the JSON object in a response's body.

    Raises:
        UnreadableAnswerError: the body is not a JSON object.

    """
    try:
        body = json.loads(answer.body, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UnreadableAnswerError(f"The response (HTTP {answer.status}) is not from Sluice. Check the URL.")
    return body


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _get(path: str, query: tuple[tuple[str, str], ...] = (), hold: float = 0) -> Request:
    return Request("GET", path, query, _preference(hold), hold=hold)


def _preference(wait_seconds: float) -> dict[str, str]:
    return {"Prefer": f"wait={max(1, round(wait_seconds))}"} if wait_seconds else {}


def _refusal(answer: Response) -> SluiceError:
    if answer.status < _REFUSED:
        return UnreadableAnswerError(f"The service redirects (HTTP {answer.status}). Check the URL.")
    try:
        body = read_json(answer)
    except UnreadableAnswerError as error:
        if answer.status < _SERVER_ERROR and answer.status not in TRANSIENT:
            return error
        body = {}
    return problem_of(answer.status, body, retry_after=_retry_after(answer))


def _retry_after(answer: Response) -> float | None:
    seconds = answer.headers.get("retry-after", "")
    return float(seconds) if _SECONDS.fullmatch(seconds) else None


def _next_of(body: Mapping[str, Any], path: str) -> tuple[tuple[str, str], ...]:
    """Return the query of the next page, or () after the last one; links are relative to the request's URL."""
    link = text(body, "next")
    try:
        return tuple(parse_qsl(urlsplit(urljoin(path, link)).query)) if link else ()
    except ValueError:
        raise UnreadableAnswerError("The response has an invalid link to its next page. Check the URL.") from None
