"""A large commerce log for `bench/replay.py`, true to its last row, made in a fraction of the time that it takes to
record one.

One seller's month is recorded by the real commands: orders of three lines, most by a coupon, refunds, corrected
orders, clearings, payouts. Then it is copied as that of as many sellers as it takes: ids, which all hold the seller's
tag, and positions are moved, in payloads too; balances are added up from the entries. Verification finds nothing in
it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.provision import Database
from colink.application.clear_order import ClearOrder
from colink.application.payout_jobs import PayoutDesk
from colink.application.payout_rails import PayoutInstruction
from colink.application.payouts import RegisterPayoutAccount, RequestPayout
from colink.application.ports import Caller, Command, Decision, Facts, Needs, Request
from colink.application.record_order import RecordOrder, StandaloneRefund
from colink.domain.aggregates import Aggregate
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.campaigns import Campaign, CampaignDetails
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.organizations import Organization, OrganizationDetails, Platform, Settlement, Store, StoreDetails
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome, ProviderReport
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)
from colink.domain.tracking import Coupon, CouponDetails
from colink.projections.payout_queue import PayoutTables

TAG = "x0000"
"""In every id of the recorded seller; the copies have x0001, x0002 ... in its place."""
ORDERS = 1_500
REFUNDED, CORRECTED, UNCLEARED = 5, 10, 3  # one order in so many
PLACED_AT = datetime(2026, 3, 1, tzinfo=UTC)
BY = Caller(actor="bench", correlation_id=f"cor_{TAG}")
STORE = StoreDetails(
    id=f"sto_{TAG}",
    organization_id=f"org_{TAG}",
    platform=Platform.SHOPIFY,
    name="Kedai",
    settlement=Settlement.PLATFORM_COLLECTED,
)
CREATORS = tuple(f"cre_{TAG}{number}" for number in range(4))


@dataclass
class MonthClock:
    """What the commands take for now."""

    time: datetime = PLACED_AT

    def now(self) -> datetime:
        return self.time


@dataclass(frozen=True, kw_only=True)
class SetUp(Request):
    aggregates: Sequence[Aggregate]

    def needs(self) -> Needs:
        return Needs(streams=tuple(aggregate.id for aggregate in self.aggregates))

    def decide(self, _facts: Facts) -> Decision:
        events = [event for aggregate in self.aggregates for event in aggregate.new_events()]
        return Decision(answer={}, events=events, organization_id=STORE.organization_id)


class PayingRail:
    """A provider that pays at once."""

    def __init__(self) -> None:
        self._paid: dict[str, ProviderReport] = {}

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        report = ProviderReport(
            reference=instruction.reference,
            outcome=ProviderOutcome.PAID,
            amount=instruction.amount,
            currency=instruction.currency,
        )
        self._paid[instruction.reference] = report
        return report

    async def find(self, reference: str) -> ProviderReport | None:
        return self._paid.get(reference)

    def callback_reference(self, _headers: Any, _body: bytes) -> str | None:
        return None


def make_log(database: Database, *, events: int) -> int:
    """Fill a migrated, empty database with a log of at least so many events; how many there are."""
    asyncio.run(record_month(database.app_dsn))
    return copy_month(database.owner_dsn, events=events)


async def record_month(dsn: str) -> None:
    clock = MonthClock()
    async with create_pool(dsn, min_size=2, max_size=4) as pool, Committer(pool, clock, in_flight=2) as bus:
        await bus.submit(SetUp(caller=BY, aggregates=seller()))
        for payee in (*CREATORS, STORE.organization_id):
            account = RegisterPayoutAccount(caller=BY, payee_id=payee, rail=Rail.SANDBOX, currency="MYR", details={})
            await bus.submit(account)
        await at_once(bus, [RecordOrder(caller=BY, store=STORE, news=order(number)) for number in range(ORDERS)])
        clock.time += timedelta(days=3)
        corrected = [
            replace(order(number), updated_at=clock.time, lines=lines(number, count=4), digest=f"{number}+")
            for number in range(0, ORDERS, CORRECTED)
        ]
        await at_once(bus, [RecordOrder(caller=BY, store=STORE, news=news) for news in corrected])
        refunds = [refund(number, at=clock.time) for number in range(1, ORDERS, REFUNDED)]
        await at_once(bus, [RecordOrder(caller=BY, store=STORE, news=news) for news in refunds])
        clock.time += timedelta(days=17)
        due = [f"ord_{STORE.id}.{number}" for number in range(ORDERS) if number % UNCLEARED]
        await at_once(bus, [ClearOrder(caller=BY, order_id=order_id) for order_id in due])
        await pay(bus, pool, clock)


async def at_once(bus: Committer, commands: Sequence[Command], *, callers: int = 128) -> None:
    waiting = iter(commands)

    async def caller() -> None:
        for command in waiting:
            await bus.submit(command)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def nothing_sealed(payee_id: str, *, account_id: str, text: str) -> None:
    """Accounts of this log are recorded in clear."""


async def pay(bus: Committer, pool: AsyncPool, clock: MonthClock) -> None:
    """Every payee is paid what has cleared."""
    for number, payee in enumerate((*CREATORS, STORE.organization_id)):
        request = RequestPayout(
            caller=BY, payout_id=f"pyt_{TAG}{number}", payee_id=payee, currency="MYR", automatic_approval=True
        )
        await bus.submit(request)
    numbers = itertools.count()
    desk = PayoutDesk(
        bus=bus,
        queue=PayoutTables(pool),
        rails={Rail.SANDBOX: PayingRail()},
        ids=lambda prefix: f"{prefix}_{TAG}.{next(numbers)}",
        clock=clock,
        automatic_approval=True,
        account_details=nothing_sealed,
    )
    while await desk.run():
        pass


def seller() -> list[Aggregate]:
    organization_id = STORE.organization_id
    details = OrganizationDetails(id=organization_id, name="Kedai", platform_fee_bps=500)
    campaign = CampaignDetails(id=f"cmp_{TAG}", organization_id=organization_id, name="Raya", slug=f"raya-{TAG}")
    rule = RuleDetails(
        id=f"rul_{TAG}", version=1, organization_id=organization_id, scope=Scope.DEFAULT, rate_bps=1000
    )
    creators = [CreatorDetails(id=id_, handle=id_, display_name=id_) for id_ in CREATORS]
    coupons = [
        CouponDetails(
            id=f"cpn_{TAG}{number}",
            organization_id=organization_id,
            store_id=STORE.id,
            code=f"{TAG}{number}",
            creator_id=id_,
            campaign_id=campaign.id,
        )
        for number, id_ in enumerate(CREATORS)
    ]
    return [
        Organization.register(details, at=PLACED_AT),
        Store.connect(STORE, at=PLACED_AT),
        Campaign.create(campaign, at=PLACED_AT),
        CommissionRule.add(rule, at=PLACED_AT),
        *(Creator.register(creator, at=PLACED_AT) for creator in creators),
        *(Coupon.create(coupon, at=PLACED_AT) for coupon in coupons),
    ]


def lines(number: int, *, count: int) -> tuple[OrderLine, ...]:
    """Of prices that no other order has."""
    return tuple(
        OrderLine(line_id=str(n), quantity=1, base=5_000 + 37 * number + n, current_quantity=1) for n in range(count)
    )


def order(number: int) -> OrderSnapshot:
    """Three lines; one order in eight by nobody's coupon."""
    creator = number % 8
    coupons = (CouponUse(code=f"{TAG}{creator % len(CREATORS)}", discount=1000),) if creator else ()
    return OrderSnapshot(
        external_id=str(number),
        number=f"#{number}",
        currency="MYR",
        placed_at=PLACED_AT,
        updated_at=PLACED_AT,
        status=FinancialStatus.PAID,
        cancelled=False,
        test=False,
        taxes_included=False,
        lines=lines(number, count=3),
        total_price=3 * (5_000 + 37 * number) + 1_200,
        total_outstanding=0,
        keys=OrderKeys(coupons=coupons),
        refunds=(),
        digest=str(number),
    )


