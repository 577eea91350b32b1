"""Rates that follow what a creator sold. Semantics section 4.

Whole tiers look at the revenue before the order's month. It is counted once for each creator, organisation, currency,
month and span; `Tiers` is told when somebody counts, says what there is to count then, and remembers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from colink.simulation.model.amounts import half_even
from colink.simulation.model.calendar import month_before, start_of

Facts = dict[str, Any]
RevenueKey = tuple[str, str, str, str, str]
"""Organisation, creator, currency, month, span."""


class NotCounted(Exception):
    """An order looks at a revenue that nobody counted."""


class Tiers:
    def __init__(self) -> None:
        self.revenues: dict[RevenueKey, int] = {}
        self.unused: set[RevenueKey] = set()

    def count(self, key: RevenueKey, sales: Iterable[Facts], *, zone: str, for_an_order: bool) -> int:
        """What was sold before the month, as known now: `sales` are {organization, creator, currency, placed_at,
        base}, net of refunds and without what is held. Raises NotCounted where it was counted before."""
        if key in self.revenues:
            msg = f"{key} is counted twice"
            raise NotCounted(msg)
        organization, creator, currency, month, span = key
        start, end = looked_at(month, span, zone=zone)
        self.revenues[key] = sum(
            sale["base"]
            for sale in sales
            if (sale["organization"], sale["creator"], sale["currency"]) == (organization, creator, currency)
            and start <= sale["placed_at"] < end
        )
        if for_an_order:
            self.unused.add(key)
        return self.revenues[key]

    def served(self, rule: Facts, *, creator: str, month: str) -> Facts:
        """The rule with the rate that orders placed in the month are posted by. Raises NotCounted."""
        tiers = rule["tiers"]
        if tiers is None or tiers["mode"] == "marginal":
            return rule
        key = (rule["organization"], creator, rule["currency"], month, tiers["span"])
        if key not in self.revenues:
            msg = f"an order looks at {key}, which nobody counted"
            raise NotCounted(msg)
        self.unused.discard(key)
        return rule | {"rate_bps": rate_at(rule, self.revenues[key])}


def looked_at(month: str, span: str, *, zone: str) -> tuple[int, int]:
    """From when and until when an order was placed that counts."""
    return (start_of(month_before(month), zone) if span == "month_before" else 0), start_of(month, zone)


def rate_at(rule: Facts, revenue: int) -> int:
    """Of the highest tier that the revenue reaches; below the first the rule's own."""
    tiers = rule["tiers"]
    reached = [rate for start, rate in tiers["steps"] if start <= revenue] if tiers else []
    return int(reached[-1] if reached else rule["rate_bps"])


def marginal(rule: Facts, start: int, end: int) -> int:
    """The commission on what was sold from `start` to `end`, each part by the rate of its tier, rounded once."""
    edges = sorted({start, end, *(edge for edge, _ in rule["tiers"]["steps"] if start < edge < end)})
    parts = ((upper - lower) * rate_at(rule, lower) for lower, upper in pairwise(edges))
    return half_even(sum(parts), 10_000)
