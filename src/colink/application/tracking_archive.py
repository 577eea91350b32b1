"""The months of the tracking log: which are in it, which left it for the archive, and who takes them out.

Touches are of no value after the longest attribution window except in reports; an attribution carries its evidence in
the commerce log (architecture section 3). So old months can go, each whole, into a file (decision 14).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class TrackedMonth:
    """A month in the log: its first day and its end (UTC), and the positions in it, None where it is empty."""

    month: date
    ends: datetime
    first_position: int | None
    last_position: int | None


@dataclass(frozen=True, kw_only=True)
class ArchivedMonth:
    """A month that left the log for `file`. `chain`: the hash chain over all events up to its last."""

    month: date
    first_position: int
    last_position: int
    chain: bytes
    file: str
    archived_at: datetime


def tell_nobody(_: TrackedMonth) -> None:
    """For those who do not watch."""


class TrackingMonths(Protocol):
    """All of it blocks."""

    def months(self) -> Sequence[TrackedMonth]:
        """In the log, oldest first."""

    def archived(self) -> Sequence[ArchivedMonth]:
        """Out of the log, oldest first."""

    def archive(
        self, before: date, *, report: Callable[[TrackedMonth], None] = tell_nobody
    ) -> Sequence[TrackedMonth]:
        """Archive every month that ends no later than `before` (a day, UTC), oldest first; those that were. `report`
        is told of each before. Raises Conflict where one is still needed or cannot be taken out now: those before it
        are archived."""

    def checked(self) -> Iterator[tuple[ArchivedMonth, str | None]]:
        """Every archived month, and what is wrong with its file (None: it holds what the log held)."""
