"""Send a task's request to the provider's endpoint of its kind, and read the answer."""

import math
from collections.abc import Callable
from dataclasses import replace

from common.domain.message import TaskMessage
from common.domain.prices import NO_PRICES, Prices
from common.domain.request import Request
from common.domain.task import Answer
from common.kinds.registry import REGISTRATIONS, registration_of
from common.worker.joint_calls import JointCalls
from common.worker.provider_client import ProviderClient


class ProviderModel:
    """Ask the models of a provider. Create one for the life of the environment."""

    def __init__(self, client: ProviderClient, prices: Prices = NO_PRICES) -> None:
        self._client = client
        self._prices = prices
        self._joint = JointCalls(self._send)
        # Import them while the environment starts, and not during its first call.
        for registration in REGISTRATIONS.values():
            if registration.has_upstream:
                _ = registration.estimates, registration.upstream
            if registration.is_joint:
                _ = registration.joint

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self._client.prepare()

    async def ask(self, message: TaskMessage, on_text: Callable[[str], None], *, ends_at: float = math.inf) -> Answer:
        """Read the answer to one task, handing each piece of it to `on_text`; one of a tool call is "".

        The caller bounds the time, to `ends_at`: the HTTP client's timeout is per read, and a slow drip outlives it.

        Raises:
            ModelError: by class, see common.domain.errors.

        """
        model, request = message.task.model, message.request
        if registration_of(request.kind).is_joint:
            answer = await self._joint.ask(message, on_text, ends_at=ends_at)
        else:
            answer = await self._send(model, request, on_text, ends_at)
        return replace(answer, cost_nanos=self._prices.cost_nanos(model, answer.usage))

    async def _send(self, model: str, request: Request, on_text: Callable[[str], None], ends_at: float) -> Answer:
        upstream = registration_of(request.kind).upstream
        async with self._client.post(model, upstream.encode(model, request.body), upstream.PATH) as pieces:
            return await upstream.read(request.body, pieces, on_text, ends_at=ends_at)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
