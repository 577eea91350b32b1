"""The worker's part in true-ups: count the periods that ended or changed, clear what is due, and release what is due
and covered where it waits for the seller's money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from colink.application.jobs import submit_all
from colink.application.ports import Caller, Clock, Command, CommandBus
from colink.application.true_ups import ClearTrueUp, CountTrueUp, ReleaseCovered
from colink.domain.true_up_counts import PeriodKey
from colink.domain.true_ups import WORKER

_AT_ONCE = 64  # commands: each reads the orders of a period


@dataclass(frozen=True, kw_only=True)
class ChangedPeriod:
    """A period that ended, whose orders changed at `position` and were not counted since."""

    key: PeriodKey
    position: int


@dataclass(frozen=True, kw_only=True)
class Covered:
    """True-ups that wait for the money of a seller, whose account covers some of it; the first due first."""

    organization_id: str
    currency: str
    true_up_ids: tuple[str, ...]


class TrueUpQueue(Protocol):
    """What there is to do."""

    async def to_count(self, now: datetime, limit: int) -> Sequence[ChangedPeriod]: ...

    async def to_clear(self, now: datetime, limit: int) -> Sequence[str]:
        """Ids of true-ups of which something is due."""

    async def to_release(self, now: datetime, limit: int) -> Sequence[Covered]:
        """Of at most that many sellers, some of those that are due."""


def true_up_job(bus: CommandBus, queue: TrueUpQueue, clock: Clock) -> Callable[[], Awaitable[int]]:
    """Counts what ended or changed, clears what is due and releases what is covered; returns how many commands moved
    something."""

    async def run() -> int:
        now = clock.now()
        commands: list[Command] = [
            CountTrueUp(caller=_caller(each.key.id), key=each.key, changed_position=each.position)
            for each in await queue.to_count(now, _AT_ONCE)
        ]
        commands += [ClearTrueUp(caller=_caller(id_), true_up_id=id_) for id_ in await queue.to_clear(now, _AT_ONCE)]
        commands += [
            ReleaseCovered(
                caller=_caller(each.true_up_ids[0]),
                organization_id=each.organization_id,
                currency=each.currency,
                true_up_ids=each.true_up_ids,
            )
            for each in await queue.to_release(now, _AT_ONCE)
        ]
        recorded = await submit_all(bus, commands)
        return sum(1 for answer in recorded if answer is not None and answer.position is not None)

    return run


def _caller(true_up_id: str) -> Caller:
    return Caller(actor=WORKER, correlation_id=f"true-up:{true_up_id}")
