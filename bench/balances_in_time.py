"""Claim: the balance of any account at any moment takes milliseconds on millions of entries, of the hottest account
too, where adding up its entries takes half a second.

The log is loaded: orders of three lines of twenty sellers and three hundred creators over ninety days, one in eight
of them back-dated by up to a month; each adds three entries to platform:revenue. The sums are built by the projection
itself. Every moment is one of three kinds: by effective time, as recorded at a position, both at once; the baseline
adds up entries for the same moments, and says the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median, quantiles

import psycopg
from psycopg import sql

from bench.claim import Measured
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle
from colink.projections.balances_in_time import Balance, BalancesInTime, list_balances
from colink.projections.engine import Connection, ProjectionEngine

ENTRIES = 2_000_000
MOMENTS = 1_000
NAIVE_MOMENTS = 12
AN_ORDER = 11  # entries
DAYS = 90
START = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 50.0  # milliseconds

_ORDERS = """
create temporary table sold as
select n, n * 4 as position, 'org_' || n % 20 as seller, 'sto_' || n % 20 as store,
       'cre_' || floor(random() * random() * 300)::integer as creator,
       {start}::timestamptz + n * ({days} * interval '1 day' / {orders}) as recorded_at,
       (array[3000, 5990, 12000])[1 + n % 3] + floor(random() * 5000)::integer as base,
       case when random() < 0.125 then random() * interval '30 days' else random() * interval '5 seconds' end as late
  from generate_series(1, {orders}) as n"""
_LOAD_ENTRIES = """
insert into colink.entries (position, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency,
                            organization_id, order_id, line_id, effective_at, recorded_at)
select s.position, e.ordinal, 'jrn_' || s.n, 'sale', e.account, e.payee_id, e.purpose, e.amount, 'MYR', s.seller,
       'ord_' || s.n, nullif(e.line, 0)::text, s.recorded_at - s.late, s.recorded_at
  from sold s, lateral (values
       (0, 'store:' || s.store || ':clearing', null, 'collected', -3 * s.base - 800, 0),
       (1, 'platform:revenue', null, 'platform_fee', s.base / 20, 1),
       (2, 'payee:' || s.creator || ':pending', s.creator, 'commission', s.base / 10, 1),
       (3, 'payee:' || s.seller || ':pending', s.seller, 'seller_take', s.base - s.base / 20 - s.base / 10, 1),
       (4, 'platform:revenue', null, 'platform_fee', s.base / 20, 2),
       (5, 'payee:' || s.creator || ':pending', s.creator, 'commission', s.base / 10, 2),
       (6, 'payee:' || s.seller || ':pending', s.seller, 'seller_take', s.base - s.base / 20 - s.base / 10, 2),
       (7, 'platform:revenue', null, 'platform_fee', s.base / 20, 3),
       (8, 'payee:' || s.creator || ':pending', s.creator, 'commission', s.base / 10, 3),
       (9, 'payee:' || s.seller || ':pending', s.seller, 'seller_take', s.base - s.base / 20 - s.base / 10, 3),
       (10, 'payee:' || s.seller || ':pending', s.seller, 'pass_through', 800, 0)
       ) as e (ordinal, account, payee_id, purpose, amount, line)
 order by s.position, e.ordinal"""
_LOAD_EVENTS = """
insert into colink.events (position, stream_id, version, topic, schema_version, payload, recorded_at, actor,
                           correlation_id)
