"""The promise: many orders told at once are recorded each for itself, a bad one fails alone and says where, and
telling them again, in part or in whole, changes nothing. A seller cannot make money that we would pay out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.api.sale import myr
from tests.api.shop import ADMIN_KEY, NOON, Shop

from colink.application.ports import Command, Recorded
from colink.domain.errors import Unavailable
from colink.projections.audit.verify import verify

pytestmark = pytest.mark.anyio

AT = NOON.isoformat()


def an_order(external_id: str = "9001", **changes: Any) -> dict[str, Any]:
    return {
        "external_id": external_id,
        "number": f"#{external_id}",
        "currency": "MYR",
        "placed_at": AT,
        "updated_at": AT,
        "status": "paid",
        "lines": [
            {"line_id": "1", "quantity": 2, "base": myr(11_980), "product_external_id": "71"},
            {"line_id": "2", "quantity": 1, "base": myr(2_250)},
        ],
        "total_price": myr(15_030),
    } | changes


async def told(shop: Shop, store: Any, orders: list[Any], **more: Any) -> Any:
    body = json.dumps({"store_id": store["id"], "orders": orders}).encode()
    answer = await shop.send("POST", "/v1/orders/bulk", content=body, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def head(shop: Shop) -> int:
    return int((await shop.get("/v1/events", limit=200))["after"])


async def a_store(shop: Shop, **changes: Any) -> Any:
    return await shop.store(await shop.organization(), **changes)


async def test_orders_are_recorded_with_their_money(shop: Shop) -> None:
    store = await a_store(shop)
    creator = await shop.creator()
    await shop.rule({"id": store["organization_id"]})
    coupon = await shop.coupon(creator, store)
    keys = {"coupons": [{"code": coupon["code"], "discount": myr(500)}]}
    refund = {
        "refund_id": "r1",
        "processed_at": AT,
        "lines": [{"line_id": "2", "quantity": 1, "subtotal": myr(2_250)}],
        "transactions": [{"transaction_id": "t1", "amount": myr(2_250), "status": "success"}],
    }
    answer = await told(
        shop, store, [an_order("1", keys=keys), an_order("2", refunds=[refund], payment_fee=myr(100))]
    )
    ids = [f"ord_{store['id']}.1", f"ord_{store['id']}.2"]
    assert answer == {
        "results": [
            {"index": 0, "status": "accepted", "external_id": "1", "order_id": ids[0]},
            {"index": 1, "status": "accepted", "external_id": "2", "order_id": ids[1]},
        ],
        "accepted": 2,
        "duplicate": 0,
        "rejected": 0,
    }
    first, second = [await shop.get(f"/v1/orders/{id_}") for id_ in ids]
    assert (first["attribution"]["outcome"], first["attribution"]["creator_id"]) == ("coupon", creator["id"])
    assert first["split"] == {
        "platform_fee": myr(712),  # 5 % of 142.30 = 7.115, to even
        "creator_commission": myr(1_423),
        "payment_fee": myr(0),
        "seller_take": myr(12_095),
    }
    assert (second["refunded"], second["cash_refunded"], second["collected"]) == (myr(2_250), myr(2_250), myr(15_030))
    assert second["split"] == {
        "platform_fee": myr(599),
        "creator_commission": myr(0),
        "payment_fee": myr(100),
        "seller_take": myr(11_281),
    }
    async with shop.colink.pool.connection() as connection:
        found = (await verify(connection, shop.colink.decode)).findings
    assert found == []


async def test_the_same_content_again_changes_nothing(shop: Shop) -> None:
    store = await a_store(shop)
    orders = [an_order("1"), an_order("2")]
    await told(shop, store, orders)
    before = await head(shop)
    spaced = json.dumps(
        {"orders": [dict(reversed(each.items())) for each in orders], "store_id": store["id"]}, indent=3
    )
    again = await shop.send("POST", "/v1/orders/bulk", content=spaced.encode())
    assert [each["status"] for each in again.json()["results"]] == ["duplicate", "duplicate"]
    assert await head(shop) == before
    news = await told(shop, store, [orders[0] | {"cancelled": True, "updated_at": "2026-03-01T12:00:01Z"}, orders[1]])
    assert [each["status"] for each in news["results"]] == ["accepted", "duplicate"]


async def test_an_order_told_twice_in_one_request_is_one_order(shop: Shop) -> None:
    store = await a_store(shop)
    answer = await told(shop, store, [an_order("1"), an_order("2"), an_order("1")])
    assert [each["status"] for each in answer["results"]] == ["accepted", "accepted", "duplicate"]


BAD: list[tuple[Any, str]] = [
    ({"currency": None}, ".currency"),
    ({"currency": "XXL"}, ".currency"),
    ({"placed_at": "2026-03-01T12:00:00"}, ".placed_at"),
    ({"updated_at": "0001-01-01T00:00:00Z"}, ".updated_at"),
    ({"status": "payed"}, ".status"),
    ({"total_price": myr(-1)}, ".total_price.amount"),
    ({"total_price": {"amount": 10.5, "currency": "MYR"}}, ".total_price.amount"),
    ({"total_price": {"amount": 10**16, "currency": "MYR"}}, ".total_price.amount"),
    ({"total_price": {"amount": 1, "currency": "SGD"}}, ".total_price.currency"),
    ({"lines": [{"line_id": "1", "quantity": 1, "base": myr(1)}] * 2}, ".lines[1].line_id"),
    ({"lines": [{"line_id": "1", "quantity": -1, "base": myr(1)}]}, ".lines[0].quantity"),
    ({"lines": [{"line_id": "1\x1f", "quantity": 1, "base": myr(1)}]}, ".lines[0].line_id"),
    ({"lines": [{"line_id": "1", "quantity": 1, "base": myr(1), "carries_base": False}]}, ".lines[0].base.amount"),
    ({"lines": None}, ".lines"),
    ({"keys": {"click_ids": ["two words"]}}, ".keys.click_ids[0]"),
    ({"refunds": [{"refund_id": "1", "processed_at": AT, "lines": [{"line_id": "1"}]}]}, ".refunds[0].lines[0]"),
    ({"external_id": 9001}, ".external_id"),
    ({"external_id": "\x00"}, ".external_id"),
    ({"payment_fee": {"amount": 1, "currency": "JPY"}}, ".payment_fee.currency"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
async def test_a_bad_order_fails_alone_and_says_where(shared_shop: Shop, change: Any, field: str) -> None:
    store = await a_store(shared_shop)
    answer = await told(shared_shop, store, [an_order("1"), an_order("2") | change, an_order("3")])
    assert [each["status"] for each in answer["results"]] == ["accepted", "rejected", "accepted"]
    problem = answer["results"][1]["problem"]
    assert (problem["status"], problem["type"]) == (422, "urn:colink:problem:invalid-input")
    assert problem["field"] == f"orders[1]{field}"
    assert {"accepted": 2, "duplicate": 0, "rejected": 1}.items() <= answer.items()


async def test_what_the_order_refuses_fails_alone_too(shop: Shop) -> None:
    store = await a_store(shop)
    await told(shop, store, [an_order("1")])
    in_yen = {"currency": "JPY", "lines": [], "total_price": {"amount": 5, "currency": "JPY"}}
    answer = await told(shop, store, [an_order("1") | in_yen, an_order("2")])
    assert [each["status"] for each in answer["results"]] == ["rejected", "accepted"]
    assert answer["results"][0]["problem"]["field"].startswith("orders[0]")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b'{"store_id": "sto_1", "orders": [{"number": "\\ud800"}]}', 400, None),
        (b"[]", 422, None),
        (b'{"store_id": "sto_1"}', 422, None),
        (b'{"store_id": "sto_1", "orders": []}', 422, "orders"),
        (b'{"store_id": 1, "orders": [{}]}', 422, "store_id"),
        (b'{"store_id": "sto_1", "orders": [' + b"{}," * 1000 + b"{}]}", 422, "orders"),
        (b'{"store_id": "sto_1", "orders": [{}]}', 404, None),
        (b"[" * 100_000, 422, None),
    ],
)
async def test_a_body_that_is_none_is_refused(shared_shop: Shop, body: bytes, status: int, field: str | None) -> None:
    problem = await shared_shop.refused("POST", "/v1/orders/bulk", status=status, content=body)
    assert problem.get("field") == field


async def test_bodies_may_be_eight_mebibytes_here_and_no_larger(shared_shop: Shop) -> None:
    body = b'{"store_id": "sto_1", "orders": [{}]}'
    largest = body + b" " * (8 * 2**20 - len(body))
    await shared_shop.refused("POST", "/v1/orders/bulk", status=404, content=largest)
    await shared_shop.refused("POST", "/v1/orders/bulk", status=413, content=largest + b" ")


async def test_no_more_large_requests_are_read_at_once_than_may(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colink.api.root.MOST_LARGE", 2)
    store = await a_store(shop)
    body = {"store_id": store["id"], "orders": [an_order()]}
    answers = await asyncio.gather(*(shop.send("POST", "/v1/orders/bulk", body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    (refused,) = [answer for answer in answers if answer.status_code == 503]
    assert (refused.headers["retry-after"], refused.json()["type"]) == ("1", "urn:colink:problem:unavailable")
    await told(shop, store, [an_order("2")])


class TestIdempotencyKeys:
    async def test_the_same_request_gets_the_first_answer(self, shop: Shop) -> None:
        store = await a_store(shop)
        body = {"store_id": store["id"], "orders": [an_order("1"), an_order("2", currency="XXL")]}
        keyed = {"headers": {"Idempotency-Key": "b-1"}}
        first = await shop.send("POST", "/v1/orders/bulk", body, **keyed)
        before = await head(shop)
        again = await shop.send("POST", "/v1/orders/bulk", body, **keyed)
        assert again.json() == first.json()
        assert [each["status"] for each in again.json()["results"]] == ["accepted", "rejected"]
        assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
        assert await head(shop) == before
        async with shop.colink.pool.connection() as connection:
            assert (await verify(connection, shop.colink.decode)).findings == []

    async def test_another_request_is_refused_before_any_of_it(self, shop: Shop) -> None:
        store = await a_store(shop)
        headers = {"Idempotency-Key": "b-1"}
        await told(shop, store, [an_order("1")], headers=headers)
        before = await head(shop)
        body = {"store_id": store["id"], "orders": [an_order("2")]}
        problem = await shop.refused("POST", "/v1/orders/bulk", body, status=409, headers=headers)
        assert problem["type"] == "urn:colink:problem:idempotency-key-reused"
        assert problem["detail"] == "the idempotency key 'b-1' was used with another request"
        assert await head(shop) == before

    async def test_two_requests_at_once_with_one_key_never_both_go_through(self, shop: Shop) -> None:
        store = await a_store(shop)
        bodies = [{"store_id": store["id"], "orders": [an_order(number)]} for number in ("1", "2")]
        headers = {"Idempotency-Key": "b-1"}
        answers = await asyncio.gather(
            *(shop.send("POST", "/v1/orders/bulk", body, headers=headers) for body in bodies)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert len((await shop.get("/v1/orders", store_id=store["id"]))["items"]) == 1

    async def test_a_request_that_was_cut_off_goes_on_when_it_comes_again(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed between its orders and its answer: the key is reserved, one order is there, no answer is."""
        store = await a_store(shop)
        body = {"store_id": store["id"], "orders": [an_order(str(number)) for number in range(300)]}
        headers = {"Idempotency-Key": "b-1"}
        bus = shop.colink.commerce
        really, slices = bus.submit_many, 0

        async def full_after_the_first(commands: list[Command]) -> list[Recorded | Exception]:
            nonlocal slices
            slices += 1
            if slices > 1:
                msg = "too many commands are waiting"
                raise Unavailable(msg)
            return await really(commands)

        monkeypatch.setattr(bus, "submit_many", full_after_the_first)
        content = json.dumps(body).encode()
        cut_off = await shop.send("POST", "/v1/orders/bulk", content=content, headers=headers)
        assert (cut_off.status_code, cut_off.headers["retry-after"]) == (503, "1")
        assert cut_off.json()["detail"].startswith("125 of 300 orders were recorded; send the same request again")
        monkeypatch.undo()
        answer = await told(shop, store, body["orders"], headers=headers)
        assert (answer["accepted"], answer["duplicate"]) == (175, 125)
        assert [each["index"] for each in answer["results"]] == list(range(300))


