"""Test the lock files: tested versions are deployed, and the locks name no index."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEV = ROOT / "requirements/dev.txt"
SDKS = ROOT / "tests/sdk/requirements.txt"
NODE = ROOT / "tests/sdk/node"
TOOLS = sorted(path for path in [*ROOT.glob("requirements/*.txt"), SDKS] if path != DEV)
SHIPPED = sorted([*ROOT.glob("functions/*/requirements.txt"), ROOT / "common/requirements.txt"])

PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; [^\\]+)? \\")
HASH = re.compile(r" {4}--hash=sha256:(?P<digest>[0-9a-f]{64})(?: \\)?")
COMMENT = re.compile(r" *#.*")


def pins(lock: Path) -> dict[str, tuple[str, set[str]]]:
    """Read a lock as {name: (version, SHA-256 of each file)}; ValueError names a line that is neither of these."""
    found: dict[str, tuple[str, set[str]]] = {}
    name = ""
    for line in lock.read_text().splitlines():
        if pin := PIN.fullmatch(line):
            name = pin["name"]
            found[name] = (pin["version"], set())
        elif (file := HASH.fullmatch(line)) and name:
            found[name][1].add(file["digest"])
        elif not COMMENT.fullmatch(line):
            raise ValueError(f"{lock}: {line}")
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("lock", [DEV, *TOOLS, *SHIPPED], ids=relative)
def test_a_lock_holds_versions_with_hashes_and_no_option_or_address(lock: Path) -> None:
    assert all(hashes for _, hashes in pins(lock).values())
    assert "://" not in lock.read_text()


def test_the_lock_of_node_has_hashes_and_no_address_of_a_registry() -> None:
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"]

    installed = {name: package for name, package in packages.items() if name}
    assert installed
    assert all(package["integrity"].startswith("sha512-") for package in installed.values())
    assert not [name for name, package in installed.items() if "resolved" in package]
    assert "omit-lockfile-registry-resolved=true" in (NODE / ".npmrc").read_text().splitlines()


@pytest.mark.parametrize("lock", SHIPPED, ids=relative)
def test_what_ships_is_what_is_tested(lock: Path) -> None:
    tested = pins(DEV)

    for name, (version, hashes) in pins(lock).items():
        assert tested[name][0] == version, name
        assert hashes <= tested[name][1], name


def test_each_function_says_what_it_ships() -> None:
    assert {handler.parent for handler in ROOT.glob("functions/*/handler.py")} <= {lock.parent for lock in SHIPPED}


@pytest.mark.parametrize(
    ("package", "carriers"),
    [
        ("aioboto3", {"functions/worker", "functions/workflow"}),
        ("aiohttp", {"functions/worker", "functions/workflow"}),
        ("openai", {"functions/worker", "functions/workflow"}),
    ],
)
def test_only_the_workers_ship_what_calls_the_model(package: str, carriers: set[str]) -> None:
    assert {relative(lock.parent) for lock in SHIPPED if package in pins(lock)} == carriers
