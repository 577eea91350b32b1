"""What the orders of a day or month come to together, where a rule has marginal tiers or a cap per day or month.
Semantics section 4, decision 22. Pure.

    the period's orders, as split  --earned_by-->  what they earned by the rule, net of refunds
    that                           --target---->   what the creator earns by it
    target less what the orders posted             the true-up: `counted_again`, `cleared`, `released`

A count is a function of the set of the period's orders and of the count before it. What is held of the creator's part
of an order is not in the set: nothing is paid, and no cap used up, on money in doubt. An order that waits for its
seller's money counts where it adds: that is billed, and waits with it. It takes nothing away before he has paid: what
a cap takes off is the seller's credit, and he would settle other orders with money that nobody ever had. What is
available of it all the same (it had cleared, and waits again) counts there too: else the cap would be lifted off it.
Not responsible for the stream of events of a true-up (`true_ups.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum

from colink.domain.claims import clear_claim, next_clearing
from colink.domain.commission import RuleDetails
from colink.domain.ids import natural_id
from colink.domain.local_time import local_day
from colink.domain.money import allocate, round_half_even
from colink.domain.organizations import Settlement
from colink.domain.split import Claim, LineSplit, PinnedTerms, Split, Tranche
from colink.domain.tiers import TierMode
from colink.domain.value import replace, value

TRUE_UP_ID = "tru"  # the prefix of their ids
RuleVersion = Callable[[str, int], RuleDetails]
"""A version of a rule, by the rule's id and its number."""


@value
class PeriodKey:
    """What is trued up together: the orders that a rule serves, of one creator, in one currency, placed on one day
    (`2026-03-14`) or in one month (`2026-03`) of the organisation's time zone."""

    organization_id: str
    rule_id: str
    creator_id: str
    currency: str
    period: str

    @property
    def id(self) -> str:
        """Of the stream."""
        return natural_id(TRUE_UP_ID, self.rule_id, self.creator_id, self.currency, self.period)


@value
class PlacedSplit:
    """An order's split as it is, when the order was placed, and the terms it is split by."""

    placed_at: datetime
    terms: PinnedTerms
    split: Split

    def lines_in(self, key: PeriodKey) -> list[LineSplit]:
        """The lines that count in a period: served by its rule, and not held."""
        split = self.split
        if (split.creator_id, split.currency) != (key.creator_id, key.currency):
            return []
        if not any(each.rule_id == key.rule_id and each.period == key.period for each in split.periods):
            return []
        return [line for line in split.counting_lines if line.rule is not None and line.rule.id == key.rule_id]


@value
class Earned:
    """What orders of a day earned by one version of a rule, net of refunds: their bases and their commission, where
    we collect the money (`by_us`) or the seller does. Minor units."""

    version: int
    day: str
    by_us: bool
    base: int
    commission: int


def earned_by(key: PeriodKey, orders: Iterable[PlacedSplit], *, timezone: str) -> tuple[Earned, ...]:
    """In order of version, day and settlement."""
    sums: dict[tuple[int, str, bool], list[int]] = defaultdict(lambda: [0, 0])
    for order in orders:
        lines = order.lines_in(key)
        if not lines:
            continue
        by_us = order.terms.settlement is Settlement.PLATFORM_COLLECTED
        day = local_day(order.placed_at, timezone)
        for line in lines:
            if line.rule is not None:
                total = sums[line.rule.version, day, by_us]
                total[0] += line.base - line.reversed_base
                total[1] += line.net_commission
    return tuple(
        Earned(version=version, day=day, by_us=by_us, base=base, commission=commission)
        for (version, day, by_us), (base, commission) in sorted(sums.items())
    )


def holding_days(key: PeriodKey, orders: Iterable[PlacedSplit]) -> int:
    """The longest holding period of the period's orders."""
    return max([order.terms.hold_days for order in orders if order.lines_in(key)], default=0)


def latest_due(key: PeriodKey, orders: Iterable[PlacedSplit]) -> datetime | None:
    """When the last of what the period's lines give to anybody is due: of what is paid late, a holding period after
    that. None where nothing is."""
    return max(
        [
            tranche.due_at
            for order in orders
            if (lines := {line.line_id for line in order.lines_in(key)})
            for claim in order.split.claims
            if claim.line_id in lines
            for tranche in claim.maturing
        ],
        default=None,
    )


def _says_no_due_time(key: PeriodKey, orders: Iterable[PlacedSplit]) -> bool:
    """Whether something counts that gives nobody anything by itself, so that nothing tells when it was paid."""
    for order in orders:
        dated = {claim.line_id for claim in order.split.claims if claim.maturing}
        if any(line.line_id not in dated and line.base > line.reversed_base for line in order.lines_in(key)):
            return True
    return False


def _of_versions_that_count(key: PeriodKey, order: PlacedSplit, rule: RuleVersion) -> PlacedSplit:
    """Without lines of versions of the rule that do not count by this kind of period: a cut that is put off leaves an
    order lines of two versions."""
    counts_by = "month" if len(key.period) == len("2026-03") else "day"
    lines = tuple(
        [
            line
            for line in order.split.lines
            if line.rule is None
            or line.rule.id != key.rule_id
            or rule(key.rule_id, line.rule.version).counts_by == counts_by
        ]
    )
    return order if len(lines) == len(order.split.lines) else replace(order, split=replace(order.split, lines=lines))


