"""Test the resolver: threads per lookup, and isolation of tenants with names that hang."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from functions.webhook.resolver import Resolver

ADDRESS = "93.184.216.34"
WAIT_SECONDS = 10.0
"""For what happens at once: only a fault lasts as long."""


class Names:
    """Stand for the system's resolver: it gives up on names that begin with `hang` when the test lets it."""

    def __init__(self) -> None:
        self.given_up = threading.Event()
        self.lookups: list[str] = []
        self._started = threading.Condition()

    def __call__(self, host: str, port: int) -> list[str]:
        assert port == 443
        with self._started:
            self.lookups.append(host)
            self._started.notify_all()
        if host.startswith("hang"):
            self.given_up.wait(30)
            raise OSError
        return [ADDRESS]

    async def wait_for(self, lookups: int) -> None:
        """Wait until so many lookups have begun."""

        def wait() -> bool:
            with self._started:
                return self._started.wait_for(lambda: len(self.lookups) >= lookups, WAIT_SECONDS)

        assert await asyncio.to_thread(wait)


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.given_up.set()


@contextmanager
def hanging(resolver: Resolver, tenant: str, *hosts: str) -> Iterator[list[asyncio.Task[list[str]]]]:
    """Ask for names until the end of the block."""
    asked = [asyncio.ensure_future(resolver.resolve(tenant, host, 443)) for host in hosts]
    try:
        yield asked
    finally:
        for each in asked:
            each.cancel()


async def test_names_are_resolved_as_the_system_does() -> None:
    assert "127.0.0.1" in await Resolver().resolve("acme", "localhost", 443)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", f"{'a' * 64}.example", "\udcff.example", "a\0b"])
async def test_a_name_that_cannot_be_resolved_is_an_os_error_whatever_the_system_says(host: str) -> None:
    with pytest.raises(OSError, match="resolved") as caught:
        await Resolver(seconds=60).resolve("acme", host, 443)

    assert not isinstance(caught.value, TimeoutError)


async def test_names_of_one_tenant_that_never_resolve_leave_the_others_alone(names: Names) -> None:
    resolver = Resolver(names, seconds=WAIT_SECONDS)

    with hanging(resolver, "rival", *(f"hang-{number}" for number in range(50))) as asked:
        await names.wait_for(4)
        async with asyncio.timeout(WAIT_SECONDS / 2):
            found = await asyncio.gather(*(resolver.resolve(f"t{number}", "hooks.example", 443) for number in range(9)))

        assert found == [[ADDRESS]] * 9
        assert not any(each.done() for each in asked)
        assert len([host for host in names.lookups if host.startswith("hang")]) == 4


async def test_a_lookup_that_hangs_counts_until_the_system_gives_it_up(names: Names) -> None:
    resolver = Resolver(names, seconds=0.05, tenant_lookups=2)
    for host in ("hang-1", "hang-2"):
        with pytest.raises(TimeoutError):
            await resolver.resolve("rival", host, 443)

    with pytest.raises(TimeoutError):
        await resolver.resolve("rival", "hooks.example", 443)
    assert "hooks.example" not in names.lookups
    assert await resolver.resolve("acme", "hooks.example", 443) == [ADDRESS]

    patient = Resolver(names, seconds=WAIT_SECONDS, tenant_lookups=2)
    with hanging(patient, "rival", "hang-1", "hang-2"):
        waiting = asyncio.ensure_future(patient.resolve("rival", "hooks.example", 443))
        await names.wait_for(5)
        names.given_up.set()
        assert await waiting == [ADDRESS]


async def test_the_calls_of_a_tenant_for_one_name_share_a_lookup_and_those_of_another_tenant_do_not(
    names: Names,
) -> None:
    resolver = Resolver(names, seconds=WAIT_SECONDS)

    with hanging(resolver, "rival", *["hang-1"] * 9), hanging(resolver, "acme", "hang-1"):
        await names.wait_for(2)
        assert await resolver.resolve("rival", "hooks.example", 443) == [ADDRESS]
        assert names.lookups == ["hang-1", "hang-1", "hooks.example"]


async def test_all_tenants_together_have_a_bound_and_the_next_waits_for_its_turn(names: Names) -> None:
    resolver = Resolver(names, seconds=WAIT_SECONDS, most_lookups=3)

    with hanging(resolver, "a", "hang-1"), hanging(resolver, "b", "hang-2"), hanging(resolver, "c", "hang-3"):
        await names.wait_for(3)
        waiting = asyncio.ensure_future(resolver.resolve("acme", "hooks.example", 443))
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        names.given_up.set()
        assert await waiting == [ADDRESS]


async def test_without_a_thread_to_spare_a_name_is_not_resolved(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver(names)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(OSError, match="thread"):
        await resolver.resolve("acme", "hooks.example", 443)

    monkeypatch.undo()
    assert await resolver.resolve("acme", "hooks.example", 443) == [ADDRESS]
