"""From anything an auditor has in hand - an order, an entry, a payout, an account, a position, any id of the log -
back to the events and deliveries it came from, and forward to the payouts its money went into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

import msgspec
from psycopg.rows import class_row

from colink.application.representations import told_payload
from colink.domain.errors import NotFound
from colink.domain.ids import natural_id, natural_parts, order_id
from colink.domain.ledger import JournalPosted, payee_available, payee_of
from colink.domain.payout_funds import Stretch
from colink.domain.settlements import SettlementRecorded
from colink.projections.engine import Connection
from colink.projections.entries import IN_ORDERS, Entry, list_credits
from colink.projections.payouts import HOLDING, FiledPayout, list_payouts, payout_by_id

LIMIT = 500  # entries and events shown of one subject; more are cut off and said to be
_REACH = 2_000  # a journal is no more positions behind the event that caused it: both are of one append


class TraceKind(StrEnum):
    ORDER = "order"
    ENTRY = "entry"
    PAYOUT = "payout"
    ACCOUNT = "account"
    EVENT = "event"
    DELIVERY = "delivery"
    JOURNAL = "journal"
    PAYEE = "payee"
    RECORD = "record"
    """Anything else that has a stream: a settlement, a booking, a true-up, a seller's payment, a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedEvent:
    """An event of the commerce log; `payload` is its JSON text, without the digests of API keys (`told_payload`)."""

    position: int
    stream_id: str
    version: int
    topic: str
    recorded_at: datetime
    actor: str
    correlation_id: str
    causation_id: str | None
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedDelivery:
    """A platform's delivery about one of the orders; its body is in the inbox under (source, delivery_id)."""

    source: str
    delivery_id: str
    topic: str
    received_at: datetime
    status: str
    order_id: str | None
    position: int | None


@dataclass(kw_only=True)
class Trace:
    """Everything that belongs to `subject`: events by position, deliveries by arrival, ledger entries in log order,
    and the payouts that hold or paid its money. `followed`: whether payouts of such money were looked for: nobody is
    paid a rule. `cut_off`: there is more than `LIMIT` of something."""

    subject: str
    kind: TraceKind
    orders: list[str] = field(default_factory=list)
    events: list[TracedEvent] = field(default_factory=list)
    deliveries: list[TracedDelivery] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    payouts: list[FiledPayout] = field(default_factory=list)
    followed: bool = False
    cut_off: bool = False


class _Caused(msgspec.Struct):
    """Of `JournalPosted`."""

    cause_id: str | None = None


class _Fee(msgspec.Struct):
    order_external_id: str


class _Details(msgspec.Struct):
    store_id: str
    fees: list[_Fee]


class _Settled(msgspec.Struct):
    """Of `SettlementRecorded`."""

    details: _Details


async def trace(conn: Connection, subject: str) -> Trace:
    """`subject` is the id of an order, entry (`ent_{position}.{ordinal}`), payout, delivery, journal, creator or
    organisation, or of anything else that has a stream, an account name or the position of an event. Raises NotFound
    when there is no such thing."""
    if subject.isdecimal():
        found = await _trace_event(conn, subject)
    elif subject.startswith("ent_"):
        found = await _trace_entry(conn, subject)
    elif ":" in subject:
        found = await _trace_account(conn, subject)
    elif subject.startswith("dlv_"):
        found = await _trace_delivery(conn, subject)
    elif subject.startswith("jrn_"):
        found = await _trace_journal(conn, subject)
    elif subject.startswith(("cre_", "org_")):
        found = await _trace_payee(conn, subject)
    else:
        found = await _trace_stream(conn, subject)
    if not found.events:
        msg = (
            f"nothing in the log is called {subject!r}: give the id of an order, an entry, a payout or of anything"
            " recorded, an account, or the position of an event"
        )
        raise NotFound(msg)
    return found


