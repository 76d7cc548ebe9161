"""Signing in by IAM: the token's form, its renewal, and a Valkey that takes it for a password, behind TLS."""

import hashlib
import hmac
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.credentials import Credentials
from redis import Redis

from common.domain.errors import SettingError, StoreUnavailable
from common.runtime.settings import IamSettings, RedisSettings
from common.store import TaskStore, connect, iam
from common.store.client import Client, redis_errors
from tests.integration.store.harness import new_batch
from tests.tls import tls_front
from tests.valkey import running_valkey

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+of=the-role")
CACHE = IamSettings("sluice-cache", is_serverless=False, region="eu-central-1")
USER = "sluice-status"


@dataclass
class Time:
    """Stand for the clock, botocore's too."""

    now: datetime = START

    def __call__(self) -> float:
        return self.now.timestamp()

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: clock.now.replace(tzinfo=None))
    return clock


def credentials(time: Time, cache: IamSettings = CACHE) -> iam.IamCredentials:
    return iam.IamCredentials(USER, cache, keys=lambda: KEYS, clock=time)


async def token_of(source: iam.IamCredentials) -> str:
    name, token = await source.get_credentials_async()
    assert name == USER
    return token


# ─── The token ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_token_is_the_presigned_connect_request_that_elasticache_documents(time: Time) -> None:
    token = await token_of(credentials(time))

    # Without a scheme: ElastiCache takes the request as it would stand on the wire.
    address = urlsplit(f"//{token}")
    assert (address.netloc, address.path) == ("sluice-cache", "/")
    query = parse_qsl(address.query, strict_parsing=True)
    assert [name for name, _ in query] == [
        "Action",
        "User",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
    ]
    assert dict(query) | {"X-Amz-Signature": ""} == {
        "Action": "connect",
        "User": USER,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIDEXAMPLE/20261121/eu-central-1/elasticache/aws4_request",
        "X-Amz-Date": "20261121T120000Z",
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Security-Token": KEYS.token,
        "X-Amz-Signature": "",
    }


async def test_a_serverless_cache_is_named_as_one(time: Time) -> None:
    token = await token_of(credentials(time, replace(CACHE, is_serverless=True)))

    assert ("ResourceType", "ServerlessCache") in parse_qsl(token)


@pytest.mark.parametrize("is_serverless", [False, True])
async def test_the_signature_is_that_of_signature_version_4(time: Time, *, is_serverless: bool) -> None:
    token = await token_of(credentials(time, replace(CACHE, is_serverless=is_serverless)))

    # As the cache checks it: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    host, _, query = token.partition("/?")
    signed = sorted((name, value) for name, value in parse_qsl(query) if name != "X-Amz-Signature")
    canonical_query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in signed)
    nothing = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{nothing}"
    scope = "20261121/eu-central-1/elasticache/aws4_request"
    text = f"AWS4-HMAC-SHA256\n20261121T120000Z\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{KEYS.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert dict(parse_qsl(query))["X-Amz-Signature"] == hmac.digest(key, text.encode(), "sha256").hex()


async def test_a_token_serves_until_five_minutes_before_its_end(time: Time) -> None:
    source = credentials(time)
    first = await token_of(source)

    time.advance(599)
    assert await token_of(source) == first
    time.advance(1)
    second = await token_of(source)

    assert dict(parse_qsl(second))["X-Amz-Date"] == "20261121T121000Z"


async def test_each_token_is_signed_with_the_keys_that_the_role_has_by_then(time: Time) -> None:
    keys = [Credentials("LATER", "secret", "token"), Credentials("FIRST", "secret", "token")]
    source = iam.IamCredentials(USER, CACHE, keys=keys.pop, clock=time)

    first = await token_of(source)
    time.advance(iam.RENEW_SECONDS)
    later = await token_of(source)

    assert "X-Amz-Credential=FIRST" in first
    assert "X-Amz-Credential=LATER" in later


async def test_a_function_without_a_role_says_so(time: Time) -> None:
    with pytest.raises(SettingError, match="REDIS_IAM"):
        await iam.IamCredentials(USER, CACHE, keys=lambda: None, clock=time).get_credentials_async()


