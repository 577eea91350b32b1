"""What each payee is owed of an order, and when it is due. Semantics sections 4 and 6.

A claim is what one payee is owed on one order line, or on the pass-through. What the sale, the refunds and the money
given back make of it is told apart, as each is posted by a journal of its own (`postings.py`); together they are N.
What matures when follows from N through the order's history. Only K, which clearings raised, and `since`, which is
how the journals were posted, are carried over from the split before; what a hold took of K comes back with its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from colink.domain.basis import Basis
from colink.domain.merge import Known
from colink.domain.organizations import Settlement
from colink.domain.refunds import cash_by_refund
from colink.domain.split import ChangeTimes, Claim, ClaimKey, Split, Tranche
from colink.domain.value import replace

_NO_CLAIM = Claim(line_id=None, payee_id="", net=0)


def sale_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """What the sale alone gives each payee, per line; the pass-through has line id None."""
    claims: dict[ClaimKey, int] = defaultdict(int)
    creator_id, by_platform = split.creator_id, settlement is Settlement.PLATFORM_COLLECTED
    for line in split.lines:
        if creator_id is not None:
            claims[line.line_id, creator_id] += line.commission
        if by_platform:
            claims[line.line_id, organization_id] += (
                line.base - line.platform_fee - line.commission - line.payment_fee
            )
    if by_platform:
        claims[None, organization_id] += split.collected - split.subtotal
    return claims


def refund_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """What reversals change: below zero on the lines, above zero on the pass-through."""
    claims: dict[ClaimKey, int] = defaultdict(int)
    creator_id, by_platform = split.creator_id, settlement is Settlement.PLATFORM_COLLECTED
    for line in split.lines:
        if creator_id is not None:
            claims[line.line_id, creator_id] -= line.reversed_commission
        if by_platform:
            claims[line.line_id, organization_id] -= (
                line.reversed_base - line.reversed_platform_fee - line.reversed_commission
            )
    if by_platform:
        claims[None, organization_id] += split.reversed_base
    return claims


def cash_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """Money given back to the buyer leaves the pass-through."""
    if settlement is Settlement.SELLER_COLLECTED:
        return {}
    return {(None, organization_id): -split.cash_refunded}


def net_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """N of each claim: the three above in one."""
    claims: dict[ClaimKey, int] = defaultdict(int)
    creator_id, by_platform = split.creator_id, settlement is Settlement.PLATFORM_COLLECTED
    net_subtotal = 0
    for line in split.lines:
        if creator_id is not None:
            claims[line.line_id, creator_id] += line.commission - line.reversed_commission
        if by_platform:
            claims[line.line_id, organization_id] += line.seller_take
            net_subtotal += line.base - line.reversed_base
    if by_platform:
        claims[None, organization_id] += split.collected - net_subtotal - split.cash_refunded
    return claims


def changes(before: Mapping[ClaimKey, int], after: Mapping[ClaimKey, int]) -> Iterable[tuple[ClaimKey, int]]:
    """Differences, in a stable order: known claims first, then new ones."""
    for key in {**before, **after}:
        difference = after.get(key, 0) - before.get(key, 0)
        if difference:
            yield key, difference


class ClaimHistory:
    """N of each claim followed through an order's history, which tells what of it is due when: what was there from
    the first payment a holding period after it, each later increase a holding period after its own time; a decrease
    eats what would be due last. Commission by a rule that counts by the day or month is not due before that ends.
    What is owed to the buyer is no part of it.

    After the last time, `nets` are N, `tranches` what of each claim is due when, soonest first."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self.hold = basis.hold
        self._followed: dict[ClaimKey, int] = {}
        self.tranches: dict[ClaimKey, list[Tranche]] = {}
        self.nets: dict[ClaimKey, int] = {}
        self.owed_to_buyer = 0
        self._most_released: int | None = None
        self.held_by_dispute = False

    def follow(self, split: Split, known: Known) -> None:
        """The next time of the history and what the order amounted to then."""
        basis, followed, tranches = self._basis, self._followed, self.tranches
        nets = net_claims(split, basis.organization_id, settlement=basis.pinned.settlement)
        net = nets.get(basis.pass_through, 0)
        owed = owed_to_buyer(net, split, everything_reversed=known.everything_reversed)
        owed = max(owed - self._released(known, owed), 0)
        due_at, not_before = known.at + self.hold, split.lines_clear_after()
        for key in {**followed, **nets}:
            amount = nets.get(key, 0)
            if owed and key == basis.pass_through:
                amount -= owed
            amount, before = amount if amount > 0 else 0, followed.get(key, 0)
            if amount > before:
                due = due_at
                if not_before and key[0] in not_before and key[1] == split.creator_id:
                    due = max(due, not_before[key[0]])
                tranches.setdefault(key, []).append(Tranche(due_at=due, amount=amount - before))
            elif amount < before:
                _eat_last(tranches[key], before - amount)
            else:
                continue
            followed[key] = amount
        self.nets, self.owed_to_buyer, self.held_by_dispute = nets, owed, known.held_by_dispute

    def _released(self, known: Known, owed: int) -> int:
        """What finance released of that. What it covers at a time before it, it covers as if nothing had been held;
        after it at most what was owed at every time since, so that a later debt is held (decision 21)."""
        release = self._basis.decisions.release
        if release is None:
            return self._basis.decisions.released
        if known.at <= release.at:
            self._most_released = owed
        else:
            self._most_released = owed if self._most_released is None else min(self._most_released, owed)
        left = release.left(cash_by_refund(known.money.currency, known.refunds.values()))
        return left if known.at <= release.at else max(min(left, self._most_released), 0)


