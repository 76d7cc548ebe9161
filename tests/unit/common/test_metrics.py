"""Test that metrics are referenced by their members."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.runtime.metrics import Metric

ROOT = Path(__file__).parents[3]
DEFINITION = ROOT / "common/runtime/metrics.py"


def sources() -> Iterator[ast.AST]:
    for folder in ("common", "functions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != DEFINITION:
                yield ast.parse(path.read_text(encoding="utf-8"))


def lookups(tree: ast.AST) -> Iterator[int]:
    """Find the lines that build a metric from a string: `Metric(…)` and `Metric[…]`."""
    for node in ast.walk(tree):
        of = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Subscript) else None
        if isinstance(of, ast.Name) and of.id == "Metric":
            yield node.lineno if isinstance(node, ast.expr) else 0


@pytest.mark.parametrize("line", ['Metric("Tasks" + kind)', "Metric[kind.name]", 'count(Metric(f"Letters{kind}"))'])
def test_a_metric_that_is_built_is_found(line: str) -> None:
    assert list(lookups(ast.parse(line)))


def test_no_metric_is_built_from_a_string() -> None:
    assert [line for tree in sources() for line in lookups(tree)] == []


def test_every_metric_is_written_somewhere() -> None:
    named = {
        node.attr
        for tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Metric"
    }

    assert {metric.name for metric in Metric} - named == set()
