"""The promise, on a real PostgreSQL: a signed delivery is recorded once with all it leads to, whatever comes at once.

The real route, connector, committer and inbox; only the clock is the test's.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, Protocol

import httpx
import psycopg
from tests.adapters.stores.shopify_bodies import SECRET, an_order, signed
from tests.person_keys import keys

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.inbox import PostgresInbox, PostgresRejectionCounter, PostgresStoreDirectory
from colink.adapters.postgres.pool import create_pool
from colink.adapters.stores.shopify import ShopifyConnector
from colink.api.webhooks import Webhooks
from colink.application.configure.creators import RegisterCreator
from colink.application.configure.organizations import ConnectStore, RegisterOrganization
from colink.application.configure.promotion import CreateCoupon
from colink.application.configure.rules import AddCommissionRule
from colink.application.deliveries import StoreConnector, Translated, WebhookHeaders, replay_delivery
from colink.application.ports import Caller, Command, Recorded
from colink.application.store_directory import CachedStores
from colink.cli.shopify_traffic import Item, RefundedItem, SignedDelivery, order_body, refund_body
from colink.domain.commission import Scope
from colink.domain.errors import InvalidInput
from colink.domain.organizations import Platform, Settlement

CALLER = Caller(actor="test", correlation_id="test")
SETUP: tuple[Command, ...] = (
    RegisterOrganization(caller=CALLER, id="org_1", name="Kedai Sdn Bhd", platform_fee_bps=500),
    ConnectStore(
        caller=CALLER,
        id="sto_1",
        organization_id="org_1",
        platform=Platform.SHOPIFY,
        name="Kedai",
        settlement=Settlement.PLATFORM_COLLECTED,
        credentials={"webhook_secrets": ["rotated away", SECRET]},
    ),
    RegisterCreator(caller=CALLER, id="cre_1", handle="aina", display_name="Aina"),
    AddCommissionRule(caller=CALLER, id="rul_1", organization_id="org_1", scope=Scope.DEFAULT, rate_bps=1000),
    CreateCoupon(caller=CALLER, id="cou_1", creator_id="cre_1", store_id="sto_1", code="TENOFF"),
)


class Database(Protocol):
    """A fresh, migrated database; `app_dsn` logs in as the application's role."""

    app_dsn: str


class NotYetUnderstood:
    """A connector that lacks something, before it learns."""

    headers: WebhookHeaders = ShopifyConnector.headers

    def __init__(self) -> None:
        self._learned = ShopifyConnector(pepper=b"a pepper")
        self.learned = False

    def verify(self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
        return self._learned.verify(body, headers, secrets)

    def translate(self, topic: str, body: bytes) -> Translated:
        if not self.learned:
            msg = "expected what is known so far"
            raise InvalidInput(msg, field="line_items[0].kind")
        return self._learned.translate(topic, body)


@dataclass
class Shop:
    """The running route, and questions to the database."""

    dsn: str
    route: Webhooks
    replay: Callable[[str], Coroutine[Any, Any, Recorded]]

    async def post(self, delivery: SignedDelivery) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.route)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post("/webhooks/shopify/sto_1", content=delivery.body, headers=dict(delivery.headers))

    async def post_all(self, deliveries: Sequence[SignedDelivery]) -> list[httpx.Response]:
        """All of them at once."""
        return list(await asyncio.gather(*(self.post(delivery) for delivery in deliveries)))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query).fetchall()

    async def bodies(self) -> list[bytes]:
        """What was kept, by arrival, opened again."""
        async with create_pool(self.dsn) as pool:
            kept = [
                await PostgresInbox(pool, keys).delivery(source=source, delivery_id=delivery_id)
                for source, delivery_id in self.rows("select source, delivery_id from colink.inbox order by seq")
            ]
        return [delivery.body for delivery in kept if delivery is not None]

    def journals(self) -> list[str]:
        """The kinds of all journals, in the order they were posted."""
        query = "select kind from colink.entries group by journal_id, kind order by min(position)"
        return [kind for (kind,) in self.rows(query)]

    def balances(self) -> dict[str, int]:
        """What everybody owns and owes, payees' pending and available together; nothing where it is nothing."""
        sums: Counter[str] = Counter()
        for account, amount in self.rows("select account, amount from colink.balances"):
            sums[account.removesuffix(":pending").removesuffix(":available")] += amount
        return {account: amount for account, amount in sums.items() if amount}


