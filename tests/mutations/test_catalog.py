"""The catalog fits the program: every break can be applied, every test it names exists, and the page says the same.

That each test fails under its break takes minutes to see: `make mutations`.
"""

from __future__ import annotations

import ast
import re

import pytest
from tests.mutations.breaks import ROOT, SOURCE, Break, try_break
from tests.mutations.catalog import APPEND, BREAKS, INVARIANTS
from tests.mutations.document import document

_DEFINES = re.compile(r"create (or replace )?function colink\.append_commerce\(")


def test_all_27_invariants_are_there_and_each_has_a_test_or_a_reason() -> None:
    assert [each.number for each in INVARIANTS] == list(range(1, 28))
    assert all(each.says for each in INVARIANTS)
    assert [each.number for each in INVARIANTS if not each.breaks] == [20]
    names = [each.name for each in BREAKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("broken", BREAKS, ids=lambda each: each.name)
def test_a_break_fits_the_program(broken: Break) -> None:
    text = broken.broken()
    assert broken.old != broken.new
    if broken.file.endswith(".py"):
        ast.parse(text)
    test_file, _, name = broken.test.partition("::")
    functions = ast.walk(ast.parse((ROOT / "tests" / test_file).read_text()))
    assert name in {each.name for each in functions if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_breaks_of_the_append_are_in_what_defines_it_last() -> None:
    """Migrations run in order: a break of an earlier definition changes nothing, and nothing would notice it."""
    folder = (SOURCE / APPEND).parent
    defining = [path for path in sorted(folder.glob("*.sql")) if _DEFINES.search(path.read_text())]
    assert defining[-1] == SOURCE / APPEND


def test_a_break_that_matters_is_noticed_and_one_that_does_not_survives() -> None:
    """The runner itself can tell the two apart."""
    broken = next(each for each in BREAKS if each.name == "journal-may-sum-below-zero")
    noticed = try_break(broken)
    assert (noticed.killed, noticed.said) == (True, "Failed: DID NOT RAISE UnbalancedJournal")
    harmless = Break(
        name="harmless", file=broken.file, old=broken.old, new=broken.old + "", test=broken.test, seen=broken.seen
    )
    survived = try_break(harmless)
    assert (survived.killed, survived.said) == (False, "the test passed all the same")


def test_a_break_leaves_the_source_alone() -> None:
    broken = BREAKS[0]
    before = (SOURCE / broken.file).read_text()
    try_break(broken)
    assert (SOURCE / broken.file).read_text() == before


def test_the_page_is_written_from_the_catalog() -> None:
    page = (ROOT / "docs" / "invariants.md").read_text()
    assert page == document(), "write it: python -m tests.mutations --document docs/invariants.md"
    assert SOURCE.is_dir()
