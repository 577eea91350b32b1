"""What the orders of a day or month come to together, where a rule has marginal tiers or a cap per day or month.
Semantics section 4; where it leaves room, decision 22.

    lines of orders --period_of--> parts of a period --comes_to--> what the creator earns by the rule
    that less what the orders posted: creator against seller, in claims of its own that age like those of orders
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colink.simulation.model.amounts import half_even, shared_out
from colink.simulation.model.balances import Balances, Change, add
from colink.simulation.model.calendar import day_at, end_of, month_at
from colink.simulation.model.sellers import Sellers
from colink.simulation.model.tiers import marginal

Facts = dict[str, Any]
PeriodKey = tuple[str, str, str, str, str]
"""Organisation, rule, creator, currency, day or month."""


def period_of(rule: Facts, at: int, zone: str) -> str | None:
    """The day or month in which a version of a rule counts an order placed then; None where it counts none."""
    if rule["cap_month"] is not None or (rule["tiers"] is not None and rule["tiers"]["mode"] == "marginal"):
        return month_at(at, zone)
    return day_at(at, zone) if rule["cap_day"] is not None else None


def comes_to(parts: Sequence[Facts], versions: Mapping[int, Facts]) -> int:
    """What a creator earns by a rule in a period. `parts`: {version, day, base, commission}, net. A version goes on
    where those before it stopped, with their tiers and against its own caps, and takes nothing of theirs away."""
    total, sold = 0, 0
    of_day: dict[str, int] = {}
    for version in sorted({part["version"] for part in parts}):
        rule, own = versions[version], [part for part in parts if part["version"] == version]
        base = sum(part["base"] for part in own)
        if rule["tiers"] is not None and rule["tiers"]["mode"] == "marginal":
            more = marginal(rule, sold, sold + base)
        else:
            more = 0
            for day in sorted({part["day"] for part in own}):
                earned = sum(part["commission"] for part in own if part["day"] == day)
                room = _room(rule["cap_day"], of_day.get(day, 0), earned)
                of_day[day] = of_day.get(day, 0) + room
                more += room
        sold += base
        total += _room(rule["cap_month"], total, more)
    return total


def _room(cap: int | None, before: int, more: int) -> int:
    """What of `more` a cap has room for."""
    return more if cap is None else max(min(more, cap - before), 0)


class Claim:
    """What one payee is owed by the true-up of a period: N, K, what of N waits for the seller's money, and what of it
    is due when. What is not due, and what waits, is what came last; so neither of both clears."""

    def __init__(self) -> None:
        self.net = 0
        self.cleared = 0
        self.held = 0
        self.due: list[tuple[int, int]] = []

    @property
    def available(self) -> int:
        return min(self.net - self.held, self.cleared)

    def move(self, net: int, *, held: int, at: int) -> None:
        """A rise is due at `at`, though no sooner than what was there before; a fall eats what would be due last."""
        rise = max(net, 0) - max(self.net, 0)
        self.net, self.held = net, min(held, max(net, 0))
        if self.held:
            self.cleared = min(self.cleared, net - self.held)
        if rise > 0:
            self.due.append((max(at, self.due[-1][0]) if self.due else at, rise))
        left = max(net, 0)
        for place, (due_at, amount) in enumerate(self.due):
            self.due[place] = (due_at, min(amount, left))
            left -= self.due[place][1]
        self.due = [(due_at, amount) for due_at, amount in self.due if amount]

    def clear(self, now: int) -> None:
        self.cleared = max(self.cleared, self.net - max(self.held, self._not_due(now)))

    def waits(self, now: int) -> int:
        """What is due, and waits for nothing but the seller's money."""
        return max(self.held - self._not_due(now), 0)

    @property
    def waits_since(self) -> int:
        return min((at for at, _ in self.due if self.waits(at)), default=0)

    def _not_due(self, now: int) -> int:
        return sum(amount for due_at, amount in self.due if due_at > now)


class TrueUp:
    """Of one period, as it was counted last."""

    def __init__(self) -> None:
        self.creator = Claim()
        self.seller = Claim()
        self.receivable = 0
        self.has_cleared = False
        self.posted: Change = {}


