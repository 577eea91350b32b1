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

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from colink.domain.attribution import Outcome
from colink.domain.order_decisions import OrderReattributed
from colink.domain.orders import OrderAttributed, OrderSplit
from colink.projections.arrays import numbers, texts
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


class ReattributedPart(msgspec.Struct, gc=False):
    """Of `OrderReattributed`: set by hand, so by no link. The time by which the order counts stays."""

    creator_id: str | None
    campaign_id: str | None


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


PARTS: Parts = {OrderAttributed: AttributedPart, OrderReattributed: ReattributedPart, OrderSplit: SplitPart}

TABLE = """(
    order_id        text   primary key,
    organization_id text   not null,
    quarter         text   not null,
    creator_id      text   not null,
    campaign_id     text   not null,
    link_id         text   not null,
    currency        text   not null,
    revenue         bigint not null,
    commission      bigint not null
) WITH (fillfactor = 80)"""
"""The table of contributions that `load` and `save` use; empty texts as in OrderState."""


_QUARTER = 900  # seconds


def quarter_of(moment: datetime) -> str:
    """The start of the quarter of an hour `moment` lies in, in one spelling (RFC 3339, UTC)."""
    return _quarter(moment.timestamp() // _QUARTER)


@lru_cache(maxsize=10_000)
def _quarter(number: float) -> str:
    return datetime.fromtimestamp(number * _QUARTER, UTC).isoformat()


class Credit(msgspec.Struct, frozen=True, order=True, gc=False):
    """To whom and when an order counts. Empty text: no campaign, no link."""

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


class OrderState(msgspec.Struct, gc=False):
    """What is known of one order so far. Empty text: not attributed yet or to nobody (creator, campaign, link,
    quarter), not split yet (currency)."""

    order_id: str
    organization_id: str
    quarter: str = ""
    creator_id: str = ""
    campaign_id: str = ""
    link_id: str = ""
    currency: str = ""
    revenue: int = 0
    commission: int = 0

    def credit(self) -> Credit | None:
        """None while the order is not split, or is credited to nobody."""
        if not self.currency or not self.creator_id:
            return None
        return Credit(
            self.organization_id, self.quarter, self.creator_id, self.campaign_id, self.link_id, self.currency
        )

    def amounts(self) -> Amounts:
        return Amounts(1, self.revenue, self.commission) if self.currency else NOTHING


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
            state = states[event.stream_id] = OrderState(event.stream_id, event.organization_id or "")
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


def _move(state: OrderState, part: AttributedPart | ReattributedPart | SplitPart) -> None:
    if isinstance(part, ReattributedPart):
        state.creator_id, state.campaign_id, state.link_id = part.creator_id or "", part.campaign_id or "", ""
        return
    if isinstance(part, AttributedPart):
        attribution = part.attribution
        state.creator_id = (attribution.creator_id or "") if attribution.outcome != Outcome.NONE else ""
        state.campaign_id = attribution.campaign_id or ""
        state.link_id = attribution.link_id or ""
        state.quarter = quarter_of(attribution.placed_at)
        return
    revenue = commission = 0
    for line in part.split.lines:
        revenue += line.base - line.reversed_base
        commission += line.commission - line.reversed_commission
    state.currency, state.revenue, state.commission = part.split.currency, revenue, commission


_COLUMNS = "order_id, organization_id, quarter, creator_id, campaign_id, link_id, currency, revenue, commission"


async def load(conn: Connection, table: str, events: Iterable[LogEvent]) -> dict[str, OrderState]:
    """The states of the orders the events are about, from a projection's own table."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM {table} WHERE order_id = ANY(%s::text[])",
        (texts(list({event.stream_id for event in events})),),
    )
    return {row[0]: OrderState(*row) for row in await cursor.fetchall()}


async def save(conn: Connection, table: str, states: Mapping[str, OrderState]) -> None:
    """Write the states of all orders a batch was about, in one statement and in order of their ids."""
    ordered = [states[order_id] for order_id in sorted(states)]
    await conn.execute(
        f"INSERT INTO {table} ({_COLUMNS}) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[],"
        " %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) ON CONFLICT (order_id) DO UPDATE SET"
        " quarter = excluded.quarter, creator_id = excluded.creator_id, campaign_id = excluded.campaign_id,"
        " link_id = excluded.link_id, currency = excluded.currency, revenue = excluded.revenue,"
        " commission = excluded.commission",
        (
            texts([state.order_id for state in ordered]),
            texts([state.organization_id for state in ordered]),
            texts([state.quarter for state in ordered]),
            texts([state.creator_id for state in ordered]),
            texts([state.campaign_id for state in ordered]),
            texts([state.link_id for state in ordered]),
            texts([state.currency for state in ordered]),
            numbers([state.revenue for state in ordered]),
            numbers([state.commission for state in ordered]),
        ),
    )
