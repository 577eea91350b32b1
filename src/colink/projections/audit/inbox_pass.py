"""The pass over the inbox: what the platforms said is still there, byte for byte, wherever the log builds on it.

From the log to the inbox: every delivery that events name is kept, accepted, about their order, and (of a snapshot)
has the bytes whose digest stands in the event. Back: every accepted delivery names an event it led to, or an order
that exists. Of deliveries that led to no event nothing can be derived: the database refuses to change them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from colink.application.deliveries import inbox_id
from colink.domain.audit.report import Kind, Pass
from colink.domain.ids import natural_parts
from colink.domain.orders import (
    OrderAttributed,
    OrderPlaced,
    OrderRefundParked,
    OrderRefundRecorded,
    OrderSplit,
    OrderUpdated,
)
from colink.projections.audit.context import Verification

_DELIVERIES_A_CHUNK = 500
_SNAPSHOTS = (OrderPlaced, OrderUpdated)
_SNAPSHOT_TOPICS = tuple(event.TOPIC for event in _SNAPSHOTS)
_TOPICS = tuple(
    event.TOPIC for event in (*_SNAPSHOTS, OrderRefundParked, OrderRefundRecorded, OrderAttributed, OrderSplit)
)
_BY_DELIVERY = r"(actor LIKE 'webhook:%%' OR causation_id LIKE 'dlv\_%%')"


@dataclass(slots=True, kw_only=True)
class _Led:
    """What a delivery (named by its inbox id) led to: events of one order, the first of them at `position`. `digest`:
    of the bytes of a snapshot, recorded at `told_at`."""

    inbox_id: str
    position: int
    order_id: str
    digest: str | None = None
    told_at: int = 0

    @property
    def key(self) -> tuple[str, str] | None:
        """Source and delivery id; None where it is no id of a delivery."""
        parts = natural_parts(self.inbox_id)
        return (parts[0], parts[1]) if self.inbox_id.startswith("dlv_") and len(parts) == 2 else None


async def check_inbox(v: Verification) -> None:
    """`checked` counts the deliveries that events name."""
    chunk: list[_Led] = []
    async for led in _deliveries_in_log(v):
        chunk.append(led)
        if len(chunk) >= _DELIVERIES_A_CHUNK:
            await _compare(v, chunk)
            chunk = []
    await _compare(v, chunk)
    await _check_named_events(v)
    if v.whole_log:
        await _check_named_orders(v)


async def _deliveries_in_log(v: Verification) -> AsyncIterator[_Led]:
    """One after the other: the events of a command lie together."""
    result = v.results[Pass.INBOX]
    led: _Led | None = None
    rows = v.rows(
        Pass.INBOX,
        "SELECT position, correlation_id, causation_id, stream_id, version, topic, payload FROM colink.events"
        f" WHERE topic = ANY(%s) AND {_BY_DELIVERY} AND position BETWEEN %s AND %s ORDER BY position",
        (list(_TOPICS), v.first, v.last),
        total=v.last,
    )
    async for position, correlation_id, causation_id, *stored in rows:
        cause = _cause(correlation_id, causation_id)
        if led is None or (led.inbox_id, led.order_id) != (cause, stored[0]):
            if led is not None:
                yield led
            led = _Led(inbox_id=cause, position=position, order_id=stored[0])
        if stored[2] in _SNAPSHOT_TOPICS:
            event = v.decoded(result, position, stored)
            if isinstance(event, _SNAPSHOTS):
                led.digest, led.told_at = event.snapshot.digest, position
    if led is not None:
        yield led


def _cause(correlation_id: str, causation_id: str | None) -> str:
    """A delivery that was read again is the cause of what was asked for by somebody else."""
    return causation_id if causation_id is not None and causation_id.startswith("dlv_") else correlation_id


async def _compare(v: Verification, chunk: Sequence[_Led]) -> None:
    result = v.results[Pass.INBOX]
    keys = sorted({led.key for led in chunk if led.key is not None})
    cursor = await v.conn.execute(
        "SELECT i.source, i.delivery_id, i.status, i.order_id, encode(sha256(i.body), 'hex') FROM colink.inbox i"
        " JOIN unnest(%s::text[], %s::text[]) AS named (source, delivery_id) USING (source, delivery_id)",
        ([source for source, _ in keys], [delivery_id for _, delivery_id in keys]),
    )
    rows = {(row[0], row[1]): row[2:] for row in await cursor.fetchall()}
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
        status, order_id, digest = row
        if (status, order_id) != ("accepted", led.order_id):
            result.find(
                Kind.CHANGED,
                led.position,
                led.inbox_id,
                f"{led.inbox_id} was accepted as told about {led.order_id}",
                recorded=f"{status} {order_id}",
                derived=f"accepted {led.order_id}",
            )
        if led.digest is not None and digest != led.digest:
            result.find(
                Kind.CHANGED,
                led.told_at,
                led.inbox_id,
                f"the body of {led.inbox_id} is not the one that event {led.told_at} was read from",
                recorded=digest,
                derived=led.digest,
            )


async def _check_named_events(v: Verification) -> None:
    """The position a delivery names is that of the last event it led to."""
    result = v.results[Pass.INBOX]
    rows = v.rows(
        Pass.INBOX,
        "SELECT i.position, i.source, i.delivery_id, e.correlation_id, e.causation_id, n.correlation_id,"
        " n.causation_id FROM colink.inbox i JOIN colink.events e ON e.position = i.position"
        " LEFT JOIN colink.events n ON n.position = i.position + 1 WHERE i.position BETWEEN %s AND %s ORDER BY 1",
        (v.first, v.last),
        total=v.last,
    )
    async for position, source, delivery_id, correlation_id, causation_id, next_correlation, next_causation in rows:
        name = inbox_id(source, delivery_id)
        cause = _cause(correlation_id, causation_id)
        if cause != name:
            result.find(
                Kind.DANGLING,
                position,
                name,
                f"{name} names event {position}, to which it did not lead",
                recorded=name,
                derived=cause,
            )
        elif next_correlation is not None and _cause(next_correlation, next_causation) == name:
            result.find(
                Kind.CHANGED, position, name, f"{name} led to more than event {position}, which it names as its last"
            )


async def _check_named_orders(v: Verification) -> None:
    """A delivery that told nothing new names no event; its order exists all the same."""
    rows = v.rows(
        Pass.INBOX,
        "SELECT i.source, i.delivery_id, i.order_id FROM colink.inbox i WHERE i.status = 'accepted'"
        " AND i.position IS NULL AND NOT EXISTS (SELECT FROM colink.events e WHERE e.stream_id = i.order_id)"
        " ORDER BY i.seq",
        (),
        total=v.last,
    )
    async for source, delivery_id, order_id in rows:
        name = inbox_id(source, delivery_id)
        v.results[Pass.INBOX].find(
            Kind.DANGLING, 0, name, f"{name} was accepted as told about {order_id}, which does not exist"
        )