def test_a_start_without_iam_imports_no_botocore() -> None:
    program = (
        "import sys; from common.store import connect; from common.runtime.settings import RedisSettings; "
        "connect(RedisSettings('localhost', 6379, True, True, None)); "
        "sys.exit(any(name.startswith('botocore') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ─── A server that takes it ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Server:
    """A Valkey behind TLS, and its administrator."""

    settings: RedisSettings
    admin: Redis

    def expect(self, token: str) -> None:
        """Take this token, and no other, for the user's password, as ElastiCache does."""
        self.admin.acl_setuser(USER, enabled=True, reset=True, passwords=[f"+{token}"], keys=["*"], commands=["+@all"])

    def opened(self) -> set[str]:
        """Name the user's open connections."""
        return {client["id"] for client in self.admin.client_list() if client["user"] == USER}


@pytest.fixture(scope="module", params=[False, True], ids=["single", "cluster"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    authority = tmp_path_factory.mktemp("tls") / "ca.pem"
    with (
        running_valkey(cluster=request.param) as valkey,
        tls_front(valkey, authority) as port,
        pytest.MonkeyPatch.context() as patch,
        Redis(host=valkey.host, port=valkey.port, decode_responses=True) as admin,
    ):
        # Where OpenSSL looks for authorities, which is where redis-py lets it look.
        patch.setenv("SSL_CERT_FILE", str(authority))
        settings = RedisSettings("127.0.0.1", port, tls=True, cluster=request.param, username=USER, iam=CACHE)
        yield Server(settings, admin)


@pytest.fixture
async def client(server: Server, time: Time, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """Connect as a function does, with the role's keys in the environment."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEYS.access_key,
        "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
        "AWS_SESSION_TOKEN": str(KEYS.token),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(iam, "credentials_of", lambda _: iam.IamCredentials(USER, CACHE, clock=time))
    monkeypatch.setattr(iam, "Renewal", partial(iam.Renewal, time))
    made = connect(server.settings)
    yield made
    await made.aclose()


async def test_a_function_works_with_the_token_for_a_password(server: Server, client: Client, time: Time) -> None:
    server.expect(await token_of(credentials(time)))

    created = await TaskStore(client).create(new_batch())

    assert created.created_ms > 0
    assert await TaskStore(client).read_batch("acme", new_batch().batch_id) is not None


async def test_a_token_that_the_cache_no_longer_takes_is_an_outage_and_not_an_empty_answer(
    server: Server, client: Client
) -> None:
    server.expect("another")

    with pytest.raises(StoreUnavailable):
        await TaskStore(client).read_batch("acme", new_batch().batch_id)


async def test_a_new_connection_signs_in_with_a_renewed_token(server: Server, client: Client, time: Time) -> None:
    # GIVEN a client that has signed in, whose connection breaks after its token's time
    server.expect(await token_of(credentials(time)))
    await TaskStore(client).read_batch("acme", new_batch().batch_id)
    time.advance(iam.TOKEN_SECONDS)
    server.expect(await token_of(credentials(time)))
    for connection in server.opened():
        server.admin.client_kill_filter(_id=connection)

    # WHEN it is used again, THEN it signs in anew
    await TaskStore(client).read_batch("acme", new_batch().batch_id)
    assert server.opened()


async def test_connections_are_replaced_before_elasticache_would_close_them(
    server: Server, client: Client, time: Time
) -> None:
    # GIVEN connections that signed in eleven hours ago, less a second
    server.expect(await token_of(credentials(time)))
    store = TaskStore(client)
    await store.read_batch("acme", new_batch().batch_id)
    old = server.opened()
    time.advance(iam.CONNECTION_SECONDS - 1)
    server.expect(await token_of(credentials(time)))
    await store.read_batch("acme", new_batch().batch_id)
    assert server.opened() == old

    # WHEN the second has passed, THEN none of them is left, and the work goes on
    time.advance(1)
    server.expect(await token_of(credentials(time)))
    await store.read([])
    await store.read_batch("acme", new_batch().batch_id)
    assert server.opened()
    assert not server.opened() & old


async def test_the_certificate_has_to_be_of_an_authority_that_is_trusted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    stranger = connect(server.settings)
    try:
        with pytest.raises(StoreUnavailable), redis_errors():
            await stranger.execute_command("GET", "key")
    finally:
        await stranger.aclose()


def test_a_user_that_the_settings_lack_stops_the_start() -> None:
    with pytest.raises(SettingError, match="REDIS_IAM"):
        iam.credentials_of(RedisSettings("localhost", 6379, tls=True, cluster=True, username=None, iam=None))
