"""`make mutants` reads its files from pyproject.toml: a file that moves takes its line there along."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]


@pytest.mark.parametrize("setting", ["source_paths", "only_mutate", "also_copy", "pytest_add_cli_args_test_selection"])
def test_each_path_in_the_settings_of_mutmut_exists(setting: str) -> None:
    assert SETTINGS[setting]
    assert [path for path in SETTINGS[setting] if not (ROOT / path).exists()] == []
