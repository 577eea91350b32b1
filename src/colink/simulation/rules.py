"""What rules give in a simulated business: rates, fixed amounts, tiers and caps, drawn, and as commands want them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from colink.domain.money import Money
from colink.domain.tiers import Tier, TierMode, Tiers, TierSpan

Facts = dict[str, Any]

START = datetime(2026, 1, 28, 9, 0, tzinfo=UTC)  # of every business; a month ends soon
_NO_TIERS_NO_CAPS: Facts = {"tiers": None, "cap": None, "cap_day": None, "cap_month": None}


def drawn_rate(random: Random, organization: Facts, currency: str) -> Facts:
    """A version of a rule, as the model wants it."""
    start = random.choice([*[None] * 9, 0, 20, 60])
    end = random.choice([*[None] * 9, 90, 120])
    times = {"from": _after_start(start), "to": _after_start(end), "currency": currency}
    if random.random() < 0.15:
        return {"rate_bps": None, "fixed": random.choice([30, 150, 999])} | _NO_TIERS_NO_CAPS | times
    most = 10_000 - organization["fee_bps"]
    rate = random.choice([0, 500, 1000, 1500, 1234, 777, most])
    return {"rate_bps": rate, "fixed": None} | _drawn_limits(random, most) | times


def _drawn_limits(random: Random, most: int) -> Facts:
    """Tiers and caps that go together. `most`: the highest rate that is left beside the platform fee."""
    draw = random.random()
    limits: Facts = dict(_NO_TIERS_NO_CAPS)
    if draw < 0.2:
        return limits
    if draw < 0.5:
        limits["tiers"] = _drawn_tiers(random, "marginal", most)
        limits["cap_month"] = random.choice([None, None, 2_000, 30_000])
        return limits
    if draw < 0.75:
        limits["tiers"] = _drawn_tiers(random, "whole", most)
    for name, amounts in (("cap", [40, 500]), ("cap_day", [300, 4_000]), ("cap_month", [900, 10_000, 60_000])):
        if random.random() < (0.15 if limits["tiers"] else 0.4):
            limits[name] = random.choice(amounts)
    return limits


def _drawn_tiers(random: Random, mode: str, most: int) -> Facts:
    edges = sorted(random.sample([1, 3_000, 40_000, 150_000, 600_000], random.randint(1, 3)))
    span = random.choice(["month_before", "all_time"]) if mode == "whole" else "month_before"
    return {
        "mode": mode,
        "span": span,
        "steps": [(edge, random.choice([0, 250, 1000, 1777, 2500, most])) for edge in edges],
    }


def spelt(rule: Facts) -> dict[str, Any]:
    """A version's rate and validity as its commands want them."""

    def money(amount: int | None) -> Money | None:
        return None if amount is None else Money(amount, rule["currency"])

    tiers = rule["tiers"]
    return {
        "rate_bps": rule["rate_bps"],
        "fixed": money(rule["fixed"]),
        "tiers": Tiers(
            mode=TierMode(tiers["mode"]),
            span=TierSpan(tiers["span"]),
            steps=tuple(
                Tier(from_revenue=Money(edge, rule["currency"]), rate_bps=rate) for edge, rate in tiers["steps"]
            ),
        )
        if tiers
        else None,
        "cap_per_order": money(rule["cap"]),
        "cap_per_day": money(rule["cap_day"]),
        "cap_per_month": money(rule["cap_month"]),
        "valid_from": _time(rule["from"]),
        "valid_to": _time(rule["to"]),
    }


def _after_start(days: int | None) -> int | None:
    return None if days is None else int((START + timedelta(days=days)).timestamp())


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