def _available_of(orders: Iterable[PlacedSplit], *, ageing: Ageing) -> Iterator[PlacedSplit]:
    """The orders, and of those that wait for their seller's money what of each line is available to the creator: they
    had cleared, and wait again since they were edited, or since a payment was returned. Their claims are of today, as
    nothing clears while an order waits."""
    for order in orders:
        if not order.split.waits_for_seller:
            yield order
        elif ageing >= Ageing.AS_AVAILABLE and (lines := tuple(_available_lines(order.split))):
            yield replace(order, split=replace(order.split, lines=lines))


def _available_lines(split: Split) -> Iterator[LineSplit]:
    """Net, their bases in proportion."""
    available = {claim.line_id: claim.available for claim in split.claims if claim.payee_id == split.creator_id}
    for line in split.lines:
        net = line.net_commission
        part = min(available.get(line.line_id, 0), net)
        if part > 0:
            base = round_half_even((line.base - line.reversed_base) * part, net)
            yield replace(line, base=base, commission=part, reversed_base=0, reversed_commission=0)


def target(earned: Sequence[Earned], version_of: Callable[[int], RuleDetails]) -> int:
    """What the creator earns by the rule on the orders of a period.

    Versions are counted one after the other. What was earned by the earlier ones counts against the caps, and moves
    on the tiers, of the later ones; no later version takes away what was earned by an earlier one.
    """
    days: dict[str, int] = defaultdict(int)
    total = revenue = 0
    for version in sorted({each.version for each in earned}):
        rule, parts = version_of(version), [each for each in earned if each.version == version]
        if rule.tiers is not None and rule.tiers.mode is TierMode.MARGINAL:
            start, revenue = revenue, revenue + sum([each.base for each in parts])
            added = rule.tiers.marginal_commission(start, revenue, below=rule.rate_bps or 0)
        else:
            revenue += sum([each.base for each in parts])
            added = 0
            cap = rule.cap_per_day.amount if rule.cap_per_day else None
            for day in sorted({each.day for each in parts}):
                before = days[day]
                days[day] = _capped(before, sum([each.commission for each in parts if each.day == day]), cap)
                added += days[day] - before
        total = _capped(total, added, rule.cap_per_month.amount if rule.cap_per_month else None)
    return total


def _capped(before: int, added: int, cap: int | None) -> int:
    return before + added if cap is None else max(before, min(before + added, cap))


class Ageing(IntEnum):
    """By which rule the money of a true-up is counted and clears. What was recorded by an earlier one stays right."""

    APART = 1
    """The sum of what is held and what is not due was kept back, though it may be the same money."""
    BY_PERIOD = 2
    """Due a holding period after it took effect, though the money of its orders might be due later."""
    WITH_ORDERS = 3
    """An order that waited for its seller's money was capped with nothing, also where something of it was available;
    and a first count added to what was paid long after the period as if it had been paid in it, where only the
    true-up gives anything for it. Lines of a version that does not count by the period counted, where another line of
    their order did."""
    AS_AVAILABLE = 4


@value
class Count:
    """A true-up as it stands: `amount` more (below zero: less) than the orders posted, of which `receivable` is the
    seller's to pay where it collects the money itself; `claims` of creator and seller."""

    target: int
    amount: int
    receivable: int
    claims: tuple[Claim, ...]
    clears_at: datetime | None

    @property
    def held(self) -> int:
        """What of it waits for the seller's money."""
        return sum([claim.held for claim in self.claims])


NOTHING = Count(target=0, amount=0, receivable=0, claims=(), clears_at=None)


def counted_again(
    before: Count,
    key: PeriodKey,
    orders: Sequence[PlacedSplit],
    *,
    rule: RuleVersion,
    timezone: str,
    effective_at: datetime,
    at: datetime,
    ageing: Ageing = Ageing.AS_AVAILABLE,
) -> tuple[tuple[Earned, ...], int, Count]:
    """What the orders of a period earned, how many days it is held, and the true-up that it makes of `before`. What
    that adds is due when it has been held from when it takes effect on, and no earlier than its orders' own money.
    Where that says no time, it may have been paid when it is counted, `at`."""
    if ageing >= Ageing.AS_AVAILABLE:
        orders = [_of_versions_that_count(key, order, rule) for order in orders]
    earned = earned_by(key, orders, timezone=timezone)
    if target(earned, lambda version: rule(key.rule_id, version)) < sum([each.commission for each in earned]):
        orders = list(_available_of(orders, ageing=ageing))
        earned = earned_by(key, orders, timezone=timezone)
    hold_days = holding_days(key, orders)
    due_at = effective_at + timedelta(days=hold_days)
    if ageing >= Ageing.WITH_ORDERS:
        due_at = max(due_at, latest_due(key, orders) or due_at)
    if ageing >= Ageing.AS_AVAILABLE and _says_no_due_time(key, orders):
        due_at = max(due_at, at + timedelta(days=hold_days))
    count = counted_anew(
        before,
        earned,
        key=key,
        rule=rule,
        advanced=_is_advanced(key, orders),
        due_at=due_at,
        ageing=ageing,
    )
    return earned, hold_days, count