async def _trace_stream(conn: Connection, stream_id: str) -> Trace:
    if await payout_by_id(conn, stream_id) is not None:
        return await _trace_payout(conn, stream_id)
    if stream_id.startswith("ord_"):
        return await _trace_order(conn, stream_id)
    return await _trace_record(conn, stream_id)


async def _trace_order(conn: Connection, id_: str) -> Trace:
    found = Trace(subject=id_, kind=TraceKind.ORDER, orders=[id_])
    found.entries = await _entries(conn, found, IN_ORDERS, order_ids=[id_])
    found.events = await _events(conn, found, streams=[id_], positions=[e.position for e in found.entries])
    found.deliveries = await _deliveries(conn, found, [id_])
    found.payouts = await _payouts_holding(conn, found, found.entries)
    return found


async def _trace_record(conn: Connection, stream_id: str) -> Trace:
    """The stream, the journals it caused, and the orders its settlement names."""
    found = Trace(subject=stream_id, kind=TraceKind.RECORD)
    positions = await _journals_of(conn, stream_id)
    found.entries = await _entries(conn, found, "position = ANY(%(positions)s)", positions=positions)
    found.events = await _events(conn, found, streams=[stream_id], positions=positions)
    found.orders = list(dict.fromkeys(order for event in found.events for order in _orders_settled(event)))
    found.deliveries = await _deliveries(conn, found, found.orders)
    found.payouts = await _payouts_holding(conn, found, found.entries)
    return found


async def _journals_of(conn: Connection, stream_id: str) -> list[int]:
    """A journal is appended with the event that caused it, and named after its stream."""
    cursor = await conn.execute(
        "SELECT j.position FROM colink.events e JOIN colink.events j"
        " ON j.position > e.position AND j.position <= e.position + %(reach)s AND j.topic = %(topic)s"
        " AND (starts_with(j.stream_id, %(plain)s) OR starts_with(j.stream_id, %(encoded)s))"
        " WHERE e.stream_id = %(stream)s GROUP BY j.position ORDER BY j.position",
        {
            "stream": stream_id,
            "topic": JournalPosted.TOPIC,
            "plain": f"jrn_{stream_id}.",
            "encoded": natural_id("jrn", stream_id, ""),
            "reach": _REACH,
        },
    )
    return [position for (position,) in await cursor.fetchall()]


def _orders_settled(event: TracedEvent) -> list[str]:
    if event.topic != SettlementRecorded.TOPIC:
        return []
    try:
        told = msgspec.json.decode(event.payload, type=_Settled).details
    except msgspec.DecodeError:
        return []  # a damaged log has to be looked at too
    return [order_id(told.store_id, fee.order_external_id) for fee in told.fees]


async def _trace_entry(conn: Connection, entry_id: str) -> Trace:
    found = Trace(subject=entry_id, kind=TraceKind.ENTRY)
    position, _, ordinal = entry_id.removeprefix("ent_").partition(".")
    if not (position.isdecimal() and ordinal.isdecimal()):
        return found
    found.entries = await _entries(
        conn, found, "position = %(position)s AND ordinal = %(ordinal)s", position=int(position), ordinal=int(ordinal)
    )
    if not found.entries:
        return found
    [entry] = found.entries
    found.orders = [entry.order_id] if entry.order_id else []
    streams = [id_ for id_ in (entry.order_id, entry.payout_id) if id_]
    found.events = await _events(conn, found, streams=streams, positions=[entry.position])
    found.deliveries = await _deliveries(conn, found, found.orders)
    if entry.payout_id is not None:
        payout = await payout_by_id(conn, entry.payout_id)
        found.payouts = [payout] if payout else []
    elif entry.order_id and entry.payee_id:
        # What is pending is paid out as what it becomes: follow the line's cleared credits.
        credits_ = await _entries(
            conn,
            found,
            f"{IN_ORDERS} AND payee_id = %(payee_id)s AND line_id IS NOT DISTINCT FROM %(line_id)s"
            " AND credited_after IS NOT NULL",
            order_ids=[entry.order_id],
            payee_id=entry.payee_id,
            line_id=entry.line_id,
        )
        found.payouts = await _payouts_holding(conn, found, credits_)
    return found


