"""The auditor's own test: each column of each table is changed once, and the verification reports it, where it is and
nowhere else. Tables and columns are asked of the database: a new one that nobody verifies fails here.

What nothing can be derived for stands below with its reason, and in docs/auditor.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
from tests.api.shop import Shop
from tests.tampering.mutants import Mutant, Tamperer

from colink.domain.audit.report import Finding, Report
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

IN_ONE_GO = Effort(processes=1)
Row = Mapping[str, str | None]
Places = Callable[[Row], tuple[str | None, ...]]


def by(*columns: str, form: str = "{}") -> Places:
    """The subject of a finding about a row: the values of these columns."""
    return lambda row: (form.format(*(row[column] for column in columns)),)


def at(*columns: str) -> Places:
    """The position of a finding about a row."""
    return lambda row: tuple(row[column] for column in columns)


def _after(row: Row) -> str:
    """The position behind a head: where a gap would begin."""
    return str(int(row["position"] or 0) + 1)


def _key(row: Row, columns: int) -> str:
    """The first columns of a report's row, the quarter spelled as the report does."""
    named = dict(list(row.items())[1 : 1 + columns])
    if named.get("quarter") not in {None, "infinity", "-infinity"}:
        named["quarter"] = str(named["quarter"]).replace(" ", "T") + ":00"
    return " ".join(map(str, named.values()))


FOUND_BY: Mapping[str, Places] = {
    "colink.events": at("position"),
    "colink.log_head": lambda row: ("log_head", _after(row)),
    "colink.seals": at("position"),
    "colink.merkle_nodes": by("level", "index", form="merkle_nodes {} {}"),
    "colink.checkpoints": by("tree_size", form="checkpoint {}"),
    "colink.checkpoint_keys": lambda row: (row["verifier_key"], "checkpoint_keys"),
    "colink.entries": at("position"),
    "colink.balances": by("account", "currency", form="{} {}"),
    "colink.orders": by("order_id"),
    "colink.payouts": by("payout_id"),
    "colink.documents": by("id"),
    "colink.terms_heads": by("organization_id"),
    "colink.idempotency_keys": lambda row: (
        f"colink.idempotency_keys {row['scope']} {row['key']}",
        row["position"],
    ),
    "colink.installation": lambda row: (f"installation {row['name']}", "...with the pepper", "...another log", "1"),
    "colink.private_values": lambda row: (
        row["owner_id"],
        (row["name"] or "").removeprefix("key:"),
    ),
    "colink.inbox": lambda row: (
        f"dlv_{row['source']}.{row['delivery_id']}",
        f"colink.inbox {row['source']} {row['delivery_id']}",
    ),
    "colink.touches": by("touch_id"),
    "colink.tracking_events": lambda row: (row["stream_id"], f"tracking {row['position']}", row["position"]),
    "colink.tracking_head": lambda row: ("tracking log_head", _after(row)),
    "colink.projections": by("name"),
    "colink.projection_versions": by("projection"),
    "colink.projection_checkpoints": by("projection"),
    "colink_read.attribution_sales_v1": lambda row: (_key(row, 6),),
    "colink_read.attribution_touches_v1": lambda row: (_key(row, 6),),
    "colink_read.leaderboard_scores_v1": lambda row: (_key(row, 5),),
    "colink_read.balance_accounts_v1": by("account", "currency", form="{} {}"),
    "colink_read.balance_moves_v1": at("position"),
    "colink_read.balance_sums_v1": lambda row: (
        f"...on {row['day']}",
        f"block {row['block']} of level {row['level']}",
    ),
    "colink_read.attribution_orders_v1": by("order_id"),
    "colink_read.leaderboard_orders_v1": by("order_id"),
}
"""How the findings about a row of a table name it."""

STANDS_FOR_MORE = frozenset(
    {
        "colink.events",
        "colink.seals",
        "colink.projections",
        "colink.projection_versions",
        "colink.projection_checkpoints",
        "colink_read.balance_accounts_v1",
        "colink_read.balance_sums_v1",
        "colink.checkpoint_keys",
        "colink.installation",
        "colink.log_head",
        "colink.private_values",
        "colink.tracking_events",
        "colink.tracking_head",
    }
)

