"""Promise: what a shopper clicks is durable before the redirect and is found again when the order arrives.

The real routes, committers and PostgreSQL; only the clock and the ids are the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.person_keys import keys

from colink.adapters.crawlers import KnownCrawlers
from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.lookups import PostgresLookups
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.salts import PostgresSalts, destroy_old_salts
from colink.api.tracking import TrackingRoutes
from colink.application.configure.campaigns import CreateCampaign
from colink.application.configure.creators import RegisterCreator
from colink.application.configure.organizations import ConnectStore, RegisterOrganization
from colink.application.configure.promotion import CreateCoupon, CreateLink
from colink.application.ports import Caller, Command, Decision, Facts, Needs, Request
from colink.application.record_order import RecordOrder
from colink.application.track import RememberedLookups
from colink.domain.attribution import Attribution, CouponUse, OrderKeys, rederive
from colink.domain.orders import Order
from colink.domain.organizations import Platform, Settlement, StoreDetails
from colink.domain.snapshots import FinancialStatus, OrderLine, OrderSnapshot
from colink.domain.terms import Terms
from colink.domain.tracking import SetAside, TouchDetails
from colink.projections.touches import seen_touch

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 10, 23, 30, 0, tzinfo=UTC)
PERSON = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
CALLER = Caller(actor="test", correlation_id="test")
STORE = StoreDetails(
    id="sto_1",
    organization_id="org_1",
    platform=Platform.SHOPIFY,
    name="Kedai",
    settlement=Settlement.PLATFORM_COLLECTED,
    domain="kedai.example",
)
SETUP: tuple[Command, ...] = (
    RegisterOrganization(caller=CALLER, id="org_1", name="Kedai Sdn Bhd", platform_fee_bps=500),
    ConnectStore(
        caller=CALLER,
        id="sto_1",
        organization_id="org_1",
        platform=Platform.SHOPIFY,
        name="Kedai",
        settlement=Settlement.PLATFORM_COLLECTED,
        credentials={"webhook_secrets": ["s"]},
        domain="kedai.example",
    ),
    RegisterCreator(caller=CALLER, id="cre_ana", handle="ana", display_name="Ana"),
    RegisterCreator(caller=CALLER, id="cre_ben", handle="ben", display_name="Ben"),
    CreateCampaign(caller=CALLER, id="cmp_1", organization_id="org_1", name="Raya", slug="raya"),
    CreateLink(
        caller=CALLER,
        id="lnk_ana",
        creator_id="cre_ana",
        campaign_id="cmp_1",
        destination="https://kedai.example/p?a=1",
        code="ana",
    ),
    CreateLink(caller=CALLER, id="lnk_ben", creator_id="cre_ben", destination="https://kedai.example/", code="ben"),
    CreateCoupon(caller=CALLER, id="cou_ben", creator_id="cre_ben", store_id="sto_1", code="BEN10"),
)


@dataclass(frozen=True, kw_only=True)
class ReadTerms(Request):
    """Answers nothing; `read` is given what the order command would be given."""

    read: list[Terms]

    def needs(self) -> Needs:
        return Needs(terms_of="org_1")

    def decide(self, facts: Facts) -> Decision:
        self.read.append(facts.terms())
        return Decision(answer={})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Database(Protocol):
    """A fresh, migrated database; `app_dsn` logs in as the application's role."""

    app_dsn: str


