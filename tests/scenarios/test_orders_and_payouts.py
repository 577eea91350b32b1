"""The promise, on a real PostgreSQL: while orders are delivered in any order, disputed, refunded and cleared, and
their payees are paid and paid back, all at once, nothing is paid twice and all that is recorded can be derived again.

The same as tests/domain/test_order_and_payouts.py says of the domain alone, here with commands that race.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from random import Random

import psycopg
import pytest
from tests.projections.world import AINA, CALLER, ORGANIZATION, World, open_world
from tests.scenarios.stories import PLACED_AT, renamed, shuffled, story
from tests.scenarios.test_deliveries_in_any_order import orders

from colink.application.clear_order import ClearOrder
from colink.application.payout_attempts import RecordPayoutResult, SubmitPayout
from colink.application.payouts import ApprovePayout, RegisterPayoutAccount, RequestPayout
from colink.application.ports import Caller
from colink.application.record_order import News, StandaloneFacts
from colink.domain.errors import ConcurrentUpdate, InsufficientFunds
from colink.domain.ledger import payee_accounts
from colink.domain.money import Money
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome, ProviderReport
from colink.projections.audit import verify

pytestmark = pytest.mark.anyio

PAYEES = (AINA, ORGANIZATION)
FINANCE = Caller(actor="key:finance", correlation_id="test")
ORDERS = 8


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_orders_and_payouts_at_once(database, seed: int) -> None:
    async with open_world(database) as world:
        world.clock.time = PLACED_AT + timedelta(days=60)
        for payee_id in PAYEES:
            account = RegisterPayoutAccount(
                caller=CALLER, payee_id=payee_id, rail=Rail.SANDBOX, currency="MYR", details={}
            )
            await world.commerce.submit(account)
        random = Random(seed)
        told = [deliveries_of(seed * 100 + number, str(number), random) for number in range(ORDERS)]
        numbers = count(1)
        delivering = asyncio.gather(
            *(deliver(world, deliveries, Random(f"{seed} {number}")) for number, deliveries in enumerate(told))
        )
        await asyncio.gather(
            delivering,
            *(pay(world, payee_id, Random(f"{seed} {payee_id}"), numbers, delivering) for payee_id in PAYEES),
        )
        assert await had_and_has(world) == owed(database.app_dsn)
        assert await world.rows("SELECT 1 FROM colink.payouts LIMIT 1") != []
        async with world.pool.connection() as conn:
            report = await verify(conn, world.mapper.event)
        assert report.findings == []


def deliveries_of(seed: int, external_id: str, random: Random) -> list[News]:
    return [
        renamed(news, external_id)
        for news in shuffled(story(seed, code="AINA").deliveries, random)
        if not (isinstance(news, StandaloneFacts) and news.facts.fees)  # only settlements tell of these
    ]


async def deliver(world: World, deliveries: Sequence[News], random: Random) -> None:
    for news in deliveries:
        recorded = await world.tell(news)
        if random.random() < 0.6:
            await world.commerce.submit(ClearOrder(caller=CALLER, order_id=str(recorded.answer["order_id"])))


async def pay(
    world: World, payee_id: str, random: Random, numbers: count[int], delivering: asyncio.Future[list[None]]
) -> None:
    """Request a part, approve and submit, until all is delivered and then a few times more; the provider pays, fails,
    or pays and returns."""
    left = 6
    while left:
        left -= delivering.done()
        await asyncio.sleep(0)
        payout_id = f"pay_{next(numbers)}"
        named = {"payout_id": payout_id, "payee_id": payee_id, "currency": "MYR"}
        try:
            part = Money(random.randint(1, 20_000), "MYR")
            requested = await world.commerce.submit(RequestPayout(caller=CALLER, amount=part, **named))
        except (InsufficientFunds, ConcurrentUpdate):
            continue
        if random.random() < 0.1:
            continue  # left as it is
        await world.commerce.submit(ApprovePayout(caller=FINANCE, **named))
        await world.commerce.submit(SubmitPayout(caller=CALLER, **named))
        amount = requested.answer["amount"]["amount"]
        outcome = random.choice([ProviderOutcome.PAID, ProviderOutcome.FAILED, ProviderOutcome.RETURNED])
        report = ProviderReport(reference=f"{payout_id}.1", outcome=outcome, amount=amount, currency="MYR")
        said = RecordPayoutResult(caller=CALLER, payout_id=payout_id, report=report)
        await asyncio.gather(world.commerce.submit(said), world.commerce.submit(said))


async def had_and_has(world: World) -> Counter[str]:
    """Of each payee: what is on its accounts, and what was paid out for good."""
    had: Counter[str] = Counter()
    for payee_id in PAYEES:
        rows = await world.rows(
            "SELECT coalesce(sum(amount), 0)::bigint FROM colink.balances WHERE account = ANY(%s)",
            list(payee_accounts(payee_id)),
        )
        paid = await world.rows(
            "SELECT coalesce(sum(amount), 0)::bigint FROM colink.payouts WHERE payee_id = %s AND status = 'paid'",
            payee_id,
        )
        had[payee_id] = rows[0][0] + paid[0][0]
    return had


def owed(dsn: str) -> Counter[str]:
    """What the orders say they owe, less the fees of disputes."""
    net: Counter[str] = Counter(dict.fromkeys(PAYEES, 0))
    with psycopg.connect(dsn) as connection:
        for order in orders(connection):
            for claim in order.split.claims if order.split else ():
                net[claim.payee_id] += claim.net
            net[ORGANIZATION] -= order.split.dispute_fee if order.split else 0
    return net