_RANDOM = "it is random: nothing says what it must be"
_NOT_SAID = "the log does not say it; a trigger keeps it as it came"
_WHEN = "when a worker did something; what it did is verified"
NOT_DERIVED: Mapping[str, str] = {
    "colink.tracking_salts": _RANDOM,
    "colink.webhook_rejections": "counts what was turned away and is kept nowhere",
    "colink.audit_reads": "what was read is no part of the log; a trigger keeps it as it was written",
    "colink.schema_version": "which migrations ran: `colink db status`",
    "colink.seal_alarms": "what a sealer complained about; it signs nothing until a person has looked",
    "colink.tracking_archives": "verified with the files it describes, by `colink tracking check`",
    "colink.projection_versions.created_at": _WHEN,
    "colink.projection_versions.completed_at changed": _WHEN,
    "colink.projection_checkpoints.log": "one of two names: the database holds it",
    "colink.projection_checkpoints.error": "what stopped a worker, for who repairs it",
    "colink.projection_checkpoints.error_position": "what stopped a worker, for who repairs it",
    "colink.projection_checkpoints.updated_at": _WHEN,
    "colink_read.true_up_orders_v1": "where a worker looks for what is due; nothing is shown of it",
    "colink_read.true_up_periods_v1": "where a worker looks for what is due; nothing is shown of it",
    "colink.log_head.id": "always 1: the database holds it",
    "colink.tracking_head.id": "always 1: the database holds it",
    "colink.checkpoints.signed_at": "no signature covers it; it is not before its last event or the one before",
    "colink.checkpoint_keys.ordinal": "in which order keys were added; each is verified by what it signed",
    "colink.checkpoint_keys.added_at": _WHEN,
    "colink.merkle_nodes.level": "always 8 or 16: the database holds it",
    "colink.idempotency_keys.request_digest": "the log does not hold requests",
    "colink.inbox.seq": "the database numbers deliveries as they come, and lets nobody set it",
    "colink.inbox.topic": _NOT_SAID,
    "colink.inbox.headers": _NOT_SAID,
    "colink.inbox.received_at": _NOT_SAID,
    "colink.tracking_events.actor": "the tracking log is not sealed, and who followed a link is nobody",
    "colink.tracking_events.correlation_id": "the tracking log is not sealed",
    "colink.tracking_events.causation_id": "the tracking log is not sealed",
}
"""Tables and columns for which the log says nothing, and why."""


async def verified(shop: Shop) -> Report:
    async with shop.colink.pool.connection() as connection:
        return await verify(connection, shop.colink.decode, outside=shop.colink.outside(), effort=IN_ONE_GO)


async def test_a_clean_log_has_no_finding(business: Shop) -> None:
    report = await verified(business)
    assert report.findings == []
    assert report.complete, [(each.audit_pass, each.reason) for each in report.passes]


def test_every_table_and_column_is_known(tamperer: Tamperer) -> None:
    """What was exempted is still there, and everything else has a place where it is found."""
    tables = {f"{schema}.{table}" for schema, table in tamperer.tables()}
    exempt = {name for name in NOT_DERIVED if name.count(".") == 1}
    assert tables == set(FOUND_BY) | exempt
    columns = {f"{table}.{column.name}" for table in FOUND_BY for column in tamperer.columns(table)}
    assert {name.partition(" ")[0] for name in NOT_DERIVED} - exempt <= columns


@pytest.mark.parametrize("table", FOUND_BY)
async def test_each_column_of_a_table_is_verified(business: Shop, tamperer: Tamperer, table: str) -> None:
    unnoticed, misplaced, mutants = [], [], 0
    for column in tamperer.columns(table):
        if f"{table}.{column.name}" in NOT_DERIVED:
            continue
        for mutant in tamperer.mutants(table, column):
            if f"{table}.{column.name} {mutant.to}" in NOT_DERIVED:
                continue
            mutants += 1
            findings = (await verified(business)).findings
            if not findings:
                unnoticed.append(str(mutant))
            elif not is_found(mutant, findings, places_of(mutant)):
                misplaced.append((str(mutant), sorted(places_of(mutant)), [shown(each) for each in findings[:6]]))
    assert (unnoticed, misplaced) == ([], [])
    assert mutants > 0
    report = await verified(business)
    assert report.findings == [], "the mutants were put back"


def places_of(mutant: Mutant) -> set[str]:
    """How the row is named, as it was or as it is now."""
    named = (*FOUND_BY[mutant.table](mutant.row), *FOUND_BY[mutant.table](mutant.after))
    return {name for name in named if name is not None}


def is_found(mutant: Mutant, findings: Iterable[Finding], places: set[str]) -> bool:
    """A changed row is found where it is and nowhere else. What is derived from a changed event differs, too; heads,
    numbers and trees of hashes stand for all that is below them."""
    found = [_is_at(each, places) for each in findings]
    return any(found) if mutant.table in STANDS_FOR_MORE else all(found)


def _is_at(finding: Finding, places: set[str]) -> bool:
    """A place that begins with dots is part of the message."""
    if {str(finding.position), finding.subject} & places:
        return True
    return any(place.startswith("...") and place.strip(".") in finding.message for place in places)


def shown(finding: Finding) -> tuple[str, str, int, str]:
    return finding.audit_pass.value, finding.kind.value, finding.position, finding.subject
