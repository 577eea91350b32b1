"""What Shopify would send about the story's orders: bodies, topics, times, retries, and the order they arrive in.

A delivery is planned here and signed when it is sent. Its content is the story's; that some come twice, early or late
is chance, from the story's seed.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from colink.cli.demo.scenario import CURRENCY, Fate, Found, PlannedOrder
from colink.cli.shopify_traffic import Item, RefundedItem, order_body, refund_body

GOODWILL = Decimal(10)
_AGAIN = 0.12  # of all deliveries come twice: the shop did not see our first answer


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a shopper's browser got from CoLink before buying."""

    click_id: str | None = None
    visitor_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedDelivery:
    """One delivery; `copies` of it are sent, under one webhook id."""

    topic: str
    body: dict[str, Any]
    at: datetime
    webhook_id: str
    copies: int = 1


def part_returned(order: PlannedOrder) -> RefundedItem:
    """The unit that comes back where a part does: one of the first line with several."""
    return RefundedItem(item=next(item for item in order.items if item.quantity > 1))


def line_returned_late(order: PlannedOrder) -> RefundedItem:
    """What comes back after the payout: all of the first line."""
    return RefundedItem(item=order.items[0], quantity=order.items[0].quantity)


def deliveries_of(
    order: PlannedOrder, evidence: Evidence, *, placed_at: datetime, seed: int
) -> list[PlannedDelivery]:
    """All deliveries about one order, in the order in which they are sent."""
    teller = _Teller(order, evidence, placed_at=placed_at)
    chance = random.Random(f"{seed}:{order.number}")  # noqa: S311 - a story, no secret
    planned = [
        PlannedDelivery(
            topic=topic,
            body=body,
            at=at,
            webhook_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            copies=2 if chance.random() < _AGAIN else 1,
        )
        for topic, body, at in teller.story(with_update=chance.random() < 0.4)
    ]
    if not order.in_order:
        chance.shuffle(planned)
    return planned


def late_deliveries_of(
    order: PlannedOrder, evidence: Evidence, *, placed_at: datetime, returned_at: datetime, seed: int
) -> list[PlannedDelivery]:
    """The return of a line two weeks later."""
    teller = _Teller(order, evidence, placed_at=placed_at)
    chance = random.Random(f"{seed}:{order.number}:late")  # noqa: S311 - a story, no secret
    return [
        PlannedDelivery(
            topic=topic, body=body, at=at, webhook_id=str(uuid.UUID(int=chance.getrandbits(128), version=4))
        )
        for topic, body, at in teller.late_return(returned_at)
    ]


_Told = tuple[str, dict[str, Any], datetime]  # topic, body, time


