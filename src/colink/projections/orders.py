"""Where each order is, by id, by external id, by who it belongs to, and when something of it clears next.

The row finds orders; what an order is made of is its stream (domain.orders).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.domain.order_decisions import OrderReattributed, OrderSettled, OrderSettlementTakenBack
from colink.domain.order_deliveries import OrderFactsParked, OrderPlaced, OrderRefundParked, OrderUpdated
from colink.domain.orders import OrderAttributed, OrderCleared, OrderSplit
from colink.domain.split import Claim
from colink.projections.conditions import Where
from colink.projections.inline import OrderRow, projects

NOBODY = ""  # of OrderRow.creator_id: nobody is credited (None would leave the column as it is)


@projects(OrderPlaced)
def order_placed(event: OrderPlaced) -> Sequence[OrderRow]:
    return [
        OrderRow(
            order_id=event.originator_id,
            organization_id=event.organization_id,
            store_id=event.store_id,
            external_id=event.external_id,
            placed_at=event.snapshot.placed_at,
        )
    ]


@projects(OrderRefundParked)
def order_refund_parked(event: OrderRefundParked) -> Sequence[OrderRow]:
    return _parked(event)


@projects(OrderFactsParked)
def order_facts_parked(event: OrderFactsParked) -> Sequence[OrderRow]:
    return _parked(event)


def _parked(event: OrderRefundParked | OrderFactsParked) -> list[OrderRow]:
    """An order nobody has told of yet: it has no time of its own."""
    return [
        OrderRow(
            order_id=event.originator_id,
            organization_id=event.organization_id,
            store_id=event.store_id,
            external_id=event.external_id,
        )
    ]


@projects(OrderUpdated)
def order_updated(event: OrderUpdated) -> Sequence[OrderRow]:
    """When the order was placed is what its attribution says, which looks at all that was told."""
    return [OrderRow(order_id=event.originator_id)]


@projects(OrderAttributed)
def order_attributed(event: OrderAttributed) -> Sequence[OrderRow]:
    attribution = event.attribution
    return [
        OrderRow(
            order_id=event.originator_id,
            placed_at=attribution.placed_at,
            creator_id=attribution.creator_id or NOBODY,
        )
    ]


@projects(OrderReattributed)
def order_reattributed(event: OrderReattributed) -> Sequence[OrderRow]:
    return [OrderRow(order_id=event.originator_id, creator_id=event.creator_id or NOBODY)]


@projects(OrderSplit)
def order_split(event: OrderSplit) -> Sequence[OrderRow]:
    return [
        OrderRow(
            order_id=event.originator_id,
            claims=msgspec.json.encode(event.split.claims).decode(),
            clears_at=event.split.clears_at,
        )
    ]


@projects(OrderCleared)
def order_cleared(event: OrderCleared) -> Sequence[OrderRow]:
    return [
        OrderRow(
            order_id=event.originator_id,
            claims=msgspec.json.encode(event.claims).decode(),
            clears_at=event.clears_at,
        )
    ]


def settlement_changed(event: OrderSettled | OrderSettlementTakenBack) -> Sequence[OrderRow]:
    return [
        OrderRow(
            order_id=event.originator_id,
            claims=msgspec.json.encode(event.claims).decode(),
            clears_at=event.clears_at,
        )
    ]


projects(OrderSettled)(settlement_changed)
projects(OrderSettlementTakenBack)(settlement_changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledOrder:
    """An order's row. `claims_json` is the JSON text of its claims, None while no money was posted."""

    order_id: str
    organization_id: str
    store_id: str
    external_id: str
    placed_at: datetime | None
    creator_id: str | None
    claims_json: str | None
    clears_at: datetime | None
    created_position: int
    position: int

    @property
    def claims(self) -> tuple[Claim, ...]:
        return msgspec.json.decode(self.claims_json, type=tuple[Claim, ...]) if self.claims_json else ()


_SELECT = (
    "select order_id, organization_id, store_id, external_id, placed_at, creator_id, claims as claims_json, "
    "clears_at, created_position, position from colink.orders"
)


async def list_orders(
    connection: AsyncConnection[TupleRow],
    *,
    store_id: str | None = None,
    external_id: str | None = None,
    organization_id: str | None = None,
    creator_id: str | None = None,
    after: int | None = None,
    limit: int = 100,
) -> list[FiledOrder]:
    """Orders that fit everything given, in the order in which they became known; `after` is the `created_position`
    of the last one of the page before."""
    where = Where()
    where.equals(store_id=store_id, external_id=external_id, organization_id=organization_id, creator_id=creator_id)
    if after is not None:
        where.add("created_position > %(after)s", after=after)
    async with connection.cursor(row_factory=class_row(FiledOrder)) as cursor:
        await cursor.execute(
            f"{_SELECT}{where} order by created_position limit %(limit)s", where.values | {"limit": limit}
        )
        return await cursor.fetchall()


async def orders_by_ids(connection: AsyncConnection[TupleRow], order_ids: Sequence[str]) -> list[FiledOrder]:
    """Those that exist, in no particular order."""
    async with connection.cursor(row_factory=class_row(FiledOrder)) as cursor:
        await cursor.execute(f"{_SELECT} where order_id = any(%s)", (list(order_ids),))
        return await cursor.fetchall()


async def due_orders(connection: AsyncConnection[TupleRow], *, now: datetime, limit: int = 500) -> list[str]:
    """Ids of orders of which something is due to clear, the longest due first."""
    cursor = await connection.execute(
        "select order_id from colink.orders where clears_at <= %s order by clears_at, order_id limit %s", (now, limit)
    )
    return [row[0] for row in await cursor.fetchall()]
