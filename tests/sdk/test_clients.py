"""The unmodified clients of OpenAI's API work against the local stack. Their suites are in python/ and node/."""

from pathlib import Path

import pytest

from tests.sdk.conftest import FOLDER, Run

pytestmark = pytest.mark.timeout(600)  # the environments may have to be made

PYTHON = sorted(path.name for path in (FOLDER / "python").iterdir() if path.is_dir() and not path.name.startswith("_"))
NODE = sorted((FOLDER / "node").glob("*.suite.js"))


@pytest.mark.parametrize("client", PYTHON)
def test_a_client_in_python(run: Run, sdks: Path, client: str) -> None:
    suite = FOLDER / "python"

    printed = run(sdks / "python", "-m", "pytest", "-c", suite / "pytest.ini", suite / client)

    assert " passed" in printed


@pytest.mark.usefixtures("node_modules")
def test_a_client_in_javascript(run: Run) -> None:
    printed = run("node", "--test", *NODE)

    assert "# fail 0" in printed or "fail 0" in printed
