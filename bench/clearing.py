"""Claim: what counts by the month clears nearly as fast where its seller had to pay for it first. Each of his orders
looks at the whole period before it clears (decision 22), so that is read once for a batch of them.

Both sell a month's orders under a rule with a cap per month, three lines each, all credited to one creator; a month
later the worker's job clears them, 256 at once. One collects the money himself, and has paid; the platform collects
the other's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from bench.claim import Measured
from bench.order_command import BY, PLACED_AT, SetUp, order
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle
from colink.application.jobs import clearing_job
from colink.application.record_order import RecordOrder
from colink.application.seller_payments import RecordSellerPayment
from colink.application.seller_settlement import SettlementDesk
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.money import Money
from colink.domain.organizations import (
    Organization,
    OrganizationDetails,
    Platform,
    Settlement,
    Store,
    StoreDetails,
)
from colink.domain.tracking import Coupon, CouponDetails
from colink.projections.engine import Pool
from colink.projections.orders import due_orders
from colink.projections.seller_billing import SettlementTables

ORDERS = 2_000
LEAST_RATIO = 0.2


class _InMay:
    """A clock: the month of the orders is over, and so is what they are held for."""

    def now(self) -> datetime:
        return datetime(2026, 5, 1, tzinfo=UTC)


def run(_server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    ours, baseline = asyncio.run(rates(database))
    return [
        Measured(
            claim=f"clear {ORDERS:,} orders of a capped month, paid for by their seller / collected by us",
            unit="orders/s",
            ours=ours,
            baseline=baseline,
            least_ratio=LEAST_RATIO,
        )
    ]


async def rates(database: Database) -> list[float]:
    """Orders that clear a second, of each seller."""
    found = []
    async with (
        create_pool(database.app_dsn, min_size=2, max_size=2, for_commands=True) as commands,
        create_pool(database.app_dsn, min_size=1, max_size=2) as reads,
        Committer(commands, _InMay(), in_flight=2) as bus,
    ):
        for number, settlement in enumerate((Settlement.SELLER_COLLECTED, Settlement.PLATFORM_COLLECTED)):
            store = await sell(bus, number, settlement)
            if settlement is Settlement.SELLER_COLLECTED:
                await pay(bus, reads, store.organization_id)
            began = time.perf_counter()
            cleared = await clear(bus, reads)
            assert cleared == ORDERS, cleared
            found.append(ORDERS / (time.perf_counter() - began))
    return found


async def sell(bus: Committer, number: int, settlement: Settlement) -> StoreDetails:
    organization_id, store_id = f"org_{number}", f"sto_{number}"
    store = StoreDetails(
        id=store_id, organization_id=organization_id, platform=Platform.SHOPIFY, name="Kedai", settlement=settlement
    )
    details = OrganizationDetails(id=organization_id, name="Kedai", platform_fee_bps=500)
    rule = RuleDetails(
        id=f"rul_{number}",
        version=1,
        organization_id=organization_id,
        scope=Scope.DEFAULT,
        rate_bps=1000,
        cap_per_month=Money(1_000_00, "MYR"),
    )
    coupon = CouponDetails(
        id=f"cpn_{number}", organization_id=organization_id, store_id=store_id, code="aina10", creator_id="cre_1"
    )
    made = [
        Organization.register(details, at=PLACED_AT),
        Store.connect(store, at=PLACED_AT),
        CommissionRule.add(rule, at=PLACED_AT),
        Coupon.create(coupon, at=PLACED_AT),
    ]
    await bus.submit(SetUp(caller=BY, aggregates=made))
    orders = [RecordOrder(caller=BY, store=store, news=order(f"{number}-{each}")) for each in range(ORDERS)]
    await asyncio.gather(*(bus.submit(each) for each in orders))
    return store


async def pay(bus: Committer, reads: Pool, organization_id: str) -> None:
    """For all orders, with plenty left."""
    payment = RecordSellerPayment(
        caller=BY,
        organization_id=organization_id,
        amount=Money(ORDERS * 1_000_00, "MYR"),
        reference="MBB-1",
        received_at=PLACED_AT,
        currencies=("MYR",),
    )
    await bus.submit(payment)
    desk = SettlementDesk(bus, SettlementTables(reads))
    while await desk.run():
        pass


async def clear(bus: Committer, reads: Pool) -> int:
    """What the worker's job clears until nothing is due."""

    async def due(now: datetime, limit: int) -> Sequence[str]:
        async with reads.connection() as connection:
            return await due_orders(connection, now=now, limit=limit)

    job, cleared = clearing_job(bus, due, _InMay()), 0
    while some := await job():
        cleared += some
    return cleared