class TrueUps:
    """All of them. `ends`: of every period that an order was ever placed in."""

    def __init__(self, balances: Balances, sellers: Sellers) -> None:
        self.balances = balances
        self.sellers = sellers
        self.ends: dict[PeriodKey, int] = {}
        self.counted: dict[PeriodKey, TrueUp] = {}

    def notice(self, key: PeriodKey, *, zone: str) -> None:
        """An order stands in this period."""
        self.ends.setdefault(key, end_of(key[4], zone))

    def ended(self, now: int) -> list[PeriodKey]:
        return [key for key, end in self.ends.items() if end <= now]

    def count(
        self,
        keys: Iterable[PeriodKey],
        parts: Mapping[PeriodKey, Sequence[Facts]],
        versions: Mapping[str, Mapping[int, Facts]],
        *,
        now: int,
    ) -> Change:
        """Count periods that have ended. `parts`: {version, day, base, commission, by_us, advance, waits, available,
        hold, due} of each line that counts, `hold` in seconds, `due` the latest time at which something of it is (0
        where nobody is owed anything of it), `waits` for what its seller has not paid, of which the creator has
        `available`; `versions` of each rule. A first count takes effect at the period's end, a later one now; what it
        adds is due no earlier than its orders' own money, and where they have none as if paid now."""
        changed: Change = {}
        for key in sorted(keys, key=lambda key: (self.ends[key], _name(key))):
            own = _counting(parts.get(key, ()), versions[key[1]])
            first = key not in self.counted
            known = self.counted.setdefault(key, TrueUp())
            effective = self.ends[key] if first else now
            longest = max((part["hold"] for part in own), default=0)
            due_at = max(effective + longest, *(part["due"] for part in own), 0)
            if any(part["base"] > 0 and not part["due"] for part in own):
                due_at = max(due_at, now + longest)
            amount = _more_than_posted(own, versions[key[1]])
            weights = [sum(part["base"] for part in own if part["by_us"] is by_us) for by_us in (True, False)]
            sign = -1 if amount < 0 else 1
            of_us, of_seller = (sign * part for part in shared_out(abs(amount), weights))
            waits = any(not part["by_us"] and not part["advance"] for part in own)
            held = max(of_seller - _let_go(known), 0) if waits else 0
            known.receivable, held_before = of_seller, known.creator.held
            known.creator.move(amount, held=held, at=due_at)
            known.seller.move(-of_us, held=0, at=due_at)
            add(changed, self._post(key, known, waits=known.creator.held - held_before))
        return changed

    def clear(self, now: int) -> Change:
        """Everything that is due."""
        changed: Change = {}
        for key, known in self.counted.items():
            known.creator.clear(now)
            known.seller.clear(now)
            add(changed, self._post(key, known))
        return changed

    def clear_what_is_covered(self, now: int) -> Change:
        """What is due and waits for the seller's money, as far as that has come: what still waits is no less than
        what he owes beside orders. Whichever was due first goes first."""
        changed: Change = {}
        waiting = [(known.creator.waits_since, _name(key), key) for key, known in self.counted.items()]
        for _, _, key in sorted(waiting):
            known = self.counted[key]
            covered = max(self.held(key[0], key[3]) - self.sellers.owed_beside_orders((key[0], key[3])), 0)
            amount = min(known.creator.waits(now), covered)
            if amount:
                known.creator.held -= amount
                known.creator.clear(now)
                add(changed, self._post(key, known))
        return changed

    def held(self, organization: str, currency: str) -> int:
        """What waits for a seller's money."""
        return sum(
            known.creator.held for key, known in self.counted.items() if (key[0], key[3]) == (organization, currency)
        )

    def release(self, key: PeriodKey) -> None:
        """Finance lets go of what waits: it clears when it is due."""
        self.counted[key].creator.held = 0

    def _post(self, key: PeriodKey, known: TrueUp, *, waits: int = 0) -> Change:
        """`waits`: how much more of it waits for the seller's money."""
        seller, _, creator, currency, _ = key
        known.has_cleared = known.has_cleared or known.creator.cleared > 0
        target: Change = {(f"seller:{seller}:receivable", currency): -known.receivable}
        for payee, claim in ((creator, known.creator), (seller, known.seller)):
            target[f"payee:{payee}:available", currency] = claim.available
            target[f"payee:{payee}:pending", currency] = claim.net - claim.available
        changed = {
            account: target[account] - known.posted.get(account, 0)
            for account in target
            if target[account] != known.posted.get(account, 0)
        }
        known.posted = target
        self.sellers.book(changed, waits=waits)
        return self.balances.book(changed)


def _counting(parts: Sequence[Facts], versions: Mapping[int, Facts]) -> Sequence[Facts]:
    """What is taken off is credit of the seller: not of what he has not paid yet, unless the creator has it already.
    What is added he is billed."""
    if _more_than_posted(parts, versions) >= 0:
        return parts
    counting = []
    for part in parts:
        if not part["waits"]:
            counting.append(part)
        elif part["available"]:
            base = half_even(part["base"] * part["available"], part["commission"])
            counting.append(part | {"base": base, "commission": part["available"]})
    return counting


def _more_than_posted(parts: Sequence[Facts], versions: Mapping[int, Facts]) -> int:
    """What a creator earns by the rule in a period, less what its orders posted."""
    posted: int = sum(part["commission"] for part in parts)
    return comes_to(parts, versions) - posted


def _let_go(known: TrueUp) -> int:
    """What of the seller's part does not wait: what was once let go stays so."""
    return max(known.receivable, 0) - known.creator.held


def _name(key: PeriodKey) -> str:
    """As its stream is named: of two that were due at once the one that is named first goes first."""
    return ".".join(key[1:])
