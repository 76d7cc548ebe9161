"""What both clients do with HTTP that is none of Sluice's, against a server that sends any bytes."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from sluice import AsyncSluice, ServiceUnreachableError, Sluice, SluiceError, UnreadableAnswerError
from tests.upstream import JSON, Respond, Upstream, raw, upstream, whole

NOTHING = whole({"workflows": []})

type Outcomes = list[object]
"""What each call gave: a list, or its error."""
type Ask = Callable[[str, int, bool], Awaitable[Outcomes]]


async def blocking(url: str, times: int, follows: bool) -> Outcomes:  # noqa: FBT001  # a flag of the test
    def ask() -> Outcomes:
        own = httpx2.Client(follow_redirects=True) if follows else None
        outcomes: Outcomes = []
        with Sluice(url, "key", patience=0, http=own) as client:
            for _ in range(times):
                try:
                    outcomes.append(client.workflows())
                except SluiceError as error:
                    outcomes.append(error)
        if own:
            own.close()
        return outcomes

    return await asyncio.to_thread(ask)


async def asynchronous(url: str, times: int, follows: bool) -> Outcomes:  # noqa: FBT001  # a flag of the test
    own = httpx2.AsyncClient(follow_redirects=True) if follows else None
    outcomes: Outcomes = []
    async with AsyncSluice(url, "key", patience=0, http=own) as client:
        for _ in range(times):
            try:
                outcomes.append(await client.workflows())
            except SluiceError as error:
                outcomes.append(error)
    if own:
        await own.aclose()
    return outcomes


@pytest.fixture(params=[blocking, asynchronous])
def ask(request: pytest.FixtureRequest) -> Ask:
    way: Ask = request.param
    return way


async def outcomes_of(ask: Ask, *answers: Respond, follows: bool = False) -> tuple[Outcomes, Upstream]:
    async with upstream(*answers) as served:
        return await ask(f"http://127.0.0.1:{served.port}", len(answers), follows), served


@pytest.mark.parametrize("cookie", ["session=1; Path=/", "a=\x01b", "=" * 3000])
async def test_a_cookie_is_neither_kept_nor_sent(ask: Ask, cookie: str) -> None:
    sets = whole({"workflows": []}, head=f"{JSON}Set-Cookie: {cookie}\r\n")

    outcomes, served = await outcomes_of(ask, sets, NOTHING, NOTHING)

    assert outcomes == [[], [], []]
    assert served.headers("Cookie") == []


@pytest.mark.parametrize("follows", [False, True], ids=["its-own-client", "a-callers-client-that-follows"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(ask: Ask, status: int, *, follows: bool) -> None:
    async with upstream(NOTHING) as elsewhere:
        head = f"Location: http://127.0.0.1:{elsewhere.port}/workflows\r\n"
        [outcome], _ = await outcomes_of(ask, whole(b"", status=f"{status} Elsewhere", head=head), follows=follows)

    assert isinstance(outcome, UnreadableAnswerError)
    assert elsewhere.heads == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 2OO fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_what_is_no_http_is_a_service_that_cannot_be_reached(ask: Ask, data: bytes) -> None:
    outcomes, _ = await outcomes_of(ask, raw(data, closes=True), NOTHING)

    assert isinstance(outcomes[0], ServiceUnreachableError)
    assert outcomes[1] == []
