"""Every kind is registered in one place, and its code is reached through that registration alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.domain.request import Kind
from common.kinds import chat, embeddings, responses, workflow
from common.kinds.chat import estimates as chat_estimates
from common.kinds.chat import upstream as chat_upstream
from common.kinds.chat import validation as chat_validation
from common.kinds.chat import views as chat_views
from common.kinds.embeddings import estimates as embeddings_estimates
from common.kinds.embeddings import joint as embeddings_joint
from common.kinds.embeddings import upstream as embeddings_upstream
from common.kinds.embeddings import validation as embeddings_validation
from common.kinds.embeddings import views as embeddings_views
from common.kinds.registry import (
    REGISTRATIONS,
    Estimates,
    Joint,
    Registration,
    Upstream,
    Validation,
    Views,
    kinds_by_endpoint,
    registration_of,
)
from common.kinds.responses import estimates as responses_estimates
from common.kinds.responses import upstream as responses_upstream
from common.kinds.responses import validation as responses_validation
from common.kinds.responses import views as responses_views
from common.kinds.workflow import estimates as workflow_estimates
from common.kinds.workflow import views as workflow_views

ROOT = Path(__file__).parents[3]
REGISTRY = ROOT / "common/kinds/registry.py"

# mypy compares each module with its protocol.
ESTIMATES: dict[Kind, Estimates] = {
    Kind.CHAT: chat_estimates,
    Kind.RESPONSES: responses_estimates,
    Kind.EMBEDDINGS: embeddings_estimates,
    Kind.WORKFLOW: workflow_estimates,
}
VIEWS: dict[Kind, Views] = {
    Kind.CHAT: chat_views,
    Kind.RESPONSES: responses_views,
    Kind.EMBEDDINGS: embeddings_views,
    Kind.WORKFLOW: workflow_views,
}
UPSTREAMS: dict[Kind, Upstream] = {
    Kind.CHAT: chat_upstream,
    Kind.RESPONSES: responses_upstream,
    Kind.EMBEDDINGS: embeddings_upstream,
}
VALIDATIONS: dict[Kind, Validation] = {
    Kind.CHAT: chat_validation,
    Kind.RESPONSES: responses_validation,
    Kind.EMBEDDINGS: embeddings_validation,
}
JOINTS: dict[Kind, Joint] = {Kind.EMBEDDINGS: embeddings_joint}


def sources() -> Iterator[Path]:
    """List the modules of the product that must not know one kind from another."""
    kinds = {Path(package.__path__[0]) for package in (chat, responses, embeddings, workflow)}
    for folder in ("common", "functions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != REGISTRY and not kinds & set(path.parents):
                yield path


def distinctions(tree: ast.AST) -> Iterator[int]:
    """Find the lines that choose by a kind: comparisons, cases and tables."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
            case ast.MatchValue():
                operands = [node.value]
            case ast.Dict():
                operands = [key for key in node.keys if key is not None]
            case _:
                continue
        if any(is_kind(each) for operand in operands for each in ast.walk(operand)):
            yield node.lineno


def is_kind(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Kind"


@pytest.mark.parametrize(
    "line",
    [
        "if task.kind is Kind.CHAT: pass",
        "kind != Kind.WORKFLOW",
        "kind in {Kind.CHAT}",
        "{Kind.CHAT: 1}[kind]",
        "match kind:\n  case Kind.CHAT: pass",
    ],
)
def test_a_choice_by_kind_is_found(line: str) -> None:
    assert list(distinctions(ast.parse(line)))


def test_no_module_but_the_registry_chooses_by_kind() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for line in distinctions(ast.parse(path.read_text(encoding="utf-8")))
    }

    assert found == set()


def test_every_kind_is_registered() -> None:
    assert set(REGISTRATIONS) == set(ESTIMATES) == set(VIEWS) == set(Kind)
    assert {kind for kind in Kind if registration_of(kind).has_upstream} == set(UPSTREAMS)
    assert {kind for kind in Kind if registration_of(kind).is_joint} == set(JOINTS)
    assert set(kinds_by_endpoint().values()) == set(VALIDATIONS)


@pytest.mark.parametrize("kind", Kind)
def test_a_registration_leads_to_the_modules_of_its_kind(kind: Kind) -> None:
    registration = registration_of(kind)

    assert registration.estimates is ESTIMATES[kind]
    assert registration.views is VIEWS[kind]
    if registration.endpoint:
        assert registration.validation is VALIDATIONS[kind]
    if registration.is_joint:
        assert registration.joint is JOINTS[kind]
    if registration.has_upstream:
        assert registration.upstream is UPSTREAMS[kind]


def test_the_public_names_of_two_kinds_overlap_only_where_both_ask_the_same_models() -> None:
    own = [registration.namespace for registration in REGISTRATIONS.values() if not registration.has_upstream]

    assert all(own)
    assert len(set(own)) == len(own)


def test_the_registry_imports_no_kind_before_its_first_use() -> None:
    script = (
        "import sys; import common.kinds.registry; "
        "print([name for name in sys.modules if name.startswith(('common.kinds.chat', 'common.worker'))])"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_kind_without_a_package_is_a_fault_of_the_registration() -> None:
    with pytest.raises(ModuleNotFoundError):
        _ = Registration("common.kinds.absent", registration_of(Kind.CHAT).queue).estimates
