"""Days and months of an organisation's own calendar: `2026-03-14` and `2026-03` in its time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local_day(at: datetime, timezone: str) -> str:
    return at.astimezone(_zone(timezone)).date().isoformat()


def local_month(at: datetime, timezone: str) -> str:
    return local_day(at, timezone)[:7]


def next_month(month: str) -> str:
    return (date.fromisoformat(f"{month}-01") + timedelta(days=31)).isoformat()[:7]


def last_month(at: datetime, timezone: str) -> str:
    """The last one that is over."""
    first = date.fromisoformat(f"{local_month(at, timezone)}-01")
    return (first - timedelta(days=1)).isoformat()[:7]


def period_bounds(period: str, timezone: str) -> tuple[datetime, datetime]:
    """Start and end (excluded) of a day or month, UTC."""
    start = date.fromisoformat(period if len(period) > 7 else f"{period}-01")
    end = start + timedelta(days=1) if len(period) > 7 else (start + timedelta(days=31)).replace(day=1)
    return _midnight(start, timezone), _midnight(end, timezone)


def _midnight(day: date, timezone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=_zone(timezone)).astimezone(UTC)
