"""Ask an OpenAI-compatible model for chat completions, streamed."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

from common.domain.errors import ModelRefused
from common.domain.message import TaskMessage
from common.domain.prices import NO_PRICES, Prices
from common.domain.task import Answer, FailureCode
from common.worker.completion_stream import read_completion
from common.worker.provider_client import ProviderClient


class ChatModel:
    """Ask for chat completions. One for the life of the environment."""

    def __init__(self, client: ProviderClient, prices: Prices = NO_PRICES) -> None:
        self._client = client
        self._prices = prices

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self._client.prepare()

    async def ask(self, message: TaskMessage, on_text: Callable[[str], None], *, ends_at: float = math.inf) -> Answer:
        """Stream the answer to one task, handing each piece of it to `on_text`; one of a tool call is "".

        The caller bounds the time, to `ends_at`: the HTTP client's timeout is per read, and a slow drip outlives it.

        Raises:
            ModelError: by class, see common.domain.errors.

        """
        async with self._client.post(message.task.model, _body_of(message)) as pieces:
            answer = await read_completion(pieces, on_text, ends_at=ends_at)
        return replace(answer, cost_nanos=self._prices.cost_nanos(message.task.model, answer.usage))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _body_of(message: TaskMessage) -> bytes:
    """Write the request's body.

    Raises:
        ModelRefused: bad_request, for text that no HTTP body can carry.

    """
    body = dict(message.request.body) | {
        "model": message.task.model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ModelRefused(FailureCode.BAD_REQUEST) from None
