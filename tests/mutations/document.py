"""docs/invariants.md, written from the catalog: `python -m tests.mutations --document docs/invariants.md`."""

from __future__ import annotations

from tests.mutations.breaks import Break
from tests.mutations.catalog import INVARIANTS, Invariant

_INTRODUCTION = """# What always holds, and how we know

The invariants of a money ledger, each with the test that holds it. A test proves something only if it can fail: so
each was seen to fail against a deliberate break of the program, named beside it. `make mutations` applies every break
to a copy of the source, runs its test, and expects it to fail; `make mutations NAMES="payout append"` does so for
those whose name holds one of the words. This page is written from `tests/mutations/catalog.py`, and `make test` fails
where the two differ or where a break no longer fits the source.
"""


def document() -> str:
    parts = [_INTRODUCTION]
    for invariant in INVARIANTS:
        parts.append(f"## {invariant.number}. {invariant.title}\n{invariant.says}\n")
        if invariant.breaks:
            rows = "\n".join(map(_row, invariant.breaks))
            parts.append(f"| test | fails when | how |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _row(broken: Break) -> str:
    change = (
        f"`{_code(broken.old)}` becomes `{_code(broken.new)}`" if broken.new else f"`{_code(broken.old)}` is left out"
    )
    return f"| `{broken.test}` | `{broken.name}`: in `{broken.file}` {change} | {broken.seen} |"


def _code(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


__all__ = ["Invariant", "document"]
