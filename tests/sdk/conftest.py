"""The environments of the clients, and what a client's user sets in the shell: the address and a key."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.domain.budgets import Budgets
from local.aws import API_KEYS_SECRET
from local.settings import ROOT
from tests.local_stack import OF_AN_OUTER_MAKE, Up, usable
from tools.keys import KeyStore

FOLDER = ROOT / "tests/sdk"
SDKS = ROOT / ".venv-sdk"
NODE_STAMP = FOLDER / "node/node_modules/.made"
TOKENIZERS = "site-packages/litellm/litellm_core_utils/tokenizers"

OFFLINE = {
    # The Agents SDK sends traces to OpenAI, and LiteLLM fetches prices, unless told otherwise.
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LANGSMITH_TRACING": "false",
}

type Run = Callable[..., str]


def make(target: Path) -> None:
    """Make an environment unless it is there."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_AN_OUTER_MAKE}
    subprocess.run(["make", str(target.relative_to(ROOT))], cwd=ROOT, env=environment, check=True)


@pytest.fixture(scope="session")
def sdks() -> Path:
    """Return the folder of the programs of .venv-sdk."""
    make(SDKS / ".made")
    return SDKS / "bin"


@pytest.fixture(scope="session")
def node_modules() -> None:
    """Install openai-node."""
    if not all(map(shutil.which, ("node", "npm"))):
        pytest.skip("there is no node with npm on the PATH")
    make(NODE_STAMP)


@pytest.fixture(scope="session")
def key_without_budget(stack: Up) -> str:
    """Issue a key for another tenant, which may send nothing today."""
    store = KeyStore(stack.aws("secretsmanager"), API_KEYS_SECRET, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    return usable(stack, store.issue("spent", budgets=Budgets(requests=0)))


@pytest.fixture(scope="session")
def run(sdks: Path, stack: Up, key_without_budget: str) -> Run:
    """Return a function that runs a program with the address and the key of the stack, and returns what it prints."""
    [packages] = SDKS.glob("lib/python3*")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "PYTEST_")) and not name.upper().endswith("_PROXY")
    }
    environment = {
        **inherited,
        **OFFLINE,
        "PATH": f"{sdks}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_BASE_URL": f"{stack.url}/openai/v1",
        "OPENAI_API_KEY": "local",
        "KEY_WITHOUT_BUDGET": key_without_budget,
        "MODEL_ADDRESS": stack.model(),
        # The encodings of tiktoken, which it downloads otherwise.
        "TIKTOKEN_CACHE_DIR": str(packages / TOKENIZERS),
    }

    def run(*command: str | Path, folder: Path = ROOT) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
