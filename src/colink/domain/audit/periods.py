"""What was closed of the ledger when, by the closings in the log, and what that means for a journal's time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime

from colink.domain.aggregates import Event
from colink.domain.periods import PeriodClosed


@dataclass(kw_only=True)
class PeriodBook:
    """Feed it the closings of the log in order. `_closed[i]` is the position of the one that set `_open_from[i]`."""

    _closed: list[int] = field(default_factory=list)
    _open_from: list[datetime] = field(default_factory=list)

    def add(self, position: int, event: Event) -> None:
        if isinstance(event, PeriodClosed):
            self._closed.append(position)
            self._open_from.append(max([event.details.open_from, *self._open_from[-1:]]))

    @property
    def open_from(self) -> datetime | None:
        """In the end."""
        return self._open_from[-1] if self._open_from else None

    def open_at(self, position: int) -> datetime | None:
        """From when the ledger was open for a journal recorded there. The append takes the closing's own lock, so a
        journal behind a closing has seen it."""
        before = bisect_left(self._closed, position)
        return self._open_from[before - 1] if before else None

    def times(self, effective_at: datetime, position: int) -> tuple[datetime, datetime | None]:
        """The effective time of a journal recorded there and, where a closing moved it, its own time."""
        open_from = self.open_at(position)
        if open_from is None or effective_at >= open_from:
            return effective_at, None
        return open_from, effective_at