@asynccontextmanager
async def open_shop(database: Database, connector: StoreConnector | None = None) -> AsyncIterator[Shop]:
    connectors: Mapping[Platform, StoreConnector] = {
        Platform.SHOPIFY: connector or ShopifyConnector(pepper=b"a pepper")
    }
    clock = SteadyClock()
    async with create_pool(database.app_dsn) as pool, create_pool(database.app_dsn, for_commands=True) as commands:
        directory = PostgresStoreDirectory(pool)
        async with Committer(commands, clock) as bus:
            for command in SETUP:
                await bus.submit(command)

            async def replay(id_: str) -> Recorded:
                return await replay_delivery(
                    id_,
                    caller=CALLER,
                    inbox=PostgresInbox(pool, keys),
                    stores=directory,
                    connectors=connectors,
                    bus=bus,
                )

            route = Webhooks(
                bus=bus,
                stores=CachedStores(directory, monotonic=lambda: 0.0),
                connectors=connectors,
                clock=clock,
                rejections=PostgresRejectionCounter(pool),
                keys=keys,
            )
            yield Shop(dsn=database.app_dsn, route=route, replay=replay)


class SteadyClock:
    def now(self) -> datetime:
        return datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def of_the_example() -> tuple[SignedDelivery, SignedDelivery]:
    """The order and the refund of the example in semantics section 5: three lines with a code over all of them, two
    of which are given back."""
    placed_at = datetime(2008, 1, 10, 16, 0, tzinfo=UTC)
    discounts = {1: "3.34", 2: "3.33", 3: "3.33"}
    items = [
        Item(line_id=line, title="Player", price="199.00", discount=discount, tax="3.98")
        for line, discount in discounts.items()
    ]
    order = order_body(
        order_id=450,
        number=1001,
        currency="USD",
        placed_at=placed_at,
        items=items,
        code="TENOFF",
        total_price="598.94",
    )
    refund = refund_body(
        refund_id=509,
        order_id=450,
        currency="USD",
        processed_at=placed_at + timedelta(days=1),
        items=[RefundedItem(item=items[2], subtotal="195.66"), RefundedItem(item=items[0], subtotal="195.67")],
        paid_back="209.00",
    )
    return (
        signed("orders/paid", order, webhook_id="wh-order"),
        signed("refunds/create", refund, webhook_id="wh-refund"),
    )


def test_64_posts_of_one_delivery_at_once_are_one_order(database: Database) -> None:
    async def story() -> None:
        async with open_shop(database) as shop:
            answers = await shop.post_all([signed("orders/paid", an_order())] * 64)
            assert {answer.status_code for answer in answers} == {200}
            assert Counter(answer.json()["status"] for answer in answers) == {"accepted": 1, "duplicate": 63}
            assert {answer.json()["order_id"] for answer in answers} == {"ord_sto_1.4507"}
            assert shop.rows("select delivery_id, status from colink.inbox") == [("wh-1", "accepted")]
            assert shop.journals() == ["sale"]
            assert (await shop.post(signed("orders/paid", an_order()))).json()["status"] == "duplicate"

    asyncio.run(story())


def test_64_deliveries_that_say_the_same_at_once_are_one_sale(database: Database) -> None:
    async def story() -> None:
        async with open_shop(database) as shop:
            deliveries = [signed("orders/paid", an_order(), webhook_id=f"wh-{number}") for number in range(64)]
            answers = await shop.post_all(deliveries)
            assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "accepted")}
            assert shop.rows("select count(*) from colink.inbox") == [(64,)]
            assert shop.journals() == ["sale"]

    asyncio.run(story())


def test_what_was_answered_can_be_read_at_once(database: Database) -> None:
    async def story() -> None:
        async with open_shop(database) as shop:
            await shop.post(of_the_example()[0])
            assert shop.balances() == {
                "store:sto_1:clearing": -59894,
                "platform:revenue": 2935,
                "payee:cre_1": 5870,
                "payee:org_1": 49895 + 1194,
            }

    asyncio.run(story())


def test_the_example_ends_the_same_however_its_refund_arrives(database: Database) -> None:
    """Before, after, or twice: as itself, and again under another delivery id."""
    order, refund = of_the_example()
    again = replace(refund, headers=dict(refund.headers) | {"X-Shopify-Webhook-Id": "wh-refund-2"})

    async def story() -> None:
        async with open_shop(database) as shop:
            for number, deliveries in enumerate(permutations((order, refund, refund, again)), start=1):
                for delivery in deliveries:
                    answer = await shop.post(about_order(delivery, number))
                    assert answer.status_code == 200
                expected = {
                    "store:sto_1:clearing": -59894 + 20900,
                    "platform:revenue": 979,
                    "payee:cre_1": 1957,
                    "payee:org_1": 16631 + 1194 + 39133 - 20900,
                }
                assert shop.balances() == {account: amount * number for account, amount in expected.items()}

    asyncio.run(story())


