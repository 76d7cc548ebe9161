"""Play Lambda's runtime: run a function's real handler in a process of its own.

`python -m tests.faults.runtime` imports the libraries once and forks a child for each order on its input. A child is a
cold start: it gets an environment, imports the handler, and serves invocations over a Unix socket until that ends or
somebody kills it. A fork takes 50 ms where a new interpreter takes 1.5 s of a core, and the suite starts hundreds.
When the input ends, the whole process group is killed: no child outlives the suite, not even a stopped one.
"""

import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# None of the product is here: that is what a cold start imports. Libraries do nothing when they are imported.
LIBRARIES = (
    "aioboto3",
    "aiohttp",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.metrics",
    "aws_lambda_powertools.tracing",
    "aws_lambda_powertools.utilities.parameters",
    "boto3",
    "redis.asyncio",
)


@dataclass(frozen=True, slots=True)
class Context:
    """Tell the handler of its invocation; the time that remains is true."""

    aws_request_id: str
    ends_at: float
    function_name: str = "sluice"
    memory_limit_in_mb: int = 1769
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:sluice"

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left until this process will be killed."""
        return max(0, round((self.ends_at - time.time()) * 1000))


def main() -> None:
    """Fork a child for each line of the input."""
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the children
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if os.fork() == 0:
            serve(json.loads(line))
    os.killpg(0, signal.SIGKILL)


def serve(order: Mapping[str, Any]) -> None:
    """Be one Lambda environment: a cold start, then invocations, one after the other."""
    _become(order)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(order["socket"])
        wire = connection.makefile("rw", encoding="utf-8")
        handler = importlib.import_module(f"functions.{order['function']}.handler").lambda_handler
        _say(wire, {"pid": os.getpid()})
        for line in wire:
            request = json.loads(line)
            os.environ["_X_AMZN_TRACE_ID"] = request["trace_id"]
            context = Context(request["request_id"], request["ends_at"])
            try:
                answer = {"result": handler(request["event"], context)}
            except Exception as error:  # noqa: BLE001  # as Lambda's: the invocation failed, and its log says how
                traceback.print_exc()
                answer = {"error": type(error).__name__, "message": str(error)}
            sys.stdout.flush()
            _say(wire, answer | {"usage": _usage()})
    os._exit(0)


def _become(order: Mapping[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(order["env"])
    with Path("/dev/null").open("rb") as nothing, Path(order["log"]).open("ab") as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if order["newer"]:  # a later deployment: the same code, one version of the message on
        messages = importlib.import_module("common.domain.message")
        messages.VERSION += 1  # type: ignore[attr-defined]  # a module, loaded by its name


def _say(wire: Any, answer: Mapping[str, Any]) -> None:  # noqa: ANN401  # a socket's file
    wire.write(json.dumps(answer) + "\n")
    wire.flush()


def _usage() -> dict[str, int]:
    # Resident now, not at the peak: `ru_maxrss` never shrinks and would call a plateau a leak's end.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a Path opens nothing else meanwhile, and is no shorter
    return {"resident": pages * resource.getpagesize(), "files": files}


if __name__ == "__main__":
    main()
