"""docs/openai.md and the README: their examples print an answer, as they are written."""

import pytest

from local.settings import ROOT
from tests.local import pages
from tests.local_stack import Up
from tests.sdk.conftest import FOLDER, Run

pytestmark = pytest.mark.timeout(600)  # the environments may have to be made

PAGE = ROOT / "docs/openai.md"
SHOWN_ADDRESS = "http://127.0.0.1:8000"


def shown(kind: str) -> str:
    """Return the page's examples of one language, one after the other."""
    text = "".join(block.text for block in pages.blocks(PAGE) if block.kind == kind)
    assert SHOWN_ADDRESS in text
    return text


def test_the_examples_in_python_print_answers(run: Run, stack: Up) -> None:
    program = shown("python").replace(SHOWN_ADDRESS, stack.url)

    assert len(run("python", "-c", program).splitlines()) >= program.count("print(")


@pytest.mark.usefixtures("node_modules")
def test_the_example_in_javascript_prints_an_answer(run: Run, stack: Up) -> None:
    program = shown("js").replace(SHOWN_ADDRESS, stack.url)

    assert run("node", "--input-type=module", "--eval", program, folder=FOLDER / "node").strip()


def test_the_command_prints_an_answer(run: Run, stack: Up) -> None:
    assert run("sh", "-euc", shown("sh").replace(SHOWN_ADDRESS, stack.url)).strip()


def test_the_client_of_the_readme_can_be_used(run: Run, stack: Up) -> None:
    [example] = [block.text for block in pages.blocks(pages.README) if "import OpenAI" in block.text]

    program = f"{example.replace(SHOWN_ADDRESS, stack.url)}print(client.models.list().data[0].id)"

    assert run("python", "-c", program).strip()
