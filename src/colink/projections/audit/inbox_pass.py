"""The pass over the inbox: what the platforms said is still there, byte for byte, wherever the log builds on it.

From the log to the inbox: every delivery that events name is kept, accepted, about their order, has led to them and
to nothing else, and has the bytes whose digest stands in the event, unless they were erased. Refunds, disputes and
payments by gift card of their own come in by deliveries only, in every version: an event of one that names none is a
finding. Fees come with settlements, and snapshots in bulk too, of which no body is kept. Back: every accepted
delivery names an event it led to, or an order that exists. Of deliveries that led to no event nothing can be derived:
the database refuses to change them.

Refunds and facts of their own name no digest where they were recorded in version 1 of their events: their bodies are
counted, and the pass is partial. Bodies are not read again here: today's connectors understand more than those that
read them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from colink.application.deliveries import inbox_id
from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import CannotBeOpened, owner_of_body
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.ids import natural_parts
from colink.domain.order_deliveries import (
    OrderFactsParked,
    OrderFactsRecorded,
    OrderPlaced,
    OrderRefundParked,
    OrderRefundRecorded,
    OrderUpdated,
)
from colink.domain.orders import OrderAttributed, OrderSplit
from colink.projections.audit.part import Part
from colink.projections.audit.personal_pass import Personal, keys_in, needed
from colink.projections.audit.reading import LogRow, Window, WindowReader
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection

_SNAPSHOTS = (OrderPlaced, OrderUpdated)
_BESIDE_SNAPSHOTS = (OrderRefundParked, OrderRefundRecorded, OrderFactsParked, OrderFactsRecorded)
_BY_DELIVERY = frozenset(event.TOPIC for event in _BESIDE_SNAPSHOTS)
_TELLING = frozenset(event.TOPIC for event in (*_SNAPSHOTS, *_BESIDE_SNAPSHOTS))
_TOPICS = frozenset(event.TOPIC for event in (*_SNAPSHOTS, *_BESIDE_SNAPSHOTS, OrderAttributed, OrderSplit))


@dataclass(slots=True, kw_only=True)
class _Run:
    """Events that lie together and name one cause. `next`: the position behind them, None while they may go on behind
    the window."""

    cause: str
    began_before: bool = False
    next: int | None = None


@dataclass(slots=True, kw_only=True)
class _Led:
    """What a delivery (named by its inbox id) led to: events of one order, the first of them at `position`. `told`:
    where it told something, and the digest of its bytes that was recorded with it."""

    inbox_id: str
    position: int
    order_id: str
    run: _Run
    told: list[tuple[int, str | None]] = field(default_factory=list)

    def reaches(self, position: int) -> bool:
        return self.position <= position and (self.run.next is None or position < self.run.next)

    @property
    def key(self) -> tuple[str, str] | None:
        """Source and delivery id; None where it is no id of a delivery."""
        parts = natural_parts(self.inbox_id)
        return (parts[0], parts[1]) if self.inbox_id.startswith("dlv_") and len(parts) == 2 else None


class InboxCheck:
    """From the log to the inbox. `checked` counts the deliveries that events name. Carries out how many bodies no
    event names the digest of."""

    def __init__(self, part: Part, personal: Personal) -> None:
        self._part = part
        self._result = part.results[Pass.INBOX]
        self._personal = personal

    def check(self, window: Window) -> None:
        deliveries = self._deliveries(window)
        for led in deliveries:
            for told_at, _ in led.told[1:]:
                self._result.find(
                    Kind.EXTRA, told_at, led.inbox_id, f"{led.inbox_id} told one thing; event {told_at} is one more"
                )
        if deliveries:
            _compare(window.reader, self._result, deliveries, self._personal)

    def _deliveries(self, window: Window) -> list[_Led]:
        """One after the other: the events of a command lie together. One that goes on from the window before was
        compared there, by its first event."""
        before = window.before
        run = _Run(cause=_cause(before), began_before=True) if before and _is_by_delivery(before) else None
        deliveries: list[_Led] = []
        for row in window.rows:
            cause = _cause(row) if _is_by_delivery(row) else None
            if run is not None and run.cause != cause:
                run.next, run = row.position, None
            if cause is None:
                if row.topic in _BY_DELIVERY:
                    self._check_fees(row, window.event(row, self._result))
                continue
            run = run or _Run(cause=cause)
            if row.topic not in _TOPICS or run.began_before:
                continue
            order_id = row.stream_id
            if not deliveries or deliveries[-1].run is not run or deliveries[-1].order_id != order_id:
                deliveries.append(_Led(inbox_id=cause, position=row.position, order_id=order_id, run=run))
            if row.topic in _TELLING:
                event, told = window.event(row, self._result), deliveries[-1].told
                if isinstance(event, _SNAPSHOTS):
                    told.append((row.position, event.snapshot.digest))
                elif isinstance(event, _BESIDE_SNAPSHOTS):
                    told.append((row.position, event.body_digest))
                    self._count_unnamed(row, event.body_digest)
        return deliveries

    def _check_fees(self, row: LogRow, event: Event | None) -> None:
        """Of what is told beside snapshots, statements bring fees; deliveries bring everything else."""
        if isinstance(event, OrderFactsParked | OrderFactsRecorded):
            facts = event.facts
            if not facts.disputes and not facts.tenders:
                return
        if event is not None:
            self._result.find(
                Kind.MISSING,
                row.position,
                row.stream_id,
                f"event {row.position} says what only a delivery tells, and names none",
            )

    def _count_unnamed(self, row: LogRow, digest: str | None) -> None:
        if digest is None and row.schema_version == 1:
            self._part.bodies_without_digest += 1
        elif digest is None:
            self._result.find(
                Kind.MISSING, row.position, _cause(row), f"event {row.position} names no body, and a delivery told it"
            )


async def check_named(conn: Connection, result: PassResult, *, first: int, last: int, whole_log: bool) -> None:
    """Back, from the inbox to the log."""
    await _check_named_events(conn, result, first, last)
    if whole_log:
        await _check_named_orders(conn, result)
        await _check_told(conn, result)


def _is_by_delivery(row: LogRow) -> bool:
    causation_id = row.causation_id
    return row.actor.startswith("webhook:") or (causation_id is not None and causation_id.startswith("dlv_"))


def _cause(row: LogRow) -> str:
    return _cause_of(row.correlation_id, row.causation_id)


def _cause_of(correlation_id: str, causation_id: str | None) -> str:
    """A delivery that was read again is the cause of what was asked for by somebody else."""
    return causation_id if causation_id is not None and causation_id.startswith("dlv_") else correlation_id


def _compare(reader: WindowReader, result: PassResult, chunk: Sequence[_Led], personal: Personal) -> None:
    keys = sorted({led.key for led in chunk if led.key is not None})
    found = reader.rows(
        "SELECT i.source, i.delivery_id, i.status, i.order_id, i.position, i.body FROM colink.inbox i"
        " JOIN unnest(%s::text[], %s::text[]) AS named (source, delivery_id) USING (source, delivery_id)",
        [source for source, _ in keys],
        [delivery_id for _, delivery_id in keys],
    )
    rows = {(row[0], row[1]): row[2:] for row in found}
    bodies = {(row[0], row[1]): bytes(row[5]) for row in found}
    owners = {key: owner for key, body in bodies.items() if (owner := owner_of_body(body)) is not None}
    wrapped = keys_in(reader, ((owner, inbox_id(*key)) for key, owner in owners.items()))
    for led in chunk:
        result.checked += 1
        row = rows.get(led.key) if led.key is not None else None
        if row is None:
            result.find(
                Kind.MISSING,
                led.position,
                led.inbox_id,
                f"the delivery {led.inbox_id} that led to event {led.position} is not in the inbox",
            )
            continue
        status, order_id, position, body = row
        if position is None:  # where it names one, `_check_named_events` says whether that is right
            result.find(
                Kind.CHANGED, led.position, led.inbox_id, f"{led.inbox_id} led to event {led.position} and names none"
            )
        elif not led.reaches(position) and _is_led_to(reader, led, position):
            result.find(
                Kind.EXTRA,
                led.position,
                led.inbox_id,
                f"event {led.position} names {led.inbox_id}, which had led to event {position}",
            )
        if (status, order_id) != ("accepted", led.order_id):
            result.find(
                Kind.CHANGED,
                led.position,
                led.inbox_id,
                f"{led.inbox_id} was accepted as told about {led.order_id}",
                recorded=f"{status} {order_id}",
                derived=f"accepted {led.order_id}",
            )
        owner = owners.get(led.key) if led.key is not None else None
        key = wrapped.get((owner, led.inbox_id)) if owner is not None else None
        erased = owner is not None and personal.is_erased(owner, since=led.position)
        if owner not in {None, led.order_id, led.inbox_id}:
            result.find(
                Kind.CHANGED,
                led.position,
                led.inbox_id,
                f"the body of {led.inbox_id} is sealed for {owner}: it is another's",
            )
        elif owner is not None and key is None:
            _look_for_erasure(result, led, erased=erased)
        elif erased:
            result.find(
                Kind.EXTRA,
                led.position,
                led.inbox_id,
                f"the body of {led.inbox_id} was erased, and its key is still there",
            )
        else:
            _compare_body(result, led, bytes(body), key, personal)


def _is_led_to(reader: WindowReader, led: _Led, position: int) -> bool:
    """Whether that event names the delivery too; where it does not, `_check_named_events` says so."""
    rows = reader.rows("SELECT correlation_id, causation_id FROM colink.events WHERE position = %s", position)
    return any(_cause_of(*row) == led.inbox_id for row in rows)


def _look_for_erasure(result: PassResult, led: _Led, *, erased: bool) -> None:
    if erased:
        result.erased += 1
        return
    result.find(
        Kind.MISSING,
        led.position,
        led.inbox_id,
        f"the key to the body of {led.inbox_id} is gone, and nobody erased it",
    )


def _compare_body(result: PassResult, led: _Led, body: bytes, key: PrivateValue | None, personal: Personal) -> None:
    """A body that is kept in clear has no key. Raises CannotBeOpened where the keys are on another machine."""
    if key is not None:
        keys = needed(personal.keys)
        try:
            body = keys.unwrapped(key).open_body(body, place=led.inbox_id)
        except CannotBeOpened as error:
            result.find(Kind.CHANGED, led.position, led.inbox_id, f"{led.inbox_id} cannot be read: {error}")
            return
    digest = hashlib.sha256(body).hexdigest()
    for told_at, named in led.told:
        if named not in {None, digest}:
            result.find(
                Kind.CHANGED,
                told_at,
                led.inbox_id,
                f"the body of {led.inbox_id} is not the one that event {told_at} was read from",
                recorded=digest,
                derived=named,
            )


async def _check_named_events(conn: Connection, result: PassResult, first: int, last: int) -> None:
    """The position a delivery names is that of the last event it led to."""
    rows = each_row(
        conn,
        "SELECT i.position, i.source, i.delivery_id, e.correlation_id, e.causation_id, n.correlation_id,"
        " n.causation_id FROM colink.inbox i JOIN colink.events e ON e.position = i.position"
        " LEFT JOIN colink.events n ON n.position = i.position + 1 WHERE i.position BETWEEN %s AND %s ORDER BY 1",
        (first, last),
    )
    async for position, source, delivery_id, correlation_id, causation_id, next_correlation, next_causation in rows:
        name = inbox_id(source, delivery_id)
        cause = _cause_of(correlation_id, causation_id)
        if cause != name:
            result.find(
                Kind.DANGLING,
                position,
                name,
                f"{name} names event {position}, to which it did not lead",
                recorded=name,
                derived=cause,
            )
        elif next_correlation is not None and _cause_of(next_correlation, next_causation) == name:
            result.find(
                Kind.CHANGED, position, name, f"{name} led to more than event {position}, which it names as its last"
            )


async def _check_told(conn: Connection, result: PassResult) -> None:
    """What was answered is what the row says became of it."""
    rows = each_row(
        conn,
        "SELECT i.position, i.source, i.delivery_id, i.status, i.order_id, i.problem, i.answer FROM colink.inbox i"
        " ORDER BY i.seq",
    )
    async for position, source, delivery_id, *said in rows:
        status, order_id, problem, text = said
        try:
            answer = msgspec.json.decode(text, type=dict[str, object])
            told_problem = None if problem is None else msgspec.json.decode(problem)
        except msgspec.DecodeError as error:
            answer, told_problem = {"unreadable": str(error)}, None
        told = (answer.get("status"), answer.get("order_id"), answer.get("problem"))
        if told != (status, order_id, told_problem):
            name = inbox_id(source, delivery_id)
            result.find(
                Kind.CHANGED,
                position or 0,
                name,
                f"{name} was answered otherwise than its row says",
                recorded=said[:3],
                derived=told,
            )


async def _check_named_orders(conn: Connection, result: PassResult) -> None:
    """A delivery that told nothing new names no event; its order exists all the same."""
    rows = each_row(
        conn,
        "SELECT i.source, i.delivery_id, i.order_id FROM colink.inbox i WHERE i.status = 'accepted'"
        " AND i.position IS NULL AND NOT EXISTS (SELECT FROM colink.events e WHERE e.stream_id = i.order_id)"
        " ORDER BY i.seq",
    )
    async for source, delivery_id, order_id in rows:
        name = inbox_id(source, delivery_id)
        result.find(Kind.DANGLING, 0, name, f"{name} was accepted as told about {order_id}, which does not exist")