async def _trace_payout(conn: Connection, payout_id: str) -> Trace:
    found = Trace(subject=payout_id, kind=TraceKind.PAYOUT)
    payout = await payout_by_id(conn, payout_id)
    if payout is None:
        return found
    found.payouts = [payout]
    own = await _entries(conn, found, "payout_id = %(payout_id)s", payout_id=payout_id)
    paid: list[Entry] = []
    for stretch in payout.stretches:
        paid += await list_credits(
            conn,
            account=payee_available(payout.payee_id),
            currency=payout.currency,
            start=stretch.start,
            end=stretch.end,
            limit=LIMIT + 1,
        )
    found.cut_off = found.cut_off or len(paid) > LIMIT
    found.entries = sorted([*paid[:LIMIT], *own], key=lambda entry: entry.cursor)
    found.orders = list(dict.fromkeys(entry.order_id for entry in found.entries if entry.order_id))
    found.events = await _events(
        conn, found, streams=[payout_id], positions=[entry.position for entry in found.entries]
    )
    found.deliveries = await _deliveries(conn, found, found.orders)
    return found


async def _trace_account(conn: Connection, account: str) -> Trace:
    """The newest entries of an account; of a payee's also all payouts."""
    found = Trace(subject=account, kind=TraceKind.ACCOUNT)
    found.entries = await _entries(conn, found, "account = %(account)s", account=account)
    found.orders = list(dict.fromkeys(entry.order_id for entry in found.entries if entry.order_id))
    found.events = await _events(conn, found, streams=[], positions=[entry.position for entry in found.entries])
    found.deliveries = await _deliveries(conn, found, found.orders)
    payee_id = payee_of(account)
    if payee_id is not None:
        payouts = await list_payouts(conn, payee_id=payee_id, limit=LIMIT + 1)
        found.payouts, found.followed = payouts[:LIMIT], True
        found.cut_off = found.cut_off or len(payouts) > LIMIT
    return found


async def _trace_delivery(conn: Connection, delivery_id: str) -> Trace:
    """The order that a delivery told of, and all that became of it."""
    parts = natural_parts(delivery_id)
    cursor = await conn.execute(
        "SELECT order_id FROM colink.inbox WHERE source = %s AND delivery_id = %s AND order_id IS NOT NULL",
        (parts[0], parts[1] if len(parts) == 2 else ""),
    )
    row = await cursor.fetchone()
    if row is None:
        return Trace(subject=delivery_id, kind=TraceKind.DELIVERY)
    return replace(await _trace_order(conn, row[0]), subject=delivery_id, kind=TraceKind.DELIVERY)


async def _trace_journal(conn: Connection, journal_id: str) -> Trace:
    """What a journal belongs to."""
    cursor = await conn.execute("SELECT position FROM colink.events WHERE stream_id = %s", (journal_id,))
    row = await cursor.fetchone()
    if row is None:
        return Trace(subject=journal_id, kind=TraceKind.JOURNAL)
    return replace(await _trace_event(conn, str(row[0])), subject=journal_id, kind=TraceKind.JOURNAL)


async def _trace_payee(conn: Connection, payee_id: str) -> Trace:
    """What a creator or a seller has and had: the cleared money, its orders, and the payouts it went into."""
    found = await _trace_account(conn, payee_available(payee_id))
    if not found.events:
        found.events = await _events(conn, found, streams=[payee_id], positions=[])
    return replace(found, subject=payee_id, kind=TraceKind.PAYEE)


async def _trace_event(conn: Connection, position: str) -> Trace:
    """The event's stream; of a journal what it belongs to: a payout, an order or the record that caused it."""
    found = Trace(subject=position, kind=TraceKind.EVENT)
    [*events] = await _events(conn, found, streams=[], positions=[int(position)])
    if not events:
        return found
    entries = await _entries(conn, found, "position = %(position)s", position=int(position))
    stream = next((id_ for entry in entries for id_ in (entry.payout_id, entry.order_id) if id_), None)
    of_stream = await _trace_stream(conn, stream or _cause(events[0]) or events[0].stream_id)
    return replace(of_stream, subject=position, kind=TraceKind.EVENT)


