"""The promise: money given back without lines counts unless all of its transactions failed, gift cards among them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.sale import Sale, myr
from tests.api.test_books import findings
from tests.api.test_bulk import an_order, told

pytestmark = pytest.mark.anyio


def a_refund(now: str, *transactions: tuple[str, str, str]) -> dict[str, Any]:
    """50.00 given back without lines, by these (gateway, amount, status)."""
    return {
        "id": 901,
        "order_id": 4507,
        "created_at": now,
        "processed_at": now,
        "refund_line_items": [],
        "order_adjustments": [{"id": 1, "kind": "refund_discrepancy", "amount": "-50.00", "tax_amount": "0.00"}],
        "transactions": [
            {"id": 7_000 + number, "kind": "refund", "gateway": gateway, "amount": amount, "status": status}
            for number, (gateway, amount, status) in enumerate(transactions)
        ],
    }


async def seen(sale: Sale) -> tuple[int, int, int]:
    """What is reversed, the cash that went back, and the creator's commission."""
    order = await sale.order()
    amounts = order["refunded"], order["cash_refunded"], order["split"]["creator_commission"]
    reversed_, cash, commission = [each["amount"] for each in amounts]
    return reversed_, cash, commission


@pytest.mark.parametrize(
    ("transactions", "expected"),
    [
        ([("gift_card", "50.00", "failure")], (0, 0, 1_423)),
        ([("gift_card", "50.00", "error")], (0, 0, 1_423)),
        ([("gift_card", "50.00", "pending")], (5_000, 0, 923)),
        ([("gift_card", "50.00", "success")], (5_000, 0, 923)),
        ([("bogus", "10.00", "failure"), ("gift_card", "40.00", "success")], (5_000, 0, 923)),
        ([("bogus", "10.00", "failure"), ("gift_card", "40.00", "failure")], (0, 0, 1_423)),
        ([("bogus", "10.00", "success"), ("gift_card", "40.00", "failure")], (5_000, 1_000, 923)),
        ([("bogus", "0.00", "failure")], (0, 0, 1_423)),
    ],
)
async def test_what_goes_back_onto_a_gift_card(
    sale: Sale, transactions: list[tuple[str, str, str]], expected: tuple[int, int, int]
) -> None:
    now = sale.shop.clock.now().isoformat()
    await sale.shop.deliver(sale.store, "refunds/create", a_refund(now, *transactions))
    assert await seen(sale) == expected
    assert await findings(sale.shop) == []


async def test_a_gift_card_that_cannot_be_filled_after_all(sale: Sale) -> None:
    now = sale.shop.clock.now().isoformat()
    for status, expected in (("pending", (5_000, 0, 923)), ("failure", (0, 0, 1_423)), ("pending", (0, 0, 1_423))):
        await sale.shop.deliver(sale.store, "refunds/create", a_refund(now, ("gift_card", "50.00", status)))
        assert await seen(sale) == expected
    assert await findings(sale.shop) == []


@pytest.mark.parametrize(("status", "reversed_"), [("success", 5_000), ("pending", 5_000), ("failure", 0)])
async def test_a_transaction_of_nothing_in_bulk(sale: Sale, status: str, reversed_: int) -> None:
    refund = {
        "refund_id": "r1",
        "processed_at": sale.shop.clock.now().isoformat(),
        "amount_only": myr(5_000),
        "transactions": [{"transaction_id": "t1", "amount": myr(0), "status": status}],
    }
    answer = await told(sale.shop, sale.store, [an_order("77", refunds=[refund])])
    order = await sale.shop.get(f"/v1/orders/{answer['results'][0]['order_id']}")
    assert (order["refunded"], order["cash_refunded"]) == (myr(reversed_), myr(0))
    assert await findings(sale.shop) == []
