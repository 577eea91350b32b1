"""Passes over documents and the heads of terms: what commands read as configuration is exactly what the log says was
configured, and when."""

from __future__ import annotations

from collections.abc import Sequence

from colink.domain.access import ApiKeyCreated
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass
from colink.domain.campaigns import CampaignCreated
from colink.domain.catalog import ProductChanged, ProductRecorded
from colink.domain.commission import RuleAdded, RuleRevised
from colink.domain.creators import CreatorRegistered
from colink.domain.organizations import OrganizationRegistered, StoreConnected
from colink.domain.payout_accounts import PayoutAccountRegistered, PayoutAccountReplaced
from colink.domain.tracking import CouponCreated, LinkCreated
from colink.projections import documents  # noqa: F401 - it registers the projectors used below
from colink.projections.audit.context import Verification
from colink.projections.inline import DocumentRow, project

_ROWS_A_CHUNK = 500
_EVENTS: tuple[type[Event], ...] = (
    OrganizationRegistered,
    StoreConnected,
    CreatorRegistered,
    CampaignCreated,
    RuleAdded,
    RuleRevised,
    LinkCreated,
    CouponCreated,
    PayoutAccountRegistered,
    PayoutAccountReplaced,
    ApiKeyCreated,
    ProductRecorded,
    ProductChanged,
)
Key = tuple[str, str, int]


async def check_documents(v: Verification) -> None:
    """Every version of every document, both ways."""
    result = v.results[Pass.DOCUMENTS]
    if not v.whole_log:
        result.needs_whole_log()
        return
    chunk: dict[Key, tuple[int, DocumentRow]] = {}
    async for seen in v.events(Pass.DOCUMENTS, [event.TOPIC for event in _EVENTS]):
        for row in project(seen.event):
            if isinstance(row, DocumentRow):
                chunk[row.kind, row.id, row.version] = (seen.position, row)
        if len(chunk) >= _ROWS_A_CHUNK:
            await _compare(v, chunk)
            chunk = {}
    await _compare(v, chunk)
    async with v.conn.cursor(name="audit_extra_documents") as cursor:
        await cursor.execute(
            "SELECT d.position, d.kind, d.id, d.version FROM colink.documents d WHERE NOT EXISTS"
            " (SELECT FROM colink.events e WHERE e.position = d.position) ORDER BY 1"
        )
        async for position, kind, id_, version in cursor:
            result.find(Kind.EXTRA, position, id_, f"version {version} of {kind} {id_} names no event")
    async with v.conn.cursor(name="audit_current_documents") as cursor:
        await cursor.execute(
            "SELECT position, kind, id, version FROM (SELECT position, kind, id, version, current,"
            " version = max(version) OVER (PARTITION BY kind, id) AS newest FROM colink.documents) d"
            " WHERE current <> newest ORDER BY 1"
        )
        async for position, kind, id_, version in cursor:
            result.find(
                Kind.CHANGED, position, id_, f"version {version} of {kind} {id_} is marked wrongly as current"
            )
    counted = await v.conn.execute("SELECT count(*), coalesce(max(position), 0) FROM colink.documents")
    rows, newest = await counted.fetchone() or (0, 0)
    if rows > result.checked:
        result.find(
            Kind.EXTRA,
            newest,
            "documents",
            "there are more documents than events wrote",
            recorded=rows,
            derived=result.checked,
        )


async def check_terms_heads(v: Verification) -> None:
    """What guards orders against terms that move: each organisation's last event that moved them, both ways."""
    result = v.results[Pass.TERMS_HEADS]
    if not v.whole_log:
        result.needs_whole_log()
        return
    heads: dict[str, int] = {}
    async for seen in v.events(Pass.TERMS_HEADS, [event.TOPIC for event in _EVENTS]):
        for row in project(seen.event):
            if isinstance(row, DocumentRow) and row.part_of_terms and row.organization_id is not None:
                heads[row.organization_id] = seen.position
    result.checked = len(heads)
    cursor = await v.conn.execute("SELECT organization_id, position FROM colink.terms_heads ORDER BY 1")
    for organization_id, position in await cursor.fetchall():
        derived = heads.pop(organization_id, None)
        if derived is None:
            result.find(Kind.EXTRA, position, organization_id, f"{organization_id} has terms that no event made")
        elif derived != position:
            result.find(
                Kind.CHANGED,
                derived,
                organization_id,
                f"the terms of {organization_id} last moved at {derived}",
                recorded=position,
                derived=derived,
            )
    for organization_id, derived in heads.items():
        result.find(Kind.MISSING, derived, organization_id, f"nothing says when the terms of {organization_id} moved")


async def _compare(v: Verification, chunk: dict[Key, tuple[int, DocumentRow]]) -> None:
    result = v.results[Pass.DOCUMENTS]
    result.checked += len(chunk)
    rows = await _rows(v, sorted({id_ for _, id_, _ in chunk}))
    for key, (position, row) in chunk.items():
        kind, id_, version = key
        name = f"version {version} of {kind} {id_}"
        recorded = rows.get(key)
        derived = (row.key, row.organization_id, row.part_of_terms, row.body, position)
        if recorded is None:
            result.find(Kind.MISSING, position, id_, f"{name} has no row")
        elif recorded != derived:
            result.find(
                Kind.CHANGED, position, id_, f"{name} is not what the log says", recorded=recorded, derived=derived
            )


async def _rows(v: Verification, ids: Sequence[str]) -> dict[Key, tuple[str | None, str | None, bool, str, int]]:
    cursor = await v.conn.execute(
        "SELECT kind, id, version, key, organization_id, part_of_terms, body, position FROM colink.documents"
        " WHERE id = ANY(%s)",
        (list(ids),),
    )
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in await cursor.fetchall()}
