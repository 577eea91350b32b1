"""How people write times on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime

import typer


def moment(text: str) -> datetime:
    """An RFC 3339 time with an offset, as UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        msg = f"{text!r} is no time with an offset, such as 2026-01-31T00:00:00Z"
        raise typer.BadParameter(msg)
    return at.astimezone(UTC)


def day_or_moment(text: str) -> datetime:
    """The same, or a day: its midnight in UTC."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return moment(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
