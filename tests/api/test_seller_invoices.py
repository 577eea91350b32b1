"""Promise: when a calendar month is over where a seller is, the worker bills it, once, whoever else does so at the
same time; what is posted later is on the next. Over HTTP and on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.api.sale import MUG, TSHIRT, myr
from tests.api.seller import MARCH, MARCH_ENDS, OWED, Seller, make_seller
from tests.api.shop import Shop

from colink.application.seller_invoices import Billable, InvoiceDesk
from colink.projections.seller_invoices import InvoiceTables

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)
OF_MUG = 337


@pytest.fixture
async def seller(shop: Shop) -> Seller:
    seller = await make_seller(shop, timezone="Asia/Kuala_Lumpur")
    shop.clock.time = MARCH
    return seller


async def work(shop: Shop) -> int:
    """As the worker does; how many it issued."""
    return await InvoiceDesk(shop.colink.commerce, InvoiceTables(shop.colink.pool), shop.colink.clock).run()


async def issued(seller: Seller) -> list[tuple[str, int, int, int]]:
    """Period, opening, charged and due of each."""
    items = (await seller.shop.get("/v1/seller-invoices", organization_id=seller.organization["id"]))["items"]
    return [(each["period"], *(each[name]["amount"] for name in ("opening", "charged", "due"))) for each in items]


async def test_a_month_is_billed_when_it_is_over_where_the_seller_is(seller: Seller) -> None:
    shop, order = seller.shop, await seller.order(1)
    shop.clock.time = MARCH_ENDS - SECOND
    assert await work(shop) == 0
    shop.clock.time = MARCH_ENDS
    assert await work(shop) == 1
    assert await issued(seller) == [("2026-03", 0, OWED, OWED)]
    assert await work(shop) == 0
    by_hand = await seller.invoice(period="2026-03")
    assert by_hand["lines"] == [{"order_id": order, "amount": myr(OWED)}], "asked for by hand, the same one"
    rows = await seller.rows("SELECT actor FROM colink.events WHERE topic = 'seller_invoice.issued'")
    assert rows == [("worker",)]
    assert await seller.findings() == []


async def test_months_that_were_missed_are_billed_in_their_order(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1)
    shop.clock.time = datetime(2026, 4, 10, tzinfo=UTC)
    await seller.pay(OWED, "MBB-1")
    shop.clock.time = datetime(2026, 6, 10, tzinfo=UTC)
    await seller.order(2, items=[MUG])
    shop.clock.time = datetime(2026, 8, 2, tzinfo=UTC)
    assert await work(shop) == 4
    assert await issued(seller) == [
        ("2026-03", 0, OWED, OWED),
        ("2026-04", OWED, 0, 0),
        ("2026-06", 0, OF_MUG, OF_MUG),  # nothing happened in May, and nothing was owed
        ("2026-07", OF_MUG, 0, OF_MUG),  # nothing happened in July, but this is open
    ]
    assert await work(shop) == 0
    assert await seller.findings() == []


async def test_what_is_open_is_billed_each_month_until_it_is_paid(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1, items=[MUG])
    for month in (4, 5):
        shop.clock.time = datetime(2026, month, 2, tzinfo=UTC)
        assert await work(shop) == 1
    await seller.pay(OF_MUG, "MBB-1")
    shop.clock.time = datetime(2026, 6, 2, tzinfo=UTC)
    assert await work(shop) == 1
    assert [each[3] for each in await issued(seller)] == [OF_MUG, OF_MUG, 0]
    shop.clock.time = datetime(2026, 7, 2, tzinfo=UTC)
    assert await work(shop) == 0, "nothing is owed, and nothing happened"
    assert await seller.findings() == []


async def test_a_month_that_came_to_nothing_does_not_keep_later_ones_from_being_billed(seller: Seller) -> None:
    shop = seller.shop
    await seller.book(100)
    await seller.book(-100)
    shop.clock.time = datetime(2026, 5, 10, tzinfo=UTC)
    assert await work(shop) == 0, "nothing is owed, and what happened comes to nothing"
    await seller.order(1, items=[MUG])
    shop.clock.time = datetime(2026, 7, 2, tzinfo=UTC)
    assert await work(shop) == 2
    assert await issued(seller) == [("2026-05", 0, OF_MUG, OF_MUG), ("2026-06", OF_MUG, 0, OF_MUG)]
    assert await seller.findings() == []


async def test_each_currency_has_an_invoice_of_its_own(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1, items=[MUG])
    await seller.order(2, items=[TSHIRT], currency="SGD")
    shop.clock.time = MARCH_ENDS
    assert await work(shop) == 2
    items = (await shop.get("/v1/seller-invoices"))["items"]
    assert {(each["due"]["currency"], each["period"]) for each in items} == {("MYR", "2026-03"), ("SGD", "2026-03")}
    assert await work(shop) == 0
    assert await seller.findings() == []


async def test_workers_and_people_at_once_issue_one(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1)
    shop.clock.time = MARCH_ENDS
    answers = await asyncio.gather(
        *(work(shop) for _ in range(3)),
        *(seller.invoice() for _ in range(3)),
        seller.pay(100, "MBB-1"),
        seller.settle(),
    )
    invoices = [answer for answer in answers if isinstance(answer, dict) and "lines" in answer]
    assert invoices == [invoices[0]] * 3
    assert [each[0] for each in await issued(seller)] == ["2026-03"]
    assert await seller.findings() == []


async def test_sellers_of_other_time_zones_and_without_debts(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1, items=[MUG])
    west = await make_seller(shop, domain="west.example", name="West", timezone="America/Los_Angeles")
    await west.order(1, items=[MUG])
    quiet = await make_seller(shop, domain="quiet.example", name="Quiet")
    shop.clock.time = MARCH_ENDS + timedelta(hours=1)
    assert await work(shop) == 1
    assert [await issued(each) for each in (west, quiet)] == [[], []]
    shop.clock.time = datetime(2026, 4, 1, 7, tzinfo=UTC)
    assert await work(shop) == 1
    assert await issued(west) == [("2026-03", 0, OF_MUG, OF_MUG)]
    assert await seller.findings() == []


async def test_a_month_before_one_that_is_billed_is_refused_by_hand(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1)
    shop.clock.time = datetime(2026, 5, 2, tzinfo=UTC)
    await seller.invoice(period="2026-04")
    problem = await seller.invoice(period="2026-03", status=422)
    assert (problem["field"], "2026-04 is billed already" in problem["detail"]) == ("period", True)
    assert (await seller.invoice(period="2026-04"))["due"] == myr(OWED)


async def test_more_sellers_than_one_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colink.application.seller_invoices._AT_ONCE", 2)
    for number in range(5):
        seller = await make_seller(shop, domain=f"kedai{number}.example", name=f"Kedai {number}")
        await seller.order(1, items=[MUG])
    shop.clock.time = datetime(2026, 4, 1, tzinfo=UTC)
    assert await work(shop) == 5
    assert await work(shop) == 0


@pytest.mark.parametrize(
    ("last_period", "posted", "is_open", "due"),
    [
        (None, "2026-03-05", True, "2026-03"),
        (None, "2025-11-05", True, "2025-11"),
        (None, "2026-04-02", True, "2026-03"),
        (None, "2026-04-02", False, None),
        ("2026-03", "2026-04-02", True, None),
        ("2026-03", "2026-03-31", True, None),  # what a bill that was full left over is April's
        ("2026-02", "2026-02-11", True, "2026-03"),
        ("2026-01", None, True, "2026-03"),
        ("2026-01", None, False, None),
        ("2025-12", "2026-02-11", False, "2026-02"),
    ],
)
def test_which_month_is_due(last_period: str | None, posted: str | None, is_open: bool, due: str | None) -> None:
    seller = Billable(
        organization_id="org_1",
        timezone="Asia/Kuala_Lumpur",
        currency="MYR",
        invoiced_to=0,
        last_period=last_period,
        unbilled_since=datetime.fromisoformat(f"{posted}T04:00:00+00:00") if posted else None,
        is_open=is_open,
    )
    assert seller.due_period(datetime(2026, 4, 15, tzinfo=UTC)) == due
