"""What providers settle: the journal, the fees of single orders, and that the same settlement twice is one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.sale import Sale, myr
from tests.api.shop import Shop

from colink.cli.shopify_traffic import Item
from colink.projections.audit.trace import TraceKind, trace

pytestmark = pytest.mark.anyio

MUG = Item(line_id=12, title="Mug", price="100.00", product_id=72, variant_id=82, sku="MUG")


class Settled:
    """A store with one paid order of 108.00, whose schedule takes 2.9 % and 0.30: 3.43."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def open(self) -> Settled:
        shop = self.shop
        organization = await shop.organization()
        self.store = await shop.store(organization, payment_fee={"rate_bps": 290, "fixed": myr(30)})
        self.organization_id = organization["id"]
        self.finance = await shop.key("finance")
        await shop.order(self.store, items=[MUG])
        return self

    def body(self, **changes: Any) -> dict[str, Any]:
        return {
            "store_id": self.store["id"],
            "reference": "po_1",
            "currency": "MYR",
            "gross": 10800,
            "fee": 300,
            "settled_at": "2026-03-01T11:00:00Z",
        } | changes

    async def balances(self) -> dict[str, int]:
        answer = await self.shop.get("/v1/balances", limit=100)
        names = {f"store:{self.store['id']}:clearing": "clearing", f"payee:{self.organization_id}:pending": "seller"}
        return {names.get(each["account"], each["account"]): each["amount"] for each in answer["items"]}


@pytest.fixture
async def settled(shop: Shop) -> Settled:
    return await Settled(shop).open()


async def test_a_settlement_empties_the_clearing_account_by_its_journal(settled: Settled) -> None:
    assert await settled.balances() == {
        "clearing": -10800,
        "seller": 9957,
        "platform:revenue": 500,
        "processor:shopify:fees": 343,
    }
    made = await settled.shop.post("/v1/settlements", settled.body(), key=settled.finance)
    assert made["id"] == f"stl_{settled.store['id']}.po_1"
    assert (made["gross"], made["fee"]) == (myr(10800), myr(300))
    assert await settled.balances() == {
        "clearing": 0,
        "seller": 9957,
        "platform:revenue": 500,
        "processor:shopify:fees": 43,
        "processor:shopify:cash": -10500,
    }
    entries = await settled.shop.get("/v1/ledger/entries", account="processor:shopify:cash")
    assert [(each["kind"], each["purpose"], each["effective_at"]) for each in entries["items"]] == [
        ("settlement", "settlement", "2026-03-01T11:00:00Z")
    ]


async def test_the_fee_of_an_order_posts_the_difference(settled: Settled) -> None:
    fees = [{"order_external_id": "4507", "amount": 300}, {"order_external_id": "4508", "amount": 50}]
    body = settled.body(fees=fees, fee=350, received_by="maybank")
    await settled.shop.post("/v1/settlements", body, key=settled.finance)
    # The seller bears 3.00 in place of 3.43, and the fee of the order to come is left over.
    assert await settled.balances() == {
        "clearing": 0,
        "seller": 10000,
        "platform:revenue": 500,
        "processor:shopify:fees": -50,
        "processor:maybank:cash": -10450,
    }
    # The other order comes later and finds its fee waiting.
    await settled.shop.order(settled.store, order_id=4508, items=[MUG])
    [order] = (await settled.shop.get("/v1/orders", store_id=settled.store["id"], external_id="4508"))["items"]
    assert order["split"]["payment_fee"] == myr(50)
    assert (await settled.balances())["processor:shopify:fees"] == 0


async def test_an_auditor_follows_a_settlement_to_its_journal_and_its_orders_and_back(settled: Settled) -> None:
    fees = [{"order_external_id": "4507", "amount": 250}, {"order_external_id": "none/such", "amount": 50}]
    made = await settled.shop.post("/v1/settlements", settled.body(fees=fees), key=settled.finance)
    await settled.shop.post("/v1/settlements", settled.body(reference="po_1.b"), key=settled.finance)
    async with settled.shop.colink.pool.connection() as connection:
        found = await trace(connection, made["id"])
        journal = await trace(connection, found.entries[0].journal_id)
        other = await trace(connection, f"stl_{settled.store['id']}.po_1%2Eb")
    assert found.kind is TraceKind.RECORD
    assert [event.topic for event in found.events] == ["settlement.recorded", "journal.posted"]
    assert sorted((entry.purpose, entry.amount) for entry in found.entries) == [
        ("payment_fee", -300),
        ("settlement", -10500),
        ("settlement", 10800),
    ]
    store = settled.store["id"]
    assert found.orders == [f"ord_{store}.4507", f"ord_{store}.none%2Fsuch"]
    assert [delivery.topic for delivery in found.deliveries] == ["orders/paid"]
    assert (journal.kind, journal.events, journal.entries) == (TraceKind.JOURNAL, found.events, found.entries)
    assert len(other.entries) == 3, "an id that begins like another one's"
    assert {entry.journal_id for entry in other.entries}.isdisjoint(entry.journal_id for entry in found.entries)