def _cause(event: TracedEvent) -> str | None:
    """Of a journal that belongs to no order and no payout."""
    if event.topic != JournalPosted.TOPIC:
        return None
    try:
        return msgspec.json.decode(event.payload, type=_Caused).cause_id
    except msgspec.DecodeError:
        return None


async def _events(
    conn: Connection, found: Trace, *, streams: Sequence[str], positions: Iterable[int]
) -> list[TracedEvent]:
    async with conn.cursor(row_factory=class_row(TracedEvent)) as cursor:
        await cursor.execute(
            "SELECT position, stream_id, version, topic, recorded_at, actor, correlation_id, causation_id, payload"
            " FROM colink.events WHERE stream_id = ANY(%s) OR position = ANY(%s) ORDER BY position LIMIT %s",
            (list(streams), sorted(set(positions)), LIMIT + 1),
        )
        events = await cursor.fetchall()
    found.cut_off = found.cut_off or len(events) > LIMIT
    return [replace(event, payload=told_payload(event.topic, event.payload)) for event in events[:LIMIT]]


async def _entries(conn: Connection, found: Trace, condition: str, **values: object) -> list[Entry]:
    """The newest `LIMIT` entries, in log order."""
    columns = ", ".join(Entry.__dataclass_fields__)
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            f"SELECT {columns} FROM colink.entries WHERE {condition}"
            " ORDER BY position DESC, ordinal DESC LIMIT %(limit)s",
            values | {"limit": LIMIT + 1},
        )
        entries = await cursor.fetchall()
    found.cut_off = found.cut_off or len(entries) > LIMIT
    return entries[:LIMIT][::-1]


async def _deliveries(conn: Connection, found: Trace, orders: Sequence[str]) -> list[TracedDelivery]:
    async with conn.cursor(row_factory=class_row(TracedDelivery)) as cursor:
        await cursor.execute(
            "SELECT source, delivery_id, topic, received_at, status, order_id, position FROM colink.inbox"
            " WHERE order_id = ANY(%s) ORDER BY seq LIMIT %s",
            (list(orders), LIMIT + 1),
        )
        deliveries = await cursor.fetchall()
    found.cut_off = found.cut_off or len(deliveries) > LIMIT
    return deliveries[:LIMIT]


async def _payouts_holding(conn: Connection, found: Trace, entries: Sequence[Entry]) -> list[FiledPayout]:
    """Live and paid payouts whose stretches reach into the cleared credits among the entries."""
    places: dict[tuple[str, str], list[Stretch]] = {}
    for entry in entries:
        if entry.credited_after is not None and entry.payee_id is not None:
            place = Stretch(start=entry.credited_after - entry.amount, end=entry.credited_after)
            places.setdefault((entry.payee_id, entry.currency), []).append(place)
    found.followed = found.followed or any(entry.payee_id is not None for entry in found.entries)
    holding: list[FiledPayout] = []
    for (payee_id, currency), stretches in places.items():
        async for payout in _each_holding(conn, payee_id, currency):
            if any(
                held.start < place.end and place.start < held.end for held in payout.stretches for place in stretches
            ):
                holding.append(payout)
    found.cut_off = found.cut_off or len(holding) > LIMIT
    return holding[:LIMIT]


async def _each_holding(conn: Connection, payee_id: str, currency: str) -> AsyncIterator[FiledPayout]:
    """All of a payee's, so that money in a late one is not said to be in none; a page in memory at a time."""
    after: int | None = None
    while True:
        payouts = await list_payouts(
            conn, payee_id=payee_id, currency=currency, status=HOLDING, after=after, limit=LIMIT
        )
        for payout in payouts:
            yield payout
        if len(payouts) < LIMIT:
            return
        after = payouts[-1].created_position
