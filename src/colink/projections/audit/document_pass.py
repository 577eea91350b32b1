"""Passes over documents and the heads of terms: what commands read as configuration is exactly what the log says was
configured, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from colink.domain.access import ApiKeyCreated, ApiKeyRevoked
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult, Status
from colink.domain.bookings import BookingApproved, BookingProposed, BookingRejected
from colink.domain.campaigns import CampaignCreated
from colink.domain.catalog import ProductChanged, ProductRecorded
from colink.domain.commission import RuleAdded, RuleRevised
from colink.domain.creators import CreatorRegistered
from colink.domain.organizations import OrganizationRegistered, StoreConnected
from colink.domain.payout_accounts import PayoutAccountRegistered, PayoutAccountReplaced
from colink.domain.people import ERASURES
from colink.domain.periods import PeriodClosed
from colink.domain.seller_account_events import (
    SellerAccountAdopted,
    SellerAccountAllocated,
    SellerAccountBooked,
    SellerAccountCovered,
    SellerAccountCredited,
    SellerAccountInvoiced,
    SellerAccountOpened,
    SellerAccountReturned,
    SellerAccountTakenBack,
)
from colink.domain.seller_billing import SellerInvoiceIssued, SellerPaymentReceived, SellerPaymentReturned
from colink.domain.settlements import SettlementRecorded
from colink.domain.tracking import CouponCreated, LinkCreated
from colink.domain.withholding import WithholdingSet
from colink.projections import documents  # noqa: F401 - it registers the projectors used below
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window, WindowReader
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection, Decoder
from colink.projections.inline import DocumentRow, project

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
    SettlementRecorded,
    ApiKeyCreated,
    ApiKeyRevoked,
    ProductRecorded,
    ProductChanged,
    *ERASURES,
    SellerAccountOpened,
    SellerAccountCredited,
    SellerAccountAdopted,
    SellerAccountBooked,
    SellerAccountCovered,
    SellerAccountAllocated,
    SellerAccountReturned,
    SellerAccountTakenBack,
    SellerAccountInvoiced,
    SellerPaymentReceived,
    SellerPaymentReturned,
    SellerInvoiceIssued,
    PeriodClosed,
    WithholdingSet,
    BookingProposed,
    BookingApproved,
    BookingRejected,
)
_TOPICS = frozenset(event.TOPIC for event in _EVENTS)
Key = tuple[str, str, int]
"""Kind, id, version."""


class DocumentCheck:
    """The pass `documents`: every version the window wrote has its row. Carries out where terms last moved."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._result = part.results.get(Pass.DOCUMENTS)

    def check(self, window: Window) -> None:
        written: dict[Key, tuple[int, DocumentRow]] = {}
        unread = PassResult(audit_pass=Pass.DOCUMENTS)
        for position, event in window.events(window.rows, _TOPICS, self._result or unread):
            for row in project(event):
                if isinstance(row, DocumentRow):
                    written[row.kind, row.id, row.version] = (position, row)
                    if row.part_of_terms and row.organization_id is not None:
                        self._part.terms_heads[row.organization_id] = position
        if written and self._result is not None:
            _compare(window.reader, self._result, written)


async def check_other_documents(conn: Connection, result: PassResult, decode: Decoder) -> None:
    """Rows that no event wrote, and which version of each is marked as current. `result` is that of the whole log."""
    unnamed = each_row(
        conn,
        "SELECT d.position, d.kind, d.id, d.version FROM colink.documents d WHERE NOT EXISTS"
        " (SELECT FROM colink.events e WHERE e.position = d.position) ORDER BY 1",
    )
    async for position, kind, id_, version in unnamed:
        result.find(Kind.EXTRA, position, id_, f"version {version} of {kind} {id_} names no event")
    marked = each_row(
        conn,
        "SELECT position, kind, id, version FROM (SELECT position, kind, id, version, current,"
        " version = max(version) OVER (PARTITION BY kind, id) AS newest FROM colink.documents) d"
        " WHERE current <> newest ORDER BY 1",
    )
    async for position, kind, id_, version in marked:
        result.find(Kind.CHANGED, position, id_, f"version {version} of {kind} {id_} is marked wrongly as current")
    counted = await (await conn.execute("SELECT count(*) FROM colink.documents")).fetchone()
    if counted != (result.checked,) or result.status is not Status.PASSED:
        await _find_unwritten(conn, result, decode)


async def _find_unwritten(conn: Connection, result: PassResult, decode: Decoder) -> None:
    """Rows that the event they name did not write. Looked for only where a row is missing, changed or too many: each
    that must be there is there, and there are no more, else; and no index of documents is by position."""
    rows = each_row(
        conn,
        "SELECT d.position, d.kind, d.id, d.version, e.stream_id, e.version, e.topic, e.payload"
        " FROM colink.documents d JOIN colink.events e USING (position) ORDER BY d.position, d.kind, d.id, d.version",
    )
    at, written = 0, None
    async for position, kind, id_, version, *stored in rows:
        if position != at:
            at, written = position, _written_by(decode, *stored)
        if written is not None and (kind, id_, version) not in written:
            result.find(
                Kind.EXTRA, position, id_, f"event {position} did not write version {version} of {kind} {id_}"
            )


def _written_by(decode: Decoder, stream_id: str, version: int, topic: str, payload: str) -> frozenset[Key] | None:
    """None where the event cannot be read, which is found by the window it lies in."""
    if topic not in _TOPICS:
        return frozenset()
    try:
        event = decode(stream_id, version, topic, payload)
    except Exception:  # noqa: BLE001 - whatever a damaged payload provokes
        return None
    return frozenset((row.kind, row.id, row.version) for row in project(event) if isinstance(row, DocumentRow))


async def check_terms_heads(conn: Connection, result: PassResult, terms_heads: Mapping[str, int]) -> None:
    """What guards orders against terms that move: each organisation's last event that moved them, both ways."""
    heads = dict(terms_heads)
    result.checked = len(heads)
    cursor = await conn.execute("SELECT organization_id, position FROM colink.terms_heads ORDER BY 1")
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


def _compare(reader: WindowReader, result: PassResult, written: Mapping[Key, tuple[int, DocumentRow]]) -> None:
    result.checked += len(written)
    rows = _rows(reader, list(written))
    for key, (position, row) in written.items():
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


def _rows(reader: WindowReader, keys: Sequence[Key]) -> dict[Key, tuple[str | None, str | None, bool, str, int]]:
    rows = reader.rows(
        "SELECT kind, id, version, key, organization_id, part_of_terms, body, position FROM colink.documents"
        " JOIN unnest(%s::text[], %s::text[], %s::integer[]) AS written (kind, id, version)"
        " USING (kind, id, version)",
        *(list(column) for column in zip(*keys, strict=True)),
    )
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows}
