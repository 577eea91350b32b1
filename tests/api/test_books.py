"""Finance keeps the books over HTTP: the chart, journals by two people, write-offs, conversions, closed months. Every
story ends with a verification that finds nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.sale import Sale, myr
from tests.api.shop import Shop

from colink.adapters.postgres.mapper import EventMapper
from colink.projections.audit import verify

pytestmark = pytest.mark.anyio


async def findings(shop: Shop) -> list[str]:
    async with shop.colink.pool.connection() as connection:
        report = await verify(connection, EventMapper().event)
    return [each.message for each in report.findings]


async def balance(shop: Shop, account: str, currency: str = "MYR") -> int:
    items = (await shop.get("/v1/balances", account=account))["items"]
    return sum(each["amount"] for each in items if each["currency"] == currency)


def legs(*pairs: tuple[str, int], currency: str = "MYR") -> list[dict[str, Any]]:
    return [{"account": account, "amount": amount, "currency": currency} for account, amount in pairs]


async def booked(shop: Shop, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Proposed by one of finance and approved by another."""
    maker, checker = await shop.key("finance"), await shop.key("finance")
    proposed = await shop.post(path, {"reason": "as agreed"} | body, key=maker)
    assert proposed["status"] == "pending"
    approved = await shop.post(f"/v1/journals/{proposed['id']}/approve", key=checker, status=200)
    assert approved["status"] == "posted"
    return dict(approved)


async def creator(shop: Shop, handle: str = "aina") -> Any:
    return await shop.post("/v1/creators", {"handle": handle, "display_name": handle})


async def test_one_proposes_and_another_posts_a_journal(shop: Shop) -> None:
    aina = await creator(shop)
    available = f"payee:{aina['id']}:available"
    maker, checker = await shop.key("finance"), await shop.key("finance")
    body = {"reason": "goodwill after the outage", "postings": legs(("platform:expense", -1_250), (available, 1_250))}
    proposed = await shop.post("/v1/journals", body, key=maker)
    assert await balance(shop, available) == 0
    path = f"/v1/journals/{proposed['id']}"
    problem = await shop.refused("POST", f"{path}/approve", status=403, key=maker)
    assert problem["type"].endswith("self-approval")
    assert await balance(shop, available) == 0
    await shop.post(f"{path}/approve", key=checker, status=200)
    assert (await balance(shop, available), await balance(shop, "platform:expense")) == (1_250, -1_250)
    await shop.refused("POST", f"{path}/approve", status=409, key=checker)
    assert await balance(shop, available) == 1_250
    (entry,) = (await shop.get("/v1/ledger/entries", account=available))["items"]
    assert (entry["kind"], entry["purpose"], entry["amount"]) == ("manual", "manual", 1_250)
    (listed,) = (await shop.get("/v1/journals", status="posted"))["items"]
    assert (listed["id"], listed["reason"]) == (proposed["id"], "goodwill after the outage")
    assert await findings(shop) == []


async def test_a_rejected_journal_posts_nothing_and_its_maker_may_take_it_back(shop: Shop) -> None:
    maker, checker = await shop.key("finance"), await shop.key("finance")
    body = {"reason": "r", "postings": legs(("platform:expense", -5), ("processor:bank:cash", 5))}
    for decider in (maker, checker):
        proposed = await shop.post("/v1/journals", body, key=maker)
        path = f"/v1/journals/{proposed['id']}"
        rejected = await shop.post(f"{path}/reject", {"reason": "twice"}, key=decider, status=200)
        assert (rejected["status"], rejected["note"]) == ("rejected", "twice")
        await shop.refused("POST", f"{path}/approve", status=409, key=checker)
    assert await balance(shop, "platform:expense") == 0
    assert await findings(shop) == []


@pytest.mark.parametrize(
    ("postings", "field", "status"),
    [
        (legs(("platform:expense", -5), ("platform:loss", 4)), None, 422),
        (legs(("platform:expense", -5), ("platform:profit", 5)), "postings.1.account", 422),
        (legs(("platform:expense", -5), ("payee:{aina}:pending", 5)), "postings.1.account", 422),
        (legs(("platform:expense", -5), ("payee:{aina}:in_transit", 5)), "postings.1.account", 422),
        (legs(("platform:expense", -5), ("payee:cre_nobody:available", 5)), "postings", 422),
        (legs(("platform:expense", -5), ("seller:org_nobody:receivable", 5)), "postings", 422),
        (legs(("platform:expense", -5), ("fx:SGD:liquidity", 5)), "postings.1.currency", 422),
        (legs(("platform:expense", -5), ("store:sto_nobody:clearing", 5)), "postings", 422),
        (legs(("platform:expense", -5), ("processor:Maybank:cash", 5)), "postings.1.account", 422),
        (legs(("platform:expense", -5), ("processor:maybank :cash", 5)), "postings.1.account", 422),
        (legs(("platform:expense", -5), ("processor:a:b:fees", 5)), "postings.1.account", 422),
        (legs(("platform:expense", -5), ("tax:lhdn\n:withheld", 5)), "postings.1.account", 422),
        (legs(("platform:expense", 0), ("platform:loss", 0)), "postings.0.amount", 422),
    ],
)
async def test_what_may_not_be_booked_by_hand_is_refused_naming_the_field(
    shop: Shop, postings: list[dict[str, Any]], field: str | None, status: int
) -> None:
    aina = await creator(shop)
    named = [dict(each, account=each["account"].replace("{aina}", aina["id"])) for each in postings]
    key = await shop.key("finance")
    problem = await shop.refused("POST", "/v1/journals", {"reason": "r", "postings": named}, status=status, key=key)
    assert problem.get("field") == field or field in str(problem)
    assert (await shop.get("/v1/journals"))["items"] == []