def refund(number: int, *, at: datetime) -> StandaloneRefund:
    """One of the three lines."""
    amount = Decimal(lines(number, count=3)[1].base) / 100
    given_back = RefundTransaction(transaction_id=f"t{number}", amount=amount, status=TransactionStatus.SUCCESS)
    return StandaloneRefund(
        order_external_id=str(number),
        refund=Refund(
            refund_id=f"r{number}",
            processed_at=at,
            lines=(RefundLine(line_id="1", quantity=1, subtotal=amount, tax=Decimal(0)),),
            amount_only=Decimal(0),
            transactions=(given_back,),
            detail=1,
            digest=f"r{number}",
        ),
    )


_COPIED = ("events", "entries", "orders", "payouts", "documents", "terms_heads")
_POSITIONS = {"position", "created_position"}
_NAMED_IN_DECISIONS = re.compile(r'("(?:terms_)?position":)(\d+)')
_DROP_INDEXES_OF_ENTRIES = """
do $$ declare name text; begin
    for name in select indexname from pg_indexes
                 where schemaname = 'colink' and tablename = 'entries' and indexname <> 'entries_pkey'
    loop execute format('drop index colink.%I', name); end loop;
end $$"""  # they are slow to load, and nothing here uses them
_MONTH = timedelta(days=30)
Value = str | int | bool | datetime | None


def copy_month(dsn: str, *, events: int) -> int:
    with psycopg.connect(dsn) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute(_DROP_INDEXES_OF_ENTRIES)
        (month,) = connection.execute("select position from colink.log_head").fetchone() or (0,)
        copies = max(-(-events // month) - 1, 0)
        for table in _COPIED:
            copy_table(connection, table, month=month, copies=copies)
        connection.execute(
            "update colink.log_head set (position, recorded_at) ="
            " (select position, recorded_at from colink.events order by position desc limit 1)"
        )
        connection.execute("delete from colink.balances")
        connection.execute(
            "insert into colink.balances (account, currency, amount, debits, credits, credited, version, position)"
            " select account, currency, sum(amount), sum(least(amount, 0)), sum(greatest(amount, 0)),"
            " coalesce(max(credited_after), 0), count(*), max(position) from colink.entries group by 1, 2"
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    return int(month * (copies + 1))


def copy_table(connection: psycopg.Connection[Any], table: str, *, month: int, copies: int) -> None:
    cursor = connection.execute(f"select * from colink.{table} order by position".encode())
    columns = [column.name for column in cursor.description or ()]
    rows = cursor.fetchall()
    with connection.cursor().copy(f"copy colink.{table} ({', '.join(columns)}) from stdin".encode()) as copy:
        for number in range(1, copies + 1):
            for row in rows:
                copy.write_row(
                    [moved(*cell, number=number, by=month * number) for cell in zip(columns, row, strict=True)]
                )


def moved(column: str, value: Value, *, number: int, by: int) -> Value:
    """A value of the month as it stands in the copy of this number, whose positions are higher by so many."""
    if column in _POSITIONS and isinstance(value, int):
        return value + by
    if column == "recorded_at" and isinstance(value, datetime):
        return value + number * _MONTH
    if not isinstance(value, str):
        return value
    if column == "payload" and ('"terms_position"' in value or '"terms":{' in value):
        value = _NAMED_IN_DECISIONS.sub(lambda found: f"{found[1]}{int(found[2]) + by}", value)
    return value.replace(TAG, f"x{number:04}")
