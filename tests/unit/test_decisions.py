"""docs/decisions: one index that is complete, a status in each record; and no dangling reference in any page."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/decisions"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
RECORDS = sorted(path for path in FOLDER.iterdir() if path.name != "README.md")

NAME = re.compile(r"(?P<number>\d{4})(?:-[a-z0-9]+)+\.md")
HEAD = re.compile(
    r"# (?P<number>\d{4}): (?P<title>.+)\n\n- Status: (?P<status>.+)\n- Date: \d{4}-\d{2}-\d{2}\n\n## Context\n"
)
STATUS = re.compile(r"(?:Proposed|Accepted|Superseded by (?P<later>\d{4}))(?:; .+)?")
ROW = re.compile(r"^\| \[(?P<number>\d{4})\]\((?P<file>\S+)\) \| (?P<title>.+) \| (?P<status>.+) \|$", re.MULTILINE)

REFERENCE = re.compile(
    r"decisions/(?P<path>\d{4}[a-z0-9-]*(?:\.md)?)|\b(?:ADR|[Dd]ecisions?)[ -](?P<number>\d{4})\b"
    r"|\[\d{4}\]\((?P<link>\d{4}[^)#]*)"
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<path>[^)\s#]+)(?:#[^)]*)?\)")

FILE = re.compile(
    r"(?<![\w/.*-])((?:\.github|benchmarks|client|common|docs|functions|infra|local|tests|tools)/[\w./-]+\.(?:py|lua|js|yml|yaml|md|json))\b"
)

READ = {".cfg", ".css", ".html", ".in", ".js", ".json", ".lua", ".md", ".py", ".toml", ".yaml", ".yml", ""}
REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9-]*)", re.MULTILINE)


def sources() -> Iterator[Path]:
    """Yield the text files of the repository, without what tools have made there."""
    for top in sorted(ROOT.iterdir()):
        if top.name == "mutants" or (top.name.startswith(".") and top.name not in {".ci", ".github", ".checkov.yaml"}):
            continue
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix in READ and not {"__pycache__", "node_modules"} & set(path.parts):
                yield path


def dangling(text: str) -> list[str]:
    """Return the references of a text to decisions that do not exist."""
    numbers, names = {path.name[:4] for path in RECORDS}, {path.name for path in RECORDS}
    found = [reference["path"] or reference["link"] or reference["number"] for reference in REFERENCE.finditer(text)]
    return [name for name in found if name not in (numbers if len(name) == 4 else names)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


PAGES = [path for path in sources() if path.suffix == ".md"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_a_record_has_its_number_a_title_a_status_and_a_date(record: Path) -> None:
    name, head = NAME.fullmatch(record.name), HEAD.match(record.read_text(encoding="utf-8"))

    assert name
    assert head
    assert head["number"] == name["number"]
    status = STATUS.fullmatch(head["status"])
    assert status
    assert status["later"] is None or status["later"] in {path.name[:4] for path in RECORDS}


def test_no_number_is_given_twice() -> None:
    assert len({path.name[:4] for path in RECORDS}) == len(RECORDS) > 30


def test_the_index_lists_each_record_once_with_its_title_and_status() -> None:
    heads = {path.name: HEAD.match(path.read_text(encoding="utf-8")) for path in RECORDS}
    listed = [(row["file"], row["number"], row["title"], row["status"]) for row in ROW.finditer(INDEX)]

    assert sorted(listed) == [
        (name, head["number"], head["title"], head["status"]) for name, head in heads.items() if head
    ]


def test_every_decision_that_is_referred_to_exists() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in sources() if path != Path(__file__)}
    faults = {relative(path): names for path, text in texts.items() if (names := dangling(text))}

    assert sum(len(REFERENCE.findall(text)) for text in texts.values()) > 70
    assert faults == {}


@pytest.mark.parametrize(
    "text",
    [
        "see docs/decisions/9999.",
        "[why](decisions/9999-a-title.md)",
        "[0001](0001-another-title.md)",
        "decision 9999 says so",
        "ADR-9999",
    ],
)
def test_a_dangling_reference_is_found(text: str) -> None:
    assert dangling(text)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_relative_link_of_a_page_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)

    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert [name for name in FILE.findall(text) if not (ROOT / name).exists()] == []


def test_each_direct_dependency_has_its_reason() -> None:
    files = [*ROOT.glob("common/*.in"), *ROOT.glob("functions/*/*.in"), *ROOT.glob("requirements/*.in")]
    names = {name.lower() for path in files for name in REQUIREMENT.findall(path.read_text(encoding="utf-8"))}
    project = tomllib.loads((ROOT / "client/pyproject.toml").read_text(encoding="utf-8"))["project"]
    client = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names |= {name for each in client for name in REQUIREMENT.findall(each)}
    rows = [line for line in INDEX.split("## Dependencies")[1].splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row.split(" | ")[0])}

    assert len(names) > 40
    assert names == listed
