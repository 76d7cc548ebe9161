"""Assemble a complete Sluice of real parts, each of which can be made to fail."""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tests.faults.framing import HttpRequests, RedisRequests
from tests.faults.functions import Died, Environment
from tests.faults.model import Model, Spend
from tests.faults.poller import BATCH_SIZE, Poller
from tests.faults.proxy import HOST, Proxy
from tests.faults.site import Reply, Site, Timing, new_queues, read_event
from tests.faults.valkey import Valkey

API_TIMEOUT: Final = 28
DEAD_LETTER_TIMEOUT: Final = 10
TENANT: Final = "acme"
TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
LOOK_SECONDS: Final = 0.1
"""Between two looks at what sends no events: the queue's depth, the tasks' states."""

_REPEAT_SECONDS: Final = 1
_HOLD: Final = {"Prefer": "wait=1"}
_IDS_AT_ONCE: Final = 1_000

_NAMES = itertools.count()


@dataclass(slots=True)
class World:
    """One Sluice: its functions and queues, behind proxies to its own Valkey, its own model and the shared SQS."""

    site: Site
    timing: Timing
    valkey: Valkey
    model: Model
    redis: Proxy
    to_model: Proxy
    aws: Proxy
    queue_url: str
    dead_letters_url: str
    folder: Path
    marker: str = field(default_factory=lambda: f"secret{secrets.token_hex(8)}")
    """Stands in every prompt, and so in every answer: nothing that Sluice writes down may contain it."""

    newer: bool = False
    accepted: dict[str, str] = field(default_factory=dict)
    """The prompt of each task that was answered with 202."""
    prompts: list[str] = field(default_factory=list)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each task as it was when it was first seen to have ended."""
    replies: list[Reply] = field(default_factory=list)
    api: dict[str, Environment] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _is_polling: bool = False
    worker: Poller = field(init=False)
    undertaker: Poller = field(init=False)

    def __post_init__(self) -> None:
        timing, sqs = self.timing, self.site.sqs
        self.worker = Poller(sqs, self.queue_url, lambda: self.start("worker"), timing.worker)
        self.undertaker = Poller(sqs, self.dead_letters_url, lambda: self.start("dead_letter"), DEAD_LETTER_TIMEOUT)

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Site, timing: Timing) -> AsyncIterator[Self]:
        """Run a world for the length of the block."""
        name = f"world-{next(_NAMES)}"
        folder = site.folder / name
        folder.mkdir()
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            valkey = await enter(Valkey.running(folder / "valkey"))
            model = Model()
            await enter(model.serve())
            redis = await enter(Proxy(valkey.port, RedisRequests).serve())
            to_model = await enter(Proxy(model.port, HttpRequests).serve())
            aws = await enter(Proxy(site.aws_port, HttpRequests).serve())
            dead_letters_url, queue_url = await new_queues(site.sqs, name, timing)
            world = cls(site, timing, valkey, model, redis, to_model, aws, queue_url, dead_letters_url, folder)
            try:
                yield world
            finally:
                await world._stack.aclose()
                for environment in world.api.values():
                    await environment.close()
                for url in (queue_url, dead_letters_url):
                    await site.sqs.delete_queue(QueueUrl=url)

    # ── The functions ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, function: str) -> Environment:
        """Cold-start a function with the environment that the template gives it."""
        log = self.folder / f"{function}-{next(_NAMES)}.log"
        return await self.site.functions.start(function, self._variables(function), log, newer=self.newer)

    def _variables(self, function: str) -> dict[str, str]:
        timing = self.timing
        made = {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.aws.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.redis.port),
            "REDIS_TLS": "false",
            "REDIS_IAM": "false",
            "REDIS_USERNAME": "",
            "REDIS_CLUSTER": "false",
            "QUEUE_URL": self.queue_url,
            "WORKFLOW_QUEUE_URL": f"{self.queue_url}-workflows",
            "WEBHOOK_QUEUE_URL": f"{self.queue_url}-webhooks",
            "ALLOWED_MODELS": ",".join(["small", *(f"model-{number}" for number in range(100))]),
            "WORKER_TIMEOUT_SECONDS": str(timing.worker),
            "MODEL_TIMEOUT_SECONDS": str(timing.model),
            "OPENAI_BASE_URL": f"http://{HOST}:{self.to_model.port}/v1",
            **timing.variables,
        }
        return {**self.site.variables[function], **made}

    async def _ask(self, function: str, event: Mapping[str, Any]) -> Reply | None:
        environment = self.api.get(function)
        if environment is None or environment.ended:
            if environment is not None:
                await environment.close()
            environment = self.api[function] = await self.start(function)
        try:
            answer = await environment.invoke(event, API_TIMEOUT)
        except Died:
            return None
        text = answer["body"]
        headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
        reply = Reply(answer["statusCode"], json.loads(text) if text else {}, text, headers)
        self.replies.append(reply)
        return reply

    async def replica(self) -> Valkey:
        """Run a second server, which `fail_over` leads to."""
        return await self._stack.enter_async_context(Valkey.running(self.folder / "replica"))

    def fail_over(self, replica: Valkey) -> None:
        """Lose the primary, and go on with the replica."""
        self.redis.switch(replica.port)

    def forget_what_was_seen(self) -> None:
        """Take back what was seen of the tasks: Redis is about to lose it."""
        self.seen.clear()

    async def warm(self, function: str) -> None:
        """Have a function ready, so that it can be killed amid its next invocation."""
        self.api[function] = await self.start(function)

    def kill(self, function: str) -> Callable[[], None]:
        """Give the deed that kills -9 a function behind the API."""
        return self.api[function].kill

    # ── The caller ────────────────────────────────────────────────────────────────────────────────────────────────────

    def new_prompts(self, count: int, script: str = "ok") -> list[str]:
        """Write prompts that were never asked before; `script` is what the model does at each call."""
        return [f"{self.marker} {next(_NAMES)} [[{script}]]" for _ in range(count)]

    async def post(self, prompts: Sequence[str], *, key: str | None = None, **fields: object) -> Reply | None:
        """Send prompts to submit; None where it died before it answered."""
        self.prompts += [prompt for prompt in prompts if prompt not in self.prompts]
        body = {
            "prompts": [
                {"prompt": prompt, "custom_id": f"{self.marker}-{number}"} for number, prompt in enumerate(prompts)
            ],
            "system": f"You are {self.marker}.",
            "params": {"user": self.marker, "metadata": {"note": self.marker}},
            **fields,
        }
        reply = await self.post_text(json.dumps(body), key=key)
        if reply is not None and reply.status == 202:
            self.accepted |= dict(zip(reply.body["task_ids"], prompts, strict=True))
        return reply

    async def post_text(self, text: str, *, key: str | None = None) -> Reply | None:
        """Send any body to submit."""
        event = read_event("submit.json")
        event["body"] = text
        if key is not None:
            event["headers"]["Idempotency-Key"] = key
            event["multiValueHeaders"]["Idempotency-Key"] = [key]
        return await self._ask("submit", event)

    async def chat(self, prompt: str, *, retry_count: int = 0) -> Reply | None:
        """Send a prompt as an SDK of OpenAI does; None where openai died before it answered."""
        self.prompts += [prompt] if prompt not in self.prompts else []
        body = {"model": "small", "messages": [{"role": "user", "content": prompt}], "user": self.marker}
        event = read_event("chat_completion.json") | {"body": json.dumps(body)}
        reply = await self._ask("openai", _with_headers(event, {"x-stainless-retry-count": str(retry_count), **_HOLD}))
        if reply is not None and "Location" in reply.headers:
            self.accepted[reply.headers["Location"].partition("chatcmpl-")[2].partition("?")[0]] = prompt
        return reply

    async def retrieve_chat(self, task_id: str, *, hop: int) -> Reply | None:
        """Follow a redirect to a chat completion."""
        event = read_event("chat_completion.json") | {"httpMethod": "GET", "body": None}
        event["path"] += f"/chatcmpl-{task_id}"
        event["queryStringParameters"] = {"hop": str(hop)}
        event["multiValueQueryStringParameters"] = {"hop": [str(hop)]}
        return await self._ask("openai", _with_headers(event, _HOLD))

    async def repeat_later(self) -> None:
        """Wait as long as a caller does that repeats a call."""
        await asyncio.sleep(_REPEAT_SECONDS)

    async def submit(self, count: int = 3, script: str = "ok", **fields: Any) -> Reply:  # noqa: ANN401  # as of post
        """Send new prompts, which must be accepted."""
        reply = await self.post(self.new_prompts(count, script), **fields)
        assert reply is not None
        assert reply.status == 202, reply.text
        return reply

    async def cancel(self, task_id: str) -> None:
        """Cancel a task, which must not have ended."""
        event = read_event("cancel_task.json")
        event |= {"path": f"/tasks/{task_id}/cancel", "pathParameters": {"task_id": task_id}}
        reply = await self._ask("cancel", event)
        assert reply is not None
        assert reply.status == 200, reply.text

    async def accept(self, prompts: Sequence[str], *, key: str) -> None:
        """Repeat a request until it is accepted, as often as the answers say that it may be."""
        while (reply := await self.post(prompts, key=key)) is None or reply.status != 202:
            assert reply is None or reply.status in {409, 503}, reply.text
            await asyncio.sleep(_REPEAT_SECONDS)

    async def look(self, task_ids: Iterable[str] | None = None) -> dict[str, dict[str, Any]] | None:
        """Ask status for tasks, all accepted ones unless said otherwise; None where it has no answer."""
        found: dict[str, dict[str, Any]] = {}
        for ids in itertools.batched(self.accepted if task_ids is None else task_ids, _IDS_AT_ONCE, strict=False):
            part = await self._look(ids)
            if part is None:
                return None
            found |= part
        return found

    async def _look(self, ids: Sequence[str]) -> dict[str, dict[str, Any]] | None:
        event = read_event("status.json")
        event |= {"path": "/tasks", "resource": "/tasks", "pathParameters": None}
        event["queryStringParameters"] = {"task_ids": ",".join(ids)}
        event["multiValueQueryStringParameters"] = {"task_ids": [",".join(ids)]}
        reply = await self._ask("status", event)
        if reply is None or reply.status != 200:
            return None
        found: dict[str, dict[str, Any]] = {task["task_id"]: task for task in reply.body["tasks"]}
        for task_id, task in found.items():
            if task["status"] in TERMINAL:
                self.seen.setdefault(task_id, task)
        return found

    # ── The queue ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def poll(self) -> None:
        """Let the queues deliver from now on."""
        if not self._is_polling:
            self._is_polling = True
            await self._stack.enter_async_context(self.worker.polling(self.timing.workers))
            await self._stack.enter_async_context(self.undertaker.polling(1))

    async def take(self) -> list[str]:
        """Take all messages off the queue and return their bodies."""
        bodies: list[str] = []
        while messages := (await self.site.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)).get(
            "Messages"
        ):
            for message in messages:
                bodies.append(message["Body"])
                await self.site.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    async def send(self, bodies: Iterable[str]) -> None:
        """Put messages on the queue, in this order."""
        for batch in itertools.batched(bodies, BATCH_SIZE, strict=False):
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(batch)]
            await self.site.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)  # type: ignore[arg-type]

    def as_later_version(self, body: str, *, raised: int = 1) -> str:
        """Rewrite a message as a later version of the code might write it."""
        message = json.loads(body)
        return json.dumps(message | {"v": message["v"] + raised, "of_the_future": {"kept": self.marker}})

    async def drain(self, *, leaving: bool = False, seconds: float = 90) -> None:
        """Run until every accepted task has ended and nothing is queued or under way.

        `leaving` waits for the tasks alone: a message may stay away longer than its task lives.
        """
        await self.poll()
        try:
            async with asyncio.timeout(seconds):
                while not (  # noqa: ASYNC110  # neither a queue nor a record sends events
                    (leaving or await self._is_empty()) and await self._all_ended()
                ):
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            states = await self.look() if self.accepted else {}
            left = {task_id: task for task_id, task in (states or {}).items() if task["status"] not in TERMINAL}
            raise AssertionError(
                f"not drained after {seconds} s: {left}, queue is empty: {await self._is_empty()}"
            ) from None

    async def _all_ended(self) -> bool:
        waiting = [task_id for task_id in self.accepted if task_id not in self.seen]
        return not waiting or (await self.look(waiting) is not None and all(id_ in self.seen for id_ in waiting))

    async def _is_empty(self) -> bool:
        names = ("", "NotVisible", "Delayed")
        counts = 0
        for url in (self.queue_url, self.dead_letters_url):
            found = await self.site.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            attributes = dict[Any, str](found["Attributes"])
            counts += sum(int(attributes[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return counts == 0 and not self.worker.busy and not self.undertaker.busy

    async def wait_for(self, holds: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
        """Look again and again until something holds."""
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110  # the same
                await asyncio.sleep(LOOK_SECONDS)

    async def wait_for_status(self, status: str) -> None:
        """Wait until every accepted task is in a state."""

        async def all_are() -> bool:
            tasks = await self.look()
            return tasks is not None and {task["status"] for task in tasks.values()} == {status}

        await self.wait_for(all_are)

    async def until_time(self, moment: float) -> None:
        """Wait for a moment of time.time(): a lease or a deadline is over."""
        await asyncio.sleep(max(0.0, moment - time.time()))

    # ── What came of it ───────────────────────────────────────────────────────────────────────────────────────────────

    def spent_on(self, prompt: str) -> Spend:
        """Return what a prompt has cost."""
        return self.model.spend[prompt]

    def logs(self) -> str:
        """Return all that the functions have written."""
        return "\n".join(f"── {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def leaks(self) -> list[str]:
        """Name every place where Sluice has written down what is the caller's."""
        logs = [path.name for path in self.folder.glob("*.log") if self.marker in path.read_text()]
        bodies = [reply.text for reply in self.replies if reply.status >= 400 and self.marker in reply.text]
        return logs + bodies


def _with_headers(event: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    event["headers"] |= headers
    event["multiValueHeaders"] |= {name: [value] for name, value in headers.items()}
    return event
