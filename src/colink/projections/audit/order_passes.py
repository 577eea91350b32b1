"""Passes over orders and payouts: everything decided is derived again from the log alone, stream after stream, and
the journals and rows that must have followed are compared with those that are there.

Memory holds a few hundred streams at a time, the organisations' terms, and the stretches of live payouts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from colink.domain.aggregates import Event
from colink.domain.audit import terms as audit_terms
from colink.domain.audit.balances import overlaps
from colink.domain.audit.orders import ExpectedJournal, OrderReplay, journal_matches
from colink.domain.audit.report import Kind, Pass, first_difference
from colink.domain.audit.terms import TermsBook
from colink.domain.ledger import JournalPosted, payee_available
from colink.domain.orders import (
    OrderAttributed,
    OrderCleared,
    OrderPlaced,
    OrderRefundParked,
    OrderRefundRecorded,
    OrderSplit,
    OrderUpdated,
)
from colink.domain.payout_journals import journals_of
from colink.domain.payouts import RELEASED, PayoutChanged, PayoutRequested, PayoutStatus, Stretch
from colink.domain.postings import Draft
from colink.projections import entries, orders, payouts  # noqa: F401 - they register the projectors used below
from colink.projections.audit.context import Verification
from colink.projections.engine import Seen
from colink.projections.inline import OrderRow, PayoutRow, project

_ORDER_TOPICS = tuple(
    event.TOPIC
    for event in (
        OrderPlaced,
        OrderRefundParked,
        OrderUpdated,
        OrderRefundRecorded,
        OrderAttributed,
        OrderSplit,
        OrderCleared,
    )
)
_STREAMS_A_CHUNK = 200


@dataclass(slots=True, kw_only=True)
class _OrderState:
    """What an order's row must say. Fields are the columns of colink.orders."""

    order_id: str
    organization_id: str | None = None
    store_id: str | None = None
    external_id: str | None = None
    placed_at: datetime | None = None
    creator_id: str | None = None
    claims: str | None = None
    clears_at: datetime | None = None
    created_position: int
    position: int

    def take(self, position: int, row: OrderRow) -> None:
        self.position = position
        self.organization_id = row.organization_id or self.organization_id
        self.store_id = row.store_id or self.store_id
        self.external_id = row.external_id or self.external_id
        self.placed_at = row.placed_at or self.placed_at
        if row.creator_id is not None:
            self.creator_id = row.creator_id or None
        if row.claims is not None:
            self.claims, self.clears_at = row.claims, row.clears_at


@dataclass(slots=True, kw_only=True)
class _PayoutState:
    """What a payout's row must say. Fields are the columns of colink.payouts."""

    payout_id: str
    payee_id: str
    currency: str
    amount: int
    status: str
    stretches: str
    created_position: int
    position: int


async def streams(source: AsyncIterator[Seen]) -> AsyncIterator[list[Seen]]:
    """Cut events that come stream after stream into one list a stream."""
    stream: list[Seen] = []
    async for seen in source:
        if stream and seen.event.originator_id != stream[0].event.originator_id:
            yield stream
            stream = []
        stream.append(seen)
    if stream:
        yield stream


async def check_orders(v: Verification) -> None:
    """The passes `attributions`, `splits`, `clearings`, `order_rows`, and the orders' half of `derivation`."""
    book = TermsBook()
    async for seen in v.events(Pass.ATTRIBUTIONS, audit_terms.TOPICS, from_start=True):
        book.add(seen.position, seen.event)
    # The streams are long and the sort of all payloads would go through the disk: follow the index instead.
    await v.conn.execute("SET LOCAL enable_sort = off")
    expected: list[ExpectedJournal] = []
    states: dict[str, _OrderState] = {}
    async for stream in streams(v.events(Pass.SPLITS, _ORDER_TOPICS, by_stream=True, from_start=True)):
        expected += _replay(v, book, stream)
        state = _order_state(stream)
        if state is not None:
            states[state.order_id] = state
        if len(states) >= _STREAMS_A_CHUNK:
            await _compare_journals(v, expected)
            await _compare_order_rows(v, states)
            expected, states = [], {}
    await _compare_journals(v, expected)
    await _compare_order_rows(v, states)
    if v.whole_log:
        await _extra_rows(v, Pass.ORDER_ROWS, "orders", "order_id")
    else:
        v.results[Pass.ORDER_ROWS].needs_whole_log()