def _eat_last(tranches: list[Tranche], amount: int) -> None:
    """Take so much off what is due last."""
    while amount > 0:
        last = tranches.pop()
        if last.amount > amount:
            tranches.append(Tranche(due_at=last.due_at, amount=last.amount - amount))
        amount -= last.amount


def owed_to_buyer(net: int, split: Split, *, everything_reversed: bool) -> int:
    """The part of the pass-through, whose N is `net`, that the buyer has not got back yet; all of it while cancelled
    or refunded. Below zero where more went back."""
    return net if everything_reversed else min(net, split.reversed_base - split.cash_refunded)


class HeldWhole:
    """Which claims of an order may not clear at all, at the end of its history: a review covers them, the creator
    bought through their own link, or a dispute has not taken its money yet."""

    def __init__(self, history: ClaimHistory, split: Split, basis: Basis) -> None:
        decisions, creator_id = basis.decisions, split.creator_id
        self._all = history.held_by_dispute
        own_link = basis.attribution.own_link and creator_id != decisions.own_link_of
        self._own_link_of = creator_id if own_link else None
        self._reviews = decisions.holds

    def __bool__(self) -> bool:
        return self._all or self._own_link_of is not None or bool(self._reviews)

    def covers(self, key: ClaimKey) -> bool:
        if self._all or (self._own_link_of is not None and key[1] == self._own_link_of):
            return True
        return any(review.covers(key) for review in self._reviews)

    def lines_of(self, split: Split) -> tuple[str, ...]:
        """The lines of which the creator's part is held, also where that is nothing (yet)."""
        creator_id = split.creator_id
        if creator_id is None or not self:
            return ()
        ids = [line.line_id for line in split.lines if line.line_id is not None]
        return tuple(line_id for line_id in ids if self.covers((line_id, creator_id)))


