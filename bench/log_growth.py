"""Claim: an order costs the same however large the log has become.

Two databases of one server: one with a young log, one whose log was filled with the events, entries, orders and
deliveries of orders that the real command recorded, copied under other names. Orders are then recorded on both in
turn, and the CPU they take is compared: it is what a growing index would cost, and less disturbed than the clock.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import uvloop
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bench.claim import Measured
from bench.cpu import Cpu
from bench.order_command import BY, PLACED_AT, STORE, SetUp, order, seller
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.cluster import SUPERUSER
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database, provision
from colink.adapters.postgres.server import ServerHandle
from colink.application.ports import Delivery, DeliveryStatus
from colink.application.record_order import RecordOrder

EVENTS = 1_000_000  # of the large log; 5,000,000 take some 12 GB and ten minutes to fill
YOUNG_ORDERS = 2_500  # of four events each: what is copied, and all that the young log has
ROUNDS, ORDERS, CALLERS = 4, 1_500, 64
MOST = 1.2  # times the cost on the young log
BODY = b'{"id":820982911946154508,"name":"#9999","note":"what the platform sent"}' * 20

_COPIES = (
    """
    insert into colink.events (position, stream_id, version, topic, schema_version, payload, organization_id,
                               recorded_at, actor, correlation_id, causation_id)
    select position + copy * {span}, replace(stream_id, 'g0-', 'g' || copy || '-'), version, topic, schema_version,
           replace(payload, 'g0-', 'g' || copy || '-'), organization_id, recorded_at, actor, correlation_id,
           causation_id
      from generate_series(1, {copies}) as copy, lateral (
           select * from colink.events where position > {before} and position <= {before} + {span} order by position
           offset 0) e""",
    """
    insert into colink.entries (position, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency,
                                organization_id, order_id, line_id, payout_id, effective_at, recorded_at,
                                credited_after)
    select position + copy * {span}, ordinal, replace(journal_id, 'g0-', 'g' || copy || '-'), kind, account, payee_id,
           purpose, amount, currency, organization_id, replace(order_id, 'g0-', 'g' || copy || '-'), line_id,
           payout_id, effective_at, recorded_at, credited_after
      from generate_series(1, {copies}) as copy, lateral (
           select * from colink.entries where position > {before} and position <= {before} + {span}
           order by position, ordinal offset 0) e""",
    """
    insert into colink.orders (order_id, organization_id, store_id, external_id, placed_at, creator_id, claims,
                               clears_at, created_position, position)
    select replace(order_id, 'g0-', 'g' || copy || '-'), organization_id, store_id,
           replace(external_id, 'g0-', 'g' || copy || '-'), placed_at, creator_id, claims, clears_at,
           created_position + copy * {span}, position + copy * {span}
      from generate_series(1, {copies}) as copy, lateral (
           select * from colink.orders order by position offset 0) o""",
    """
    insert into colink.inbox (source, delivery_id, topic, headers, body, received_at, status, problem, answer,
                              order_id, position, recorded_at)
    select source, replace(delivery_id, 'g0-', 'g' || copy || '-'), topic, headers, body, received_at, status,
           problem, answer, replace(order_id, 'g0-', 'g' || copy || '-'), position + copy * {span}, recorded_at
      from generate_series(1, {copies}) as copy, lateral (
           select * from colink.inbox order by seq offset 0) i""",
)
_TOTALS = """
    update colink.balances set amount = amount * ({copies} + 1), debits = debits * ({copies} + 1),
           credits = credits * ({copies} + 1), version = version * ({copies} + 1),
           position = position + {copies} * {span};
    update colink.log_head set position = position + {copies} * {span}"""


@dataclass(frozen=True)
class Cost:
    """CPU microseconds an order, and orders per second by the clock."""

    cpu: float
    rate: float


def run(server: ServerHandle, database: Database) -> list[Measured]:
    large = provision(server, "bench_log_growth_large")
    for each in (database, large):
        migrate(each.owner_dsn)
        uvloop.run(record(server, each, "g0", YOUNG_ORDERS))
    events = fill(large)
    young_costs, large_costs = [], []
    for number in range(ROUNDS):
        for each, costs in ((database, young_costs), (large, large_costs)):
            costs.append(uvloop.run(record(server, each, f"round{number}", ORDERS)))
    # The first round of each warms plans and buffers; of the others the least disturbed tells the cost.
    ours, young = (min(cost.cpu for cost in costs[1:]) for costs in (large_costs, young_costs))
    rates = [max(cost.rate for cost in costs[1:]) for costs in (large_costs, young_costs)]
    return [
        Measured(
            claim=f"cost of an order with {events:,} events in the log / with {YOUNG_ORDERS * 4:,}",
            unit="us of CPU",
            ours=ours,
            baseline=young,
            most_ratio=MOST,
            detail=f"by the clock {rates[0]:,.0f} / {rates[1]:,.0f} orders/s",
        )
    ]


async def record(server: ServerHandle, database: Database, name: str, orders: int) -> Cost:
    """Record so many orders as a store delivers them, each delivery kept."""
    numbers = iter(range(orders))
    async with (
        create_pool(database.app_dsn, min_size=2, max_size=2, for_commands=True) as pool,
        Committer(pool, SystemClock(), in_flight=2) as bus,
    ):
        if name == "g0":
            await bus.submit(SetUp(caller=BY, aggregates=seller()))

        async def caller() -> None:
            for number in numbers:
                await bus.submit(delivered(f"{name}-{number:07}"))

        cpu = Cpu.now(server.dsn(SUPERUSER, "postgres"), str(conninfo_to_dict(database.app_dsn)["dbname"]))
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return Cost(cpu.spent_since() / orders * 1e6, orders / (time.perf_counter() - began))


def delivered(external_id: str) -> RecordOrder:
    command = RecordOrder(caller=BY, store=STORE, news=order(external_id), delivery_key=("sto_1", external_id))
    delivery = Delivery(
        source="sto_1",
        delivery_id=external_id,
        topic="orders/create",
        headers={"x-shopify-topic": "orders/create"},
        body=BODY,
        received_at=PLACED_AT,
        status=DeliveryStatus.ACCEPTED,
        order_id=command.order_id,
    )
    return RecordOrder(
        caller=BY, store=STORE, news=command.news, delivery_key=command.delivery_key, delivery=delivery
    )


def fill(database: Database) -> int:
    """Copy what is there until the log has EVENTS events; how many it has then."""
    span = YOUNG_ORDERS * 4
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        head = _head(connection)
        values = {"span": span, "before": head - span, "copies": max(1, EVENTS // span - 1)}
        with ThreadPoolExecutor(len(_COPIES)) as threads:
            list(threads.map(lambda copy: _execute(database.owner_dsn, copy, values), _COPIES))
        for statement in _TOTALS.split(";"):
            connection.execute(_with(statement, values))
        connection.execute("vacuum analyze")
        return _head(connection)


def _execute(dsn: str, statement: str, values: dict[str, int]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_with(statement, values))


def _with(statement: str, values: dict[str, int]) -> sql.Composed:
    return sql.SQL(statement).format(**{name: sql.Literal(value) for name, value in values.items()})


def _head(connection: psycopg.Connection[tuple[int]]) -> int:
    row = connection.execute("select position from colink.log_head").fetchone()
    assert row is not None
    return row[0]
