"""The built package: its name on an index, the names that are imported and run, and what its documents say."""

import re
import runpy
import tomllib
import zipfile
from pathlib import Path

import pytest
from flit_core import buildapi

import sluice
from tests.client.command import sluice as command
from tests.client.service import KEY, Service

ROOT = Path(__file__).parents[2]
NAME = "sluice-llm"
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_wheel_has_the_name_of_the_distribution_and_the_package_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "client")

    wheel = buildapi.build_wheel(str(tmp_path))

    assert wheel == f"sluice_llm-{sluice.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"sluice_llm-{sluice.__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"sluice_llm-{sluice.__version__}.dist-info/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"sluice", f"sluice_llm-{sluice.__version__}.dist-info"}
    assert "sluice/py.typed" in names
    assert f"Name: {NAME}\n" in metadata
    assert "sluice=sluice._cli:main" in scripts


def test_everything_that_names_the_distribution_has_the_same_name() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]

    assert project["name"] == NAME
    for path in ("client/README.md", "docs/client.md", "client/src/sluice/_cli/__init__.py"):
        named = re.findall(r"pip install (?:--\S+ \S+ )?'?([a-z][a-z-]*)\b(?=\[|'|$| )", (ROOT / path).read_text())
        assert set(named) == {NAME}, path


def test_the_command_shows_its_version(service: Service) -> None:
    assert command(service.url, "--version").stdout == f"sluice {sluice.__version__}\n"


def examples() -> list[tuple[str, str]]:
    found = []
    for name in ("README.md", "docs/client.md"):
        for number, block in enumerate(_BLOCK.findall((ROOT / name).read_text())):
            if ".text" in block and "Sluice()" in block:
                found.append((f"{name} {number}", block))
    found.append(("the docstring", (sluice.__doc__ or "").partition("\n\n")[2]))
    return found


@pytest.mark.parametrize("example", [text for _, text in examples()], ids=[place for place, _ in examples()])
def test_each_example_survives_prompts_that_fail(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], example: str
) -> None:
    # GIVEN a service whose first task fails without usage, and whose others complete
    monkeypatch.setenv("SLUICE_URL", service.url)
    monkeypatch.setenv("SLUICE_API_KEY", KEY)
    failed = {"status": "failed", "error": {"code": "content_policy", "detail": "Refused."}}
    first: list[str] = []
    tasks = service.outcomes

    class FirstFails(dict[str, dict[str, object]]):
        def get(self, prompt: str, default: object = None) -> object:  # type: ignore[override]
            first.append(prompt)
            return failed if prompt == first[0] else default

    service.outcomes = FirstFails(tasks)

    # WHEN the example runs
    script = tmp_path / "example.py"
    script.write_text(example.replace("https://…/prod", service.url).replace("api_key)", f"{KEY!r})"))
    runpy.run_path(str(script))

    # THEN it shows the failure and the result of another prompt
    shown = capsys.readouterr().out
    assert "content_policy" in shown
    assert "Re: " in shown
