"""Ask an OpenAI-compatible model; every way in which that can fail becomes a ModelError."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol, cast

import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    AuthenticationError,
    DefaultAioHttpClient,
    OpenAIError,
)

from common.errors import ModelFailed, ModelRefused, Unavailable
from common.messages import TaskMessage
from common.prices import NO_PRICES, Prices
from common.tasks import Answer, FailureCode
from functions.worker.stream import AnswerParts, events_of, whole_of
from functions.worker.verdicts import codes_of, judge

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

CONNECT_SECONDS: Final = 10.0
"""Seconds to reach the provider; reading has the whole time of the call."""

KEY_SECONDS: Final = 60
"""Seconds for which the API key is kept, at most: a rotated key is taken up within a minute."""

REFUSED_SECONDS: Final = 10
"""A key that the provider refuses is fetched again, but no oftener: a wrong one must not cost a fetch for each task."""

SECRETS_SECONDS: Final = 5
"""Seconds that one try to read the key may take to connect, and to read."""

OPENAI_URL: Final = "https://api.openai.com/v1"
"""Where a call goes without a base URL of the operator's. Said here: the SDK would take an empty OPENAI_BASE_URL."""

_OURS: Final = frozenset({"model", "messages", "stream", "stream_options"})
"""Parameters of the request that a caller's params never override."""

type HeaderListener = Callable[[str, Mapping[str, str]], None]
"""Is told a model's name and the headers of its answer, be that an error."""


class KeySource(Protocol):
    """Give the API key; both may raise Unavailable."""

    async def __call__(self) -> str:
        """Return it."""

    async def renewed(self, refused: str) -> bool:
        """Hear of a key that was refused, and tell whether there is another one by now."""