async def test_the_same_settlement_twice_is_one_and_another_under_its_name_a_conflict(settled: Settled) -> None:
    fees = [{"order_external_id": "4507", "amount": 300}]
    first = await settled.shop.post("/v1/settlements", settled.body(fees=fees), key=settled.finance)
    before = await settled.balances()
    assert await settled.shop.post("/v1/settlements", settled.body(fees=fees), key=settled.finance) == first
    refused = await settled.shop.refused(
        "POST", "/v1/settlements", settled.body(fees=fees, fee=301), key=settled.finance, status=409
    )
    assert refused["type"].endswith("conflict")
    assert await settled.balances() == before


async def test_the_same_settlement_at_once_is_one(settled: Settled) -> None:
    body = settled.body(fees=[{"order_external_id": str(number), "amount": 1} for number in range(4507, 4607)])
    answers = await asyncio.gather(
        *(settled.shop.post("/v1/settlements", body, key=settled.finance) for _ in range(4))
    )
    assert len({answer["id"] for answer in answers}) == 1
    assert (await settled.balances())["processor:shopify:cash"] == -10500


async def test_a_dispute_fee_of_the_statement_is_booked_to_the_seller(settled: Settled) -> None:
    fees = [
        {"order_external_id": "4507", "amount": 300},
        {"order_external_id": "4507", "kind": "dispute", "amount": 1500},
    ]
    await settled.shop.post("/v1/settlements", settled.body(gross=9300, fees=fees), key=settled.finance)
    entries = await settled.shop.get("/v1/ledger/entries", account=f"payee:{settled.organization_id}:available")
    assert [(each["purpose"], each["amount"], each["status"]) for each in entries["items"]] == [
        ("dispute_fee", -1500, "posted")
    ]
    [order] = (await settled.shop.get("/v1/orders", store_id=settled.store["id"], external_id="4507"))["items"]
    assert order["dispute_fee"] == myr(1500)
    assert (await settled.balances())["clearing"] == 0


async def test_amounts_are_money_and_plain_minor_units_are_taken_too(settled: Settled) -> None:
    """The same settlement in both shapes is one; money in another currency is none of its amounts."""
    shop, fees = settled.shop, [{"order_external_id": "4507", "amount": 300}]
    plain = await shop.post("/v1/settlements", settled.body(fees=fees), key=settled.finance)
    as_money = {"gross": myr(10800), "fee": myr(300), "fees": [fees[0] | {"amount": myr(300)}]}
    assert await shop.post("/v1/settlements", settled.body(**as_money), key=settled.finance) == plain
    assert plain["fees"] == [{"order_external_id": "4507", "kind": "payment", "amount": myr(300), "dispute_id": None}]
    assert await shop.get(f"/v1/settlements/{plain['id']}") == plain
    assert (await shop.get("/v1/settlements"))["items"] == [plain]
    sgd = {"amount": 1, "currency": "SGD"}
    for changes, field in (
        ({"gross": sgd}, "gross.currency"),
        ({"fee": sgd}, "fee.currency"),
        ({"fees": [fees[0] | {"amount": sgd}]}, "fees.0.amount.currency"),
        ({"gross": {"amount": 1}}, "gross.currency"),
        ({"gross": {"amount": 1.5, "currency": "MYR"}}, "gross.amount"),
        ({"gross": "10800"}, "gross"),
    ):
        body = settled.body(reference="po_2") | changes
        problem = await shop.refused("POST", "/v1/settlements", body, key=settled.finance, status=422)
        assert problem["field"] == field


