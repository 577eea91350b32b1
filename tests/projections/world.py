"""A small shop on a real database: two creators with coupons, orders and refunds by the real commands."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from tests.conftest import TestDatabase

from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.application.deliveries import inbox_id
from colink.application.ports import (
    Caller,
    Decision,
    Delivery,
    DeliveryStatus,
    Facts,
    Needs,
    PrivateValue,
    Recorded,
    Request,
)
from colink.application.record_order import News, RecordOrder, StandaloneRefund, order_of
from colink.domain.aggregates import Event
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.campaigns import Campaign, CampaignDetails
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.organizations import (
    Organization,
    OrganizationDetails,
    Platform,
    Settlement,
    Store,
    StoreDetails,
)
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)
from colink.domain.tracking import Coupon, CouponDetails, Touch, TouchDetails, TouchKind
from colink.projections.attribution_report import AttributionReport
from colink.projections.balances_in_time import BalancesInTime
from colink.projections.engine import Projection, ProjectionEngine
from colink.projections.leaderboard import Leaderboard

ORGANIZATION, STORE, CAMPAIGN = "org_1", "sto_1", "cmp_1"
AINA, BUDI = "cre_aina", "cre_budi"
CALLER = Caller(actor="test", correlation_id="cor_1")
KEEPERS: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("events", "append_only"),
    ("tracking_events", "append_only"),
    *((table, "append_only") for table in ("seals", "merkle_nodes", "checkpoints", "checkpoint_keys")),
    ("idempotency_keys", "append_only"),
    ("inbox", "stays"),
    ("inbox", "stays_as_it_came"),
)
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # 17:00 in Kuala Lumpur


@dataclass
class SetClock:
    time: datetime = MONDAY

    def now(self) -> datetime:
        return self.time


@dataclass(frozen=True, kw_only=True)
class Record(Request):
    """Records given events as they are."""

    events: Sequence[Event]
    organization_id: str | None = ORGANIZATION
    private: Sequence[PrivateValue] = ()

    def needs(self) -> Needs:
        return Needs(streams=tuple({event.originator_id for event in self.events}))

    def decide(self, facts: Facts) -> Decision:
        return Decision(
            answer={}, events=self.events, organization_id=self.organization_id, private=list(self.private)
        )


@dataclass
class World:
    """What tests do to the shop, and where they look."""

    database: TestDatabase
    pool: AsyncPool
    commerce: Committer
    tracking: Committer
    clock: SetClock
    mapper: EventMapper = field(default_factory=EventMapper)
    touches: int = 0
    deliveries: int = 0

    @property
    def store(self) -> StoreDetails:
        return StoreDetails(
            id=STORE,
            organization_id=ORGANIZATION,
            platform=Platform.SHOPIFY,
            name="Kedai",
            settlement=Settlement.PLATFORM_COLLECTED,
            domain="www.kedai.example",
        )

    async def record(self, *events: Event) -> Recorded:
        return await self.commerce.submit(Record(caller=CALLER, events=events))

    async def set_up(self) -> None:
        at = self.clock.now()
        terms = OrganizationDetails(id=ORGANIZATION, name="Kedai", platform_fee_bps=500, timezone="Asia/Kuala_Lumpur")
        await self.record(*Organization.register(terms, at=at).new_events())
        secrets = PrivateValue(owner_id=STORE, name="webhook_secrets", value='["a secret"]')
        connected = Store.connect(self.store, at=at).new_events()
        await self.commerce.submit(Record(caller=CALLER, events=connected, private=[secrets]))
        campaign = CampaignDetails(id=CAMPAIGN, organization_id=ORGANIZATION, name="Raya", slug="raya")
        await self.record(*Campaign.create(campaign, at=at).new_events())
        rule = RuleDetails(id="rul_1", version=1, organization_id=ORGANIZATION, scope=Scope.DEFAULT, rate_bps=1_000)
        await self.record(*CommissionRule.add(rule, at=at).new_events())
        for creator_id in (AINA, BUDI):
            handle = creator_id.removeprefix("cre_")
            creator = CreatorDetails(id=creator_id, handle=handle, display_name=handle.title())
            await self.record(*Creator.register(creator, at=at).new_events())
            coupon = CouponDetails(
                id=f"cpn_{handle}",
                organization_id=ORGANIZATION,
                store_id=STORE,
                code=handle.upper(),
                creator_id=creator_id,
                campaign_id=CAMPAIGN,
            )
            await self.record(*Coupon.create(coupon, at=at).new_events())

    def snapshot_command(
        self,
        number: int,
        *lines: int,
        creator: str | None = AINA,
        placed_at: datetime | None = None,
        currency: str = "MYR",
        cancelled: bool = False,
        later: timedelta = timedelta(0),
        discount: int = 100,
        clicks: Sequence[str] = (),
    ) -> RecordOrder:
        """A paid order whose lines have these bases, by the coupon of a creator."""
        placed = placed_at or MONDAY
        coupons = (CouponUse(code=creator.removeprefix("cre_"), discount=discount),) if creator else ()
        snapshot = OrderSnapshot(
            external_id=str(number),
            number=f"#{number}",
            currency=currency,
            placed_at=placed,
            updated_at=placed + later,
            status=FinancialStatus.PAID,
            cancelled=cancelled,
            test=False,
            taxes_included=False,
            lines=tuple(
                OrderLine(line_id=str(n), quantity=1, base=base, product_external_id="7", current_quantity=1)
                for n, base in enumerate(lines, start=1)
            ),
            total_price=sum(lines),
            total_outstanding=0,
            keys=OrderKeys(coupons=coupons, click_ids=tuple(clicks)),
            refunds=(),
            digest=f"{number:04}{later}{cancelled}",
        )
        return RecordOrder(caller=CALLER, store=self.store, news=snapshot)

    async def order(self, number: int, *lines: int, **details: Any) -> str:
        """Deliver `snapshot_command`; the order's id."""
        recorded = await self.commerce.submit(self.snapshot_command(number, *lines, **details))
        return str(recorded.answer["order_id"])

    async def refund(self, number: int, *, line: int, amount: str, at: datetime | None = None) -> None:
        """Money given back for a line, in major units."""
        refund = Refund(
            refund_id=f"{number}{line}{amount}",
            processed_at=at or MONDAY + timedelta(days=1),
            lines=(RefundLine(line_id=str(line), quantity=1, subtotal=Decimal(amount), tax=Decimal(0)),),
            amount_only=Decimal(0),
            transactions=(
                RefundTransaction(
                    transaction_id=f"t{number}{line}", amount=Decimal(amount), status=TransactionStatus.SUCCESS
                ),
            ),
            detail=1,
            digest=f"r{number}{line}{amount}",
        )
        await self.tell(StandaloneRefund(order_external_id=str(number), refund=refund))

    async def tell(self, news: News) -> Recorded:
        """Snapshots as in bulk, of which no body is kept; the rest as a delivery of its own."""
        if isinstance(news, OrderSnapshot):
            return await self.commerce.submit(RecordOrder(caller=CALLER, store=self.store, news=news))
        self.deliveries += 1
        body, delivery_id = repr(news).encode(), f"told{self.deliveries}"
        news = replace(news, body_digest=hashlib.sha256(body).hexdigest())
        delivery = Delivery(
            source=STORE,
            delivery_id=delivery_id,
            topic="told",
            headers={},
            body=body,
            received_at=self.clock.now(),
            status=DeliveryStatus.ACCEPTED,
            order_id=order_of(self.store, news),
        )
        caller = Caller(actor=f"webhook:{STORE}", correlation_id=inbox_id(STORE, delivery_id))
        return await self.commerce.submit(RecordOrder(caller=caller, store=self.store, news=news, delivery=delivery))

    async def touch(self, creator: str = AINA, **details: Any) -> None:
        """A click of the campaign's link unless told otherwise."""
        self.touches += 1
        touch = TouchDetails(
            **{
                "id": f"clk_{self.touches}",
                "kind": TouchKind.CLICK,
                "creator_id": creator,
                "occurred_at": MONDAY,
                "link_id": f"lnk_{creator}",
                "campaign_id": CAMPAIGN,
                "organization_id": ORGANIZATION,
            }
            | details
        )
        events = Touch.record(touch, at=self.clock.now()).new_events()
        recorded = Record(caller=CALLER, events=events, organization_id=touch.organization_id)
        await self.tracking.submit(recorded)

    def projections(self) -> list[Projection]:
        return [AttributionReport(), Leaderboard(), BalancesInTime()]

    def engine(self, *, batch_size: int = 5_000, projections: Sequence[Projection] | None = None) -> ProjectionEngine:
        return ProjectionEngine(
            self.pool, projections or self.projections(), self.mapper.newest, batch_size=batch_size
        )

    def tamper(self, *statements: str) -> list[int]:
        """As the owner of the schema. How many rows each statement touched."""
        with psycopg.connect(self.database.owner_dsn) as conn:
            return [conn.execute(statement.encode()).rowcount for statement in statements]

    def tamper_as_superuser(self, statement: str) -> None:
        with psycopg.connect(self.database.superuser_dsn) as conn:
            conn.execute(statement.encode())

    def tamper_with_log(self, *statements: str) -> list[int]:
        """As a superuser who switches off what keeps the logs and the inbox."""
        with psycopg.connect(self.database.superuser_dsn) as conn:
            for table, trigger in KEEPERS:
                conn.execute(f"ALTER TABLE colink.{table} DISABLE TRIGGER {trigger}")
            touched = [conn.execute(statement.encode()).rowcount for statement in statements]
            for table, trigger in KEEPERS:
                conn.execute(f"ALTER TABLE colink.{table} ENABLE ALWAYS TRIGGER {trigger}")
        return touched

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            return await (await conn.execute(query, values)).fetchall()


@asynccontextmanager
async def open_world(database: TestDatabase) -> AsyncIterator[World]:
    """The shop on a fresh, migrated database: everything set up, nothing sold yet."""
    clock = SetClock()
    pool = create_pool(database.app_dsn, max_size=16)  # as many as three projections need when all are built
    await pool.open()
    try:
        async with Committer(pool, clock) as commerce, Committer(pool, clock, log=TRACKING) as tracking:
            world = World(database=database, pool=pool, commerce=commerce, tracking=tracking, clock=clock)
            await world.set_up()
            yield world
    finally:
        await pool.close()
