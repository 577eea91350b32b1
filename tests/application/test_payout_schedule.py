"""The worker requests payouts by itself on the days of its schedule, and on no others; on its own account it approves
only where that is switched on (docs/decisions/0008)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone

import pytest
from tests.application.treasury import Known, MovingClock, Treasury, by
from tests.conftest import TestDatabase

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import create_pool
from colink.application.payout_schedule import is_payday, payout_jobs
from colink.config import PayoutSchedule

SUNDAY, MONDAY = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
KUALA_LUMPUR = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("schedule", "at", "pays"),
    [
        (PayoutSchedule.WEEKLY, MONDAY, True),
        (PayoutSchedule.WEEKLY, SUNDAY, False),
        (PayoutSchedule.WEEKLY, MONDAY + timedelta(days=1), False),
        (PayoutSchedule.WEEKLY, datetime(2026, 3, 2, 7, 59, tzinfo=KUALA_LUMPUR), False),  # still Sunday in UTC
        (PayoutSchedule.MONTHLY, SUNDAY, True),
        (PayoutSchedule.MONTHLY, MONDAY, False),
        (PayoutSchedule.MONTHLY, datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), False),
        (PayoutSchedule.ON_REQUEST, SUNDAY, False),
        (PayoutSchedule.ON_REQUEST, MONDAY, False),
    ],
)
def test_paydays(schedule: PayoutSchedule, at: datetime, pays: bool) -> None:
    assert is_payday(schedule, at) is pays


@asynccontextmanager
async def open_treasury(database: TestDatabase) -> AsyncIterator[Treasury]:
    async with (
        create_pool(database.app_dsn) as pool,
        create_pool(database.app_dsn, for_commands=True) as commands,
        Committer(commands, MovingClock()) as bus,
    ):
        await bus.submit(Known(caller=by("test")))
        yield Treasury(pool, bus, rail=None, provider=None)  # nothing here gets as far as the provider


async def pass_of_jobs(treasury: Treasury, schedule: PayoutSchedule, *, automatic: bool = False) -> list[str]:
    desk = treasury.desk(automatic=automatic)
    for job in payout_jobs(desk, schedule=schedule, clock=treasury.clock):
        await job.run()
    return await treasury.statuses()


def test_only_a_payday_requests(database: TestDatabase) -> None:
    async def story() -> None:
        async with open_treasury(database) as treasury:
            await treasury.account()
            await treasury.move(500)
            treasury.clock.time = MONDAY
            assert await pass_of_jobs(treasury, PayoutSchedule.ON_REQUEST) == []
            assert await pass_of_jobs(treasury, PayoutSchedule.MONTHLY) == []
            assert await pass_of_jobs(treasury, PayoutSchedule.WEEKLY) == ["requested"]
            assert await pass_of_jobs(treasury, PayoutSchedule.WEEKLY) == ["requested"], "once a payday"

    asyncio.run(story())


def test_what_waits_is_approved_once_that_is_automatic(database: TestDatabase) -> None:
    async def story() -> None:
        async with open_treasury(database) as treasury:
            await treasury.account()
            await treasury.move(500)
            payout_id = await treasury.request()
            assert await treasury.desk(automatic=False).approve_requested() == 0
            assert await treasury.statuses() == ["requested"]
            assert await treasury.desk(automatic=True).approve_requested() == 1
            assert await treasury.statuses() == ["approved"]
            [(actor,)] = await treasury.rows(
                f"select actor from colink.events where stream_id = '{payout_id}' and topic = 'payout.approved'"
            )
            assert actor == "policy:automatic"

    asyncio.run(story())
