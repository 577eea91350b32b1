"""The auditor's own test, of rows: one of each table is deleted and one like it forged beside it; the verification
says where. Tables are asked of the database. What nothing can be derived for stands below with its reason, beside the
tables of test_columns.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.api.shop import Shop
from tests.tampering.mutants import Tamperer
from tests.tampering.test_columns import FOUND_BY, is_found, places_of, shown, verified

from colink.domain.audit.report import Status

pytestmark = pytest.mark.anyio

KIND_OF_ROW: Mapping[str, str] = {
    "colink.documents": "kind",
    "colink.installation": "name",
    "colink.private_values": "split_part(name, '_', 1)",
    "colink.projections": "name",
}
"""What tells the kinds of rows of a table, of which each is tried."""

ROWS_NOT_DERIVED: Mapping[str, str] = {
    "colink.checkpoints deleted": "it covers no more than the next one; where it was the newest, the pass is partial",
    "colink.log_head forged": "always one row: the database holds it",
    "colink.tracking_head forged": "always one row: the database holds it",
}


def test_what_is_exempt_is_there(tamperer: Tamperer) -> None:
    tables = {f"{schema}.{table}" for schema, table in tamperer.tables()}
    assert {name.partition(" ")[0] for name in ROWS_NOT_DERIVED} <= tables
    assert set(KIND_OF_ROW) <= tables


@pytest.mark.parametrize("table", FOUND_BY)
async def test_a_row_deleted_or_forged_is_found(business: Shop, tamperer: Tamperer, table: str) -> None:
    unnoticed, misplaced = [], []
    kind = KIND_OF_ROW.get(table, "true")
    for what, mutants in (("deleted", tamperer.removals), ("forged", tamperer.forgeries)):
        tried = 0
        for mutant in mutants(table, kind):
            tried += 1
            findings = (await verified(business)).findings
            places = places_of(mutant)
            if f"{table} {what}" in ROWS_NOT_DERIVED:
                assert findings == [], "it is derived after all"
            elif not findings:
                unnoticed.append((what, mutant.row))
            elif not is_found(mutant, findings, places):
                misplaced.append((what, sorted(places), [shown(each) for each in findings[:6]]))
        assert tried > 0 or f"{table} {what}" in ROWS_NOT_DERIVED, f"no row of {table} could be {what}"
    assert (unnoticed, misplaced) == ([], [])
    assert (await verified(business)).findings == [], "the rows were put back"


async def test_without_its_newest_checkpoint_the_seal_is_partial(business: Shop, tamperer: Tamperer) -> None:
    for _ in tamperer.removals("colink.checkpoints"):
        results = {each.audit_pass.value: each for each in (await verified(business)).passes}
        assert results["seal"].status is Status.PARTIAL
        assert "the newest checkpoint is over 0 of them" in (results["seal"].reason or "")
