"""Test that no cache user can run the commands of another function or administrative commands."""

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from tests.integration.access.users import Restricted, access_strings, restricted, user_of

__all__ = ["restricted"]

FUNCTIONS = ("submit", "openai", "worker", "status", "cancel", "dead_letter", "receipt", "workflow")
WORKERS = ("worker", "workflow")
TASK, BATCH = "task:{acme/b}:0", "batch:{acme/b}"

NOBODY = [
    ("GET", "anything"),
    ("HGETALL", "secrets"),
    ("UNLINK", TASK),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("FLUSHALL",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
    ("ACL", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("MONITOR",),
    ("SHUTDOWN",),
    ("CLUSTER", "RESET"),
    ("SPUBLISH", "elsewhere:{acme/b}", ""),
    ("PSUBSCRIBE", "*"),
]

OF_ANOTHER = [
    # The two workers': adding up, the flow that workers share, the tenants' sums.
    *[(user, ("HINCRBY", BATCH, "cost", "1")) for user in FUNCTIONS if user not in {*WORKERS, "submit", "openai"}],
    *[(user, ("HGET", "pause:{model/x}", "until")) for user in FUNCTIONS if user not in WORKERS],
    *[(user, ("HSET", "rate:{model/x}", "next_request", "0")) for user in FUNCTIONS if user not in WORKERS],
    *[(user, ("HDEL", "flights:{tenant/acme}", "one")) for user in FUNCTIONS if user not in WORKERS],
    *[(user, ("HSET", "spend:{acme}:2026-11-21", "cost", "0")) for user in ("cancel", "dead_letter", "receipt")],
    # Those of the OpenAI-compatible endpoints: the first tries of requests.
    *[(user, ("SET", "joined:{acme}:d", "k")) for user in FUNCTIONS if user != "openai"],
    # The workflow worker's: the finished steps.
    *[(user, ("HSET", "steps:{acme/b}:0", "one", "{}")) for user in FUNCTIONS if user != "workflow"],
    *[(user, ("HGETALL", "steps:{acme/b}:0")) for user in FUNCTIONS if user != "workflow"],
    # Everybody's but who only files receipts: the tasks, and the ends of batches.
    ("receipt", ("HGET", TASK, "status")),
    ("receipt", ("HSET", TASK, "status", "completed")),
    ("receipt", ("HDEL", BATCH, "due")),
    # Those who may hold a caller's answer: listening, and counting the calls that are held.
    *[(user, ("ZREM", "backlog:{acme}:tasks", "one")) for user in ("status", "cancel", "receipt")],
    *[(user, ("ZADD", "backlog:{acme}:tasks", "1", "one")) for user in FUNCTIONS if user not in {"submit", "openai"}],
    *[(user, ("ZCARD", "held:{all}")) for user in (*WORKERS, "cancel", "dead_letter", "receipt")],
    *[(user, ("SSUBSCRIBE", "ends:{acme/b}")) for user in (*WORKERS, "cancel", "dead_letter", "receipt")],
]


def as_user(restricted: Restricted, function: str) -> Redis:
    return Redis(host=restricted.settings.host, port=restricted.settings.port, username=user_of(function), password="")


def test_each_function_that_speaks_to_redis_has_a_user() -> None:
    assert set(access_strings()) == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("command", NOBODY, ids=" ".join)
def test_nobody_may_do_what_no_function_does(restricted: Restricted, function: str, command: tuple[str, ...]) -> None:
    with as_user(restricted, function) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(
    ("function", "command"), OF_ANOTHER, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_a_function_may_not_do_the_work_of_another(
    restricted: Restricted, function: str, command: tuple[str, ...]
) -> None:
    with as_user(restricted, function) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_script_has_no_more_rights_than_who_runs_it(restricted: Restricted, function: str) -> None:
    with as_user(restricted, function) as client, pytest.raises(ResponseError, match="ACL failure in script"):
        client.eval("return redis.call('UNLINK', KEYS[1])", 1, BATCH)


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_has_what_the_others_lack(restricted: Restricted, worker: str) -> None:
    denied = [command for user, command in OF_ANOTHER if user == worker]
    own = [command for user, command in OF_ANOTHER if user == "submit" and command not in denied]
    with as_user(restricted, worker) as client:
        for command in own:
            client.execute_command(*command)
    assert own
