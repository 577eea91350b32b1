"""What the story must come to, worked out from the story alone, in the plainest arithmetic there is.

Deliberately shares no code with the domain: it is the other pair of eyes. It covers what can be said without dividing
a rounded amount among lines: per order what was collected, given back and reversed, whom it is credited to, and, for
orders of which nothing came back, all four parts of the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from colink.cli.demo.deliveries import GOODWILL, line_returned_late, part_returned
from colink.cli.demo.scenario import (
    AINA,
    CAMPAIGN_PRODUCT_ID,
    PAYMENT_FEE_BPS,
    PAYMENT_FEE_FIXED,
    PLATFORM_FEE_BPS,
    RULE_BY_DEFAULT,
    RULE_OF_AINA,
    RULE_OF_CAMPAIGN,
    RULE_OF_PRODUCT,
    RULE_OF_SKU,
    Fate,
    PlannedOrder,
    Rule,
    Scenario,
)
from colink.cli.shopify_traffic import Item, RefundedItem


@dataclass(frozen=True, kw_only=True)
class ExpectedOrder:
    """Minor units. `parts` (platform fee, commission, payment fee, seller's take): where nothing was reversed."""

    external_id: str
    outcome: str
    creator: str | None
    collected: int
    cash_refunded: int
    subtotal: int
    reversed_base: int
    parts: tuple[int, int, int, int] | None


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """Of the whole story, late returns included. `without_money`: orders that exist and carry none."""

    orders: Mapping[str, ExpectedOrder]
    without_money: frozenset[str]

    @property
    def collected(self) -> int:
        return sum(order.collected for order in self.orders.values())

    @property
    def cash_refunded(self) -> int:
        return sum(order.cash_refunded for order in self.orders.values())


def expectations_of(scenario: Scenario) -> Expectations:
    return Expectations(
        orders={str(order.order_id): _expected(order) for order in scenario.orders if order.has_money},
        without_money=frozenset(str(order.order_id) for order in scenario.orders if not order.has_money),
    )


def _expected(order: PlannedOrder) -> ExpectedOrder:
    bases = [_base(item, order) for item in order.items]
    prices = [_sen(item.total) + (0 if order.taxes_included else _sen(item.tax)) for item in order.items]
    collected = sum(prices) + _sen(order.shipping)
    reversed_base, cash = _given_back(order, subtotal=sum(bases), collected=collected)
    return ExpectedOrder(
        external_id=str(order.order_id),
        outcome=order.outcome,
        creator=order.credited.handle if order.credited else None,
        collected=collected,
        cash_refunded=cash,
        subtotal=sum(bases),
        reversed_base=reversed_base,
        parts=None if reversed_base else _parts(order, bases, collected),
    )


def _given_back(order: PlannedOrder, *, subtotal: int, collected: int) -> tuple[int, int]:
    """Reversed base and cash."""
    if order.returned_late:
        return _returned(line_returned_late(order), order)
    if order.fate is Fate.PART_RETURNED:
        return _returned(part_returned(order), order)
    return {
        Fate.RETURNED: (subtotal, collected),
        Fate.CANCELLED: (subtotal, collected),
        Fate.CANCELLED_OWED: (subtotal, 0),
        Fate.GOODWILL: (_sen(GOODWILL), _sen(GOODWILL)),
        Fate.SHIPPING_BACK: (0, _sen(order.shipping)),
    }.get(order.fate, (0, 0))


def _returned(part: RefundedItem, order: PlannedOrder) -> tuple[int, int]:
    """Base and price of some units of a line."""
    share = Decimal(part.quantity) / part.item.quantity
    price, tax = _sen(part.item.total * share), _sen(Decimal(part.item.tax) * share)
    return (price - tax, price) if order.taxes_included else (price, price + tax)


def _parts(order: PlannedOrder, bases: list[int], collected: int) -> tuple[int, int, int, int]:
    subtotal = sum(bases)
    platform_fee = _rounded(Decimal(subtotal * PLATFORM_FEE_BPS) / 10_000)
    payment_fee = _rounded(Decimal(collected * PAYMENT_FEE_BPS) / 10_000) + PAYMENT_FEE_FIXED
    at_rate: dict[int, int] = {}
    commission = 0
    for item, base in zip(order.items, bases, strict=True):
        rule = rule_for(order, item)
        if rule is not None and rule.fixed is not None:
            commission += rule.fixed * item.quantity
        elif rule is not None and rule.rate_bps is not None:
            at_rate[rule.rate_bps] = at_rate.get(rule.rate_bps, 0) + base
    commission += sum(_rounded(Decimal(base * rate) / 10_000) for rate, base in at_rate.items())
    return platform_fee, commission, payment_fee, subtotal - platform_fee - commission - payment_fee


def rule_for(order: PlannedOrder, item: Item) -> Rule | None:
    """Campaign, SKU, product, default; a creator's own rule first. The campaign is about one product."""
    if order.credited is None:
        return None
    if order.in_campaign and item.product_id == CAMPAIGN_PRODUCT_ID:
        return RULE_OF_AINA if order.credited == AINA else RULE_OF_CAMPAIGN
    if RULE_OF_SKU.variant is not None and item.variant_id == RULE_OF_SKU.variant.variant_id:
        return RULE_OF_SKU
    if RULE_OF_PRODUCT.variant is not None and item.product_id == RULE_OF_PRODUCT.variant.product_id:
        return RULE_OF_PRODUCT
    return RULE_BY_DEFAULT


def _base(item: Item, order: PlannedOrder) -> int:
    return _sen(item.total) - (_sen(item.tax) if order.taxes_included else 0)


def _sen(amount: str | int | Decimal) -> int:
    return _rounded(Decimal(amount) * 100)


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_EVEN))