class ChatModel:
    """Speak chat completions, streamed. One for the life of the environment: it keeps its connections."""

    def __init__(
        self,
        *,
        key: KeySource,
        base_url: str | None,
        timeout_seconds: float,
        on_headers: HeaderListener,
        prices: Prices = NO_PRICES,
    ) -> None:
        """Take where the key comes from, and the price table; nothing is connected or fetched before the first call."""
        self._key = key
        self._prices = prices
        self._on_headers = on_headers
        # No retries of the SDK's: it would send a 429 about an empty account three times. Ours is the one policy.
        self._client = AsyncOpenAI(
            api_key=key,
            base_url=base_url or OPENAI_URL,
            max_retries=0,
            timeout=httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
            http_client=DefaultAioHttpClient(),
        )

    async def prepare(self) -> None:
        """Make sure that a call can be made; raise Unavailable without its key."""
        await self._key()

    async def ask(self, message: TaskMessage, on_text: Callable[[str], None]) -> Answer:
        """Stream the answer to one task, handing each piece of it to `on_text`; one of a tool call is "".

        The caller bounds the time: a timeout of the HTTP client is per read, and a slow drip outlives it.

        Raises:
            ModelError: by class, see common.errors.

        """
        parts = AnswerParts()
        with model_errors(), self._heard(message.task.model):
            async with self._response(_body_of(message)) as response:
                self._on_headers(message.task.model, response.headers)
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                async with aclosing(_bytes_of(response)) as chunks:
                    if kind == "application/json":  # a server that does not stream
                        on_text(parts.add(await whole_of(chunks), message_key="message") or "")
                    elif kind == "text/event-stream":
                        async with aclosing(events_of(chunks)) as events:
                            async for event in events:
                                if (text := parts.add(event)) is not None:
                                    on_text(text)
                    else:
                        raise ModelFailed(FailureCode.UNREADABLE_ANSWER)
        answer = parts.finish()
        return replace(answer, cost_nanos=self._prices.cost_nanos(message.task.model, answer.usage))

    @asynccontextmanager
    async def _response(self, body: bytes) -> AsyncIterator[httpx2.Response]:
        # The SDK's own way for endpoints that it has no method for. Its method for this one looks at every part of the
        # messages, which are passed on as the caller wrote them, and takes longer for that than for the rest of a call.
        used = await self._key()
        try:
            response = await self._post(body)
        except AuthenticationError:
            # The key may have been rotated since it was read. A call that was refused so is not billed.
            if not await self._key.renewed(used):
                raise
            response = await self._post(body)
        try:
            yield response
        finally:
            await response.aclose()

    async def _post(self, body: bytes) -> httpx2.Response:
        sent = self._client.post(
            "/chat/completions", cast_to=httpx2.Response, content=body, stream=True, stream_cls=AsyncStream[object]
        )
        return cast("httpx2.Response", await sent)  # as `cast_to` says; the signature knows of no raw stream

    @contextmanager
    def _heard(self, model: str) -> Iterator[None]:
        try:
            yield
        except APIStatusError as error:
            self._on_headers(model, error.response.headers)
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _body_of(message: TaskMessage) -> bytes:
    """Write the request's body; raise UnicodeEncodeError for what no HTTP body can carry."""
    body = {name: value for name, value in message.params.items() if name not in _OURS} | {
        "model": message.task.model,
        "messages": message.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def _bytes_of(response: httpx2.Response) -> AsyncGenerator[bytes]:
    async for chunk in response.aiter_bytes():
        yield chunk


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn what the SDK and its HTTP client raise into a ModelError, without their texts and without them as cause."""
    try:
        yield
    except APIStatusError as error:
        raise judge(error.status_code, error.response.headers, codes_of(error.body), datetime.now(UTC)) from None
    except APIConnectionError as error:  # also the base of the SDK's timeout
        raise ModelFailed(_connection_code(error.__cause__)) from None
    except httpx2.HTTPError as error:  # while the answer is read, the SDK does not wrap its client's errors
        raise ModelFailed(_connection_code(error)) from None
    except UnicodeEncodeError:  # a prompt that no HTTP body can carry
        raise ModelRefused(FailureCode.BAD_REQUEST) from None
    except (OpenAIError, httpx2.StreamError):
        raise ModelFailed(FailureCode.UNREADABLE_ANSWER) from None


def _connection_code(error: BaseException | None) -> FailureCode:
    # aiohttp's "the server hung up" reaches us as httpx2.ConnectTimeout, so only the read's timeout is one of the call.
    return FailureCode.TIMEOUT if isinstance(error, httpx2.ReadTimeout) else FailureCode.CONNECTION


class SecretKey:
    """Read the API key from Secrets Manager, by the secret's name or ARN, when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._provider: SecretsProvider | None = None
        self._fetching = asyncio.Lock()
        self._key = ""
        self._fresh_until = float("-inf")
        self._failed_at = float("-inf")
        self._refused_at = float("-inf")

    async def __call__(self) -> str:
        """Return the key, at most KEY_SECONDS old; raise Unavailable where it cannot be read."""
        asked_at = _wall_seconds()
        if asked_at >= self._fresh_until:
            async with self._fetching:  # one for all calls that need it now, be it that it brings the key or fails
                if asked_at <= self._failed_at:
                    raise Unavailable
                if asked_at >= self._fresh_until:
                    await self._renew(asked_at)
        return self._key

    async def renewed(self, refused: str) -> bool:
        """Fetch a key anew that the provider has refused, and tell whether there is another one by now.

        Raises:
            Unavailable: it cannot be read.

        """
        async with self._fetching:
            now = _wall_seconds()
            if self._key == refused and now >= self._refused_at + REFUSED_SECONDS:
                self._refused_at = now
                await self._renew(now)
            return self._key != refused

    async def _renew(self, asked_at: float) -> None:
        try:
            self._key = await asyncio.to_thread(self._fetch)
        except Exception as error:  # noqa: BLE001  # botocore and Powertools raise many kinds
            self._failed_at = _wall_seconds()
            raise Unavailable(type(error).__name__) from None
        self._fresh_until = asked_at + KEY_SECONDS

    def _fetch(self) -> str:
        if self._provider is None:
            # Imported here: boto3 costs a cold start what it does not need before the first record.
            from aws_lambda_powertools.utilities.parameters import SecretsProvider  # noqa: PLC0415
            from botocore.config import Config  # noqa: PLC0415

            # botocore's own minute for each of five tries would outlast the invocation where there is no way out.
            self._provider = SecretsProvider(
                boto_config=Config(connect_timeout=SECRETS_SECONDS, read_timeout=SECRETS_SECONDS)
            )
        return str(self._provider.get(self._name, force_fetch=True)).strip()


def _wall_seconds() -> float:
    """Return the time that also passes while an environment is frozen."""
    return time.time()
