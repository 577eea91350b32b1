"""Closed months: how their times read, and which month is a slip."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from colink.domain.errors import InvalidInput
from colink.domain.periods import ClosedPeriod, check_is_open, close_month

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def test_years_have_four_digits() -> None:
    with pytest.raises(ClosedPeriod) as refused:
        check_is_open(datetime(1, 1, 1, tzinfo=UTC), open_from=datetime(202, 7, 1, tzinfo=UTC), now=NOW)
    assert refused.value.detail == (
        "the ledger is closed before 0202-07-01T00:00:00Z: the first open day is 0202-07-01"
    )


@pytest.mark.parametrize("month", ["0001-01", "0202-12", "1999-12"])
def test_a_month_before_any_trade_is_a_slip(month: str) -> None:
    with pytest.raises(InvalidInput, match="look at the year") as refused:
        close_month(None, month, reason="r", by="ina", at=NOW)
    assert refused.value.field == "month"


@pytest.mark.parametrize("month", ["2000-01", "2016-10", "2026-10"])
def test_others_are_closed(month: str) -> None:
    assert close_month(None, month, reason="r", by="ina", at=NOW).details.month == month
