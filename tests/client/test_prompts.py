"""One prompt where a list belongs is an error, at run time and for type checkers: it would be many paid tasks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluice import Chunk
from tests.client.conftest import Caller
from tests.client.service import Service

ROOT = Path(__file__).parents[2]
SINGLE: list[Any] = ["Hello", b"Hello", bytearray(b"Hello"), memoryview(b"Hello"), {"prompt": "Hello"}]
CALLS: dict[str, Callable[[Caller, Any], object]] = {
    "submit([": lambda caller, value: caller.call("submit", value),
    "submit([ ": lambda caller, value: caller.call("submit", value, workflow="story"),
    "submit(inputs=[": lambda caller, value: caller.call("submit", template="{prompt}", inputs=value),
    "map([": lambda caller, value: list(caller.iterate("map", value)),
    "submit([  ": lambda caller, value: list(caller.iterate("run", [Chunk(0, value, "key")], {})),
}


@pytest.mark.parametrize("value", SINGLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("call", CALLS)
def test_one_prompt_instead_of_a_list_is_an_error_that_shows_the_correct_call(
    caller: Caller, service: Service, call: str, value: Any
) -> None:
    with pytest.raises(TypeError, match=type(value).__name__) as caught:
        CALLS[call](caller, value)

    assert call.rstrip() in str(caught.value)
    assert "Hello" not in str(caught.value)
    assert not service.seen


@pytest.mark.parametrize("value", [b"b-0", {"b-0": 1}], ids=["bytes", "dict"])
@pytest.mark.parametrize("name", ["wait", "get_many"])
def test_bytes_or_a_mapping_instead_of_ids_is_an_error(caller: Caller, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=r"wait\(\[task_id\]\)"):
        caller.call(name, value)


TYPED = """
from collections import deque
from collections.abc import AsyncIterator, Iterator
from sluice import AsyncSluice, Sluice, Submission

sluice, later = Sluice("https://example.org", "key"), AsyncSluice("https://example.org", "key")

def generated() -> Iterator[str]:
    yield "a"

async def arriving() -> AsyncIterator[str]:
    yield "a"

def accepted(made: Submission) -> None:
    sluice.submit(["a"])
    sluice.submit(("a", {"prompt": "b"}))
    sluice.submit([{"prompt": "a"}], model="m")
    sluice.submit(template="{a}", inputs=[{"a": "b"}])
    sluice.map(generated())
    sluice.map(each for each in ("a", "b"))
    sluice.map(map(str, range(3)))
    sluice.map({"a", "b"})
    sluice.map({"x": "a"}.values())
    sluice.map(deque(["a"]))
    sluice.map(open("prompts.txt"))
    later.map(arriving())
    later.map(["a"])
    sluice.wait("b-0")
    sluice.wait(["b-0"])
    sluice.wait(made)
    sluice.wait(iter(["b-0"]))

async def rejected(text: str, data: bytes, one: dict[str, str]) -> None:
    sluice.submit(text)
    sluice.submit(data)
    sluice.submit(one)
    sluice.submit(template="{a}", inputs=one)
    sluice.submit(template="{a}", inputs=text)
    sluice.map(text)
    sluice.map(data)
    sluice.map(one)
    await later.submit(text)
    await later.submit(one)
    later.map(text)
    later.map(one)
    sluice.wait(one)
    sluice.wait(data)
"""


@pytest.mark.timeout(300)  # mypy reads the types of the HTTP client too
def test_type_checkers_reject_one_prompt_instead_of_a_list(tmp_path: Path) -> None:
    snippet = tmp_path / "calls.py"
    snippet.write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache")]

    done = subprocess.run(
        [*command, str(snippet)], cwd=tmp_path, env={"MYPYPATH": str(ROOT / "client" / "src")}, capture_output=True,
        text=True, timeout=280, check=False,
    )  # fmt: skip

    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    lines = TYPED.splitlines()
    first = next(number for number, line in enumerate(lines, 1) if "async def rejected" in line)
    assert [int(error.split(":")[1]) for error in errors] == list(range(first + 1, len(lines) + 1)), done.stdout
    assert all("[arg-type]" in error for error in errors)