@pytest.mark.parametrize("kind", ["payment", "dispute"])
async def test_a_statement_gives_back_what_statements_took_and_no_more(settled: Settled, kind: str) -> None:
    """Else one person alone makes a seller rich: a dispute's fee is paid from, and back to, what is available."""

    def stated(amount: int) -> list[dict[str, Any]]:
        return [{"order_external_id": "4507", "kind": kind, "amount": amount}]

    before = await settled.balances()
    for amount in (-1, -1_000_000):
        problem = await settled.shop.refused(
            "POST", "/v1/settlements", settled.body(fees=stated(amount)), key=settled.finance, status=422
        )
        assert problem["field"] == "fees.0.amount"
    assert await settled.balances() == before
    await settled.shop.post("/v1/settlements", settled.body(fees=stated(1500), fee=1500), key=settled.finance)
    too_much = settled.body(reference="po_2", fees=stated(-1501))
    await settled.shop.refused("POST", "/v1/settlements", too_much, key=settled.finance, status=422)
    back = settled.body(reference="po_2", gross=0, fee=-1500, fees=stated(-1500))
    await settled.shop.post("/v1/settlements", back, key=settled.finance)
    # And the same again, which gives back nothing any more, is still the first.
    await settled.shop.post("/v1/settlements", back, key=settled.finance)
    [order] = (await settled.shop.get("/v1/orders", store_id=settled.store["id"], external_id="4507"))["items"]
    shown = order["dispute_fee"] if kind == "dispute" else order["split"]["payment_fee"]
    assert shown == myr(0)


async def test_of_one_order_a_statement_may_give_back_one_fee_and_not_the_other(settled: Settled) -> None:
    took = [{"order_external_id": "4509", "kind": "dispute", "amount": 1500}]  # the order itself is not here yet
    await settled.shop.post("/v1/settlements", settled.body(fees=took), key=settled.finance)
    wrong = [{"order_external_id": "4509", "kind": "payment", "amount": -1500}]
    body = settled.body(reference="po_2", fees=wrong)
    problem = await settled.shop.refused("POST", "/v1/settlements", body, key=settled.finance, status=422)
    assert problem["field"] == "fees.0.amount"


async def test_payment_fees_of_orders_are_parts_of_the_fee(settled: Settled) -> None:
    """Less is fine: others are not named. Disputes cost beside it, and what is given back makes room."""

    def fees(*amounts: int, kind: str = "payment", first: int = 4507) -> list[dict[str, Any]]:
        return [
            {"order_external_id": str(number), "kind": kind, "amount": amount}
            for number, amount in enumerate(amounts, start=first)
        ]

    shop, before = settled.shop, await settled.balances()
    for named in (fees(301), fees(300, 1), fees(300, 0, 1) + fees(-1, kind="dispute")):
        problem = await shop.refused(
            "POST", "/v1/settlements", settled.body(fees=named), key=settled.finance, status=422
        )
        assert problem["field"] == "fees"
        assert "(minor units), more than the fee of the settlement, 300" in problem["detail"]
    assert await settled.balances() == before
    for reference, fee, named in (
        ("all", 300, fees(100, 200) + fees(1500, kind="dispute")),
        ("less", 300, fees(299)),
        ("back", 250, fees(-50, 300)),
        ("nothing kept", 0, fees(40)),
        ("given back", -10, fees(-10)),
    ):
        body = settled.body(reference=reference, fee=fee, fees=named)
        told = await shop.post("/v1/settlements", body, key=settled.finance)
        assert await shop.post("/v1/settlements", body, key=settled.finance) == told
    [order] = (await shop.get("/v1/orders", store_id=settled.store["id"], external_id="4507"))["items"]
    assert order["split"]["payment_fee"] == myr(100 + 299 - 50 + 40 - 10)


