"""Test the reports of the smoke test for working and broken deployments."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tools.smoke import Api, SmokeError, main, smoke

KEY = "sluice_top-secret"
DONE = {"status": "completed", "result": "Ready, says the secret answer."}


class Deployment:
    """An API that answers as it is told; what is asked of a task is answered in turn."""

    def __init__(self) -> None:
        self.accepts: tuple[int, Any] = (202, {"task_ids": ["b-0"]})
        self.tasks: list[tuple[int, Any]] = [(200, DONE)]
        self.authorizations: set[str | None] = set()
        deployment = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/v1/openapi.json":
                    self._answer(200, {})
                else:
                    self._answer(*(deployment.tasks.pop(0) if len(deployment.tasks) > 1 else deployment.tasks[0]))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*deployment.accepts)

            def _answer(self, status: int, body: object) -> None:
                deployment.authorizations.add(self.headers["Authorization"])
                text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    deployment = Deployment()
    thread = threading.Thread(target=deployment.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield deployment
    deployment.server.shutdown()
    thread.join()
    deployment.server.server_close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401  # a function
    monkeypatch.setenv("SLUICE_KEY", KEY)

    def run_(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run_


def test_it_reads_the_address_from_the_outputs_and_says_that_a_prompt_was_answered(
    deployment: Deployment,
    run: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps([{"OutputKey": "ApiUrl", "OutputValue": deployment.url}]))

    code, said = run("--outputs", str(outputs))

    assert code == 0
    assert said.startswith("completed in ")
    assert KEY not in said
    assert "secret" not in said
    assert deployment.authorizations == {f"Bearer {KEY}"}


def test_it_asks_until_the_task_has_ended(deployment: Deployment) -> None:
    deployment.tasks = [(202, {"status": "queued"}), (202, {"status": "processing"}), (200, DONE)]
    pauses: list[float] = []

    smoke(Api(deployment.url, KEY), seconds=60, sleep=pauses.append)

    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("accepts", "task", "said"),
    [
        ((401, {"code": "unauthorized"}), None, "POST /tasks: 401 unauthorized"),
        ((503, {"code": "store_unavailable"}), None, "POST /tasks: 503 store_unavailable"),
        ((200, "no json"), None, "POST /tasks: JSONDecodeError"),
        (None, (404, {"code": "not_found"}), "GET /tasks/{task_id}: 404 not_found"),
        (None, (200, {"status": "failed", "error": {"code": "unauthorized"}}), "the task is failed unauthorized"),
        (None, (202, {"status": "queued"}), "the task is queued after 0 s"),
        (None, (200, {"status": "completed", "result": ""}), "the task is completed"),
    ],
)
def test_what_does_not_work_is_said_by_its_code(
    deployment: Deployment,
    run: Any,  # noqa: ANN401
    accepts: tuple[int, Any] | None,
    task: tuple[int, Any] | None,
    said: str,
) -> None:
    deployment.accepts = accepts or deployment.accepts
    deployment.tasks = [task] if task else deployment.tasks

    code, text = run("--url", deployment.url, "--seconds", "0")

    assert code == 1
    assert said in text
    assert KEY not in text


def test_a_key_never_travels_in_the_open() -> None:
    with pytest.raises(SmokeError, match="https"):
        smoke(Api("http://api.example/v1", KEY), seconds=1)


def test_without_a_key_or_an_address_it_says_so(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("SLUICE_KEY", raising=False)
    assert main(["--url", deployment.url]) == 1
    assert "SLUICE_KEY" in capsys.readouterr().err

    monkeypatch.setenv("SLUICE_KEY", KEY)
    (tmp_path / "outputs.json").write_text("[]")
    assert main(["--outputs", str(tmp_path / "outputs.json")]) == 1
    assert "ApiUrl" in capsys.readouterr().err
