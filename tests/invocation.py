"""Start and invoke a handler as Lambda does."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from uuid import uuid4


@dataclass(frozen=True)
class Context:
    """What Lambda tells of an invocation; the time that remains stays as it is."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    remaining_ms: int = 300_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@contextmanager
def running_with_redis(function: str) -> Iterator[ModuleType]:
    """Start a function that has a client of Redis, and close that and its loop at the end."""
    module = started(function)
    yield module
    module.RUNNER.run(module.REDIS.aclose())
    module.RUNNER.close()


def started(function: str) -> ModuleType:
    """Import a function's handler as if for the first time, as a cold start does."""
    name = f"functions.{function}.handler"
    sys.modules.pop(name, None)
    return importlib.import_module(name)