async def test_an_account_that_may_not_go_below_zero_refuses_the_approval(shop: Shop) -> None:
    maker, checker = await shop.key("finance"), await shop.key("finance")
    body = {"reason": "r", "postings": legs(("platform:loss", 5), ("platform:revenue", -5))}
    proposed = await shop.post("/v1/journals", body, key=maker)
    await shop.refused("POST", f"/v1/journals/{proposed['id']}/approve", status=409, key=checker)
    assert await balance(shop, "platform:revenue") == 0


async def test_others_neither_book_nor_close_and_see_only_their_own(shop: Shop) -> None:
    aina = await creator(shop)
    body = {"reason": "r", "postings": legs(("platform:expense", -5), ("platform:revenue", 5))}
    bound = await shop.key("creator", payee_id=aina["id"])
    for key in (await shop.key("auditor"), await shop.key("operator"), bound):
        await shop.refused("POST", "/v1/journals", body, status=403, key=key)
        await shop.refused("POST", "/v1/ledger/periods/2026-01/close", {"reason": "r"}, status=403, key=key)
    for path in ("/v1/journals", "/v1/ledger/accounts"):
        await shop.refused("GET", path, status=404, key=bound)


async def test_a_debt_is_written_off_and_no_more_than_it(shop: Shop) -> None:
    aina = await creator(shop)
    available = f"payee:{aina['id']}:available"
    await booked(shop, "/v1/journals", {"postings": legs((available, -700), ("platform:revenue", 700))})
    maker, checker = await shop.key("finance"), await shop.key("finance")
    too_much = {"account": available, "amount": myr(701), "reason": "gone"}
    proposed = await shop.post("/v1/write-offs", too_much, key=maker)
    await shop.refused("POST", f"/v1/journals/{proposed['id']}/approve", status=409, key=checker)
    assert await balance(shop, available) == -700
    await booked(shop, "/v1/write-offs", {"account": available, "amount": myr(700)})
    assert (await balance(shop, available), await balance(shop, "platform:loss")) == (0, -700)
    entries = (await shop.get("/v1/ledger/entries", account="platform:loss"))["items"]
    assert [(each["kind"], each["purpose"]) for each in entries] == [("write_off", "write_off")]
    pending = {"account": f"payee:{aina['id']}:pending", "amount": myr(1), "reason": "r"}
    await shop.refused("POST", "/v1/write-offs", pending, status=422, key=maker)
    assert await findings(shop) == []


async def test_a_conversion_keeps_its_rate_and_is_taken_back_at_it_once(shop: Shop) -> None:
    aina = await creator(shop)
    available = f"payee:{aina['id']}:available"
    await booked(shop, "/v1/journals", {"postings": legs(("platform:expense", -10_001), (available, 10_001))})
    rate = {"rate": "33.3325", "source": "BNM", "rated_at": "2026-03-01T09:00:00Z"}
    body = {"payee_id": aina["id"], "amount": myr(10_001), "into": "JPY"} | rate
    made = await booked(shop, "/v1/conversions", body)
    # 100.01 MYR at 33.3325 is 3333.583... JPY, which has no decimals.
    assert made["conversion"]["converted"] == 3_334
    assert (await balance(shop, available), await balance(shop, available, "JPY")) == (0, 3_334)
    assert await balance(shop, "fx:MYR:liquidity") == 10_001
    assert await balance(shop, "fx:JPY:liquidity", "JPY") == -3_334
    maker, checker = await shop.key("finance"), await shop.key("finance")
    back = [
        await shop.post(f"/v1/conversions/{made['id']}/reverse", {"reason": "by mistake"}, key=maker)
        for _ in range(2)
    ]
    await shop.post(f"/v1/journals/{back[0]['id']}/approve", key=checker, status=200)
    assert (await balance(shop, available), await balance(shop, available, "JPY")) == (10_001, 0)
    # Also not where the payee has as much of that money again, and nobody is told to try once more.
    again = [("platform:expense", -3_334), (available, 3_334)]
    await booked(shop, "/v1/journals", {"postings": [each | {"currency": "JPY"} for each in legs(*again)]})
    problem = await shop.refused("POST", f"/v1/journals/{back[1]['id']}/approve", status=409, key=checker)
    assert problem["type"] == "urn:colink:problem:already-reversed"
    third = {"reason": "by mistake"}
    await shop.refused("POST", f"/v1/conversions/{made['id']}/reverse", third, status=409, key=maker)
    assert (await balance(shop, available), await balance(shop, available, "JPY")) == (10_001, 3_334)
    assert await balance(shop, "fx:MYR:liquidity") == 0
    over = {"payee_id": aina["id"], "amount": myr(10_002), "into": "JPY", "reason": "r"} | rate
    proposed = await shop.post("/v1/conversions", over, key=maker)
    await shop.refused("POST", f"/v1/journals/{proposed['id']}/approve", status=409, key=checker)
    for wrong in ("0", "-1", "1e3", "1.0e3", "1.5_5", "1.5 ", "x", "0.1234567890123"):
        await shop.refused("POST", "/v1/conversions", over | {"rate": wrong}, status=422, key=maker)
    absurd = over | {"into": "KWD", "rate": "999999999999"}  # could never be posted
    await shop.refused("POST", "/v1/conversions", absurd, status=422, key=maker)
    assert await findings(shop) == []


