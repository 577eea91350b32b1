"""The promise, on a real PostgreSQL: however a store's deliveries arrive, the books end the same.

500 random stories. Each is told in the order it happened, reversed, and in three other orders with duplicates, to an
order of its own of the same store, through the committer. Then sums per (order line, account), statuses and split are
compared: before anything is due, when some of it has cleared, and when all has.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg
from tests.scenarios.stories import PLACED_AT, renamed, shuffled, story

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import create_pool
from colink.application.clear_order import ClearOrder
from colink.application.ports import Caller, Decision, Facts, Needs, Request
from colink.application.record_order import News, RecordOrder
from colink.domain.aggregates import Aggregate
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.ids import order_id
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.organizations import (
    FeeSchedule,
    Organization,
    OrganizationDetails,
    Platform,
    Settlement,
    Store,
    StoreDetails,
)
from colink.domain.snapshots import FinancialStatus, OrderLine, OrderSnapshot
from colink.domain.tracking import Coupon, CouponDetails
from colink.projections.statuses import Holdings, claim_status

STORIES = 500
CALLER = Caller(actor="test", correlation_id="test")
STORE = StoreDetails(
    id="sto_1",
    organization_id="org_1",
    platform=Platform.SHOPIFY,
    name="Kedai",
    settlement=Settlement.PLATFORM_COLLECTED,
    payment_fee=FeeSchedule(rate_bps=290, fixed=Money(30, "MYR")),
)


class SetClock:
    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


@dataclass(frozen=True, kw_only=True)
class SetUp(Request):
    """Records ready-made aggregates."""

    aggregates: Sequence[Aggregate]

    def needs(self) -> Needs:
        return Needs(streams=tuple(aggregate.id for aggregate in self.aggregates))

    def decide(self, _facts: Facts) -> Decision:
        events = [event for aggregate in self.aggregates for event in aggregate.new_events()]
        return Decision(answer={}, events=events, organization_id=STORE.organization_id)


def seller(at: datetime) -> list[Aggregate]:
    def rule(number: int, scope: Scope, target_id: str | None, **amount: object) -> CommissionRule:
        details = RuleDetails(
            id=f"rul_{number}", version=1, organization_id="org_1", scope=scope, target_id=target_id, **amount
        )
        return CommissionRule.add(details, at=at)

    return [
        Organization.register(OrganizationDetails(id="org_1", name="Kedai", platform_fee_bps=500), at=at),
        Store.connect(STORE, at=at),
        Coupon.create(
            CouponDetails(id="cpn_1", organization_id="org_1", store_id="sto_1", code="AINA10", creator_id="crt_1"),
            at=at,
        ),
        rule(1, Scope.DEFAULT, None, rate_bps=1000),
        rule(2, Scope.PRODUCT, "prd_sto_1.p1", rate_bps=1250),
        rule(3, Scope.SKU, "sku_sto_1.v2", fixed=Money(150, "MYR")),
    ]


def orders_of(deliveries: Sequence[News], random: Random) -> list[list[News]]:
    told = list(deliveries)
    return [told, told[::-1], *(shuffled(told, random) for _ in range(3))]


def test_five_hundred_stories_end_the_same_in_any_order(database) -> None:
    asyncio.run(tell_all(database))


async def tell_all(database) -> None:
    clock = SetClock(PLACED_AT + timedelta(hours=1))
    async with create_pool(database.app_dsn, for_commands=True) as pool, Committer(pool, clock) as bus:
        await bus.submit(SetUp(caller=CALLER, aggregates=seller(clock.now())))

        async def tell(external_id: str, deliveries: Sequence[News]) -> None:
            for news in deliveries:
                await bus.submit(RecordOrder(caller=CALLER, store=STORE, news=renamed(news, external_id)))

        tellings = [
            (f"{seed}-{number}", deliveries)
            for seed in range(STORIES)
            for number, deliveries in enumerate(orders_of(story(seed).deliveries, Random(seed)))
        ]
        await asyncio.gather(*(tell(external_id, deliveries) for external_id, deliveries in tellings))
        check_all_orders_of_a_story_agree(database.app_dsn)

        for some_day in (PLACED_AT + timedelta(days=14, hours=3), datetime(2027, 1, 1, tzinfo=UTC)):
            clock.time = some_day
            await asyncio.gather(
                *(bus.submit(ClearOrder(caller=CALLER, order_id=order_id("sto_1", id_))) for id_, _ in tellings)
            )
            check_all_orders_of_a_story_agree(database.app_dsn)


def check_all_orders_of_a_story_agree(dsn: str) -> None:
    outcomes: dict[str, list[tuple[str, object]]] = defaultdict(list)
    with psycopg.connect(dsn) as connection:
        sums = entry_sums(connection)
        for order in orders(connection):
            story_number = order.external_id.partition("-")[0]
            split = order.split
            statuses = {
                (claim.line_id, claim.payee_id): claim_status(claim, places=(), holdings=Holdings())
                for claim in (split.claims if split else ())
                if claim.net
            }
            outcome = (sums.get(order.id, {}), statuses, split.lines if split else None)
            outcomes[story_number].append((order.external_id, outcome))
    assert len(outcomes) == STORIES
    split_count = 0
    for told in outcomes.values():
        first_id, first = told[0]
        split_count += first[2] is not None
        for other_id, other in told[1:]:
            assert other == first, f"{other_id} ended otherwise than {first_id}"
    assert split_count > STORIES * 0.9


def entry_sums(connection: psycopg.Connection) -> dict[str, Counter[tuple[str | None, str]]]:
    sums: dict[str, Counter[tuple[str | None, str]]] = defaultdict(Counter)
    rows = connection.execute(
        "select order_id, line_id, account, sum(amount)::bigint from colink.entries"
        " group by order_id, line_id, account having sum(amount) <> 0"
    )
    for order, line_id, account, amount in rows:
        sums[order][line_id, account] = amount
    return sums


def orders(connection: psycopg.Connection) -> list[Order]:
    mapper, folded = EventMapper(), {}
    rows = connection.execute(
        "select stream_id, version, topic, payload from colink.events where stream_id like 'ord\\_%'"
        " order by stream_id, version"
    )
    for stream_id, version, topic, payload in rows:
        event = mapper.event(stream_id, version, topic, payload)
        folded[stream_id] = event.mutate(folded.get(stream_id))
    return list(folded.values())


def test_rules_are_those_known_when_the_split_was_first_posted(database) -> None:
    """An order that waits for its payment lives by the rules of the payment; later ones never touch it."""

    async def tell() -> list[int]:
        clock = SetClock(PLACED_AT + timedelta(hours=1))
        commissions = []
        async with create_pool(database.app_dsn, for_commands=True) as pool, Committer(pool, clock) as bus:
            await bus.submit(SetUp(caller=CALLER, aggregates=seller(clock.now())))
            for status, bps in ((FinancialStatus.PENDING, 2000), (FinancialStatus.PAID, 3000)):
                await bus.submit(RecordOrder(caller=CALLER, store=STORE, news=couponed(status)))
                added = RuleDetails(
                    id=f"rul_{bps}", version=1, organization_id="org_1", scope=Scope.DEFAULT, rate_bps=bps
                )
                rule = CommissionRule.add(added, at=clock.now())
                await bus.submit(SetUp(caller=CALLER, aggregates=[rule]))
                await bus.submit(RecordOrder(caller=CALLER, store=STORE, news=couponed(status, minutes=5)))
                commissions.append(order_commission(database.app_dsn))
        return commissions

    assert asyncio.run(tell()) == [0, 200]


def couponed(status: FinancialStatus, *, minutes: int = 0) -> OrderSnapshot:
    first = next(news for news in story(1).deliveries if isinstance(news, OrderSnapshot))
    return replace(
        first,
        status=status,
        lines=(OrderLine(line_id="1", quantity=1, base=1000),),
        keys=OrderKeys(coupons=(CouponUse(code="aina10", discount=0),)),
        refunds=(),
        updated_at=PLACED_AT + timedelta(minutes=minutes),
        digest=f"{status}{minutes}",
    )


def order_commission(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        (order,) = orders(connection)
    return sum(line.commission for line in order.split.lines) if order.split else 0
