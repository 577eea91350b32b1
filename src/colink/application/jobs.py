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
    and set aside, so that it is not in the way of the others, and tried again when no other is due."""
    set_aside: set[str] = set()

    async def clear_due_orders() -> int:
        due = await due_orders(clock.now(), _AT_ONCE + len(set_aside))
        orders = [order for order in due if order not in set_aside]
        if not orders:
            set_aside.clear()
            return 0
        commands = [
            ClearOrder(caller=Caller(actor="worker", correlation_id=f"clearing:{order}"), order_id=order)
            for order in orders
        ]
        recorded = await submit_all(bus, commands)
        set_aside.update(order for order, answer in zip(orders, recorded, strict=True) if answer is None)
        return sum(1 for answer in recorded if answer is not None and answer.position is not None)

    return clear_due_orders


async def submit_all(bus: CommandBus, commands: Sequence[Command]) -> list[Recorded | None]:
    """Submit at once, so that the committer can gather them. None for those that broke a rule: they are logged. What
    may well succeed later (Unavailable, ConcurrentUpdate) and any other error comes out after all have ended."""
    results = await asyncio.gather(*(bus.submit(command) for command in commands), return_exceptions=True)
    recorded: list[Recorded | None] = []
    errors: list[BaseException] = []
    for command, result in zip(commands, results, strict=True):
        if isinstance(result, Recorded):
            recorded.append(result)
        elif isinstance(result, ColinkError) and not isinstance(result, Unavailable | ConcurrentUpdate):
            _log.warning("command refused", command=command, problem=result.slug, detail=result.detail)
            recorded.append(None)
        else:
            errors.append(result)
    if errors:
        raise errors[0]
    return recorded
