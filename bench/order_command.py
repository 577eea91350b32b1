"""Claim: a full order command (dedupe, merge, attribute, rule, split, journal, balances; durable when answered) is
many times faster than the stock `eventsourcing` recorder in its safe mode saving the very same events.

Ours runs in one process with 64 and 256 callers on hot accounts: all orders of one seller and one creator. The stock
recorder saves the events of one order per transaction from 8 threads, its best; it decides nothing and keeps no
balances.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import uvloop
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from bench.claim import Measured
from bench.cpu import Cpu
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.cluster import SUPERUSER
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle
from colink.application.ports import Caller, Decision, Facts, Needs, Request
from colink.application.record_order import RecordOrder
from colink.cli.serve import settle_memory
from colink.domain.aggregates import Aggregate
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.organizations import (
    Organization,
    OrganizationDetails,
    Platform,
    Settlement,
    Store,
    StoreDetails,
)
from colink.domain.snapshots import FinancialStatus, OrderLine, OrderSnapshot
from colink.domain.tracking import Coupon, CouponDetails

ORDERS = 10_000
STOCK_ORDERS = 4_000
STOCK_THREADS = 8
GOALS = ((64, 5_000.0, 6.0), (256, 6_500.0, 0.0))  # callers, orders per second, times the baseline
BY = Caller(actor="bench", correlation_id="bench")
PLACED_AT = datetime(2026, 3, 1, tzinfo=UTC)
STORE = StoreDetails(
    id="sto_1",
    organization_id="org_1",
    platform=Platform.SHOPIFY,
    name="Kedai",
    settlement=Settlement.PLATFORM_COLLECTED,
)


@dataclass(frozen=True, kw_only=True)
class SetUp(Request):
    aggregates: Sequence[Aggregate]

    def needs(self) -> Needs:
        return Needs(streams=tuple(aggregate.id for aggregate in self.aggregates))

    def decide(self, _facts: Facts) -> Decision:
        events = [event for aggregate in self.aggregates for event in aggregate.new_events()]
        return Decision(answer={}, events=events, organization_id="org_1")


def run(server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    rates = uvloop.run(ours(server, database))
    baseline = stock(database.owner_dsn)
    return [
        Measured(
            claim=f"full order command, {callers} callers, 3 lines, hot accounts / stock recorder, same events",
            unit="orders/s",
            ours=rate,
            baseline=baseline,
            least=least,
            least_ratio=least_ratio or None,
            detail=detail,
        )
        for (callers, least, least_ratio), (rate, detail) in zip(GOALS, rates, strict=True)
    ]


async def ours(server: ServerHandle, database: Database) -> list[tuple[float, str]]:
    """Orders per second and CPU per order, for each number of callers. On the event loop that `colink serve` has."""
    name = str(conninfo_to_dict(database.app_dsn)["dbname"])
    superuser = server.dsn(SUPERUSER, "postgres")
    rates = []
    async with (
        create_pool(database.app_dsn, min_size=2, max_size=2, for_commands=True) as pool,
        Committer(pool, SystemClock(), in_flight=2) as bus,
    ):
        await bus.submit(SetUp(caller=BY, aggregates=seller()))
        for callers, _, _ in GOALS:
            await place(bus, news(f"warm{callers}", ORDERS // 10), callers)
            orders = news(f"c{callers}", ORDERS)
            settle_memory()
            cpu = Cpu.now(superuser, name)
            began = time.perf_counter()
            await place(bus, orders, callers)
            rates.append((ORDERS / (time.perf_counter() - began), f"{cpu.since(ORDERS)} an order"))
    return rates


async def place(bus: Committer, orders: Sequence[OrderSnapshot], callers: int) -> None:
    """All of the orders, so many at a time: each caller waits for its answer before the next."""
    told = iter(orders)

    async def caller() -> None:
        for snapshot in told:
            await bus.submit(RecordOrder(caller=BY, store=STORE, news=snapshot))

    await asyncio.gather(*(caller() for _ in range(callers)))


def news(name: str, count: int) -> list[OrderSnapshot]:
    """What a store tells: it is there before the clock runs, as the events are that the stock recorder saves."""
    return [order(f"{name}-{number}") for number in range(count)]


def seller() -> list[Aggregate]:
    rule = RuleDetails(id="rul_1", version=1, organization_id="org_1", scope=Scope.DEFAULT, rate_bps=1000)
    coupon = CouponDetails(id="cpn_1", organization_id="org_1", store_id="sto_1", code="aina10", creator_id="cre_1")
    details = OrganizationDetails(id="org_1", name="Kedai", platform_fee_bps=500)
    return [
        Organization.register(details, at=PLACED_AT),
        Store.connect(STORE, at=PLACED_AT),
        CommissionRule.add(rule, at=PLACED_AT),
        Coupon.create(coupon, at=PLACED_AT),
    ]


def order(external_id: str) -> OrderSnapshot:
    return OrderSnapshot(
        external_id=external_id,
        number=external_id,
        currency="MYR",
        placed_at=PLACED_AT,
        updated_at=PLACED_AT,
        status=FinancialStatus.PAID,
        cancelled=False,
        test=False,
        taxes_included=False,
        lines=tuple(OrderLine(line_id=str(n), quantity=1, base=19_567, current_quantity=1) for n in range(3)),
        total_price=59_894,
        total_outstanding=0,
        keys=OrderKeys(coupons=(CouponUse(code="aina10", discount=1000),)),
        refunds=(),
        digest=external_id,
    )


def stock(owner_dsn: str) -> float:
    """Orders per second of the library's own recorder, saving what we recorded, in a table beside."""
    orders = recorded_orders(owner_dsn)
    given = conninfo_to_dict(owner_dsn)
    datastore = PostgresDatastore(
        dbname=str(given["dbname"]),
        host=str(given["host"]),
        port=str(given["port"]),
        user=str(given["user"]),
        password="",  # our server knows its users by the socket
        pool_size=STOCK_THREADS,
        schema="colink",
        originator_id_type="text",
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name="stock_events")
    recorder.create_table()
    with ThreadPoolExecutor(STOCK_THREADS) as threads:
        list(threads.map(recorder.insert_events, orders[: STOCK_ORDERS // 10]))
        began = time.perf_counter()
        list(threads.map(recorder.insert_events, orders[STOCK_ORDERS // 10 :]))
        took = time.perf_counter() - began
    datastore.close()
    return (STOCK_ORDERS - STOCK_ORDERS // 10) / took


def recorded_orders(owner_dsn: str) -> list[list[StoredEvent]]:
    with psycopg.connect(owner_dsn) as connection:
        rows = connection.execute(
            "select stream_id, version, topic, payload from colink.events where position > 10"
            " order by position limit %s",
            [STOCK_ORDERS * 4],
        ).fetchall()
    events = [
        StoredEvent(originator_id=stream, originator_version=version, topic=topic, state=payload.encode())
        for stream, version, topic, payload in rows
    ]
    return [events[start : start + 4] for start in range(0, len(events), 4)]
