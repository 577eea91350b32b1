"""What was written can be read at once: entries, balances, documents, orders, payouts, deliveries, in pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.adapters.postgres.commands import NOON, Decide, delivery, journal, nothing, our_events
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool
from colink.application.ports import DeliveryStatus
from colink.domain.campaigns import Campaign, CampaignDetails
from colink.domain.catalog import Product, ProductDetails, Sku
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.money import Money
from colink.projections.balances_in_time import list_balances
from colink.projections.documents import (
    document_by_id,
    document_by_key,
    list_documents,
)
from colink.projections.entries import list_credits, list_entries
from colink.projections.inbox import delivery as delivery_of
from colink.projections.inbox import list_deliveries

DAY = timedelta(days=1)
AVAILABLE = "payee:cre_1:available"


@pytest.fixture
def store(database: Any) -> Store:
    return Store(database)


async def post(bus: Committer, journal_id: str, *legs: tuple[str, int], at: datetime = NOON, **more: Any) -> None:
    event = journal(journal_id, *legs, effective_at=at, **more)
    await bus.submit(Decide(make=lambda _: nothing(events=[event])))


def test_balances_now_as_of_a_time_and_at_a_position(store: Store) -> None:
    async def story(bus: Committer, pool: AsyncPool) -> None:
        await post(bus, "j1", (AVAILABLE, 100), ("platform:revenue", -100), at=NOON)
        await post(bus, "j2", (AVAILABLE, -30), ("platform:revenue", 30), at=NOON + 2 * DAY)
        # Recorded last, effective in between.
        await post(bus, "j3", (AVAILABLE, 7), ("platform:revenue", -7), at=NOON + DAY)
        await post(bus, "j4", ("payee:cre_1:pending", 1), ("platform:revenue", -1), at=NOON + DAY, currency="JPY")

        async with pool.connection() as connection:

            async def amounts(**asked: Any) -> list[tuple[str, str, int]]:
                return [(b.account, b.currency, b.amount) for b in await list_balances(connection, **asked)]

            assert await amounts(account=AVAILABLE) == [(AVAILABLE, "MYR", 77)]
            assert await amounts(payee_id="cre_1") == [(AVAILABLE, "MYR", 77), ("payee:cre_1:pending", "JPY", 1)]
            assert await amounts(payee_id="cre_") == []
            assert await amounts(account=AVAILABLE, as_of=NOON) == [(AVAILABLE, "MYR", 100)]
            assert await amounts(account=AVAILABLE, as_of=NOON + DAY) == [(AVAILABLE, "MYR", 107)]
            assert await amounts(account=AVAILABLE, at_position=2) == [(AVAILABLE, "MYR", 70)]
            assert await amounts(account=AVAILABLE, at_position=2, as_of=NOON) == [(AVAILABLE, "MYR", 100)]
            assert await amounts(prefix="platform:") == [
                ("platform:revenue", "JPY", -1),
                ("platform:revenue", "MYR", -77),
            ]
            assert await amounts(account=AVAILABLE, as_of=NOON - DAY) == []

    store.run(story)


def test_entries_come_in_pages_and_in_log_order(store: Store) -> None:
    async def story(bus: Committer, pool: AsyncPool) -> None:
        for n in range(5):
            await post(bus, f"j{n}", (AVAILABLE, n + 1), ("payee:cre_2:pending", -n - 1))
        async with pool.connection() as connection:
            pages, after = [], None
            while page := await list_entries(connection, payee_id="cre_1", after=after, limit=2):
                pages.append([entry.journal_id for entry in page])
                after = page[-1].cursor
            assert pages == [["j0", "j1"], ["j2", "j3"], ["j4"]]
            everything = await list_entries(connection, limit=100)
            assert [(entry.position, entry.ordinal) for entry in everything] == [
                (position, ordinal) for position in range(1, 6) for ordinal in (0, 1)
            ]
            assert [entry.credited_after for entry in everything[::2]] == [1, 3, 6, 10, 15]
            assert {entry.credited_after for entry in everything[1::2]} == {None}
            assert everything[0].recorded_at == NOON
            assert await list_entries(connection, order_id="ord_1") == []

    store.run(story)


def test_the_entries_of_a_stretch_of_cleared_in_stretch(store: Store) -> None:
    async def story(bus: Committer, pool: AsyncPool) -> None:
        for n, amount in enumerate((10, -4, 20, 30)):  # the line: [0, 10) [10, 30) [30, 60)
            await post(bus, f"j{n}", (AVAILABLE, amount), ("platform:revenue", -amount))
        await post(bus, "j_back", (AVAILABLE, 5), ("payee:cre_1:in_transit", -5), payout_id="pay_1")
        async with pool.connection() as connection:

            async def in_stretch(start: int, end: int, **page: int) -> list[str]:
                found = await list_credits(
                    connection, account=AVAILABLE, currency="MYR", start=start, end=end, **page
                )
                return [entry.journal_id for entry in found]

            assert await in_stretch(0, 60) == ["j0", "j2", "j3"]
            assert await in_stretch(0, 10) == ["j0"]
            assert await in_stretch(9, 11) == ["j0", "j2"]
            assert await in_stretch(10, 31) == ["j2", "j3"]
            assert await in_stretch(30, 60) == ["j3"]
            assert await in_stretch(0, 60, limit=1) == ["j0"]
            assert await in_stretch(0, 60, after=10) == ["j2", "j3"]

    store.run(story)


def test_documents_by_id_by_key_and_by_organisation(store: Store) -> None:
    def product(title: str, *skus: str) -> ProductDetails:
        return ProductDetails(
            id="prd_1",
            organization_id="org_1",
            store_id="sto_1",
            external_id="1",
            title=title,
            skus=tuple(Sku(id=f"sku_{s}", external_id=s, sku=s, price=Money(100, "MYR")) for s in skus),
        )

    async def story(bus: Committer, pool: AsyncPool) -> None:
        tea = Product.record(product("Tea", "a", "b"), at=NOON)
        tea.change(product("Green tea", "a", "b", "c"), at=NOON)
        aina = Creator.register(CreatorDetails(id="cre_1", handle="aina", display_name="Aina"), at=NOON)
        campaigns = [
            Campaign.create(CampaignDetails(id=f"cmp_{n}", organization_id="org_1", name="x", slug=f"s{n}"), at=NOON)
            for n in range(3)
        ]
        for aggregate in (tea, aina, *campaigns):
            events = our_events(aggregate)
            await bus.submit(Decide(make=lambda _, events=events: nothing(events=events)))

        async with pool.connection() as connection:
            newest = await document_by_id(connection, ProductDetails, "prd_1")
            assert newest is not None
            assert newest.details(ProductDetails) == product("Green tea", "a", "b", "c")
            assert (newest.version, newest.position, newest.organization_id) == (2, 2, "org_1")
            first = await document_by_id(connection, ProductDetails, "prd_1", version=1)
            assert first is not None
            assert first.details(ProductDetails).title == "Tea"
            assert await document_by_id(connection, ProductDetails, "prd_1", version=3) is None
            assert await document_by_id(connection, CreatorDetails, "prd_1") is None
            for id_, version in (("sku_a", 2), ("sku_c", 2)):
                sku = await document_by_id(connection, Sku, id_)
                assert sku is not None
                assert (sku.id, sku.version, sku.organization_id) == (id_, version, "org_1")
            assert await document_by_id(connection, Sku, "sku_x") is None
            found = await document_by_key(connection, CreatorDetails, "aina")
            assert found is not None
            assert found.id == "cre_1"
            assert await document_by_key(connection, CreatorDetails, "Aina") is None
            page = await list_documents(connection, CampaignDetails, organization_id="org_1", limit=2)
            assert [document.id for document in page] == ["cmp_0", "cmp_1"]
            page = await list_documents(connection, CampaignDetails, organization_id="org_1", after_id="cmp_1")
            assert [document.id for document in page] == ["cmp_2"]
            assert await list_documents(connection, CampaignDetails, organization_id="org_2") == []

    store.run(story)


def test_deliveries_are_listed_as_they_came_with_their_bodies_apart(store: Store) -> None:
    async def story(bus: Committer, pool: AsyncPool) -> None:
        told = [
            delivery("d_1"),
            delivery("d_2", status=DeliveryStatus.REJECTED, problem={"title": "no lines"}),
            delivery("d_3", order_id="ord_1"),
        ]
        for one in told:
            await bus.submit(Decide(make=lambda _, one=one: nothing(one)))
        async with pool.connection() as connection:
            listed = await list_deliveries(connection, source="sto_1")
            assert [row.delivery_id for row in listed] == ["d_1", "d_2", "d_3"]
            assert [row.delivery_id for row in await list_deliveries(connection, after=listed[0].seq)] == [
                "d_2",
                "d_3",
            ]
            (rejected,) = await list_deliveries(connection, status="rejected")
            assert (rejected.delivery_id, rejected.problem) == ("d_2", '{"title":"no lines"}')
            (of_order,) = await list_deliveries(connection, order_id="ord_1")
            found = await delivery_of(connection, "sto_1", "d_3")
            assert found == (of_order, delivery("d_3").body)
            assert await delivery_of(connection, "sto_1", "d_9") is None

    store.run(story)
