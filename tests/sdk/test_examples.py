"""docs/openai.md: its examples print an answer, as they are written."""

import pytest

from local.settings import ROOT
from tests.local import pages
from tests.local_stack import Up
from tests.sdk.conftest import FOLDER, Run

pytestmark = pytest.mark.timeout(600)  # the environments may have to be made

PAGE = ROOT / "docs/openai.md"
SHOWN_ADDRESS = "http://127.0.0.1:8000"
COMMANDS = {
    "sh": ("sh", "-euc"),
    "python": ("python", "-c"),
    "js": ("node", "--input-type=module", "--eval"),
}
EXAMPLES = [block for block in pages.blocks(PAGE) if block.kind in COMMANDS]


@pytest.mark.parametrize("block", EXAMPLES, ids=[f"{n}-{block.kind}" for n, block in enumerate(EXAMPLES)])
def test_each_example_prints_an_answer(run: Run, stack: Up, block: pages.Block, request: pytest.FixtureRequest) -> None:
    if block.kind == "js":
        request.getfixturevalue("node_modules")
    assert SHOWN_ADDRESS in block.text

    printed = run(*COMMANDS[block.kind], block.text.replace(SHOWN_ADDRESS, stack.url), folder=FOLDER / "node")

    assert printed.strip()


def test_there_is_an_example_for_each_language_and_for_the_shell() -> None:
    assert {block.kind for block in EXAMPLES} == set(COMMANDS)
