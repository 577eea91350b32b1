"""Which orders count together: what each adds to its days and months, and to the revenue that tiers look at.

A line counts while the creator's part of it is not held (decision 22). What they come to is said in `tiers.py` and
`true_ups.py`; when somebody counts, the caller says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from colink.simulation.model.attribution import Knowledge
from colink.simulation.model.balances import Balances, Change, add
from colink.simulation.model.calendar import day_at, end_of, month_at
from colink.simulation.model.money import ClaimKey
from colink.simulation.model.orders import Order
from colink.simulation.model.sellers import Sellers
from colink.simulation.model.tiers import RevenueKey, Tiers, looked_at
from colink.simulation.model.true_ups import PeriodKey, TrueUps, period_of

Facts = dict[str, Any]


class Counting:
    """`orders` are those of the books, and grow with them."""

    def __init__(
        self, known: Knowledge, orders: Mapping[tuple[str, str], Order], balances: Balances, sellers: Sellers
    ) -> None:
        self.known = known
        self.orders = orders
        self.tiers = Tiers()
        self.true_ups = TrueUps(balances, sellers)
        self._looked: set[tuple[str, str, str, str]] = set()

    def _zone(self, organization: str) -> str:
        return str(self.known.organizations[organization]["timezone"])

    # An order -----------------------------------------------------------------------------------------------------

    def served(self, rule: Facts, order: Order) -> Facts:
        """The rule as it serves the order. Raises NotCounted."""
        month = month_at(order.placed_at, self._zone(rule["organization"]))
        return self.tiers.served(rule, creator=order.credit["creator"], month=month)

    def not_before(self, order: Order, key: ClaimKey) -> int:
        """When what is owed there is due at the earliest. A line of a version that is not counted by the day or month
        waits for one of the same rule that is, where their order has both."""
        line_id, payee = key
        rules = order.money["rules"] if order.money and payee == order.credit["creator"] else {}
        named = (rules.get(line_id) or {}).get("rule")
        versions = [rule for rule in rules.values() if rule and rule["rule"] == named]
        periods = [period for rule in versions if (period := self._period(order, rule))]
        period = periods[-1] if periods else None
        return end_of(period, self._zone(order.store["organization"])) if period else 0

    def notice(self, order: Order) -> None:
        """The order stands as it does now."""
        for key in self._periods(order):
            order.counted_in[key] = None
            self.true_ups.notice(key, zone=self._zone(order.store["organization"]))

    def is_counted(self, order: Order) -> bool:
        """Whether a day or month was counted that it is in."""
        return any(key in self.true_ups.counted for key in self._periods(order))

    def has_cleared_together(self, order: Order) -> bool:
        """Whether its creator ever had money of a true-up of one of its periods."""
        counted = [self.true_ups.counted[key] for key in self._periods(order) if key in self.true_ups.counted]
        return any(known.has_cleared for known in counted)

    @staticmethod
    def _counts(order: Order, line_id: str) -> bool:
        """Only while the creator's part of the line is not held."""
        return not order.stops((line_id, order.credit["creator"]))

    def _period(self, order: Order, rule: Facts) -> str | None:
        return period_of(rule, order.placed_at, self._zone(order.store["organization"]))

    def _periods(self, order: Order) -> Iterator[PeriodKey]:
        """Of each line that is counted by the day or month, held or not."""
        for rule in (order.money["rules"] if order.money else {}).values():
            period = self._period(order, rule) if rule else None
            if rule and period:
                yield self._key(order, rule, period)

    @staticmethod
    def _key(order: Order, rule: Facts, period: str) -> PeriodKey:
        return (order.store["organization"], rule["rule"], order.credit["creator"], order.currency, period)

    # Tiers --------------------------------------------------------------------------------------------------------

    def decide(self, key: RevenueKey, *, for_an_order: bool) -> int:
        """Somebody counts this revenue now: what it is."""
        return self.tiers.count(key, self._sales(), zone=self._zone(key[0]), for_an_order=for_an_order)

    def worker_looks(self, now: int) -> tuple[set[RevenueKey], set[RevenueKey]]:
        """A worker looks whose revenues are looked at this month: those that it may count, and those of them that
        are counted after it looked for the first time in the month (of all who sold something before)."""
        may, must = set(), set()
        for rule in self.known.rules:
            organization, tiers = rule["organization"], rule["tiers"]
            if tiers is None or tiers["mode"] == "marginal":
                continue
            zone = self._zone(organization)
            month, span = month_at(now, zone), tiers["span"]
            look = (organization, rule["currency"], month, span)
            start, end = looked_at(month, span, zone=zone)
            for order in self.orders.values():
                creator = order.credit["creator"]
                if creator is None or order.store["organization"] != organization:
                    continue
                if start <= order.placed_at < end:
                    key = (organization, creator, rule["currency"], month, span)
                    may.add(key)
                    if look not in self._looked and order.money is not None:
                        must.add(key)
            self._looked.add(look)
        return may, must

    def _sales(self) -> Iterator[Facts]:
        """What each order sold, net, as it counts now."""
        for order in self.orders.values():
            creator = order.credit["creator"]
            if creator is None or order.money is None:
                continue
            yield {
                "organization": order.store["organization"],
                "creator": creator,
                "currency": order.currency,
                "placed_at": order.placed_at,
                "base": sum(
                    base - gone
                    for line_id, (base, gone, *_) in order.money["lines"].items()
                    if self._counts(order, line_id)
                ),
            }

    # True-ups -----------------------------------------------------------------------------------------------------

    def true_up(self, now: int) -> Change:
        """A worker counts every period that has ended, and then lets clear what is due, and what is covered too."""
        changed = self._count(self.true_ups.ended(now), now)
        add(changed, self.true_ups.clear(now))
        add(changed, self.true_ups.clear_what_is_covered(now))
        return changed

    def count_ended(self, orders: Iterable[Order], now: int) -> Change:
        """Orders are about to clear, or to give back what was paid too much for them: their periods that have ended
        and were never counted, and again those of an order whose seller has to pay first. Those that they were in
        once are theirs too."""
        ended, counted = set(self.true_ups.ended(now)), self.true_ups.counted.keys()
        return self._count(
            [
                key
                for order in orders
                for key in order.counted_in
                if key in ended and (key not in counted or not self.known.clears_by_time(order.store))
            ],
            now,
        )

    def _count(self, keys: Iterable[PeriodKey], now: int) -> Change:
        keys = list(dict.fromkeys(keys))
        versions: dict[str, dict[int, Facts]] = {}
        for rule in self.known.rules:
            versions.setdefault(rule["rule"], {})[rule["version"]] = rule
        return self.true_ups.count(keys, self._parts() if keys else {}, versions, now=now)

    def _parts(self) -> dict[PeriodKey, list[Facts]]:
        """What the lines of all orders add to their periods."""
        parts: dict[PeriodKey, list[Facts]] = {}
        for order in self.orders.values():
            creator, money = order.credit["creator"], order.money
            if creator is None or money is None:
                continue
            zone, hold = self._zone(order.store["organization"]), self.known.hold_seconds(order.store, order.credit)
            by_time = self.known.clears_by_time(order.store)
            for line_id, rule in money["rules"].items():
                period = self._period(order, rule) if rule else None
                if rule is None or period is None or not self._counts(order, line_id):
                    continue
                base, gone, _, commission, *_ = money["lines"][line_id]
                parts.setdefault(self._key(order, rule, period), []).append(
                    {
                        "version": rule["version"],
                        "day": day_at(order.placed_at, zone),
                        "base": base - gone,
                        "commission": commission,
                        "by_us": order.store["platform_collected"],
                        "advance": self.known.organizations[order.store["organization"]]["advance"],
                        "waits": not by_time and order.is_unpaid,
                        "available": order.available((line_id, creator)),
                        "hold": hold,
                        "due": order.latest_due(line_id),
                    }
                )
        return parts