async def test_fees_of_an_orders_disputes_are_stated_and_given_back_one_by_one(settled: Settled) -> None:
    def fee(amount: int, dispute_id: str | None = None) -> dict[str, Any]:
        named = {} if dispute_id is None else {"dispute_id": dispute_id}
        return {"order_external_id": "4507", "kind": "dispute", "amount": amount} | named

    shop = settled.shop
    took = settled.body(fees=[fee(1500, "d1"), fee(2500, "d2"), fee(100)])
    told = await shop.post("/v1/settlements", took, key=settled.finance)
    assert [each["dispute_id"] for each in told["fees"]] == ["d1", "d2", None]

    async def cost() -> Any:
        [order] = (await shop.get("/v1/orders", store_id=settled.store["id"], external_id="4507"))["items"]
        return order["dispute_fee"]

    assert await cost() == myr(4100)
    for fees, number in (
        ([fee(-1601, "d1")], 0),  # 1500 of it, and the 100 that might be its own
        ([fee(-1600, "d1"), fee(-1, "d1x")], 1),
        ([fee(-1600, "d1"), fee(-2501, "d2")], 1),
        ([fee(-4101)], 0),
        ([fee(-1500, "d1"), fee(-2601)], 1),
    ):
        body = settled.body(reference="po_2", fees=fees)
        problem = await shop.refused("POST", "/v1/settlements", body, key=settled.finance, status=422)
        assert problem["field"] == f"fees.{number}.amount"
    won = settled.body(reference="po_2", gross=0, fee=-1500, fees=[fee(-1500, "d1")])
    await shop.post("/v1/settlements", won, key=settled.finance)
    assert await cost() == myr(2600)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"fees": [{"order_external_id": "1", "amount": 1, "dispute_id": "d1"}]}, "fees.0.dispute_id"),
        (
            {"fees": [{"order_external_id": "1", "kind": "dispute", "amount": 1, "dispute_id": "d1"}] * 2},
            "fees.1.order_external_id",
        ),
        ({"gross": 0, "fee": 0}, "gross"),
        ({"settled_at": "2026-03-09T12:00:00Z"}, "settled_at"),
        ({"received_by": "a:b"}, "received_by"),
        ({"currency": "RM"}, "currency"),
        ({"fees": [{"order_external_id": "1", "amount": 1}] * 2}, "fees.1.order_external_id"),
    ],
)
async def test_what_makes_no_sense_is_refused(settled: Settled, changes: dict[str, Any], field: str) -> None:
    problem = await settled.shop.refused(
        "POST", "/v1/settlements", settled.body(**changes), key=settled.finance, status=422
    )
    assert problem["field"] == field
    assert (await settled.balances())["clearing"] == -10800


async def test_only_finance_books_and_a_seller_sees_their_own(settled: Settled) -> None:
    shop = settled.shop
    seller = await shop.key("seller", organization_id=settled.organization_id)
    other = await shop.key("seller", organization_id=(await shop.organization())["id"])
    for role in (None, await shop.key("auditor"), seller):
        key = {} if role is None else {"key": role}
        await shop.refused("POST", "/v1/settlements", settled.body(), status=403, **key)
    made = await shop.post("/v1/settlements", settled.body(), key=settled.finance)
    assert await shop.get(f"/v1/settlements/{made['id']}", key=seller) == made
    assert [each["id"] for each in (await shop.get("/v1/settlements", key=seller))["items"]] == [made["id"]]
    assert (await shop.get("/v1/settlements", key=other))["items"] == []
    await shop.refused("GET", f"/v1/settlements/{made['id']}", key=other, status=404)


async def test_a_seller_who_collects_himself_is_settled_nothing(settled: Settled) -> None:
    organization = await settled.shop.organization()
    store = await settled.shop.store(organization, settlement="seller_collected")
    problem = await settled.shop.refused(
        "POST", "/v1/settlements", settled.body(store_id=store["id"]), key=settled.finance, status=422
    )
    assert problem["field"] == "store_id"


async def test_a_dispute_is_delivered_shown_and_undone(sale: Sale) -> None:
    """Over the webhook: the money goes when it is withdrawn and comes back when it is won."""
    shop, store = sale.shop, sale.store
    dispute = {
        "id": 698735,
        "order_id": 4507,
        "type": "chargeback",
        "amount": "150.30",
        "currency": "MYR",
        "status": "needs_response",
        "finalized_on": None,
        "initiated_at": "2026-03-01T14:00:00+00:00",
    }
    answer = await shop.deliver(store, "disputes/create", dispute)
    assert answer["status"] == "accepted"
    order = await sale.order()
    assert order["refunded"] == order["subtotal"] == myr(14230)
    assert (order["collected"], order["cash_refunded"]) == (myr(15030), myr(15030))
    assert order["disputes"] == [
        {
            "dispute_id": "698735",
            "kind": "chargeback",
            "status": "needs_response",
            "stage": "counts",
            "amount": myr(15030),
            "fee": None,
            "since": "2026-03-01T14:00:00Z",
        }
    ]
    won = dispute | {"status": "won", "finalized_on": "2026-03-20"}
    await shop.deliver(store, "disputes/update", won)
    order = await sale.order()
    assert (order["refunded"], order["cash_refunded"]) == (myr(0), myr(0))
    assert [each["stage"] for each in order["disputes"]] == ["over"]
