"""Test that every proof in SECURITY.md is an existing test."""

import re

from tests.infra.stack import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()


def test_each_threat_has_a_proof_and_each_proof_exists() -> None:
    rows = [row for row in TEXT.splitlines() if row.startswith("|") and not row.startswith(("| threat", "|---"))]

    assert len(rows) > 15
    for row in rows:
        proofs = re.findall(r"`(tests/[^`]+)::(\w+)`", row)
        assert proofs, row
        for path, name in proofs:
            assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (path, name)
