"""What each order adds to reports: a fold of order events shared by the projections that add orders up.

Responsible for one order's contribution (to whom, when, how much) and for the difference each event makes to it, so
that a later split or another attribution replaces what was counted before. Not responsible for the sums: each
projection keeps a table of contributions of its own (it can be rebuilt alone) and adds the differences to its sums.

Rules (semantics sections 2 to 4): an order counts from its first split on, in the quarter of an hour it was placed
in, for the creator its attribution credits. Revenue is its bases less what was reversed, commission likewise; so a
refund, whenever it happens, moves the numbers of the time the order was placed. Orders nobody is credited for add
nothing. All amounts are minor units of the order's currency.

Time zones of today's world are whole quarters of an hour from UTC: sums are kept by quarter and cut into an
organisation's days when they are read, so that nothing here depends on the organisation's time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from colink.domain.aggregates import Event
from colink.domain.attribution import Outcome
from colink.domain.orders import OrderAttributed, OrderPlaced, OrderRefundParked, OrderSplit
from colink.projections.engine import Connection, Seen

TOPICS: tuple[str, ...] = tuple(
    event.TOPIC for event in (OrderPlaced, OrderRefundParked, OrderAttributed, OrderSplit)
)


def quarter_of(moment: datetime) -> datetime:
    """The start of the quarter of an hour (UTC) `moment` lies in."""
    return moment.replace(minute=moment.minute - moment.minute % 15, second=0, microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """To whom and when an order counts. None: no campaign, no link."""

    organization_id: str
    creator_id: str
    campaign_id: str | None
    link_id: str | None
    quarter: datetime
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    orders: int = 0
    revenue: int = 0
    commission: int = 0

    def minus(self, other: Amounts) -> Amounts:
        return Amounts(
            orders=self.orders - other.orders,
            revenue=self.revenue - other.revenue,
            commission=self.commission - other.commission,
        )

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(
            orders=self.orders + other.orders,
            revenue=self.revenue + other.revenue,
            commission=self.commission + other.commission,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """What is known of one order so far."""

    order_id: str
    organization_id: str
    creator_id: str | None = None
    campaign_id: str | None = None
    link_id: str | None = None
    placed_at: datetime | None = None
    currency: str | None = None
    revenue: int = 0
    commission: int = 0

    @property
    def credit(self) -> Credit | None:
        """None while the order is not split, or is credited to nobody."""
        if self.creator_id is None or self.currency is None or self.placed_at is None:
            return None
        return Credit(
            organization_id=self.organization_id,
            creator_id=self.creator_id,
            campaign_id=self.campaign_id,
            link_id=self.link_id,
            quarter=quarter_of(self.placed_at),
            currency=self.currency,
        )

    @property
    def amounts(self) -> Amounts:
        return Amounts(orders=1, revenue=self.revenue, commission=self.commission)


_COLUMNS = {
    "order_id": "text",
    "organization_id": "text",
    "creator_id": "text",
    "campaign_id": "text",
    "link_id": "text",
    "placed_at": "timestamptz",
    "currency": "text",
    "revenue": "bigint",
    "commission": "bigint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the event at `position` changed: the amounts a credit had before (None: none) and has now."""

    position: int
    credit: Credit
    before: Amounts | None
    after: Amounts | None

    @property
    def difference(self) -> Amounts:
        return (self.after or Amounts()).minus(self.before or Amounts())


def fold(states: dict[str, OrderState], events: Sequence[Seen]) -> list[Change]:
    """Bring `states` (by order id) forward in place; the changes in order of position. Raises KeyError for an event
    of an order whose first event was not seen."""
    changes: list[Change] = []
    for seen in events:
        event = seen.event
        before = states.get(event.originator_id)
        after = _next(before, event)
        states[after.order_id] = after
        changes.extend(_changes(seen.position, before, after))
    return changes


def _next(state: OrderState | None, event: Event) -> OrderState:
    if isinstance(event, OrderPlaced | OrderRefundParked):
        return OrderState(order_id=event.originator_id, organization_id=event.organization_id)
    if state is None:
        msg = f"{event.originator_id} has no first event"
        raise KeyError(msg)
    match event:
        case OrderAttributed(attribution=attribution):
            credited = attribution.outcome is not Outcome.NONE
            return replace(
                state,
                creator_id=attribution.creator_id if credited else None,
                campaign_id=attribution.campaign_id,
                link_id=attribution.link_id,
                placed_at=attribution.placed_at,
            )
        case OrderSplit(split=split):
            return replace(
                state,
                currency=split.currency,
                revenue=split.subtotal - split.reversed_base,
                commission=sum(line.net_commission for line in split.lines),
            )
    return state


def _changes(position: int, before: OrderState | None, after: OrderState) -> list[Change]:
    old = before.credit if before else None
    new = after.credit
    if before and old and old == new:
        if before.amounts == after.amounts:
            return []
        return [Change(position=position, credit=old, before=before.amounts, after=after.amounts)]
    changes = []
    if before and old:
        changes.append(Change(position=position, credit=old, before=before.amounts, after=None))
    if new:
        changes.append(Change(position=position, credit=new, before=None, after=after.amounts))
    return changes


async def load(conn: Connection, table: str, events: Sequence[Seen]) -> dict[str, OrderState]:
    """The states of the orders the events are about, from a projection's own table."""
    ids = sorted({seen.event.originator_id for seen in events})
    cursor = await conn.execute(f"SELECT {', '.join(_COLUMNS)} FROM {table} WHERE order_id = ANY(%s)", (ids,))
    return {row[0]: OrderState(**dict(zip(_COLUMNS, row, strict=True))) for row in await cursor.fetchall()}


async def save(conn: Connection, table: str, states: Mapping[str, OrderState]) -> None:
    """Write the states of all orders a batch was about, in one statement and in order of their ids."""
    ordered = [states[order_id] for order_id in sorted(states)]
    values = [[getattr(state, column) for state in ordered] for column in _COLUMNS]
    arrays = ", ".join(f"%s::{type_}[]" for type_ in _COLUMNS.values())
    updates = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS if column != "order_id")
    await conn.execute(
        f"INSERT INTO {table} ({', '.join(_COLUMNS)}) SELECT * FROM unnest({arrays})"
        f" ON CONFLICT (order_id) DO UPDATE SET {updates}",
        values,
    )
