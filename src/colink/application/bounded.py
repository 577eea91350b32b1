"""A bus whose callers wait for their answer so long and no longer.

The committer waits longer for a database that is away than some callers have: Shopify hangs up on a webhook after 5
seconds. Such a caller is told in time to come again. What became of his command is not known then, and repeating it
is safe, as it is for everyone whose connection broke.
"""

from __future__ import annotations

import asyncio

from colink.application.ports import Command, CommandBus, Recorded
from colink.domain.errors import Unavailable


class BoundedBus(CommandBus):
    """Submits to `bus` and waits at most `seconds`."""

    def __init__(self, bus: CommandBus, *, seconds: float) -> None:
        self._bus = bus
        self._seconds = seconds

    async def submit(self, command: Command) -> Recorded:
        """As the bus does; raises Unavailable when the time is over."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._bus.submit(command)
        except TimeoutError as error:
            msg = f"no answer within {self._seconds:g} s: whether it was recorded is not known; it is safe to repeat"
            raise Unavailable(msg) from error
