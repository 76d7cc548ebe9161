"""Test the webhook HTTP client against a real HTTPS server: checked address, TLS by name, timeout."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Final

import pytest
import trustme

from common.webhooks.model import Target, WebhookDeliveryCode
from functions.webhook import http_client as dialler_module
from functions.webhook.http_client import Resolve, SafeHttpClient
from functions.webhook.resolver import Resolver
from functions.webhook.service import AttemptResult
from tests.receiver import HOST, Receiver, receiving

NAME: Final = "hooks.example"
HEADERS: Final = {"webhook-id": "b.completed"}
BODY: Final = b'{"type":"batch.completed"}'
AUTHORITY: Final = trustme.CA()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(NAME).configure_cert(context)
    with receiving(context) as running:
        yield running


def knowing(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def leads_to(*addresses: str) -> Resolve:
    async def resolve(tenant: str, host: str, port: int) -> Sequence[str]:
        del tenant, host, port
        return addresses

    return resolve


def dialler(*addresses: str, try_seconds: float = 10.0, authority: trustme.CA = AUTHORITY) -> SafeHttpClient:
    """Make one that looks names up here, and may call this machine."""
    return SafeHttpClient(
        allow_loopback=True,
        resolve=leads_to(*(addresses or (HOST,))),
        context=knowing(authority),
        try_seconds=try_seconds,
    )


async def call(
    receiver: Receiver, caller: SafeHttpClient | None = None, host: str = NAME, path: str = "/hook?a=1"
) -> AttemptResult:
    return await (caller or dialler()).post("acme", Target(host, receiver.port, path), HEADERS, BODY)


async def test_a_body_arrives_by_tls_at_the_name_and_path(receiver: Receiver) -> None:
    assert await call(receiver) == AttemptResult(None, 204)

    [received] = receiver.received
    assert (received.path, received.body) == ("/hook?a=1", BODY)
    assert received.headers["Host"] == f"{NAME}:{receiver.port}"
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["webhook-id"] == "b.completed"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, None),
        (299, None),
        (301, WebhookDeliveryCode.REDIRECT),
        (307, WebhookDeliveryCode.REDIRECT),
        (400, WebhookDeliveryCode.REFUSED),
        (410, WebhookDeliveryCode.GONE),
        (429, WebhookDeliveryCode.REFUSED),
        (500, WebhookDeliveryCode.REFUSED),
    ],
)
async def test_an_answer_is_judged_by_its_status(
    receiver: Receiver, status: int, code: WebhookDeliveryCode | None
) -> None:
    receiver.statuses = [status]

    assert await call(receiver) == AttemptResult(code, status)


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    def lead_away(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"https://{NAME}:{receiver.port}/elsewhere")
        handler.end_headers()

    receiver.act = lead_away

    assert await call(receiver) == AttemptResult(WebhookDeliveryCode.REDIRECT, 302)
    assert [received.path for received in receiver.received] == ["/hook?a=1"]


async def test_a_cookie_is_neither_kept_nor_sent(receiver: Receiver) -> None:
    def set_cookie(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(204)
        handler.send_header("Set-Cookie", "session=1; Path=/")
        handler.end_headers()

    receiver.act = set_cookie
    caller = dialler()

    assert [await call(receiver, caller) for _ in range(2)] == [AttemptResult(None, 204)] * 2
    assert [received.headers.get("Cookie") for received in receiver.received] == [None, None]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["0.0.0.0"],
        ["100.64.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::1"],
        ["fd00:ec2::254"],
        ["fe80::1%eth0"],
        # One bad address among good ones is enough: which one is dialled must not be chance.
        ["93.184.216.34", "127.0.0.1"],
    ],
    ids=str,
)
async def test_a_name_that_leads_to_us_is_not_called(
    receiver: Receiver, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *arguments: dialled.append(arguments))
    strict = SafeHttpClient(allow_loopback=False, resolve=leads_to(*addresses), context=knowing(AUTHORITY))

    assert await call(receiver, strict) == AttemptResult(WebhookDeliveryCode.ADDRESS_NOT_ALLOWED)
    assert dialled == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_no_way_of_writing_this_machine_gets_past_the_look_up(receiver: Receiver, host: str) -> None:
    strict = SafeHttpClient(allow_loopback=False, resolve=Resolver().resolve, context=knowing(AUTHORITY))

    assert (await call(receiver, strict, host=host)).code in {
        WebhookDeliveryCode.ADDRESS_NOT_ALLOWED,
        WebhookDeliveryCode.NAME_NOT_RESOLVED,
    }
    assert receiver.received == []


async def test_the_address_that_was_checked_is_dialled_although_the_name_leads_elsewhere_by_then(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a name that leads to the public when it is looked up, and to us right after
    looks: list[str] = []

    async def rebinding(tenant: str, host: str, port: int) -> Sequence[str]:
        del tenant, host, port
        looks.append("look")
        return ["93.184.216.34"] if len(looks) == 1 else [HOST]

    dialled: list[tuple[str, int]] = []

    def dial(address: tuple[str, int], timeout: float) -> None:
        del timeout
        dialled.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", dial)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up twice"))
    strict = SafeHttpClient(allow_loopback=False, resolve=rebinding, context=knowing(AUTHORITY))

    # THEN the checked address alone is dialled
    assert await call(receiver, strict) == AttemptResult(WebhookDeliveryCode.CONNECTION)
    assert dialled == [("93.184.216.34", receiver.port)]
    assert looks == ["look"]


async def test_another_address_of_the_name_is_tried_where_one_does_not_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dial = socket.create_connection

    def dial_all_but_one(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == "127.0.0.0":
            raise TimeoutError
        return dial(address, timeout)

    monkeypatch.setattr(socket, "create_connection", dial_all_but_one)

    assert await call(receiver, dialler("127.0.0.0", HOST)) == AttemptResult(None, 204)


async def test_a_certificate_of_another_name_is_refused(receiver: Receiver) -> None:
    assert await call(receiver, host="other.example") == AttemptResult(WebhookDeliveryCode.TLS)
    assert receiver.received == []


async def test_a_certificate_of_an_unknown_authority_is_refused(receiver: Receiver) -> None:
    assert await call(receiver, dialler(authority=trustme.CA())) == AttemptResult(WebhookDeliveryCode.TLS)
    assert receiver.received == []


async def test_a_name_that_leads_nowhere_says_so(receiver: Receiver) -> None:
    async def nobody(tenant: str, host: str, port: int) -> Sequence[str]:
        raise OSError(tenant, host, port)

    lost = SafeHttpClient(allow_loopback=True, resolve=nobody, context=knowing(AUTHORITY))

    assert await call(receiver, lost) == AttemptResult(WebhookDeliveryCode.NAME_NOT_RESOLVED)


async def test_a_slow_drip_is_cut_when_its_time_is_over(receiver: Receiver) -> None:
    # GIVEN a receiver that sends a byte of its headers now and then, each in time for a timeout of its own
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.02):
                handler.wfile.write(b"a")

    receiver.act = drip
    try:
        assert await call(receiver, dialler(try_seconds=0.4)) == AttemptResult(WebhookDeliveryCode.TIMEOUT)
    finally:
        over.set()


async def test_a_receiver_that_never_answers_is_cut_when_its_time_is_over(receiver: Receiver) -> None:
    over = threading.Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        del handler
        over.wait(30)

    receiver.act = wait
    try:
        assert await call(receiver, dialler(try_seconds=0.3)) == AttemptResult(WebhookDeliveryCode.TIMEOUT)
    finally:
        over.set()


async def test_a_look_up_that_hangs_is_cut_when_its_time_is_over(receiver: Receiver) -> None:
    async def hang(tenant: str, host: str, port: int) -> Sequence[str]:
        del tenant, host, port
        await asyncio.get_running_loop().create_future()
        return []

    hung = SafeHttpClient(allow_loopback=True, resolve=hang, context=knowing(AUTHORITY), try_seconds=0.1)
    assert await call(receiver, hung) == AttemptResult(WebhookDeliveryCode.TIMEOUT)


async def test_once_its_time_is_over_no_other_address_is_dialled(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a first address that does not answer before the time is over
    cut, is_cut, dialled = dialler_module._Call.cut, threading.Event(), []

    def cut_and_tell(call: dialler_module._Call) -> None:
        cut(call)
        is_cut.set()

    def dial(address: tuple[str, int], timeout: float) -> socket.socket:
        dialled.append(address[0])
        is_cut.wait(30)
        raise TimeoutError(timeout)

    monkeypatch.setattr(dialler_module._Call, "cut", cut_and_tell)
    monkeypatch.setattr(socket, "create_connection", dial)

    assert await call(receiver, dialler("127.0.0.2", HOST, try_seconds=0.1)) == AttemptResult(
        WebhookDeliveryCode.TIMEOUT
    )
    assert dialled == ["127.0.0.2"]


async def test_a_huge_answer_is_not_read(receiver: Receiver) -> None:
    sent: list[int] = []
    gave_up = threading.Event()

    def pour(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            while True:
                sent.append(handler.wfile.write(bytes(65_536)))
        except OSError:
            gave_up.set()

    receiver.act = pour

    assert await call(receiver) == AttemptResult(None, 200)
    assert gave_up.wait(10), "the connection was kept open"


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000],
    ids=len,
)
async def test_what_is_no_http_is_unreadable(receiver: Receiver, answer: bytes) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(answer)

    receiver.act = say

    assert await call(receiver) == AttemptResult(WebhookDeliveryCode.UNREADABLE_ANSWER)


async def test_a_receiver_that_hangs_up_is_a_broken_connection(receiver: Receiver) -> None:
    receiver.act = lambda _: None

    assert await call(receiver) == AttemptResult(WebhookDeliveryCode.CONNECTION)


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert await call(receiver) == AttemptResult(None, 204)


async def test_http_reaches_this_machine_where_that_is_allowed() -> None:
    with receiving() as plain:
        target = Target("localhost", plain.port, "/", is_tls=False)

        caller = SafeHttpClient(allow_loopback=True, resolve=leads_to(HOST))
        assert await caller.post("acme", target, HEADERS, BODY) == AttemptResult(None, 204)
