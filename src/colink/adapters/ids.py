"""New ids: a type prefix and a UUIDv7 (RFC 9562), so that ids sort by the time they were made."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta

from colink.application.ports import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Uuid7Ids:
    """An IdFactory. Its ids rise strictly within one process: 48 bits of milliseconds and 12 bits of their fraction
    (RFC 9562 section 6.2, method 3), moved on by one where the clock stands still or goes back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self, prefix: str) -> str:
        microseconds = (self._clock.now() - _EPOCH) // timedelta(microseconds=1)
        milliseconds, rest = divmod(microseconds, 1000)
        with self._lock:
            self._last = max(self._last + 1, milliseconds << 12 | rest * 4096 // 1000)
            ticks = self._last
        bits = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
        text = f"{bits:032x}"
        return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