def claims_now(
    history: ClaimHistory,
    split: Split,
    *,
    before: Split | None,
    basis: Basis,
    times: ChangeTimes,
    held_whole: HeldWhole,
) -> tuple[Claim, ...]:
    """What each payee is owed and when, at the end of an order's history. `before` is what was posted so far, `times`
    the effective times of what changed since."""
    known = {(claim.line_id, claim.payee_id): claim for claim in before.claims} if before else {}
    nets, tranches, pass_through = history.nets, history.tranches, basis.pass_through
    suspended, anything_held = basis.suspended, bool(held_whole)
    effective_at = _EffectiveTimes(split, before, basis, times, hold=history.hold)
    claims = []
    for key in {**known, **nets}:
        line_id, payee_id = key
        net, was = nets.get(key, 0), known.get(key, _NO_CLAIM)
        if net == 0 and was is _NO_CLAIM:
            continue
        held = history.owed_to_buyer if line_id is None and key == pass_through else 0
        if anything_held and held_whole.covers(key):
            held = max(net, 0)
        cleared = was.cleared + suspended.of(was)
        maturing = tuple(tranches[key]) if key in tranches else ()
        rise = (net - held) - (was.net - was.held)
        claims.append(
            Claim(
                line_id=line_id,
                payee_id=payee_id,
                net=net,
                cleared=min(cleared, net - held) if held else cleared,
                held=held,
                maturing=maturing,
                since=effective_at.last_addition(key, rise, was.since, maturing) if rise > 0 else was.since,
            )
        )
    return tuple(claims)


class _EffectiveTimes:
    """When the journals that raise claims take effect."""

    def __init__(
        self, split: Split, before: Split | None, basis: Basis, times: ChangeTimes, *, hold: timedelta
    ) -> None:
        self._split, self._before, self._basis, self._times = split, before, basis, times
        self._hold = hold
        self._last_due = max(times.sale, times.refund) + hold
        self._raised_by_sale: dict[ClaimKey, int] | None = None

    def last_addition(
        self, key: ClaimKey, rise: int, since: datetime | None, maturing: Sequence[Tranche]
    ) -> datetime | None:
        """`since` of a claim that rises. A rise may belong to money that is due earlier than a holding period after
        this change: what clears of it takes effect after the change."""
        if _due_from(self._last_due, maturing) >= rise:
            return since  # whichever journal raises it
        at = self._times.sale if rise <= self._by_sale().get(key, 0) else self._times.refund
        if _due_from(at + self._hold, maturing) >= rise:
            return since
        return max(since or at, at)

    def _by_sale(self) -> dict[ClaimKey, int]:
        """The claims that the sale's own journal raises, and by how much."""
        if self._raised_by_sale is None:
            organization_id, settlement = self._basis.organization_id, self._basis.pinned.settlement
            old = sale_claims(self._before, organization_id, settlement=settlement) if self._before else {}
            new = sale_claims(self._split, organization_id, settlement=settlement)
            self._raised_by_sale = {key: difference for key, difference in changes(old, new) if difference > 0}
        return self._raised_by_sale


def _due_from(start: datetime, maturing: Sequence[Tranche]) -> int:
    due = 0
    for tranche in reversed(maturing):
        if tranche.due_at < start:
            break
        due += tranche.amount
    return due


def clear_claim(claim: Claim, *, at: datetime) -> Claim:
    """The claim after a clearing at `at`: K rises to N less what is held and what is not due yet, and never falls."""
    not_due = sum([tranche.amount for tranche in claim.maturing if tranche.due_at > at])
    return replace(claim, cleared=max(claim.cleared, claim.net - claim.held - not_due))


def no_more_than_owed(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """K no more than N, where what had cleared is not owed any more and its money pays for something else: owed again
    it has to be paid for, and to clear, anew."""
    return tuple([replace(claim, cleared=min(claim.cleared, max(claim.net, 0))) for claim in claims])


def next_clearing(claims: Sequence[Claim], *, clears: bool) -> datetime | None:
    """The next time at which a clearing would move money."""
    if not clears:
        return None
    soonest: datetime | None = None
    for claim in claims:
        maturing, free = claim.maturing, claim.net - claim.held
        available = claim.available
        if free <= available or not maturing or (soonest is not None and soonest <= maturing[0].due_at):
            continue
        not_due = sum([tranche.amount for tranche in maturing])
        for tranche in maturing:
            not_due -= tranche.amount
            if free - not_due > available:
                soonest = tranche.due_at if soonest is None else min(soonest, tranche.due_at)
                break
    return soonest
