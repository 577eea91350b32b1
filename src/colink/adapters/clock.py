"""The real time, moved by an offset where a demo or a drill asks for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class SystemClock:
    """A Clock. The offset is fixed for the life of the process."""

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self._offset = offset

    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset
