"""Does the story end as it must? Compares what the API answers with what `expectations.py` worked out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from colink.cli.demo.expectations import Expectations, ExpectedOrder
from colink.cli.demo.shop import Json, RequestedPayout, Shop
from colink.cli.demo.shoppers import Traffic


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation in words, with both sides; `is_money`: they are minor units."""

    name: str
    expected: Any
    found: Any
    is_money: bool = False

    @property
    def holds(self) -> bool:
        return bool(self.expected == self.found)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is read when the story is over."""

    orders: Sequence[Json]
    balances: Sequence[Json]
    payouts: Sequence[Json]
    own_purchase_statuses: Sequence[str]


def check_story(
    *,
    expected: Expectations,
    planned_answers: Mapping[str, int],
    traffic: Traffic,
    shop: Shop,
    requested: Sequence[RequestedPayout],
    ending: Ending,
) -> list[Check]:
    found = {order["external_id"]: order for order in ending.orders}
    balances = {balance["account"]: balance["amount"] for balance in ending.balances}
    handles = {id_: handle for handle, id_ in shop.creators.items()}
    paid = sum(payout["amount"]["amount"] for payout in ending.payouts if payout["status"] == "paid")
    unlike = [
        difference
        for order in expected.orders.values()
        for difference in _differences(order, found.get(order.external_id), handles)
    ]
    return [
        Check(name="deliveries by what became of them", expected=dict(planned_answers), found=dict(traffic.answers)),
        Check(
            name="orders known",
            expected=len(expected.orders) + len(expected.without_money),
            found=len(ending.orders),
        ),
        Check(name="orders that differ: amounts, credit, split", expected=[], found=unlike),
        Check(
            name="orders that must carry no money, and do not",
            expected=len(expected.without_money),
            found=sum(_carries_nothing(found.get(id_)) for id_ in expected.without_money),
        ),
        Check(
            name="store clearing = collected - given back",
            expected=expected.collected - expected.cash_refunded,
            found=-balances.get(f"store:{shop.store_id}:clearing", 0),
            is_money=True,
        ),
        Check(name="sum of all balances", expected=0, found=sum(balances.values()), is_money=True),
        Check(
            name="payouts took all that was available",
            expected=sum(payout.available_before for payout in requested),
            found=sum(payout.amount for payout in requested),
            is_money=True,
        ),
        Check(
            name="payouts made and paid",
            expected={"paid": len(shop.payees)},
            found=dict(Counter(payout["status"] for payout in ending.payouts)),
        ),
        Check(
            name="money that left through the sandbox",
            expected=paid,
            found=balances.get("processor:sandbox:cash", 0),
            is_money=True,
        ),
        Check(
            name="the creator's own purchase is held",
            expected=["held"],
            found=sorted({*ending.own_purchase_statuses}),
        ),
    ]


def _carries_nothing(order: Json | None) -> bool:
    return order is not None and order["collected"]["amount"] == 0 and not any(_parts(order))


def _parts(order: Json) -> tuple[int, ...]:
    """Platform fee, commission, payment fee, seller's take."""
    names = ("platform_fee", "creator_commission", "payment_fee", "seller_take")
    return tuple(order["split"][name]["amount"] for name in names)


def _differences(expected: ExpectedOrder, found: Json | None, handles: Mapping[str, str]) -> list[str]:
    if found is None:
        return [f"order {expected.external_id} is missing"]
    attribution = found["attribution"]
    if attribution is None:
        return [f"order {found['number']} was not attributed"]
    parts = _parts(found)
    sides = {
        "outcome": (expected.outcome, attribution["outcome"]),
        "creator": (expected.creator, handles.get(attribution["creator_id"])),
        "collected": (expected.collected, found["collected"]["amount"]),
        "cash_refunded": (expected.cash_refunded, found["cash_refunded"]["amount"]),
        "subtotal": (expected.subtotal, found["subtotal"]["amount"]),
        "refunded": (expected.reversed_base, found["refunded"]["amount"]),
        "parts": (expected.parts or parts, parts),
        "sum of the parts": (expected.subtotal - expected.reversed_base, sum(parts)),
    }
    return [
        f"order {found['number']}: {name} should be {should}, is {is_}"
        for name, (should, is_) in sides.items()
        if should != is_
    ]
