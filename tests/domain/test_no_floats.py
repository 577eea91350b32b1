"""No float is near money: the domain has no literal of one, makes none, and divides whole numbers only wholly."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import colink.domain

DOMAIN = Path(colink.domain.__path__[0])
MODULES = sorted(path.relative_to(DOMAIN).as_posix() for path in DOMAIN.rglob("*.py"))


def floats_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"line {node.lineno}: the literal {node.value}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            yield f"line {node.lineno}: float(...)"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"line {node.lineno}: a division that may give a float"


def test_there_is_something_to_look_at() -> None:
    assert {"money.py", "ledger.py", "refunds.py", "commission.py", "payouts.py"} <= set(MODULES)
    assert list(floats_in(ast.parse("a = 0.1\nb = float(a)\nc = b / 2\nc /= 3"))) != []


@pytest.mark.parametrize("module", MODULES)
def test_no_float_is_near_money(module: str) -> None:
    assert list(floats_in(ast.parse((DOMAIN / module).read_text()))) == []
