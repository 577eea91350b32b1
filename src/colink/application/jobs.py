"""Jobs of the worker that submit commands: what is due is found by a query, done by a command each.

A job may find the same thing as another worker does: the command decides again under the committer's keys and finds
nothing left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from colink.application.clear_order import ClearOrder
from colink.application.ports import Caller, Clock, Command, CommandBus, Recorded
from colink.domain.errors import ColinkError, ConcurrentUpdate, Unavailable

_log = structlog.get_logger(__name__)

_AT_ONCE = 256  # commands in flight: what one batch of the committer takes
DueOrders = Callable[[datetime, int], Awaitable[Sequence[str]]]
"""Ids of at most that many orders whose `clears_at` is no later than the time, the earliest first."""


def clearing_job(bus: CommandBus, due_orders: DueOrders, clock: Clock) -> Callable[[], Awaitable[int]]:
    """Clears orders that are due; returns how many had something to clear. An order that cannot be cleared is logged
    and left to the next run, the others are cleared."""

    async def clear_due_orders() -> int:
        due = await due_orders(clock.now(), _AT_ONCE)
        commands = [
            ClearOrder(caller=Caller(actor="worker", correlation_id=f"clearing:{order}"), order_id=order)
            for order in due
        ]
        recorded = await submit_all(bus, commands)
        return sum(1 for answer in recorded if answer.position is not None)

    return clear_due_orders


async def submit_all(bus: CommandBus, commands: Sequence[Command]) -> list[Recorded]:
    """Submit at once, so that the committer can gather them; those that broke a rule are logged and left out. Any
    other error comes out after all have ended."""
    results = await asyncio.gather(*(bus.submit(command) for command in commands), return_exceptions=True)
    recorded: list[Recorded] = []
    errors: list[BaseException] = []
    for command, result in zip(commands, results, strict=True):
        if isinstance(result, Recorded):
            recorded.append(result)
        elif isinstance(result, ColinkError) and not isinstance(result, Unavailable | ConcurrentUpdate):
            _log.warning("command refused", command=type(command).__name__, problem=result.slug, detail=result.detail)
        else:
            errors.append(result)
    if errors:
        raise errors[0]
    return recorded
