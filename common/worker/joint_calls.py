"""Send requests that arrive at the same time in one call, where their kind can join them.

Each request waits LINGER_SECONDS for another one. A call that the provider refuses for one of its requests is repeated
for each request alone, so that the others are not refused with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from common.domain.errors import ModelError, ModelRefused
from common.domain.message import TaskMessage
from common.domain.request import Request
from common.domain.task import Answer, FailureCode, Usage
from common.kinds.registry import Joint, registration_of

LINGER_SECONDS: Final = 0.02
"""How long a call waits after each request that joins it. The claims of one invocation come within milliseconds."""

MOST_LINGER_SECONDS: Final = 0.1
"""How long the first request of a call waits, at most."""

_OF_ONE_REQUEST: Final = frozenset(
    {
        FailureCode.BAD_REQUEST,
        FailureCode.REQUEST_TOO_LARGE,
        FailureCode.CONTEXT_LENGTH_EXCEEDED,
        FailureCode.CONTENT_POLICY,
    }
)
"""Refusals that may be caused by one request of a call, or by their number."""

type Listener = Callable[[str], None]
type Send = Callable[[str, Request, Listener, float], Awaitable[Answer]]
"""Makes one call: takes the model, the request, the callback for the beginning of the answer, and its end."""


@dataclass(eq=False, slots=True)
class _Member:
    """Hold one request of a call. Its future is None where it has to be sent alone."""

    request: Request
    on_text: Listener
    ends_at: float
    answer: asyncio.Future[Answer | None]


@dataclass(eq=False, slots=True)
class _Call:
    """Hold the requests of one call, and the task that makes it."""

    joint: Joint
    opened_at: float
    starts_at: float = 0.0
    members: list[_Member] = field(default_factory=list)
    items: int = 0
    tokens: int = 0
    is_full: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def has_room(self, items: int, tokens: int) -> bool:
        """Return whether a request of this size may join."""
        return self.items + items <= self.joint.MOST_ITEMS and self.tokens + tokens <= self.joint.MOST_TOKENS

    def add(self, member: _Member, items: int, tokens: int, now: float) -> None:
        """Add a request to a joint call."""
        self.members.append(member)
        self.items += items
        self.tokens += tokens
        self.starts_at = min(now + LINGER_SECONDS, self.opened_at + MOST_LINGER_SECONDS)

    @property
    def waiting(self) -> list[_Member]:
        """Return the requests that still wait for an answer."""
        return [each for each in self.members if not each.answer.done()]


class JointCalls:
    """Join the requests of one environment."""

    def __init__(self, send: Send) -> None:
        """Take what makes one call."""
        self._send = send
        self._open: dict[Hashable, _Call] = {}

    async def ask(self, message: TaskMessage, on_text: Listener, *, ends_at: float) -> Answer:
        """Return the answer to one request, alone or as its part of a joint call.

        Requests are joined within a tenant only. A call ends when nobody waits for it any more.

        Raises:
            ModelError: as of a call of its own; `usage` is the request's share.

        """
        task, request = message.task, message.request
        joint = registration_of(request.kind).joint
        key = (task.ref.tenant, task.model, request.kind, joint.group_of(request.body))
        loop = asyncio.get_running_loop()
        member = _Member(request, on_text, ends_at, loop.create_future())
        call = self._join(key, task.model, joint, member, loop.time())
        try:
            answer = await member.answer
        finally:
            if not member.answer.done():
                member.answer.cancel()
            if call.task is not None and not call.waiting:
                await self._end(key, call)
        return await self._send(task.model, request, on_text, ends_at) if answer is None else answer

    def _join(self, key: Hashable, model: str, joint: Joint, member: _Member, now: float) -> _Call:
        body = member.request.body
        items, tokens = joint.items_of(body), registration_of(member.request.kind).estimates.prompt_tokens(body)
        call = self._open.get(key)
        if call is not None and not call.has_room(items, tokens):
            self._close(key, call)
            call = None
        if call is None:
            call = self._open[key] = _Call(joint, opened_at=now)
            call.task = asyncio.create_task(self._make(key, model, call))
        call.add(member, items, tokens, now)
        return call

    def _close(self, key: Hashable, call: _Call) -> None:
        """Close a joint call for further requests."""
        if self._open.get(key) is call:
            del self._open[key]
        call.is_full.set()

    async def _end(self, key: Hashable, call: _Call) -> None:
        """End a call that nobody waits for; nothing of it runs on."""
        self._close(key, call)
        task, call.task = call.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _make(self, key: Hashable, model: str, call: _Call) -> None:
        """Wait for requests to join, make the call, and answer each of them. Never raises."""
        while not call.is_full.is_set() and asyncio.get_running_loop().time() < call.starts_at:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(call.starts_at):
                    await call.is_full.wait()
        self._close(key, call)
        members = call.waiting
        try:
            answers = await self._answers(model, call.joint, members)
        except ModelRefused as error:
            if len(members) > 1 and error.code in _OF_ONE_REQUEST:
                _resolve(members, [None] * len(members))
            else:
                _fail(members, error, call.joint)
        except Exception as error:  # noqa: BLE001  # each request fails with it
            _fail(members, error, call.joint)
        else:
            _resolve(members, answers)

    async def _answers(self, model: str, joint: Joint, members: Sequence[_Member]) -> list[Answer]:
        bodies = _bodies_of(members)
        body: Mapping[str, Any] = bodies[0] if len(bodies) == 1 else joint.joined(bodies)

        def on_text(text: str) -> None:
            for member in members:
                if not member.answer.done():
                    member.on_text(text)

        request = Request(members[0].request.kind, body)
        answer = await self._send(model, request, on_text, max(each.ends_at for each in members))
        return [answer] if len(bodies) == 1 else joint.split(answer, bodies)


def _bodies_of(members: Sequence[_Member]) -> list[Mapping[str, Any]]:
    return [each.request.body for each in members]


def _resolve(members: Sequence[_Member], answers: Sequence[Answer | None]) -> None:
    for member, answer in zip(members, answers, strict=True):
        if not member.answer.done():
            member.answer.set_result(answer)


def _fail(members: Sequence[_Member], error: Exception, joint: Joint) -> None:
    """Fail each request with an error of its own: the caller of each adds to it."""
    usage = error.usage if isinstance(error, ModelError) else None
    for member, share in zip(members, joint.shares(usage, _bodies_of(members)), strict=True):
        if not member.answer.done():
            member.answer.set_exception(_copy_of(error, share) if isinstance(error, ModelError) else error)


def _copy_of(error: ModelError, usage: Usage | None) -> ModelError:
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    copied.usage = usage
    return copied