select position, journal_id, 1, 'journal.posted', 2,
       json_build_object('kind', 'sale', 'effective_at', to_json(effective_at), 'order_id', order_id,
           'class_version', 2, 'postings', json_agg(json_build_object('account', account, 'amount', amount,
                'currency', currency, 'purpose', purpose, 'line_id', line_id)))::text,
       recorded_at, 'bench', 'bench'
  from colink.entries group by position, journal_id, effective_at, recorded_at, order_id order by position"""
_LOAD_BALANCES = """
insert into colink.balances (account, currency, amount, debits, credits, credited, version, position)
select account, currency, sum(amount), sum(least(amount, 0)), sum(greatest(amount, 0)), 0, count(*), max(position)
  from colink.entries group by 1, 2"""
_UNUSED = (
    "entries_of_order",
    "entries_credited",
    "entries_of_payout",
)  # slow to load, and no balance is read by them


@dataclass(frozen=True)
class Moment:
    as_of: datetime | None
    at_position: int | None


def run(_server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    load(database.owner_dsn, orders=ENTRIES // AN_ORDER)
    return asyncio.run(measured(database))


def load(dsn: str, *, orders: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("set synchronous_commit = off")
        for index in _UNUSED:
            connection.execute(f"drop index if exists colink.{index}".encode())
        connection.execute(sql.SQL(_ORDERS).format(start=START.isoformat(), days=DAYS, orders=orders))
        for statement in (_LOAD_ENTRIES, _LOAD_EVENTS, _LOAD_BALANCES):
            connection.execute(statement.encode())
        connection.execute("update colink.log_head set position = %s, recorded_at = %s", [orders * 4, START])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze colink.entries")
        connection.execute("vacuum analyze colink.balances")


async def measured(database: Database) -> list[Measured]:
    async with create_pool(database.app_dsn, min_size=1, max_size=8) as pool:
        began = time.perf_counter()
        await ProjectionEngine(pool, [BalancesInTime()], EventMapper().newest).run_until_caught_up()
        built = ENTRIES / (time.perf_counter() - began)
        with psycopg.connect(database.app_dsn, autocommit=True) as connection:
            connection.execute("vacuum analyze colink_read.balance_moves_v1, colink_read.balance_sums_v1")
        random = Random(1)  # noqa: S311 - moments to measure, no secrets
        return [
            await compared(pool, "platform:revenue, the hottest account", random, account="platform:revenue"),
            await compared(pool, "a payee", random, payee_id="cre_7"),
            await compared(pool, "accounts that begin alike", random, prefix="payee:org_"),
            await compared(pool, f"all accounts; sums built at {built:,.0f} entries/s", random),
        ]


async def compared(pool: AsyncPool, what: str, random: Random, **asked: str) -> Measured:
    moments = [moment(random) for _ in range(MOMENTS)]
    async with pool.connection() as conn:
        ours = [
            await timed(list_balances(conn, **asked, as_of=each.as_of, at_position=each.at_position))
            for each in moments
        ]
        naive = [await timed(added_up(conn, each, **asked)) for each in moments[:NAIVE_MOMENTS]]
    for (_, found), (_, expected) in zip(ours, naive, strict=False):
        assert found == expected, what
    times = [seconds * 1e3 for seconds, _ in ours]
    return Measured(
        claim=f"balance at a random moment of {ENTRIES:,} entries: {what} / added up",
        unit="ms",
        ours=quantiles(times, n=100)[98],
        baseline=median(seconds * 1e3 for seconds, _ in naive),
        most=MOST,
        detail=f"p99 of {MOMENTS:,}; p50 {median(times):.1f} ms, max {max(times):.1f} ms; {len(ours[0][1])} balances",
    )


def moment(random: Random) -> Moment:
    as_of = START + timedelta(seconds=random.randint(-20 * 86_400, DAYS * 86_400))
    at_position = random.randint(1, ENTRIES // AN_ORDER * 4)
    return random.choice([Moment(as_of, None), Moment(None, at_position), Moment(as_of, at_position)])


async def timed(answer: Awaitable[Sequence[Balance]]) -> tuple[float, Sequence[Balance]]:
    began = time.perf_counter()
    found = await answer
    return time.perf_counter() - began, found


async def added_up(
    conn: Connection, moment: Moment, *, account: str | None = None, payee_id: str | None = None, prefix: str = ""
) -> list[Balance]:
    """As it was done before there were sums."""
    cursor = await conn.execute(
        "select account, currency, sum(amount)::bigint from colink.entries"
        " where (%(account)s::text is null or account = %(account)s)"
        " and (%(payee)s::text is null or payee_id = %(payee)s) and starts_with(account, %(prefix)s)"
        " and effective_at <= coalesce(%(as_of)s::timestamptz, 'infinity')"
        " and position <= coalesce(%(at_position)s::bigint, 9223372036854775807) group by 1, 2 order by 1, 2",
        {
            "account": account,
            "payee": payee_id,
            "prefix": prefix,
            "as_of": moment.as_of,
            "at_position": moment.at_position,
        },
    )
    return [Balance(account=name, currency=money, amount=amount) for name, money, amount in await cursor.fetchall()]
