"""Test the unmodified client of OpenAI on the stack: docs/openai.md and README.md as written."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import openai
import pytest

from local.settings import ROOT
from tests.local import pages
from tests.local_stack import Up

pytestmark = pytest.mark.timeout(300)

PAGE: Final = ROOT / "docs" / "openai.md"
SHOWN_ADDRESS: Final = "http://127.0.0.1:8000"


@pytest.fixture
def client(stack: Up) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key="local", http_client=http) as client:
        yield client


def run(program: str, stack: Up, **variables: str) -> str:
    """Run a program as a page shows it, and return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    done = subprocess.run(
        [sys.executable, "-c", program.replace(SHOWN_ADDRESS, stack.url)],
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", [PAGE, pages.README], ids=lambda page: page.name)
def test_the_python_of_the_page_does_what_it_says(stack: Up, page: Path) -> None:
    [example] = [block.text for block in pages.blocks(page) if block.kind == "python" and "import OpenAI" in block.text]

    assert run(example, stack).strip() or page == pages.README


def test_only_the_environment_has_to_change(stack: Up) -> None:
    program = (
        "import openai\n"
        "print(openai.OpenAI().chat.completions.create(\n"
        "    model='gpt-5-mini', messages=[{'role': 'user', 'content': 'A joke about plants'}]\n"
        ").choices[0].message.content)"
    )

    assert run(program, stack, OPENAI_BASE_URL=f"{stack.url}/openai/v1", OPENAI_API_KEY="local").strip()


def test_a_call_that_outlasts_the_hold_is_redirected_to_its_answer(client: openai.OpenAI) -> None:
    content = f"{uuid4().hex} [[latency:3]]"

    completion = client.chat.completions.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": content}], extra_headers={"Prefer": "wait=1"}
    )

    assert completion.choices[0].message.content
    assert client.chat.completions.retrieve(completion.id) == completion


def test_a_stream_is_replayed(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": uuid4().hex}], stream=True
    ) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert text


def test_the_errors_of_the_gateway_are_errors_of_the_sdk(client: openai.OpenAI, stack: Up) -> None:
    elsewhere = client.with_options(base_url=f"{stack.url}/openai/v9")

    with pytest.raises(openai.AuthenticationError) as unknown_key:
        client.with_options(api_key="unknown").models.list()
    with pytest.raises(openai.NotFoundError) as unknown_path:
        elsewhere.models.list()

    assert (unknown_key.value.code, unknown_key.value.type) == ("unauthorized", "authentication_error")
    assert (unknown_path.value.code, unknown_path.value.type) == ("not_found", "invalid_request_error")


def test_the_models_are_those_of_the_key(client: openai.OpenAI) -> None:
    assert "gpt-5-mini" in {model.id for model in client.models.list()}