async def test_what_people_date_into_a_closed_month_is_refused_with_the_first_open_day(shop: Shop) -> None:
    maker, checker = await shop.key("finance"), await shop.key("finance")
    body = {
        "reason": "r",
        "effective_at": "2026-02-20T00:00:00Z",
        "postings": legs(("platform:expense", -5), ("processor:bank:cash", 5)),
    }
    proposed = await shop.post("/v1/journals", body, key=maker)
    await shop.refused("POST", "/v1/ledger/periods/2026-03/close", {"reason": "r"}, status=409, key=maker)
    closed = await shop.post("/v1/ledger/periods/2026-02/close", {"reason": "signed"}, key=maker)
    assert closed["open_from"] == "2026-03-01T00:00:00Z"
    for path, asked in (("/v1/journals", body), (f"/v1/journals/{proposed['id']}/approve", None)):
        problem = await shop.refused("POST", path, asked, status=409, key=checker)
        assert problem["type"].endswith("closed-period")
        assert "2026-03-01" in problem["detail"]
    future = body | {"effective_at": "2026-04-01T00:00:00Z"}
    await shop.refused("POST", "/v1/journals", future, status=422, key=maker)
    periods = await shop.get("/v1/ledger/periods")
    assert (periods["open_from"], [each["month"] for each in periods["items"]]) == (
        "2026-03-01T00:00:00Z",
        ["2026-02"],
    )
    assert await findings(shop) == []


async def test_who_closed_a_month_and_why_is_the_platforms_own(shop: Shop) -> None:
    organization = await shop.organization()
    finance, seller = await shop.key("finance"), await shop.key("seller", organization_id=organization["id"])
    creator = await shop.key("creator", payee_id=(await shop.creator())["id"])
    none = {"items": [], "next_cursor": None}
    assert await shop.get("/v1/ledger/periods", key=seller) == {"open_from": None} | none
    await shop.post("/v1/ledger/periods/2026-02/close", {"reason": "the audit of 2025"}, key=finance)
    for key in (seller, creator):
        assert await shop.get("/v1/ledger/periods", key=key) == {"open_from": "2026-03-01T00:00:00Z"} | none
    [closing] = (await shop.get("/v1/ledger/periods", key=finance))["items"]
    assert closing["reason"] == "the audit of 2025"


async def test_a_sale_told_late_is_in_the_open_month_and_says_when_it_was(shop: Shop, sale: Sale) -> None:
    """`sale` is of March 2026 and due in March; the worker clears it after March was closed."""
    entries = await sale.entries()
    assert {each["occurred_at"] for each in entries} == {None}
    shop.clock.time = datetime(2026, 4, 20, 12, tzinfo=UTC)
    finance = await shop.key("finance")
    await shop.post("/v1/ledger/periods/2026-03/close", {"reason": "signed"}, key=finance)
    await shop.hold_ends(sale.order_id, after=timedelta())
    moved = [each for each in await sale.entries() if each["kind"] == "clearing"]
    assert moved
    assert {each["effective_at"] for each in moved} == {"2026-04-01T00:00:00Z"}
    assert all(each["occurred_at"].startswith("2026-03-") for each in moved)
    assert await findings(shop) == []


async def test_the_chart_shows_every_account_gross(shop: Shop, sale: Sale) -> None:
    answer = await shop.get("/v1/ledger/accounts")
    assert {each["account"] for each in answer["chart"]} >= {"platform:revenue", "payee:{id}:available"}
    (revenue,) = [each for each in answer["items"] if each["account"] == "platform:revenue"]
    assert (revenue["type"], revenue["normal_side"]) == ("income", "credit")
    assert revenue["credits"] - revenue["debits"] == revenue["amount"] == await balance(shop, "platform:revenue")
    assert sum(each["amount"] for each in answer["items"]) == 0