def _replay(v: Verification, book: TermsBook, stream: Sequence[Seen]) -> list[ExpectedJournal]:
    replay = OrderReplay(book, v.results, in_range=v.in_range)
    for seen in stream:
        try:
            replay.feed(seen.position, seen.event)
        except Exception as error:  # noqa: BLE001 - what a damaged event provokes is what there is to report
            v.results[Pass.SPLITS].find(
                Kind.UNREADABLE,
                seen.position,
                seen.event.originator_id,
                f"{seen.event.originator_id} cannot be replayed: {type(error).__name__}: {error}",
            )
            break
    return [journal for journal in replay.journals() if v.in_range(journal.position)]


def _order_state(stream: Sequence[Seen]) -> _OrderState | None:
    state: _OrderState | None = None
    for seen in stream:
        for row in project(seen.event):
            if not isinstance(row, OrderRow):
                continue
            if state is None:
                state = _OrderState(order_id=row.order_id, created_position=seen.position, position=seen.position)
            state.take(seen.position, row)
    return state


async def _compare_journals(v: Verification, expected: Sequence[ExpectedJournal]) -> None:
    """Each expected journal is in the log and posts exactly what was derived."""
    result = v.results[Pass.DERIVATION]
    posted: dict[str, tuple[int, JournalPosted]] = {}
    cursor = await v.conn.execute(
        "SELECT position, stream_id, version, topic, payload FROM colink.events WHERE stream_id = ANY(%s)",
        ([journal.journal_id for journal in expected],),
    )
    for position, stream_id, version, topic, payload in await cursor.fetchall():
        event = v.decoded(result, position, (stream_id, version, topic, payload))
        if isinstance(event, JournalPosted):
            posted[stream_id] = (position, event)
    for journal in expected:
        result.checked += 1
        v.unexplained_journals.pop(hash(journal.journal_id), None)
        if journal.journal_id not in posted:
            result.find(
                Kind.MISSING,
                journal.position,
                journal.journal_id,
                f"the journal {journal.journal_id} that follows from event {journal.position} was not posted",
                derived=journal.draft,
            )
            continue
        position, event = posted[journal.journal_id]
        if not journal_matches(journal.draft, event):
            a, b = first_difference(event.postings, journal.draft.postings) or (event.effective_at, journal.draft)
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                journal.journal_id,
                f"the journal {journal.journal_id} does not follow from event {journal.position}",
                recorded=a,
                derived=b,
            )


async def _compare_order_rows(v: Verification, states: dict[str, _OrderState]) -> None:
    if v.whole_log:
        await _compare_rows(v, Pass.ORDER_ROWS, "orders", "order_id", states)


async def _compare_rows(v: Verification, audit_pass: Pass, table: str, key: str, states: dict[str, Any]) -> None:
    """The rows of these keys say exactly what was folded; `states` are dataclasses with the columns as fields."""
    if not states:
        return
    result = v.results[audit_pass]
    result.checked += len(states)
    names = [column.name for column in fields(next(iter(states.values())))]
    cursor = await v.conn.execute(
        f"SELECT {', '.join(names)} FROM colink.{table} WHERE {key} = ANY(%s)", (list(states),)
    )
    rows = {row[names.index(key)]: row for row in await cursor.fetchall()}
    for id_, state in states.items():
        row = rows.get(id_)
        if row is None:
            result.find(Kind.MISSING, state.position, id_, f"{id_} has no row in {table}")
            continue
        for name, recorded in zip(names, row, strict=True):
            derived = getattr(state, name)
            if recorded != derived:
                result.find(
                    Kind.CHANGED,
                    state.position,
                    id_,
                    f"{name} of {id_} in {table} is not what the log says",
                    recorded=recorded,
                    derived=derived,
                )


async def _extra_rows(v: Verification, audit_pass: Pass, table: str, key: str) -> None:
    async with v.conn.cursor(name=f"audit_extra_{table}") as cursor:
        await cursor.execute(
            f"SELECT t.position, t.{key} FROM colink.{table} t"
            f" WHERE NOT EXISTS (SELECT FROM colink.events e WHERE e.stream_id = t.{key}) ORDER BY 1"
        )
        async for position, id_ in cursor:
            v.results[audit_pass].find(Kind.EXTRA, position, id_, f"{id_} in {table} has no events")


