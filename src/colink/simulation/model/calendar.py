"""Days and months of somebody's own calendar, `2026-03-14` and `2026-03`; times in seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

_LONGER_THAN_A_DAY = 129_600  # by half of one, whatever the clocks do


def day_at(at: int, zone: str) -> str:
    """The date that the calendar on the wall shows."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d")


def month_at(at: int, zone: str) -> str:
    return day_at(at, zone)[:7]


@cache
def start_of(period: str, zone: str) -> int:
    """The first second at which the wall shows this day or month, found by looking."""
    day = period if len(period) > len("2026-03") else f"{period}-01"
    about = int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    before, there = about - _LONGER_THAN_A_DAY, about + _LONGER_THAN_A_DAY
    while there - before > 1:
        middle = (before + there) // 2
        if day_at(middle, zone) < day:
            before = middle
        else:
            there = middle
    return there


def end_of(period: str, zone: str) -> int:
    """The first second at which the wall shows another day or month."""
    if len(period) > len("2026-03"):
        return start_of(day_at(start_of(period, zone) + _LONGER_THAN_A_DAY, zone), zone)
    return start_of(month_after(period), zone)


def month_before(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year - 1}-12" if number == 1 else f"{year}-{number - 1:02}"


def month_after(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12}-{number % 12 + 1:02}"
