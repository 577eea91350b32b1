"""A way for threads to submit commands to a bus that lives on an event loop."""

from __future__ import annotations

import asyncio
import threading

from colink.application.ports import Command, CommandBus, Recorded


class BlockingBus:
    """Submits to `bus` on its running loop and blocks until the answer is there. Made on the loop's own thread."""

    def __init__(self, bus: CommandBus) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def submit(self, command: Command) -> Recorded:
        """As CommandBus.submit. Raises RuntimeError on the loop's thread, which it would block for ever."""
        if threading.get_ident() == self._thread:
            msg = "this would block the event loop: await the bus instead, or call from another thread"
            raise RuntimeError(msg)
        return asyncio.run_coroutine_threadsafe(self._bus.submit(command), self._loop).result()
