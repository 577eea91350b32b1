"""Promise: an order that is held for its creator, by a review, a dispute's inquiry or as his own purchase, counts in
no true-up and in no tier until it is released; the worker notices either, and balances are exact (decision 22)."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.api.shop import Shop
from tests.api.test_tiers import APRIL, MARCH, Fair, item_of, myr, open_fair, steps
from tests.api.test_true_ups import HOLD, MARCH_ENDS, SECOND, clear, item, owed, true_ups, work
from tests.conftest import TestDatabase

from colink.application.ports import Caller
from colink.application.true_ups import ClearTrueUp
from colink.cli.shopify_traffic import Item, RefundedItem
from colink.projections.audit import verify
from colink.projections.true_ups import TrueUpTables

pytestmark = pytest.mark.anyio
MARGINAL = {"tiers": {"mode": "marginal", "steps": steps((100_00, 1000))}}


async def decide(fair: Fair, number: int, what: str, **body: Any) -> Any:
    """Finance holds or releases an order, or credits it by hand."""
    key, order_id = await fair.shop.key("finance"), (await fair.order(number))["id"]
    reason = {"reason": "the same card paid for nine orders"}
    return await fair.shop.post(f"/v1/orders/{order_id}/{what}", reason | body, key=key, status=200)


async def nothing_found(fair: Fair) -> None:
    await fair.shop.colink.engine.run_until_caught_up()
    async with fair.shop.colink.pool.connection() as connection:
        report = await verify(connection, fair.shop.colink.decode)
    assert report.findings == []


async def test_no_true_up_is_paid_on_an_order_under_review(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "80.00", at=MARCH)
    await fair.sell(2, "9000.00", at=MARCH + timedelta(days=1))
    await decide(fair, 2, "hold")
    shop.clock.time = MARCH_ENDS
    assert await work(fair) == 1
    assert await true_ups(fair) == []
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    await clear(fair, 1, 2)
    assert await owed(fair, fair.creator) == (450_00, 4_00)  # the held order's own commission, as it always was

    await decide(fair, 2, "release")
    assert await work(fair) == 1
    # 100.00 at 5 % and 8,980.00 at 10 %: 903.00, of which 454.00 was posted.
    assert await true_ups(fair) == [("true_up", 449_00)]
    await clear(fair, 2)
    assert await owed(fair, fair.creator) == (449_00, 454_00)
    shop.clock.time += HOLD - SECOND
    assert await work(fair) == 0
    shop.clock.time += SECOND
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (0, 903_00)
    await nothing_found(fair)


async def test_what_was_paid_out_on_an_order_that_is_held_later_is_a_debt(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "80.00", at=MARCH)
    await fair.sell(2, "9000.00", at=MARCH + timedelta(days=1))
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    await clear(fair, 1, 2)
    await work(fair)
    assert await owed(fair, fair.creator) == (0, 903_00)
    account = {"payee_id": fair.creator["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
    await shop.post("/v1/payout-accounts", account)
    asked = {"payee_id": fair.creator["id"], "currency": "MYR", "amount": myr(800_00)}
    await shop.post("/v1/payouts", asked)
    assert await owed(fair, fair.creator) == (0, 103_00)

    await decide(fair, 2, "hold")
    assert await owed(fair, fair.creator) == (450_00, 103_00 - 450_00)
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (450_00, 103_00 - 450_00 - 449_00)
    refused = await shop.refused("POST", "/v1/payouts", asked, status=409)
    assert refused["type"].endswith("insufficient-funds")
    await decide(fair, 2, "release")
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (0, 103_00)  # what had cleared is back at once
    assert [amount for kind, amount in await true_ups(fair) if kind == "true_up"] == [449_00, -449_00, 449_00]
    await nothing_found(fair)


async def test_nothing_clears_on_an_order_that_was_held_a_moment_ago(shop: Shop) -> None:
    """The projection has not seen the hold yet when what was counted before it is due."""
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "80.00", at=MARCH)
    await fair.sell(2, "9000.00", at=MARCH + timedelta(days=1))
    shop.clock.time = MARCH_ENDS
    await work(fair)
    shop.clock.time = MARCH_ENDS + HOLD
    [due] = await TrueUpTables(shop.colink.pool).to_clear(shop.clock.time, 10)
    await decide(fair, 2, "hold")
    command = ClearTrueUp(caller=Caller(actor="worker", correlation_id="test"), true_up_id=due)
    await asyncio.gather(*(shop.colink.commerce.submit(command) for _ in range(3)))
    assert await true_ups(fair) == [("true_up", 449_00), ("true_up", -449_00)]
    assert await owed(fair, fair.creator) == (454_00, 0)
    assert await work(fair) == 0, "what was counted need not be counted again"
    await nothing_found(fair)


async def test_what_a_seller_was_billed_for_an_order_that_is_held_is_his_credit(shop: Shop) -> None:
    """Counted again when it would clear: his account has it in the same append."""
    fair = await open_fair(shop, store={"settlement": "seller_collected"}, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    [(true_up_id, _)] = await streams(shop, "true_up.counted")
    release = f"/v1/true-ups/{true_up_id}/release"
    await shop.post(release, {"reason": "paid by transfer"}, key=await shop.key("finance"), status=200)
    shop.clock.time = MARCH_ENDS + HOLD
    await decide(fair, 1, "hold")
    command = ClearTrueUp(caller=Caller(actor="worker", correlation_id="test"), true_up_id=true_up_id)
    await shop.colink.commerce.submit(command)
    account = f"seller:{fair.organization['id']}:receivable"
    (billed,) = (await shop.get("/v1/balances", account=account))["items"]
    assert (billed["amount"], await owed(fair, fair.creator)) == (-(10_00 + 10_00), (10_00, 0))
    assert [version for _, version in await streams(shop, "true_up.recounted")] == [3]
    await nothing_found(fair)


async def streams(shop: Shop, topic: str) -> list[tuple[str, int]]:
    async with shop.colink.pool.connection() as connection:
        query = "select stream_id, version from colink.events where topic = %s order by position"
        return list(await (await connection.execute(query, (topic,))).fetchall())


async def test_an_order_under_review_uses_up_no_cap(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "200.00", at=MARCH)
    await fair.sell(2, "200.00", at=MARCH + timedelta(days=3))
    await decide(fair, 2, "hold", payee_id=fair.creator["id"])
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    await clear(fair, 1, 2)
    assert (await true_ups(fair), await owed(fair, fair.creator)) == ([], (20_00, 20_00))
    await decide(fair, 2, "release", payee_id=fair.creator["id"])
    await clear(fair, 2)
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (0, 25_00)
    await decide(fair, 2, "hold")
    assert await work(fair) == 1
    assert (await true_ups(fair), await owed(fair, fair.creator)) == (
        [("true_up", -15_00), ("true_up", 15_00)],
        (20_00, 20_00),
    )
    await nothing_found(fair)


async def test_a_hold_and_its_release_between_two_counts_post_nothing(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    assert await work(fair) == 1
    await decide(fair, 1, "hold")
    await decide(fair, 1, "release")
    await work(fair)
    assert await true_ups(fair) == [("true_up", 5_00)]
    assert await work(fair) == 0
    await nothing_found(fair)


async def test_a_refund_while_the_order_is_held_is_no_change_of_the_period(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    await decide(fair, 1, "hold")
    shop.clock.time = MARCH_ENDS
    assert await work(fair) == 1
    part = RefundedItem(item=item(1, "200.00"), subtotal="60.00")
    await shop.refund(fair.store, order_id=1, items=[part])
    assert await work(fair) == 0
    await decide(fair, 1, "release")
    assert await work(fair) == 1
    assert await true_ups(fair) == [("true_up", 2_00)]  # 100.00 at 5 % and 40.00 at 10 %, of which 7.00 was posted
    await nothing_found(fair)


async def test_a_line_under_review_does_not_count_and_the_others_do(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL, rate_bps=0)
    click_id = await fair.click(MARCH)
    shop.clock.time = MARCH
    lines = [
        Item(line_id=11, title="Sarong", price="120.00", product_id=71, variant_id=81),
        Item(line_id=12, title="Mug", price="500.00", product_id=72, variant_id=82),
    ]
    await shop.order(fair.store, order_id=1, items=lines, click_id=click_id)
    await decide(fair, 1, "hold", line_id="12", payee_id=fair.creator["id"])
    shop.clock.time = MARCH_ENDS
    await work(fair)
    assert await true_ups(fair) == [("true_up", 2_00)]  # 20.00 above the first tier: nothing below it
    await decide(fair, 1, "release", line_id="12", payee_id=fair.creator["id"])
    await work(fair)
    assert await true_ups(fair) == [("true_up", 2_00), ("true_up", 50_00)]
    await nothing_found(fair)


async def test_a_dispute_from_its_inquiry_to_its_end(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    told = {
        "id": 698735,
        "order_id": 1,
        "type": "inquiry",
        "amount": "200.00",
        "currency": "MYR",
        "status": "needs_response",
        "finalized_on": None,
        "initiated_at": "2026-04-01T14:00:00+00:00",
    }
    await shop.deliver(fair.store, "disputes/create", told)
    await work(fair)
    assert await owed(fair, fair.creator) == (10_00, 0)
    await shop.deliver(fair.store, "disputes/update", told | {"type": "chargeback", "amount": "50.00"})
    await work(fair)
    # Withdrawn: a quarter is refunded. 100.00 at 5 % and 50.00 at 10 %.
    assert await owed(fair, fair.creator) == (10_00, 0)
    won = {"type": "chargeback", "amount": "50.00", "status": "won", "finalized_on": "2026-04-20"}
    await shop.deliver(fair.store, "disputes/update", told | won)
    await work(fair)
    assert await owed(fair, fair.creator) == (15_00, 0)
    assert await true_ups(fair) == [("true_up", each) for each in (5_00, -5_00, 2_50, 2_50)]
    await nothing_found(fair)


async def test_an_own_purchase_counts_once_finance_released_it(shop: Shop) -> None:
    fair = await open_fair(shop, creator={"email": "aina@example.com"}, **MARGINAL)
    click_id = await fair.click(MARCH)
    shop.clock.time = MARCH
    bought = {"items": [item(1, "200.00")], "click_id": click_id, "email": "aina@example.com"}
    await shop.order(fair.store, order_id=1, **bought)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    assert (await true_ups(fair), await owed(fair, fair.creator)) == ([], (10_00, 0))
    await decide(fair, 1, "release", kind="own_link")
    assert await work(fair) == 1
    assert await true_ups(fair) == [("true_up", 5_00)]
    await nothing_found(fair)


async def test_a_held_order_that_is_credited_to_another_counts_for_him_when_it_is_released(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    other = await shop.creator()
    await fair.sell(1, "200.00", at=MARCH)
    await decide(fair, 1, "hold")
    shop.clock.time = MARCH_ENDS
    await work(fair)
    await decide(fair, 1, "reattribute", creator_id=other["id"])
    await work(fair)
    assert (await owed(fair, fair.creator), await owed(fair, other)) == ((0, 0), (10_00, 0))
    await decide(fair, 1, "release")
    await work(fair)
    assert (await owed(fair, fair.creator), await owed(fair, other)) == ((0, 0), (15_00, 0))
    await nothing_found(fair)


async def test_a_seller_who_collects_is_billed_when_it_is_released(shop: Shop) -> None:
    fair = await open_fair(shop, store={"settlement": "seller_collected"}, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    await decide(fair, 1, "hold")
    shop.clock.time = MARCH_ENDS
    await work(fair)
    account = f"seller:{fair.organization['id']}:receivable"

    async def billed() -> int:
        (balance,) = (await shop.get("/v1/balances", account=account))["items"]
        return int(balance["amount"])

    assert await billed() == -(10_00 + 10_00)  # platform fee and the order's own commission
    await decide(fair, 1, "release")
    await work(fair)
    assert (await billed(), await owed(fair, fair.creator)) == (-(10_00 + 10_00 + 5_00), (15_00, 0))
    await nothing_found(fair)


async def test_a_hold_does_not_free_an_order_whose_month_has_cleared_for_another_creator(shop: Shop) -> None:
    """By a rule of 0 % up to 100.00 only the month pays: what waits again of it had cleared, and may be paid out."""
    fair = await open_fair(shop, store={"settlement": "seller_collected"}, rate_bps=0, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    [(true_up_id, _)] = await streams(shop, "true_up.counted")
    finance, other = await shop.key("finance"), await shop.creator()
    await shop.post(f"/v1/true-ups/{true_up_id}/release", {"reason": "paid"}, key=finance, status=200)
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    assert await owed(fair, fair.creator) == (0, 10_00)
    await decide(fair, 1, "hold")
    await work(fair)
    await decide(fair, 1, "release")
    await work(fair)
    assert await owed(fair, fair.creator) == (10_00, 0), "it is held for the seller's money again"
    body, credit = {"creator_id": other["id"], "reason": "x"}, f"/v1/orders/{(await fair.order(1))['id']}/reattribute"
    refused = await shop.refused("POST", credit, body, key=finance, status=409)
    assert refused["type"].endswith("order-has-cleared")
    await nothing_found(fair)


async def test_tiers_are_decided_by_what_is_not_held_and_stay_so(shop: Shop) -> None:
    fair = await open_fair(shop, tiers={"mode": "whole", "steps": steps((100_00, 1000), (1_000_00, 2000))})
    await fair.sell(1, "150.00", at=MARCH)
    await fair.sell(2, "5000.00", at=MARCH + timedelta(days=1))
    await decide(fair, 2, "hold")
    await fair.sell(3, "200.00", at=APRIL)
    assert await fair.commission(3) == 20_00  # 150.00 count: 10 %
    await decide(fair, 2, "release")
    await fair.sell(4, "200.00", at=APRIL + timedelta(days=1))
    assert await fair.commission(4) == 20_00
    await decide(fair, 1, "hold")
    await fair.sell(5, "200.00", at=APRIL + timedelta(days=2))
    assert await fair.commission(5) == 20_00
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 150_00)]
    await nothing_found(fair)


async def test_of_all_time_only_the_lines_that_are_not_held_decide(shop: Shop) -> None:
    fair = await open_fair(shop, tiers={"mode": "whole", "span": "all_time", "steps": steps((100_00, 1000))})
    click_id = await fair.click(MARCH)
    shop.clock.time = MARCH
    lines = [item_of(1, "60.00"), item_of(2, "70.00")]
    await shop.order(fair.store, order_id=1, items=lines, click_id=click_id)
    await decide(fair, 1, "hold", line_id="2")
    await fair.sell(2, "10.00", at=APRIL)
    assert await fair.commission(2) == 50
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 60_00)]
    await nothing_found(fair)


def as_version_3(event: dict[str, Any]) -> None:
    """As a program wrote it that did not say what is held."""
    event["split"].pop("held_lines", None)
    event["class_version"] = 3


async def test_what_an_older_program_recorded_counts_as_it_did_and_verifies(
    shop: Shop, database: TestDatabase
) -> None:
    tiers = {"mode": "whole", "steps": steps((100_00, 1000))}
    fair = await open_fair(shop, tiers=tiers, cap_per_month=myr(15_00))
    await fair.sell(1, "100.00", at=MARCH)
    await fair.sell(2, "300.00", at=MARCH)
    await decide(fair, 2, "hold")
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("alter table colink.events disable trigger append_only")
        for position, payload in connection.execute(
            "select position, payload from colink.events where topic = 'order.split'"
        ).fetchall():
            event = json.loads(payload)
            as_version_3(event)
            text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
            update = "update colink.events set payload = %s, schema_version = 3 where position = %s"
            connection.execute(update, (text, position))
        connection.execute("alter table colink.events enable always trigger append_only")
    await fair.sell(3, "10.00", at=APRIL)
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 400_00)]
    shop.clock.time = MARCH_ENDS + timedelta(days=1)
    await work(fair)
    assert await true_ups(fair) == [("true_up", -5_00)]  # 20.00 posted, 15.00 is the cap
    await nothing_found(fair)
    await shop.refund(fair.store, order_id=2, items=[RefundedItem(item=item(2, "300.00"), subtotal="1.00")])
    await work(fair)
    assert await true_ups(fair) == [("true_up", -5_00), ("true_up", 5_00)]  # now it says so, and 5.00 are left
    await nothing_found(fair)


async def test_holds_and_counts_at_once_end_exact(shop: Shop) -> None:
    """Whichever comes first, what is counted last is what is not held."""
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    for number in range(1, 5):
        await fair.sell(number, "100.00", at=MARCH)
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    await clear(fair, 1, 2, 3, 4)
    assert await owed(fair, fair.creator) == (0, 25_00)
    for _ in range(3):
        await asyncio.gather(*(decide(fair, number, "hold") for number in (1, 2)), work(fair))
        await asyncio.gather(decide(fair, 1, "release"), work(fair), decide(fair, 3, "hold"), work(fair))
        await work(fair)
        assert await owed(fair, fair.creator) == (20_00, 20_00)  # 2 and 3 are held, 1 and 4 count
        await asyncio.gather(decide(fair, 2, "release"), decide(fair, 3, "release"), work(fair))
        await work(fair)
        assert await owed(fair, fair.creator) == (0, 25_00)
    await nothing_found(fair)


async def test_a_rebuilt_queue_knows_the_same_holds(shop: Shop) -> None:
    fair = await open_fair(shop, **MARGINAL)
    await fair.sell(1, "200.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    await decide(fair, 1, "hold")
    engine, tables = shop.colink.engine, TrueUpTables(shop.colink.pool)
    await engine.catch_up("true_ups")
    followed = await tables.to_count(shop.clock.time, 10)
    assert len(followed) == 1
    await engine.rebuild("true_ups")
    assert await tables.to_count(shop.clock.time, 10) == followed
