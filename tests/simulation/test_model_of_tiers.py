"""The model's own reading of tiers, caps and calendars, by examples worked out by hand: a wrong second opinion is
none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.test_true_ups import KEY as PERIOD
from tests.domain.test_true_ups import of_creator, order, waiting
from tests.domain.test_true_ups import rule as the_rule

from colink.domain.local_time import local_day, period_bounds
from colink.domain.money import Money
from colink.domain.organizations import Settlement
from colink.domain.true_up_counts import NOTHING, counted_again
from colink.simulation.model.balances import Balances
from colink.simulation.model.calendar import day_at, end_of, start_of
from colink.simulation.model.sellers import Sellers
from colink.simulation.model.tiers import NotCounted, Tiers, marginal, rate_at
from colink.simulation.model.true_ups import TrueUps, comes_to, period_of

DAY = 86_400
RULE: dict[str, Any] = {
    "organization": "org",
    "rule": "rul",
    "version": 1,
    "currency": "MYR",
    "rate_bps": 1000,
    "tiers": None,
    "cap_day": None,
    "cap_month": None,
}
MARGINAL = {"mode": "marginal", "span": "month_before", "steps": [(100, 2000), (300, 5000)]}
KEY = ("org", "rul", "cre", "MYR", "2026-03")
ENDS = end_of("2026-03", "UTC")


def part(commission: int, *, base: int = 0, version: int = 1, day: str = "2026-03-10") -> dict[str, Any]:
    shared = {"version": version, "day": day, "base": base, "commission": commission}
    return shared | {"by_us": True, "advance": False, "waits": False, "available": 0, "hold": 14 * DAY, "due": 0}


@pytest.mark.parametrize(
    ("versions", "parts", "expected"),
    [
        ([{"cap_month": 50}], [part(30), part(30, day="2026-03-11")], 50),
        ([{"cap_day": 20, "cap_month": 30}], [part(30), part(15, day="2026-03-11")], 30),
        ([{"tiers": MARGINAL}], [part(40, base=400)], 10 + 40 + 50),
        ([{"tiers": MARGINAL, "cap_month": 60}], [part(40, base=400)], 60),
        # 0.5 of a unit rounds to the even one.
        ([{"tiers": MARGINAL, "rate_bps": 100}], [part(1, base=50)], 0),
        # A later version goes on where the earlier one stopped, and takes nothing away.
        ([{"cap_month": 50}, {"cap_month": 80}], [part(60), part(60, version=2)], 80),
        ([{"cap_month": 80}, {"cap_month": 50}], [part(60), part(60, version=2)], 60),
        ([{"tiers": MARGINAL}] * 2, [part(10, base=100), part(20, base=200, version=2)], 50),
    ],
)
def test_what_the_orders_of_a_period_come_to(
    versions: list[dict[str, Any]], parts: list[dict[str, Any]], expected: int
) -> None:
    known = {number: RULE | {"version": number} | each for number, each in enumerate(versions, 1)}
    assert comes_to(parts, known) == expected


def test_tiers_are_reached_exactly() -> None:
    rule = RULE | {"tiers": MARGINAL}
    assert [rate_at(rule, revenue) for revenue in (0, 99, 100, 299, 300)] == [1000, 1000, 2000, 2000, 5000]
    assert marginal(rule, 250, 350) == (50 * 20 + 50 * 50) // 100


def test_a_revenue_is_counted_once_from_what_was_sold_before_the_month() -> None:
    tiers, zone = Tiers(), "Asia/Kuala_Lumpur"
    march = start_of("2026-03", zone)
    sales = [
        {"organization": "org", "creator": "cre", "currency": "MYR", "placed_at": at, "base": base}
        for at, base in ((march - 29 * DAY, 1), (march - 28 * DAY, 2), (march - 1, 4), (march, 8))
    ]
    rule = RULE | {"tiers": {"mode": "whole", "span": "month_before", "steps": [(6, 2000)]}}
    key = ("org", "cre", "MYR", "2026-03", "month_before")

    with pytest.raises(NotCounted):
        tiers.served(rule, creator="cre", month="2026-03")
    assert tiers.count(key, sales, zone=zone, for_an_order=True) == 6
    assert tiers.count((*key[:4], "all_time"), sales, zone=zone, for_an_order=True) == 7
    assert tiers.served(rule, creator="cre", month="2026-03")["rate_bps"] == 2000
    assert tiers.unused == {(*key[:4], "all_time")}
    with pytest.raises(NotCounted):
        tiers.count(key, sales, zone=zone, for_an_order=True)


def test_a_cap_takes_at_once_and_gives_back_a_holding_period_later() -> None:
    balances = Balances()
    true_ups = TrueUps(balances, Sellers(balances, {}, lambda: 0, lambda _: False))
    true_ups.notice(KEY, zone="UTC")
    versions = {"rul": {1: RULE | {"cap_month": 50}}}

    def owed(payee: str) -> tuple[int, int]:
        return balances.of(f"payee:{payee}:pending", "MYR"), balances.available(payee, "MYR")

    assert true_ups.ended(ENDS - 1) == []
    assert true_ups.ended(ENDS) == [KEY]
    true_ups.count([KEY], {KEY: [part(80, base=800)]}, versions, now=ENDS)
    assert (owed("cre"), owed("org")) == ((0, -30), (30, 0))
    true_ups.clear(ENDS + 14 * DAY - 1)
    assert owed("org") == (30, 0)
    true_ups.clear(ENDS + 14 * DAY)
    assert owed("org") == (0, 30)
    true_ups.count([KEY], {KEY: [part(60, base=600)]}, versions, now=ENDS + 20 * DAY)
    assert (owed("cre"), owed("org")) == ((0, -10), (0, 10))


def test_nothing_of_a_period_is_due_before_its_orders_are() -> None:
    balances = Balances()
    true_ups = TrueUps(balances, Sellers(balances, {}, lambda: 0, lambda _: False))
    true_ups.notice(KEY, zone="UTC")
    late = part(40, base=400) | {"due": ENDS + 60 * DAY}
    true_ups.count([KEY], {KEY: [late]}, {"rul": {1: RULE | {"tiers": MARGINAL}}}, now=ENDS + 46 * DAY)
    true_ups.clear(ENDS + 60 * DAY - 1)
    assert balances.available("cre", "MYR") == 0
    true_ups.clear(ENDS + 60 * DAY)
    assert balances.available("cre", "MYR") == 60


def test_what_nobody_was_owed_of_is_due_as_if_paid_when_it_is_counted() -> None:
    for sold, days in ((400, 46 + 14), (0, 14)):
        balances = Balances()
        true_ups = TrueUps(balances, Sellers(balances, {}, lambda: 0, lambda _: False))
        true_ups.notice(KEY, zone="UTC")
        parts = [part(40, base=400) | {"due": ENDS}, part(0, base=sold)]
        versions = {"rul": {1: RULE | {"tiers": MARGINAL}}}
        true_ups.count([KEY], {KEY: parts}, versions, now=ENDS + 46 * DAY)
        true_ups.clear(ENDS + days * DAY - 1)
        assert balances.available("cre", "MYR") == 0
        true_ups.clear(ENDS + days * DAY)
        assert balances.available("cre", "MYR") > 0


def test_what_a_seller_has_not_paid_is_capped_when_he_has_and_is_billed_at_once() -> None:
    balances = Balances()
    true_ups = TrueUps(balances, Sellers(balances, {}, lambda: 0, lambda _: False))
    true_ups.notice(KEY, zone="UTC")
    his = {"by_us": False, "base": 400}
    paid, open_ = part(40) | his, part(40) | his | {"waits": True}

    def count(orders: list[dict[str, Any]], rule: dict[str, Any]) -> tuple[int, int]:
        true_ups.count([KEY], {KEY: orders}, {"rul": {1: RULE | rule}}, now=ENDS)
        owed = balances.of("payee:cre:pending", "MYR") + balances.available("cre", "MYR")
        return owed, balances.of("seller:org:receivable", "MYR")

    assert count([paid, open_], {"cap_month": 50}) == (0, 0)
    assert count([paid, paid], {"cap_month": 50}) == (-30, 30)
    assert count([paid, open_], {"cap_month": 30}) == (-10, 10)
    assert count([open_, open_], {"cap_month": 50}) == (0, 0)
    assert count([paid, open_ | {"available": 39}], {"cap_month": 50}) == (-29, 29), "he has it, paid or not"
    assert count([paid, open_], {"tiers": MARGINAL}) == (10 + 40 + 250 - 80, -220)


def test_a_version_is_counted_by_the_day_or_the_month() -> None:
    at = end_of("2026-03-14", "America/New_York") - 1
    assert period_of(RULE, at, "America/New_York") is None
    assert period_of(RULE | {"cap_day": 1}, at, "America/New_York") == "2026-03-14"
    assert period_of(RULE | {"cap_day": 1, "cap_month": 1}, at, "America/New_York") == "2026-03"
    assert period_of(RULE | {"tiers": MARGINAL}, at, "America/New_York") == "2026-03"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "America/Santiago", "Africa/Cairo"])
def test_two_ways_to_find_where_a_day_ends_agree(zone: str) -> None:
    """The model looks at the wall; the program computes midnight. Clocks change in the night, some at midnight."""
    for number in range(400):
        noon = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) + number * DAY
        day = day_at(noon, zone)
        assert day == local_day(datetime.fromtimestamp(noon, UTC), zone)
        for period in (day, day[:7]):
            bounds = period_bounds(period, zone)
            assert (start_of(period, zone), end_of(period, zone)) == tuple(int(at.timestamp()) for at in bounds)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 600), st.booleans()), min_size=1, max_size=4),
    st.sampled_from([(90, None), (300, None), (9_999, 20), (250, 120)]),
)
def test_two_ways_to_cap_what_is_available_of_orders_that_wait_agree(
    sold: list[tuple[int, int, bool]], caps: tuple[int, int | None]
) -> None:
    """Commission, K of the creator, and whether its seller has still to pay: what the simulator seldom comes by."""
    orders, parts = [], []
    for commission, cleared, waits in sold:
        placed = order(commission, base=commission * 9 + 4, settlement=Settlement.SELLER_COLLECTED)
        claim = of_creator(commission, cleared)
        orders.append(waiting(placed, claim) if waits else placed)
        his = {"by_us": False, "waits": waits, "available": min(commission, cleared)}
        parts.append(part(commission, base=commission * 9 + 4) | his)
    month, day = caps
    rule = the_rule(
        cap_per_month=Money(month, "MYR"),
        cap_per_day=None if day is None else Money(day, "MYR"),
    )
    ends = datetime.fromtimestamp(ENDS, UTC)
    _, _, count = counted_again(
        NOTHING, PERIOD, orders, rule=lambda *_: rule, timezone="UTC", effective_at=ends, at=ends
    )
    balances = Balances()
    true_ups = TrueUps(balances, Sellers(balances, {}, lambda: 0, lambda _: False))
    true_ups.notice(KEY, zone="UTC")
    true_ups.count([KEY], {KEY: parts}, {"rul": {1: RULE | {"cap_month": month, "cap_day": day}}}, now=ENDS)
    assert balances.of("payee:cre:pending", "MYR") + balances.available("cre", "MYR") == count.amount
    assert balances.of("seller:org:receivable", "MYR") == -count.receivable
