"""What Python 3.10 refuses and no checker tells, whatever Python the tests run with."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "deeplab_miou"


def test_no_named_tuple_has_another_base():
    """From Python 3.11 on it may; in 3.10, which Humble has, the module cannot be imported."""
    found = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and len(node.bases) > 1
        and any(getattr(base, "id", "") == "NamedTuple" for base in node.bases)
    ]
    assert found == []
