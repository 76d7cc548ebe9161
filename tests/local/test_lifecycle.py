"""Test that the stack starts quickly, reports errors, and leaves nothing behind after any end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from local.settings import ROOT
from tests.local_stack import GONE_SECONDS, KEY, Up, command_environment, eventually, processes_in, started

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="it looks for processes in /proc"),
]


def run_command(state: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", "up"],
        cwd=ROOT,
        env=command_environment(state, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def nothing_left(folder: Path) -> bool:
    return eventually(lambda: processes_in(folder), until=lambda left: not left, seconds=GONE_SECONDS) == []


def running(up: Up) -> str:
    return "\n".join(processes_in(up.state))


@pytest.fixture(scope="module")
def built() -> None:
    """Have a build of the present sources, as every start but the first finds one."""
    subprocess.run([sys.executable, "-m", "local.build"], cwd=ROOT, check=True)


@pytest.mark.usefixtures("built")
def test_a_second_start_builds_nothing_and_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    with started(tmp_path) as up:
        assert "The functions are up to date" in up.told()
        assert "sam build" not in up.told()
        assert all(name in running(up) for name in ("valkey-server", "ministack", "_worker.py"))

        assert up.end(signal.SIGINT) == 0

    assert processes_in(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["stderr.txt"]


@pytest.mark.usefixtures("built")
def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    with started(tmp_path) as up:
        assert running(up)

        assert up.end(signal.SIGKILL) == -signal.SIGKILL

        assert nothing_left(tmp_path)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_to_make_alone_ends_every_process(tmp_path: Path, number: signal.Signals) -> None:
    # GIVEN a stack that `make local` started, for a program and not at a terminal
    with started(tmp_path, ("make", "local")) as up:
        assert running(up)

        # WHEN make gets a signal, and no other process does
        up.process.send_signal(number)

        # THEN it does not wait for ever, and all is over: the stack itself, whose output this is, and its children
        assert up.process.wait(GONE_SECONDS) != 0
        assert up.process.stdout is not None
        assert "Try it" in up.process.stdout.read()
        assert nothing_left(tmp_path)


@pytest.mark.usefixtures("built")
def test_an_endpoint_of_ones_own_is_asked_its_key_is_written_nowhere_and_sigterm_does_not_wait_for_it(
    tmp_path: Path,
) -> None:
    # GIVEN a stack in front of somebody's own model, which is in the middle of a long answer
    key = "sk-not-to-be-found"
    with own_model() as address, started(tmp_path, OPENAI_BASE_URL=f"{address}/v1", OPENAI_API_KEY=key) as up:
        with httpx.Client(base_url=up.url, headers=KEY, timeout=60, trust_env=False) as api:
            api.post("/tasks", json={"prompts": ["[[tokens:100]] [[delay:1]]"]}).raise_for_status()
        calls = eventually(
            lambda: httpx.get(f"{address}/calls", trust_env=False, timeout=60).json(),
            until=lambda counted: counted["in_flight"] == 1,
            seconds=60,
        )
        assert (calls["total"], calls["in_flight"]) == (1, 1)
        assert "stand-in" not in up.told()

        # THEN the key is in no file and no argument of a process
        assert all(key not in line for line in processes_in(tmp_path))
        assert [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()] == []

        # AND the stack ends at once, with every process
        assert up.end(signal.SIGTERM) == 0
        assert processes_in(tmp_path) == []


@contextmanager
def own_model() -> Iterator[str]:
    """Run the stand-in by itself, as if it were somebody's own server."""
    command = [sys.executable, "-m", "local.model"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1].removesuffix("/v1")
        finally:
            process.kill()


@pytest.mark.usefixtures("built")
def test_a_part_that_dies_ends_the_stack_and_is_named(tmp_path: Path) -> None:
    with started(tmp_path) as up:
        valkey = next(
            process
            for process in Path("/proc").iterdir()
            if process.name.isdecimal() and _is_valkey_of(process, tmp_path)
        )
        os.kill(int(valkey.name), signal.SIGKILL)

        assert up.process.wait(60) == 1

    assert "Valkey ended unexpectedly" in up.told()
    assert processes_in(tmp_path) == []


def _is_valkey_of(process: Path, folder: Path) -> bool:
    try:
        in_folder = str((process / "cwd").readlink()).startswith(str(folder))
        return in_folder and (process / "comm").read_text().startswith("valkey-server")
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_in_the_middle_of_a_build_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    # GIVEN a start that has to build, because its build folder is new
    environment = command_environment(tmp_path, SLUICE_LOCAL_BUILD=str(tmp_path / "build"))
    with subprocess.Popen(
        [sys.executable, "-m", "local", "up"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        building = eventually(
            lambda: [line for line in processes_in(tmp_path) if "sam build" in line or "/sam" in line],
            until=bool,
            seconds=60,
        )
        assert building

        # WHEN it is interrupted
        process.send_signal(number)
        process.wait(60)

    # THEN the build has ended with it
    assert nothing_left(tmp_path)


def test_a_wrong_setting_ends_the_start_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    ended = run_command(tmp_path, WORKERS="1")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "Sluice has stopped: WORKERS must be a whole number from 2 to 1000, not '1'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = run_command(tmp_path, PORT=str(port))

    assert ended.returncode == 1
    assert f"PORT {port} is taken" in ended.stderr
    assert list(tmp_path.iterdir()) == []