class TestWhoMay:
    async def test_a_seller_of_money_it_collects_itself(self, shop: Shop) -> None:
        organization = await shop.organization()
        store = await shop.store(organization, settlement="seller_collected")
        key = await shop.key("seller", organization_id=organization["id"])
        assert (await told(shop, store, [an_order()], key=key))["accepted"] == 1

    @pytest.mark.parametrize(("settlement", "advance"), [("platform_collected", False), ("seller_collected", True)])
    async def test_no_seller_where_we_would_pay_out(self, shop: Shop, settlement: str, advance: bool) -> None:
        organization = await shop.organization(advance=advance)
        store = await shop.store(organization, settlement=settlement)
        key = await shop.key("seller", organization_id=organization["id"])
        before = await head(shop)
        body = {"store_id": store["id"], "orders": [an_order()]}
        problem = await shop.refused("POST", "/v1/orders/bulk", body, status=403, key=key)
        assert problem["field"] == "store_id"
        assert await head(shop) == before

    async def test_no_other_seller(self, shop: Shop) -> None:
        store = await a_store(shop, settlement="seller_collected")
        key = await shop.key("seller", organization_id=(await shop.organization())["id"])
        body = {"store_id": store["id"], "orders": [an_order()]}
        await shop.refused("POST", "/v1/orders/bulk", body, status=404, key=key)

    async def test_no_other_role(self, shop: Shop) -> None:
        store, creator = await a_store(shop), await shop.creator()
        body = {"store_id": store["id"], "orders": [an_order()]}
        keys = [
            await shop.key("finance"),
            await shop.key("auditor"),
            await shop.key("creator", payee_id=creator["id"]),
        ]
        for key in keys:
            await shop.refused("POST", "/v1/orders/bulk", body, status=403, key=key)
        await shop.refused("POST", "/v1/orders/bulk", body, status=401, key=None)
        assert (await told(shop, store, [an_order()], key=ADMIN_KEY))["accepted"] == 1