class Shop:
    """The running parts, and what a shopper and a shop do with them."""

    def __init__(self, pool: AsyncPool, commands: AsyncPool) -> None:
        self.time = START
        self.pool = pool
        self.commerce = Committer(commands, self)
        self.tracking = Committer(commands, self, log=TRACKING)
        self.salts = PostgresSalts(pool)
        self._numbers = count(1)
        self.routes = TrackingRoutes(
            bus=self.tracking,
            lookups=RememberedLookups(PostgresLookups(pool, handle_digest=partial(keys().digest, purpose="handle"))),
            salts=self.salts,
            crawlers=KnownCrawlers(),
            ids=self._new_id,
            clock=self,
            public_url="http://127.0.0.1:8000",
        )

    def now(self) -> datetime:
        return self.time

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):08}"

    async def get(
        self,
        path: str,
        *,
        method: str = "GET",
        cookies: Mapping[str, str] | None = None,
        address: str = "203.0.113.9",
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.routes, client=(address, 5000))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://go.example", headers={"user-agent": PERSON}, cookies=cookies
        ) as http:
            return await http.request(method, path)

    async def click(self, code: str, **who: str) -> str:
        """Follow a link; returns the click id that the shop is handed."""
        response = await self.get(f"/l/{code}", **who)
        assert response.status_code == 302
        return parse_qs(urlsplit(response.headers["location"]).query)["colink_ref"][0]

    async def touches(self) -> list[TouchDetails]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute("select position, body from colink.touches order by position")
            return [seen_touch(*row).details for row in await cursor.fetchall()]

    async def order(self, number: int, keys: OrderKeys) -> Attribution:
        snapshot = OrderSnapshot(
            external_id=str(number),
            number=f"#{number}",
            currency="MYR",
            placed_at=self.time,
            updated_at=self.time,
            status=FinancialStatus.PAID,
            cancelled=False,
            test=False,
            taxes_included=False,
            lines=(OrderLine(line_id="1", quantity=1, base=10_000),),
            total_price=10_000,
            total_outstanding=0,
            keys=keys,
            refunds=(),
            digest=f"digest {number} {keys}",
        )
        command = RecordOrder(caller=CALLER, store=STORE, news=snapshot)
        await self.commerce.submit(command)
        return await self._attribution(command.order_id)

    async def _attribution(self, order_id: str) -> Attribution:
        found: list[Order | None] = []

        @dataclass(frozen=True, kw_only=True)
        class ReadOrder(Request):
            def needs(self) -> Needs:
                return Needs(streams=(order_id,))

            def decide(self, facts: Facts) -> Decision:
                found.append(facts.aggregate(Order, order_id))
                return Decision(answer={})

        await self.commerce.submit(ReadOrder(caller=CALLER))
        assert found[0] is not None
        assert found[0].attribution is not None
        return found[0].attribution


@asynccontextmanager
async def open_shop(dsn: str) -> AsyncIterator[Shop]:
    async with create_pool(dsn) as pool, create_pool(dsn, for_commands=True) as commands:
        shop = Shop(pool, commands)
        async with shop.commerce, shop.tracking:
            for command in SETUP:
                await shop.commerce.submit(command)
            yield shop


def reasons(attribution: Attribution) -> list[tuple[str, str, str]]:
    return [(c.kind.value, c.creator_id, c.reason.value) for c in attribution.candidates]


async def test_an_order_finds_its_click_by_click_id(database: Database) -> None:
    async with open_shop(database.app_dsn) as shop:
        click_id = await shop.click("ana")
        (recorded,) = await shop.touches()
        assert (recorded.id, recorded.link_id, recorded.occurred_at) == (click_id, "lnk_ana", START)

        shop.time += timedelta(days=7)
        credited = await shop.order(1, OrderKeys(click_ids=(click_id,)))
        assert reasons(credited) == [("click", "cre_ana", "winner")]
        assert (credited.creator_id, credited.campaign_id, credited.touch_id) == ("cre_ana", "cmp_1", click_id)

        shop.time += timedelta(seconds=1)
        late = await shop.order(2, OrderKeys(click_ids=(click_id,)))
        assert reasons(late) == [("click", "cre_ana", "outside_window")]
        assert late.creator_id is None


async def test_a_click_id_brings_its_visitors_other_touches(database: Database) -> None:
    async with open_shop(database.app_dsn) as shop:
        first = await shop.get("/l/ana")
        cookies = dict(first.cookies)
        shop.time += timedelta(minutes=5)
        await shop.get("/l/ben", cookies=cookies)
        await shop.get("/v1/views/raya.gif?creator=ana", cookies=cookies)
        click_id = parse_qs(urlsplit(first.headers["location"]).query)["colink_ref"][0]

        shop.time += timedelta(minutes=5)
        by_click = await shop.order(1, OrderKeys(click_ids=(click_id,)))
        by_visitor = await shop.order(2, OrderKeys(visitor_ids=(cookies["colink_vid"],)))
        expected = [
            ("click", "cre_ben", "winner"),
            ("click", "cre_ana", "earlier_touch"),
            ("view", "cre_ana", "outranked_by_click"),
        ]
        assert reasons(by_click) == expected
        assert reasons(by_visitor) == expected


