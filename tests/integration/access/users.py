"""Create the users of infra/cache.yaml on a test Valkey, without a password."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from redis import Redis

from common.runtime.settings import RedisSettings
from tests.infra.stack import read_yaml
from tests.valkey import running_valkey

NAME = "sluice"


def access_strings() -> dict[str, str]:
    """Return each function's rights, as the template says them."""
    resources = read_yaml("infra/cache.yaml")["Resources"]
    users = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::ElastiCache::User"]
    prefix = "${CacheName}-"
    return {user["UserId"]["Fn::Sub"].removeprefix(prefix).replace("-", "_"): user["AccessString"] for user in users}


def user_of(function: str) -> str:
    return f"{NAME}-{function.replace('_', '-')}"


@dataclass(frozen=True)
class Restricted:
    """A Valkey with the template's users, whose default user is the tests' own."""

    settings: RedisSettings
    admin: Redis

    @contextmanager
    def denying_nothing(self) -> Iterator[None]:
        """Fail at the end of the block if anything was denied in it, be it something that a client has swallowed."""
        self.admin.acl_log_reset()
        yield
        assert {f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in self.admin.acl_log()} == set()


@contextmanager
def restricted_valkey(*, cluster: bool) -> Iterator[Restricted]:
    with (
        running_valkey(cluster=cluster) as settings,
        Redis(host=settings.host, port=settings.port, decode_responses=True) as admin,
    ):
        for function, rights in access_strings().items():
            admin.execute_command("ACL", "SETUSER", user_of(function), "reset", "nopass", *rights.split())
        yield Restricted(settings, admin)


@pytest.fixture(scope="session")
def restricted() -> Iterator[Restricted]:
    with restricted_valkey(cluster=False) as running:
        yield running


@pytest.fixture(scope="session")
def valkey(restricted: Restricted) -> RedisSettings:
    """Stand for the Valkey of the tests that are run once more."""
    return restricted.settings


@pytest.fixture(autouse=True)
def as_its_user(restricted: Restricted, user: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the function be this user, and allow no denial."""
    monkeypatch.setenv("REDIS_USERNAME", user)
    with restricted.denying_nothing():
        yield
