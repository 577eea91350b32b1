"""Statements over HTTP: in three forms, for a payee's own key and for those who look after everybody's money."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.sale import Sale, another_order, pay_by, pay_out
from tests.api.shop import Shop

from colink.domain.payouts import ProviderOutcome

pytestmark = pytest.mark.anyio

PERIOD = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


async def asked(sale: Sale, *, key: str, accept: str | None = None, **query: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    if accept is not None:
        headers["Accept"] = accept
    return await sale.shop.http.get("/v1/statements", params=PERIOD | query, headers=headers)


async def test_what_a_creator_earned_and_was_paid(sale: Sale) -> None:
    await another_order(sale, cleared=5_000)
    await pay_by(sale.shop, ProviderOutcome.PAID)
    paid = await pay_out(sale, sale.creator)
    key = await sale.shop.key("creator", payee_id=sale.creator["id"])
    answer = await asked(sale, key=key)
    assert answer.status_code == 200
    statement = answer.json()
    assert statement["payee"] == {"id": sale.creator["id"], "name": sale.creator["handle"]}
    assert statement["opening"]["owed"] == 0
    assert statement["closing"]["owed"] == 1_423 + 5_000 - paid
    assert sum(entry["amount"] for entry in statement["entries"]) == statement["closing"]["owed"]
    assert {entry["order_number"] for entry in statement["entries"]} == {"#1042", None}
    page = await asked(sale, key=key, format="html")
    assert f"Statement of {sale.creator['handle']}</h1>" in page.text
    assert "sealed:" not in page.text
    [payout] = statement["payouts"]
    assert (payout["amount"], payout["status"]) == (paid, "paid")
    position = statement["basis"]["recorded_up_to"]
    await sale.shop.post("/v1/creators", {"handle": "late", "display_name": "Late"})
    again = await asked(sale, key=key, at_position=position)
    assert again.json() | {"basis": None} == statement | {"basis": None}


async def test_an_erased_payee_has_a_label_for_a_name(sale: Sale) -> None:
    creator_id, key = sale.creator["id"], await sale.shop.key("auditor")
    await sale.shop.post(f"/v1/people/{creator_id}/erase", {"reason": "request 17"}, status=200)
    answer = await asked(sale, key=key, payee_id=creator_id)
    assert answer.json()["payee"] == {"id": creator_id, "name": f"erased-{creator_id[-8:]}"}


async def test_from_the_first_moment_of_the_calendar_to_the_last(sale: Sale) -> None:
    key, always = await sale.shop.key("auditor"), {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}
    answer = await asked(sale, key=key, payee_id=sale.creator["id"], **always)
    assert answer.json()["opening"]["owed"] == 0
    assert answer.json()["closing"]["owed"] == 1_423


@pytest.mark.parametrize(
    ("query", "accept", "content_type"),
    [
        ({}, None, "application/json"),
        ({}, "*/*", "application/json"),
        ({}, "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ({}, "text/csv", "text/csv; charset=utf-8"),
        ({"format": "csv"}, "text/html", "text/csv; charset=utf-8"),
        ({"format": "html"}, None, "text/html; charset=utf-8"),
    ],
)
async def test_forms(sale: Sale, query: dict[str, str], accept: str | None, content_type: str) -> None:
    key = await sale.shop.key("auditor")
    answer = await asked(sale, key=key, accept=accept, payee_id=sale.organization["id"], **query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"


async def test_who_may_see_whose(sale: Sale) -> None:
    shop: Shop = sale.shop
    creator, organization = sale.creator["id"], sale.organization["id"]
    keys = {
        "finance": await shop.key("finance"),
        "auditor": await shop.key("auditor"),
        "operator": await shop.key("operator"),
        "creator": await shop.key("creator", payee_id=creator),
        "seller": await shop.key("seller", organization_id=organization),
    }
    seen = {
        role: [(await asked(sale, key=key, payee_id=payee)).status_code for payee in (creator, organization)]
        for role, key in keys.items()
    }
    assert seen == {
        "finance": [200, 200],
        "auditor": [200, 200],
        "operator": [200, 200],
        "creator": [200, 404],
        "seller": [404, 200],
    }
    assert (await asked(sale, key="nobody", payee_id=creator)).status_code == 401


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({}, 422, "payee_id"),
        ({"payee_id": "cre_nobody"}, 404, "payee_id"),
        ({"payee_id": "cre_nobody", "format": "pdf"}, 422, "format"),
        ({"payee_id": "cre_nobody", "from": "2200-01-01T00:00:00Z"}, 422, "to"),
        ({"payee_id": "cre_nobody", "at_position": 10**9}, 422, "at_position"),
    ],
)
async def test_problems(sale: Sale, query: dict[str, Any], status: int, field: str) -> None:
    answer = await asked(sale, key=await sale.shop.key("finance"), **query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["field"] == field