async def test_a_coupon_finds_its_creator_and_a_later_key_decides_again(database: Database) -> None:
    async with open_shop(database.app_dsn) as shop:
        click_id = await shop.click("ana")
        nobody = await shop.order(1, OrderKeys())
        assert (nobody.creator_id, nobody.tracking_position) == (None, 1)
        too_late = await shop.click("ben")

        by_click = await shop.order(1, OrderKeys(click_ids=(click_id, too_late)))
        assert reasons(by_click) == [("click", "cre_ben", "recorded_late"), ("click", "cre_ana", "winner")]
        by_coupon = await shop.order(1, OrderKeys(coupons=(CouponUse(code="ben10", discount=500),)))
        assert reasons(by_coupon) == [
            ("coupon", "cre_ben", "winner"),
            ("click", "cre_ben", "recorded_late"),
            ("click", "cre_ana", "outranked_by_coupon"),
        ]
        assert by_coupon.keys.click_ids == tuple(sorted((click_id, too_late)))

        read: list[Terms] = []
        await shop.commerce.submit(ReadTerms(caller=CALLER, read=read))
        for recorded in (nobody, by_click, by_coupon):
            assert rederive(recorded, store=STORE, terms=read[0]) == recorded


async def test_repeats_within_an_hour_are_marked_and_creditable(database: Database) -> None:
    """The hour spans midnight, where the salt changes."""
    async with open_shop(database.app_dsn) as shop:
        await shop.click("ana")
        await shop.click("ana", address="203.0.113.10")
        await shop.click("ben")
        shop.time = START + timedelta(hours=1)
        repeat = await shop.click("ana")
        shop.time += timedelta(hours=1, seconds=1)
        await shop.click("ana")
        touches = await shop.touches()
        assert [touch.repeat for touch in touches] == [False, False, False, True, False]
        assert touches[3].network_hash != touches[0].network_hash
        credited = await shop.order(1, OrderKeys(click_ids=(repeat,)))
        assert (credited.creator_id, credited.touch_id) == ("cre_ana", repeat)


async def test_a_head_request_is_recorded_and_credited_to_nobody(database: Database) -> None:
    async with open_shop(database.app_dsn) as shop:
        response = await shop.get("/l/ana", method="HEAD")
        click_id = parse_qs(urlsplit(response.headers["location"]).query)["colink_ref"][0]
        (touch,) = await shop.touches()
        assert (touch.set_aside, touch.network_hash) == (SetAside.HEAD_REQUEST, None)
        decision = await shop.order(1, OrderKeys(click_ids=(click_id,)))
        assert reasons(decision) == [("click", "cre_ana", "head_request")]
        assert decision.creator_id is None


async def test_clicks_at_once_are_all_recorded_and_one_of_them_counts(database: Database) -> None:
    async with open_shop(database.app_dsn) as shop:
        sent = await asyncio.gather(*(shop.click("ana") for _ in range(32)))
        touches = await shop.touches()
        assert {touch.id for touch in touches} == set(sent)
        assert len(set(sent)) == 32
        assert [touch.repeat for touch in touches].count(False) == 1


async def test_a_link_works_from_the_moment_it_exists(database: Database) -> None:
    async with open_shop(database.app_dsn) as shop:
        assert (await shop.get("/l/new")).status_code == 404
        await shop.commerce.submit(
            CreateLink(caller=CALLER, id="lnk_new", creator_id="cre_ana", destination="https://k.example", code="new")
        )
        assert (await shop.get("/l/new")).status_code == 302
        assert len(await shop.touches()) == 1


async def test_salts_are_shared_and_destroyed_after_48_hours(database: Database) -> None:
    async with create_pool(database.app_dsn) as pool:
        day = datetime(2026, 3, 10, tzinfo=UTC)
        sources = [PostgresSalts(pool) for _ in range(4)]
        made = await asyncio.gather(*(source.salts(day + timedelta(hours=12)) for source in sources))
        assert len(set(made)) == 1
        (first,) = made[0]
        assert len(first) == 32

        after_midnight = await sources[0].salts(day + timedelta(hours=24, minutes=59))
        assert after_midnight[1:] == (first,)
        assert after_midnight[0] != first
        assert await sources[1].salts(day + timedelta(hours=25)) == after_midnight[:1]

        assert await destroy_old_salts(pool, at=day + timedelta(hours=48) - timedelta(seconds=1)) == 0
        assert await destroy_old_salts(pool, at=day + timedelta(hours=48)) == 1
        assert await PostgresSalts(pool).salts(day + timedelta(hours=24, minutes=30)) == after_midnight[:1]
        assert await destroy_old_salts(pool, at=day + timedelta(hours=72)) == 1