def test_a_bad_signature_leaves_a_count_and_nothing_else(database: Database) -> None:
    async def story() -> None:
        async with open_shop(database) as shop:
            before = shop.rows("select position from colink.log_head")
            forged = signed("orders/paid", an_order(), secret="guessed")
            assert (await shop.post(forged)).status_code == 401
            assert shop.rows("select source, reason, count from colink.webhook_rejections") == [
                ("sto_1", "bad_signature", 1)
            ]
            assert {answer.status_code for answer in await shop.post_all([forged] * 16)} == {401}
            assert shop.rows("select count from colink.webhook_rejections") == [(17,)]
            assert shop.rows("select count(*) from colink.inbox") == [(0,)]
            assert shop.rows("select position from colink.log_head") == before

    asyncio.run(story())


def test_what_cannot_be_used_is_kept_and_the_next_is_unaffected(database: Database) -> None:
    body = an_order()
    body["line_items"][0]["title"] = "T-shirt\x00"
    sent = [
        signed("orders/paid", body, webhook_id="wh-1"),
        signed("orders/paid", b"{", webhook_id="wh-2"),
        signed("orders/edited", {"order_edit": {"id": 1}}, webhook_id="wh-3"),
        signed("orders/paid", an_order(), webhook_id="wh-4"),
    ]

    async def story() -> None:
        async with open_shop(database) as shop:
            answers = [await shop.post(delivery) for delivery in sent]
            assert [answer.status_code for answer in answers] == [200, 400, 200, 200]
            kept = shop.rows("select status, problem::json->>'field', order_id from colink.inbox order by seq")
            assert kept == [
                ("rejected", "line_items[0].title", None),
                ("rejected", None, None),
                ("ignored", None, None),
                ("accepted", None, "ord_sto_1.4507"),
            ]
            assert await shop.bodies() == [delivery.body for delivery in sent]
            assert shop.journals() == ["sale"]
            again = [await shop.post(delivery) for delivery in sent]
            assert [answer.status_code for answer in again] == [200, 400, 200, 200]
            assert again[0].json() == answers[0].json()
            assert again[1].json() == answers[1].json()
            assert shop.rows("select count(*) from colink.inbox") == [(4,)]

    asyncio.run(story())


def test_a_rejected_delivery_is_read_again_when_it_is_understood(database: Database) -> None:
    connector = NotYetUnderstood()
    sent = signed("orders/paid", an_order())

    async def story() -> None:
        async with open_shop(database, connector) as shop:
            assert (await shop.post(sent)).json()["status"] == "rejected"
            assert (await shop.replay("dlv_sto_1.wh-1")).answer["status"] == "rejected"
            connector.learned = True
            recorded = await shop.replay("dlv_sto_1.wh-1")
            assert recorded.answer == {"status": "accepted", "order_id": "ord_sto_1.4507"}
            assert shop.rows("select status, problem, order_id, replayed_at is null from colink.inbox") == [
                ("accepted", None, "ord_sto_1.4507", False)
            ]
            assert await shop.bodies() == [sent.body]
            assert shop.journals() == ["sale"]
            assert (await shop.replay("dlv_sto_1.wh-1")).replayed
            assert shop.journals() == ["sale"]
            assert (await shop.post(sent)).json() == {"status": "duplicate", "order_id": "ord_sto_1.4507"}

    asyncio.run(story())


def test_replays_at_once_are_one_order(database: Database) -> None:
    connector = NotYetUnderstood()

    async def story() -> None:
        async with open_shop(database, connector) as shop:
            await shop.post(signed("orders/paid", an_order()))
            connector.learned = True
            answers = await asyncio.gather(*(shop.replay("dlv_sto_1.wh-1") for _ in range(8)))
            assert {recorded.answer["order_id"] for recorded in answers} == {"ord_sto_1.4507"}
            assert shop.journals() == ["sale"]

    asyncio.run(story())


def about_order(delivery: SignedDelivery, number: int) -> SignedDelivery:
    """The same delivery about another order."""
    body = json.loads(delivery.body)
    body["order_id" if "order_id" in body else "id"] = number
    return signed(
        delivery.headers["X-Shopify-Topic"],
        body,
        webhook_id=f"{delivery.headers['X-Shopify-Webhook-Id']}-{number}",
    )
