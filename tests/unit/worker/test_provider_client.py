"""HTTP with the provider, against a server on loopback that sends any bytes."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest
import trustme

from common.domain.errors import ModelBusy, ModelError, ModelFailed, ModelRefused
from common.domain.task import FailureCode, ProviderError
from common.worker import provider_transport
from common.worker.provider_client import ProviderClient, endpoint_of
from common.worker.provider_errors import classify_in_stream
from common.worker.provider_transport import MAX_HEADER_BYTES, MAX_HEADERS
from tests.upstream import GOOD, JSON, SSE, Respond, Upstream, raw, streamed, upstream, whole

BODY = b"".join(GOOD)
ANSWER = streamed(*GOOD)
MODEL = "gpt-test"


class Key:
    """Have a key that never changes."""

    async def __call__(self) -> str:
        return "sk-test"

    async def renewed(self, refused: str) -> bool:  # noqa: ARG002
        return False


@asynccontextmanager
async def client_of(url: str, *, timeout_seconds: float = 5.0) -> AsyncIterator[ProviderClient]:
    client = ProviderClient(key=Key(), base_url=url, timeout_seconds=timeout_seconds, on_headers=lambda *_: None)
    try:
        yield client
    finally:
        await client.close()


async def body_of(client: ProviderClient) -> bytes:
    async with client.post(MODEL, b"{}", "chat/completions") as pieces:
        return b"".join([piece async for piece in pieces])


async def bodies_of(*answers: Respond, base: str = "") -> tuple[list[bytes | ModelError], Upstream]:
    """Ask once for each answer, with one client."""
    got: list[bytes | ModelError] = []
    async with upstream(*answers) as served, client_of(served.url + base) as client:
        for _ in answers:
            try:
                got.append(await body_of(client))
            except ModelError as error:
                got.append(error)
    return got, served


async def error_of(answer: Respond, *, timeout_seconds: float = 5.0) -> ModelError:
    async with upstream(answer) as served, client_of(served.url, timeout_seconds=timeout_seconds) as client:
        with pytest.raises(ModelError) as caught:
            await body_of(client)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


# ─── Cookies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "cookie",
    [
        pytest.param("session=of-tenant-a; Path=/", id="a-session"),
        pytest.param("a=\x01b", id="a-control-byte"),
        pytest.param("a\x80=\xff", id="no-ascii"),
        pytest.param("=" * 3000, id="no-cookie-at-all"),
        pytest.param("a=b; Domain=127.0.0.1; Max-Age=99999999999999999999", id="a-number-that-overflows"),
        pytest.param("a=b\r\nSet-Cookie: c=d\r\nSet-Cookie2: e=f", id="several"),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Server Error"])
async def test_a_cookie_is_neither_kept_nor_sent(cookie: str, status: str) -> None:
    answer = streamed(*GOOD, head=f"{SSE}Set-Cookie: {cookie}\r\n", status=status)

    got, served = await bodies_of(answer, ANSWER, ANSWER)

    assert got[1:] == [BODY, BODY], "the calls after it are sent, and answered"
    assert len(served.heads) == 3
    assert served.headers("Cookie") == []


# ─── What is no HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────

NO_HTTP = {
    "a status line of letters": b"HTTP/1.1 2OO fine\r\n\r\n",
    "no status line": b"hello\r\n\r\n",
    "TLS where HTTP was spoken": b"\x15\x03\x03\x00\x02\x02\x28",
    "a content length of letters": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
    "a negative content length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a content length that overflows": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "two content lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a length beside chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size of letters": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "a chunk size that overflows": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n",
    "a chunk size below zero": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n",
    "a chunk that is longer than it says": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}{}{}\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a header with a null byte": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a header that is too long": b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEADER_BYTES + 1) + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
}
HALF_HTTP = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "half a header": b"HTTP/1.1 200 OK\r\nConte",
    "less than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{}",
}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        *(pytest.param(data, FailureCode.UNREADABLE_ANSWER, id=name) for name, data in NO_HTTP.items()),
        *(pytest.param(data, FailureCode.CONNECTION, id=name) for name, data in HALF_HTTP.items()),
    ],
)
async def test_what_is_no_http_fails_the_attempt_and_no_more_than_that(data: bytes, code: FailureCode) -> None:
    [first, second], _ = await bodies_of(raw(data, closes=True), ANSWER)

    assert isinstance(first, ModelFailed)
    assert first.code is code
    assert second == BODY, "the next call is sent, and answered"


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"zz\r\n{}\r\n", id="a-chunk-size-of-letters"),
        pytest.param(b"-5\r\n{}\r\n", id="a-chunk-size-below-zero"),
        pytest.param(b"f" * 40 + b"\r\n{}\r\n", id="a-chunk-size-that-overflows"),
        pytest.param(b"1\r\n{}{}{}\r\n", id="a-chunk-that-is-longer-than-it-says"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="the-next-answer"),
    ],
)
async def test_what_is_no_http_amid_a_body_fails_the_attempt_at_once(
    monkeypatch: pytest.MonkeyPatch, rest: bytes, *, closes: bool
) -> None:
    monkeypatch.setattr(provider_transport, "WATCH_SECONDS", 0.01)
    begun = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{SSE}Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n".encode())
        await begun.wait()
        writer.write(rest)
        await writer.drain()
        if closes:
            raise ConnectionError

    async def read(client: ProviderClient) -> None:
        async with asyncio.timeout(5), client.post(MODEL, b"{}", "chat/completions") as pieces:
            async for _ in pieces:
                begun.set()

    async with upstream(answer) as served, client_of(served.url) as client:
        with pytest.raises(ModelFailed) as caught:
            await read(client)

    assert caught.value.code is FailureCode.UNREADABLE_ANSWER


async def test_another_protocol_is_no_answer() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: magic\r\nConnection: upgrade\r\n\r\n"

    [first, second], _ = await bodies_of(raw(head + b"\x00\xff", closes=True), ANSWER)

    assert isinstance(first, ModelFailed)
    assert second == BODY


async def test_a_certificate_that_nobody_vouches_for_ends_the_call_before_the_prompt_is_sent() -> None:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async with upstream(ANSWER, tls=context) as served, client_of(f"https://127.0.0.1:{served.port}/v1") as client:
        with pytest.raises(ModelFailed) as caught:
            await body_of(client)

    assert caught.value.code is FailureCode.CONNECTION
    assert served.heads == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("Content-Security-Policy: " + "d" * 9000 + "\r\n", id="9-kB"),
        pytest.param("X: " + "y" * (MAX_HEADER_BYTES - 1000) + "\r\n", id="64-kB"),
        pytest.param("".join(f"X-H{number}: v\r\n" for number in range(200)), id="200-headers"),
        pytest.param("X: \xff\xfe\r\n", id="no-utf-8"),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
async def test_large_and_many_headers_are_read(head: str, status: str) -> None:
    [got], _ = await bodies_of(streamed(*GOOD, head=SSE + head, status=status))

    if status == "200 OK":
        assert got == BODY
    else:
        assert (type(got), getattr(got, "code", None)) == (ModelRefused, FailureCode.BAD_REQUEST)


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 2035 00:00:00 +99999999999999999999",
        "99999999999999999999 Jan 2035 00:00:00 GMT",
        "9" * 5000,
        "1e999",
        "-1e999",
        "NaN",
        "\xb2",
    ],
)
@pytest.mark.parametrize(("status", "kind"), [("429 Too Many Requests", ModelBusy), ("503 Unavailable", ModelFailed)])
async def test_a_wait_that_nobody_can_read_is_passed_over_or_capped(
    value: str, status: str, kind: type[ModelError]
) -> None:
    caught = await error_of(whole({"error": {"code": "x"}}, status=status, head=f"{JSON}Retry-After: {value}\r\n"))

    assert type(caught) is kind
    assert caught.retry_after in {None, 3600.0}


# ─── Redirects ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_fails_for_good(status: int) -> None:
    async with upstream(ANSWER) as elsewhere:
        head = f"Location: http://127.0.0.1:{elsewhere.port}/v1/chat/completions\r\n"
        caught = await error_of(whole(b"", status=f"{status} Elsewhere", head=head))

    assert (type(caught), caught.code) == (ModelRefused, FailureCode.REDIRECTED)
    assert elsewhere.heads == []


@pytest.mark.parametrize("location", ["//[", "http://169.254.169.254/", "javascript:alert(1)", "\x01", ""])
async def test_where_a_redirect_points_is_not_even_read(location: str) -> None:
    caught = await error_of(whole(b"", status="302 Found", head=f"Location: {location}\r\n"))

    assert caught.code is FailureCode.REDIRECTED


# ─── Errors, whose bodies may be anything ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "context_length_exceeded"}}', FailureCode.CONTEXT_LENGTH_EXCEEDED),
        (b'{"code": "context_length_exceeded"}', FailureCode.CONTEXT_LENGTH_EXCEEDED),
        (b'{"error": "context_length_exceeded"}', FailureCode.BAD_REQUEST),
        (b'{"error": null}', FailureCode.BAD_REQUEST),
        (b'["context_length_exceeded"]', FailureCode.BAD_REQUEST),
        (b"<html>", FailureCode.BAD_REQUEST),
        (b"\xff\xfe", FailureCode.BAD_REQUEST),
        (b"[" * 100_000, FailureCode.BAD_REQUEST),
        (b"9" * 5_000, FailureCode.BAD_REQUEST),
        (b"", FailureCode.BAD_REQUEST),
    ],
)
@pytest.mark.parametrize("pack", [lambda body: body, gzip.compress], ids=["plain", "gzip"])
async def test_an_error_is_judged_by_its_codes_where_its_body_has_any(
    body: bytes, code: FailureCode, pack: Callable[[bytes], bytes]
) -> None:
    caught = await error_of(whole(pack(body), status="400 Bad Request"))

    assert (type(caught), caught.code) == (ModelRefused, code)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"Content-Length: 50\r\n\r\n{", id="cut"),
        pytest.param(b"Content-Length: 9999999\r\n\r\n" + b"x" * 9_999_999, id="large"),
        pytest.param(b"Content-Length: 4\r\n\r\n\x1f\x8b\x00\x00", id="no-gzip"),
    ],
)
async def test_a_final_status_is_final_though_its_body_cannot_be_read(data: bytes) -> None:
    caught = await error_of(raw(b"HTTP/1.1 422 Unprocessable\r\n" + data, closes=True))

    assert (type(caught), caught.code) == (ModelRefused, FailureCode.BAD_REQUEST)


async def test_a_final_status_does_not_wait_for_a_body_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_transport, "ERROR_SECONDS", 0.05)

    caught = await error_of(raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n{"))

    assert caught.code is FailureCode.MODEL_NOT_FOUND


async def test_a_body_that_hangs_is_a_timeout() -> None:
    caught = await error_of(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), timeout_seconds=0.05)

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.TIMEOUT)


# ─── Compression ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity", "gzip, br", "magic", ""])
async def test_plain_bytes_are_read_as_they_are_whatever_they_are_called(encoding: str) -> None:
    head = f"{SSE}Content-Encoding: {encoding}\r\n"

    got, _ = await bodies_of(streamed(*GOOD, head=head), streamed(b"{", head=head), streamed(head=head))

    assert got == [BODY, b"{", b""]


def members(data: bytes) -> bytes:
    return b"".join(gzip.compress(data[at : at + 50]) for at in range(0, len(data), 50))


@pytest.mark.parametrize("label", ["Content-Encoding: gzip\r\n", "", "Content-Encoding: br\r\n"])
@pytest.mark.parametrize("pack", [gzip.compress, members, lambda data: gzip.compress(data) + b"\0" * 9])
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
async def test_gzip_is_unpacked_however_it_comes(label: str, pack: Callable[[bytes], bytes], size: int) -> None:
    packed = pack(BODY)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]

    [got], served = await bodies_of(streamed(*pieces, head=SSE + label))

    assert got == BODY
    assert [line.lower() for line in served.headers("Accept-Encoding")] == ["accept-encoding: gzip"]


async def test_gzip_that_goes_on_as_something_else_is_no_answer() -> None:
    packed = gzip.compress(BODY)

    caught = await error_of(streamed(packed[:20], b"nonsense" * 10))

    assert (type(caught), caught.code) == (ModelFailed, FailureCode.UNREADABLE_ANSWER)


async def test_a_few_kilobytes_that_stand_for_gigabytes_are_unpacked_piece_by_piece() -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)

    async with (
        upstream(streamed(bomb)) as served,
        client_of(served.url) as client,
        client.post(MODEL, b"{}", "chat/completions") as pieces,
    ):
        first = await anext(pieces)

    assert len(first) <= 256 * 1024


async def test_what_was_not_asked_for_is_handed_on_as_it_is() -> None:
    packed = zlib.compress(BODY)

    [got], _ = await bodies_of(streamed(packed, head=f"{SSE}Content-Encoding: deflate\r\n"))

    assert got == packed


# ─── The address ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("base_url", "endpoint"),
    [
        ("https://host/v1", "https://host/v1/chat/completions"),
        ("https://host/v1/", "https://host/v1/chat/completions"),
        ("https://host", "https://host/chat/completions"),
        ("https://host?a=b", "https://host/chat/completions?a=b"),
        (
            "https://host/openai/deployments/m?api-version=1",
            "https://host/openai/deployments/m/chat/completions?api-version=1",
        ),
        ("https://host/a%2Fb/?x=%2F&y=+", "https://host/a%2Fb/chat/completions?x=%2F&y=+"),
    ],
)
def test_a_path_is_put_before_the_query_of_a_base_url(base_url: str, endpoint: str) -> None:
    assert endpoint_of(base_url, "chat/completions") == endpoint


async def test_the_address_is_sent_as_it_is_written() -> None:
    _, served = await bodies_of(ANSWER, base="/a%2Fb%20c/?api-version=2024-10-21&x=%2F+%20")

    assert served.heads[0].partition("\r\n")[0] == (
        "POST /v1/a%2Fb%20c/chat/completions?api-version=2024-10-21&x=%2F+%20 HTTP/1.1"
    )


async def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(ANSWER) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with client_of("http://model.test/v1") as client:
            assert await body_of(client) == BODY
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        [got], served = await bodies_of(ANSWER)

    assert proxy.heads[0].startswith("POST http://model.test/v1/chat/completions HTTP/1.1\r\n")
    assert got == BODY
    assert len(served.heads) == 1


# ─── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_serves_one_call_after_the_other_and_many_at_once() -> None:
    async with upstream(ANSWER) as served, client_of(served.url) as client:
        assert [await body_of(client) for _ in range(3)] == [BODY] * 3
        assert await asyncio.gather(*(body_of(client) for _ in range(20))) == [BODY] * 20

    assert len(served.heads) == 23


# ─── What a provider says of an error ─────────────────────────────────────────────────────────────────────────────────

FAULT = {
    "message": "my secret prompt",
    "type": "invalid_request_error",
    "code": "invalid_value",
    "param": "tools[0].name",
}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(
            whole({"error": FAULT}, status="400 Bad Request", head=f"{JSON}X-Request-Id: req_1\r\n"),
            ProviderError("invalid_value", "tools[0].name", "req_1"),
            id="all-of-it",
        ),
        pytest.param(
            whole(FAULT, status="500 Oh", head=f"{JSON}request-id: req.2\r\n"),
            ProviderError("invalid_value", "tools[0].name", "req.2"),
            id="flat",
        ),
        pytest.param(
            whole({"error": FAULT}, status="429 Slow", head=JSON),
            ProviderError("invalid_value", "tools[0].name"),
            id="no-request-id",
        ),
        pytest.param(
            whole(b"<html>", status="502 Bad Gateway", head="x-amzn-RequestId: 0-1-2\r\n"),
            ProviderError(request_id="0-1-2"),
            id="no-body-to-read",
        ),
        pytest.param(
            whole({"error": {"code": 400, "param": None}}, status="400 Bad Request"),
            ProviderError("400"),
            id="a-number",
        ),
        pytest.param(whole({"error": "no"}, status="400 Bad Request"), None, id="nothing"),
    ],
)
async def test_what_identifies_an_error_is_kept_and_never_its_message(
    answer: Respond, told: ProviderError | None
) -> None:
    assert (await error_of(answer)).provider_error == told


@pytest.mark.parametrize(
    "value",
    ["", " ", "two words", "a/b", "a:b", "a;b", "a%1", "~", "é", "x" * 129, "a\nb", True, 1.5, ["a"], {"a": "b"}, None],
)
async def test_what_may_be_text_is_not_kept(value: object) -> None:
    error = await error_of(whole({"error": {"code": value, "param": value}}, status="400 Bad Request"))

    assert error.provider_error is None


async def test_a_name_is_kept_up_to_its_bound() -> None:
    def answer_of(code: int, param: int, request_id: int) -> Respond:
        body = {"error": {"code": "c" * code, "param": "p" * param}}
        return whole(body, status="400 Bad Request", head=f"{JSON}X-Request-Id: {'r' * request_id}\r\n")

    longest = (await error_of(answer_of(64, 128, 128))).provider_error
    longer = (await error_of(answer_of(65, 129, 129))).provider_error

    assert longest == ProviderError("c" * 64, "p" * 128, "r" * 128)
    assert longer is None


async def test_an_error_amid_the_answer_has_the_id_of_its_request() -> None:
    async def fail_amid(url: str) -> None:
        async with client_of(url) as client, client.post(MODEL, b"{}", "chat/completions"):
            raise classify_in_stream({"code": "server_error", "param": "x", "message": "secret"}, begun=True)

    async with upstream(streamed(GOOD[0], head=f"{SSE}X-Request-Id: req_3\r\n")) as served:
        with pytest.raises(ModelFailed) as caught:
            await fail_amid(served.url)

    assert caught.value.provider_error == ProviderError("server_error", "x", "req_3")
