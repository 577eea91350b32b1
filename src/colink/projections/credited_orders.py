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

Only the parts of events that decide this are read: what is not declared here is never built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from colink.domain.attribution import Outcome
from colink.domain.orders import OrderAttributed, OrderSplit
from colink.projections.arrays import array
from colink.projections.logs import Connection, LogEvent, Parts


class _Attribution(msgspec.Struct, gc=False):
    outcome: str
    creator_id: str | None
    campaign_id: str | None
    link_id: str | None
    placed_at: datetime


class AttributedPart(msgspec.Struct, gc=False):
    """Of `OrderAttributed`."""

    attribution: _Attribution


class _Line(msgspec.Struct, gc=False):
    base: int
    commission: int
    reversed_base: int = 0
    reversed_commission: int = 0


class _Split(msgspec.Struct, gc=False):
    currency: str
    lines: list[_Line]


class SplitPart(msgspec.Struct, gc=False):
    """Of `OrderSplit`."""

    split: _Split


PARTS: Parts = {OrderAttributed: AttributedPart, OrderSplit: SplitPart}

TABLE = """(
    order_id        text   primary key,
    organization_id text   not null,
    creator_id      text,
    campaign_id     text,
    link_id         text,
    placed_at       timestamptz,
    currency        text,
    revenue         bigint not null,
    commission      bigint not null
) WITH (fillfactor = 80)"""
"""The table of contributions that `load` and `save` use."""


def quarter_of(moment: datetime) -> datetime:
    """The start of the quarter of an hour (UTC) `moment` lies in."""
    return moment.replace(minute=moment.minute - moment.minute % 15, second=0, microsecond=0)


class Credit(msgspec.Struct, frozen=True, order=True, gc=False):
    """To whom and when an order counts. Empty text: no campaign, no link. `quarter` as text (RFC 3339)."""

    organization_id: str
    quarter: str
    creator_id: str
    campaign_id: str
    link_id: str
    currency: str


class Amounts(msgspec.Struct, frozen=True, gc=False):
    orders: int = 0
    revenue: int = 0
    commission: int = 0


NOTHING = Amounts()


class OrderState(msgspec.Struct):
    """What is known of one order so far."""

    order_id: str
    organization_id: str | None
    creator_id: str | None = None
    campaign_id: str | None = None
    link_id: str | None = None
    placed_at: datetime | None = None
    currency: str | None = None
    revenue: int = 0
    commission: int = 0

    def credit(self) -> Credit | None:
        """None while the order is not split, or is credited to nobody."""
        if self.creator_id is None or self.currency is None or self.placed_at is None:
            return None
        return Credit(
            self.organization_id or "",
            quarter_of(self.placed_at).isoformat(),
            self.creator_id,
            self.campaign_id or "",
            self.link_id or "",
            self.currency,
        )

    def amounts(self) -> Amounts:
        return Amounts(1, self.revenue, self.commission)


class Change(msgspec.Struct, frozen=True, gc=False):
    """What the event at `position` changed: the amounts a credit had before and has now."""

    position: int
    credit: Credit
    before: Amounts
    after: Amounts


def fold(states: dict[str, OrderState], events: Iterable[LogEvent]) -> list[Change]:
    """Bring `states` (by order id) forward in place; the changes in order of position."""
    changes: list[Change] = []
    for event in events:
        state = states.get(event.stream_id)
        if state is None:
            state = states[event.stream_id] = OrderState(event.stream_id, event.organization_id)
        old_credit, old_amounts = state.credit(), state.amounts()
        _move(state, event.part)
        credit, amounts = state.credit(), state.amounts()
        if old_credit == credit:
            if credit is not None and old_amounts != amounts:
                changes.append(Change(event.position, credit, old_amounts, amounts))
            continue
        if old_credit is not None:
            changes.append(Change(event.position, old_credit, old_amounts, NOTHING))
        if credit is not None:
            changes.append(Change(event.position, credit, NOTHING, amounts))
    return changes


def _move(state: OrderState, part: AttributedPart | SplitPart) -> None:
    if isinstance(part, AttributedPart):
        attribution = part.attribution
        state.creator_id = attribution.creator_id if attribution.outcome != Outcome.NONE else None
        state.campaign_id = attribution.campaign_id
        state.link_id = attribution.link_id
        state.placed_at = attribution.placed_at
        return
    revenue = commission = 0
    for line in part.split.lines:
        revenue += line.base - line.reversed_base
        commission += line.commission - line.reversed_commission
    state.currency, state.revenue, state.commission = part.split.currency, revenue, commission


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


async def load(conn: Connection, table: str, events: Sequence[LogEvent]) -> dict[str, OrderState]:
    """The states of the orders the events are about, from a projection's own table."""
    cursor = await conn.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM {table} WHERE order_id = ANY(%s::text[])",
        (array({event.stream_id for event in events}),),
    )
    return {row[0]: OrderState(*row) for row in await cursor.fetchall()}


async def save(conn: Connection, table: str, states: Mapping[str, OrderState]) -> None:
    """Write the states of all orders a batch was about, in one statement and in order of their ids."""
    ordered = [states[order_id] for order_id in sorted(states)]
    arrays = ", ".join(f"%s::{type_}[]" for type_ in _COLUMNS.values())
    updates = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS if column != "order_id")
    await conn.execute(
        f"INSERT INTO {table} ({', '.join(_COLUMNS)}) SELECT * FROM unnest({arrays})"
        f" ON CONFLICT (order_id) DO UPDATE SET {updates}",
        [
            array([state.order_id for state in ordered]),
            array([state.organization_id for state in ordered]),
            array([state.creator_id for state in ordered]),
            array([state.campaign_id for state in ordered]),
            array([state.link_id for state in ordered]),
            array([state.placed_at.isoformat() if state.placed_at else None for state in ordered]),
            array([state.currency for state in ordered]),
            array([state.revenue for state in ordered]),
            array([state.commission for state in ordered]),
        ],
    )
