"""The days on which the worker pays everybody by itself (docs/decisions/0008), and its jobs for payouts."""

from __future__ import annotations

from datetime import UTC, datetime

from colink.application.payout_jobs import PayoutDesk
from colink.application.ports import Clock
from colink.application.worker import Job
from colink.config import PayoutSchedule

_MONDAY = 0


def is_payday(schedule: PayoutSchedule, at: datetime) -> bool:
    """Whether the schedule pays on the UTC date of `at`: Mondays, or the first of a month."""
    date = at.astimezone(UTC).date()
    match schedule:
        case PayoutSchedule.WEEKLY:
            return date.weekday() == _MONDAY
        case PayoutSchedule.MONTHLY:
            return date.day == 1
        case PayoutSchedule.ON_REQUEST:
            return False


def payout_jobs(desk: PayoutDesk, *, schedule: PayoutSchedule, clock: Clock) -> list[Job]:
    """Request what the schedule pays, where there is one; bring on what was requested."""

    async def request_on_paydays() -> int:
        return await desk.request_due() if is_payday(schedule, clock.now()) else 0

    advance = Job(name="payouts", run=desk.advance, interval=2.0, on_events=True)
    if schedule is PayoutSchedule.ON_REQUEST:
        return [advance]
    return [Job(name="payout_schedule", run=request_on_paydays, interval=60.0), advance]