def counted_anew(
    before: Count,
    earned: Sequence[Earned],
    *,
    key: PeriodKey,
    rule: RuleVersion,
    advanced: bool,
    due_at: datetime,
    ageing: Ageing = Ageing.AS_AVAILABLE,
) -> Count:
    """The true-up of what was earned. What it gives more than before is due at `due_at`. Where the seller collects
    the money and creators are not paid in advance (`advanced`), the seller's part of it is held."""
    wanted = target(earned, lambda version: rule(key.rule_id, version))
    amount = wanted - sum([each.commission for each in earned])
    by_us = sum([each.base for each in earned if each.by_us])
    by_seller = sum([each.base for each in earned if not each.by_us])
    ours, receivable = allocate(amount, [by_us, by_seller])
    known = {claim.payee_id: claim for claim in before.claims}
    # What was released once stays so: only what is more than that waits for the seller again.
    free = max(before.receivable, 0) - before.held
    held = 0 if advanced else max(receivable - free, 0)
    claims = tuple(
        _moved(known.get(payee_id), payee_id, net, held=held if payee_id == key.creator_id else 0, due_at=due_at)
        for payee_id, net in ((key.creator_id, amount), (key.organization_id, -ours))
        if net or payee_id in known
    )
    clears_at = _clears_at(claims, ageing=ageing)
    return Count(target=wanted, amount=amount, receivable=receivable, claims=claims, clears_at=clears_at)


def cleared(count: Count, *, at: datetime, ageing: Ageing = Ageing.AS_AVAILABLE) -> Count:
    claims = tuple(
        clear_claim(claim, at=at)
        if ageing is Ageing.APART
        else replace(claim, cleared=max(claim.cleared, _may_clear(claim, at)))
        for claim in count.claims
    )
    return replace(count, claims=claims, clears_at=_clears_at(claims, ageing=ageing))


def released(count: Count, amount: int, *, at: datetime, ageing: Ageing = Ageing.AS_AVAILABLE) -> Count:
    """With so much less of it held. What was due before clears no earlier than it was released (once it did)."""
    claims, left = [], amount
    for claim in count.claims:
        free = min(claim.held, left)
        left -= free
        claims.append(replace(claim, held=claim.held - free))
    clears_at = _clears_at(claims, ageing=ageing)
    if clears_at is not None and ageing is not Ageing.APART:
        clears_at = max(clears_at, at)
    return replace(count, claims=tuple(claims), clears_at=clears_at)


def held_and_due(count: Count, *, at: datetime) -> int:
    """What of a true-up waits for nothing but the seller's money."""
    return sum([max(claim.held - _not_due(claim, at), 0) for claim in count.claims])


def _not_due(claim: Claim, at: datetime) -> int:
    return sum([tranche.amount for tranche in claim.maturing if tranche.due_at > at])


def _may_clear(claim: Claim, at: datetime) -> int:
    """What is held is what came last, and what is not due came last too: neither of both clears. (A claim of an order
    has nothing maturing that is held.)"""
    return claim.net - max(claim.held, _not_due(claim, at))


def _clears_at(claims: Sequence[Claim], *, ageing: Ageing) -> datetime | None:
    """When something clears next."""
    if ageing is Ageing.APART:
        return next_clearing(claims, clears=True)
    due = [
        tranche.due_at
        for claim in claims
        for tranche in claim.maturing
        if _may_clear(claim, tranche.due_at) > claim.available
    ]
    return min(due, default=None)


def _is_advanced(key: PeriodKey, orders: Iterable[PlacedSplit]) -> bool:
    """Whether no order of the period waits for its seller's money."""
    return all(
        order.terms.advance or order.terms.settlement is Settlement.PLATFORM_COLLECTED
        for order in orders
        if order.lines_in(key)
    )


def _moved(claim: Claim | None, payee_id: str, net: int, *, held: int, due_at: datetime) -> Claim:
    """The claim with another net: an increase is due at `due_at`, a decrease eats what would be due last."""
    was = claim or Claim(line_id=None, payee_id=payee_id, net=0)
    owed, rise = max(net, 0), max(net, 0) - max(was.net, 0)
    held = min(held, owed)
    maturing = list(was.maturing)
    if rise > 0:
        maturing.append(Tranche(due_at=max([due_at, *(each.due_at for each in maturing)]), amount=rise))
    while sum([each.amount for each in maturing]) > owed:
        last = maturing.pop()
        left = owed - sum([each.amount for each in maturing])
        if left > 0:
            maturing.append(Tranche(due_at=last.due_at, amount=left))
    return Claim(
        line_id=None,
        payee_id=payee_id,
        net=net,
        cleared=min(was.cleared, net - held) if held else was.cleared,
        held=held,
        maturing=tuple(maturing),
    )