async def check_payouts(v: Verification) -> None:
    """The pass `payouts` and the payouts' half of `derivation`."""
    result = v.results[Pass.PAYOUTS]
    held: dict[tuple[str, str], list[tuple[Stretch, str]]] = defaultdict(list)
    positions: dict[str, int] = {}
    chunk: dict[str, _PayoutState] = {}
    expected: list[ExpectedJournal] = []
    async for stream in streams(v.events(Pass.PAYOUTS, _payout_topics(), by_stream=True, from_start=True)):
        state: _PayoutState | None = None
        for seen in stream:
            if isinstance(seen.event, PayoutRequested | PayoutChanged):
                expected += _payout_journals(v, seen.position, seen.event)
            for row in project(seen.event):
                if isinstance(row, PayoutRow):
                    created = state.created_position if state else seen.position
                    state = _payout_state(row, created_position=created, position=seen.position)
        last = stream[-1].event
        if state is None or not isinstance(last, PayoutRequested | PayoutChanged):
            continue
        chunk[state.payout_id] = state
        positions[state.payout_id] = state.created_position
        if PayoutStatus(state.status) not in RELEASED:
            held[last.payee_id, last.currency] += [(stretch, state.payout_id) for stretch in last.stretches]
        if len(chunk) >= _STREAMS_A_CHUNK:
            await _finish_payouts(v, chunk, expected)
            chunk, expected = {}, []
    await _finish_payouts(v, chunk, expected)
    for (payee_id, currency), stretches in held.items():
        for pair in overlaps(stretches):
            earlier, later = sorted(pair, key=lambda payout_id: positions[payout_id])
            result.find(
                Kind.OVERLAP,
                positions[later],
                later,
                f"{later} reserves money of {payee_id} in {currency} that {earlier} holds",
            )
    if v.whole_log:
        await _extra_rows(v, Pass.PAYOUTS, "payouts", "payout_id")
        await _check_consumption(v, held, positions)


def _payout_topics() -> list[str]:
    events: list[type[Event]] = [PayoutRequested, *PayoutChanged.__subclasses__()]
    return [event.TOPIC for event in events]


def _payout_journals(v: Verification, position: int, event: PayoutRequested | PayoutChanged) -> list[ExpectedJournal]:
    if not v.in_range(position):
        return []
    posted = [journal.collect_events()[0] for journal in journals_of(event)]
    return [
        ExpectedJournal(
            journal_id=journal.originator_id,
            position=position,
            draft=Draft(kind=journal.kind, effective_at=journal.effective_at, postings=journal.postings),
        )
        for journal in posted
        if isinstance(journal, JournalPosted)
    ]


def _payout_state(row: PayoutRow, *, created_position: int, position: int) -> _PayoutState:
    return _PayoutState(
        payout_id=row.payout_id,
        payee_id=row.payee_id,
        currency=row.currency,
        amount=row.amount,
        status=row.status,
        stretches=row.stretches,
        created_position=created_position,
        position=position,
    )


async def _finish_payouts(
    v: Verification, states: dict[str, _PayoutState], expected: Sequence[ExpectedJournal]
) -> None:
    await _compare_journals(v, expected)
    if v.whole_log:
        await _compare_rows(v, Pass.PAYOUTS, "payouts", "payout_id", states)


async def _check_consumption(
    v: Verification, held: dict[tuple[str, str], list[tuple[Stretch, str]]], positions: dict[str, int]
) -> None:
    """No payout reaches beyond its payee's line of cleared credits. (That the balances themselves are the fold of the
    log is the pass `balances`.)"""
    for (payee_id, currency), stretches in held.items():
        cursor = await v.conn.execute(
            "SELECT credited FROM colink.balances WHERE account = %s AND currency = %s",
            (payee_available(payee_id), currency),
        )
        row = await cursor.fetchone()
        credited = row[0] if row else 0
        for stretch, payout_id in stretches:
            if stretch.end > credited:
                v.results[Pass.PAYOUTS].find(
                    Kind.OVERDRAWN,
                    positions[payout_id],
                    payout_id,
                    f"{payout_id} takes more of {payee_id} than was ever cleared in {currency}",
                    recorded=stretch.end,
                    derived=credited,
                )


def check_unexplained(v: Verification) -> None:
    """What is left of `derivation`: journals of orders and payouts that nothing in their streams led to."""
    result = v.results[Pass.DERIVATION]
    for position in sorted(v.unexplained_journals.values()):
        result.find(
            Kind.EXTRA,
            position,
            f"{position}",
            f"the journal at {position} follows from no event of its order or payout",
        )
