"""The worker's part in true-ups: count the periods that ended or changed, clear what is due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from colink.application.jobs import submit_all
from colink.application.ports import Caller, Clock, Command, CommandBus
from colink.application.true_ups import ClearTrueUp, CountTrueUp
from colink.domain.true_ups import PeriodKey

_AT_ONCE = 64  # commands: each reads the orders of a period


@dataclass(frozen=True, kw_only=True)
class ChangedPeriod:
    """A period that ended, whose orders changed at `position` and were not counted since."""

    key: PeriodKey
    position: int


class TrueUpQueue(Protocol):
    """What there is to do."""

    async def to_count(self, now: datetime, limit: int) -> Sequence[ChangedPeriod]: ...

    async def to_clear(self, now: datetime, limit: int) -> Sequence[str]:
        """Ids of true-ups of which something is due."""


def true_up_job(bus: CommandBus, queue: TrueUpQueue, clock: Clock) -> Callable[[], Awaitable[int]]:
    """Counts what ended or changed and clears what is due; returns how many true-ups moved."""

    async def run() -> int:
        now = clock.now()
        commands: list[Command] = [
            CountTrueUp(caller=_caller(each.key.id), key=each.key, changed_position=each.position)
            for each in await queue.to_count(now, _AT_ONCE)
        ]
        commands += [ClearTrueUp(caller=_caller(id_), true_up_id=id_) for id_ in await queue.to_clear(now, _AT_ONCE)]
        recorded = await submit_all(bus, commands)
        return sum(1 for answer in recorded if answer is not None and answer.position is not None)

    return run


def _caller(true_up_id: str) -> Caller:
    return Caller(actor="worker", correlation_id=f"true-up:{true_up_id}")