class _Teller:
    """Knows an order's content, and says it as of some moment."""

    def __init__(self, order: PlannedOrder, evidence: Evidence, *, placed_at: datetime) -> None:
        self._order = order
        self._evidence = evidence
        self._placed_at = placed_at

    def story(self, *, with_update: bool) -> list[_Told]:
        order, fate = self._order, self._order.fate
        at_first = order.items[:1] if fate is Fate.EDITED else order.items
        starts_unpaid = order.number % 3 == 0 or fate is Fate.UNPAID
        told = [
            self._snapshot("orders/create", 0, at_first, status="pending" if starts_unpaid else "paid"),
        ]
        if fate is Fate.UNPAID:
            return [*told, self._snapshot("orders/cancelled", 2, status="voided", cancelled=True)]
        told.append(self._snapshot("orders/paid", 1, at_first, status="paid"))
        if with_update:
            told.append(self._snapshot("orders/updated", 2, at_first, status="paid"))
        return told + self._ending()

    def _ending(self) -> list[_Told]:
        order = self._order
        told: list[_Told] = []
        match order.fate:
            case Fate.EDITED:
                edit = {"order_edit": {"id": order.order_id * 100, "order_id": order.order_id}}
                told = [("orders/edited", edit, self._time(3)), self._snapshot("orders/updated", 3, status="paid")]
            case Fate.CANCELLED_OWED:
                told = [self._snapshot("orders/cancelled", 4, status="paid", cancelled=True)]
            case Fate.CANCELLED:
                refund = self._refund_of_all()
                cancelled = self._snapshot("orders/cancelled", 4, status="refunded", cancelled=True, refunds=[refund])
                told = [("refunds/create", refund, self._time(3)), cancelled]
            case Fate.RETURNED:
                told = self._refunded(self._refund_of_all(), status="refunded")
            case Fate.PART_RETURNED:
                returned = part_returned(order)
                refund = self._refund(items=[returned], paid_back=self._price_of(returned))
                told = self._refunded(refund, status="partially_refunded")
            case Fate.GOODWILL:
                told = self._refunded(self._refund(amount_only=GOODWILL), status="partially_refunded")
            case Fate.SHIPPING_BACK:
                told = self._refunded(self._refund(shipping=order.shipping), status="partially_refunded")
        return told

    def late_return(self, at: datetime) -> list[_Told]:
        returned = line_returned_late(self._order)
        refund = refund_body(
            refund_id=self._order.order_id * 10 + 9,
            order_id=self._order.order_id,
            currency=CURRENCY,
            processed_at=at,
            items=[returned],
            paid_back=self._price_of(returned),
        )
        seconds = int((at - self._placed_at).total_seconds()) + 1
        updated = self._snapshot("orders/updated", seconds, status="partially_refunded", refunds=[refund])
        return [("refunds/create", refund, at), updated]

    def _refunded(self, refund: dict[str, Any], *, status: str) -> list[_Told]:
        updated = self._snapshot("orders/updated", 4, status=status, refunds=[refund])
        return [("refunds/create", refund, self._time(3)), updated]

    def _refund_of_all(self) -> dict[str, Any]:
        returned = [RefundedItem(item=item, quantity=item.quantity) for item in self._order.items]
        price = sum((self._price_of(part) for part in returned), self._order.shipping)
        return self._refund(items=returned, shipping=self._order.shipping, paid_back=price)

    def _refund(self, **content: Any) -> dict[str, Any]:
        return refund_body(
            refund_id=self._order.order_id * 10 + 1,
            order_id=self._order.order_id,
            currency=CURRENCY,
            processed_at=self._time(3),
            **content,
        )

    def _price_of(self, returned: RefundedItem) -> Decimal:
        """What the buyer paid for these units, tax included."""
        item, units = returned.item, Decimal(returned.quantity)
        price = round(item.total * units / item.quantity, 2)
        return price if self._order.taxes_included else price + round(Decimal(item.tax) * units / item.quantity, 2)

    def _snapshot(
        self,
        topic: str,
        seconds: int,
        items: Sequence[Item] | None = None,
        *,
        status: str,
        cancelled: bool = False,
        refunds: Sequence[dict[str, Any]] = (),
    ) -> _Told:
        order, evidence, at = self._order, self._evidence, self._time(seconds)
        landing = order.found is Found.LANDING and evidence.click_id is not None
        body = order_body(
            order_id=order.order_id,
            number=order.number,
            currency=CURRENCY,
            placed_at=self._placed_at,
            updated_at=at,
            items=order.items if items is None else items,
            status=status,
            cancelled_at=at if cancelled else None,
            taxes_included=order.taxes_included,
            shipping=order.shipping,
            code=order.coupon,
            click_id=evidence.click_id if order.found is Found.NOTE else None,
            visitor_id=evidence.visitor_id if order.found is Found.VISITOR else None,
            landing_site=f"/products/batik?colink_ref={evidence.click_id}" if landing else "/",
            email=order.email,
            refunds=refunds,
            test=order.fate is Fate.TEST,
        )
        return topic, body, at

    def _time(self, seconds: int) -> datetime:
        return self._placed_at + timedelta(seconds=seconds)
