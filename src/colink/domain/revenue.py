"""The revenue split: what a paid order amounts to, line by line and payee by payee. Semantics sections 1, 4, 5, 6.

    merged order + pinned terms + credited creator  --_gross_lines, reverse--> lines
    lines at each time of the order's history       --_claims-->               claims (N, K, held, what matures when)

Everything but K is recomputed from the merged order each time; `postings.py` turns the difference between two splits
into journals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from colink.domain.attribution import Attribution
from colink.domain.commission import RuleDetails, choose_rule
from colink.domain.ids import product_id, sku_id
from colink.domain.merge import MergedOrder, history
from colink.domain.money import allocate, round_half_even, share_of
from colink.domain.organizations import Settlement
from colink.domain.refunds import in_line_order, reverse
from colink.domain.snapshots import OrderLine, OrderSnapshot
from colink.domain.split import ChangeTimes, Claim, LineSplit, PinnedTerms, RuleRef, Split, Tranche
from colink.domain.terms import Terms


def pin_terms(terms: Terms, *, store_id: str, attribution: Attribution) -> PinnedTerms:
    """The terms that serve an order for ever, read from terms as known when its split was first posted."""
    organization = terms.organization
    store = terms.stores[store_id]
    campaign = terms.campaign(attribution.campaign_id)
    return PinnedTerms(
        position=terms.position,
        platform_fee_bps=organization.platform_fee_bps,
        refund_platform_fee=organization.refund_platform_fee,
        hold_days=(campaign.hold_days if campaign and campaign.hold_days is not None else organization.hold_days),
        settlement=store.settlement,
        advance=organization.advance,
        payment_fee=store.payment_fee,
    )


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What an order is split by, whatever of it was delivered: whose it is, when it was placed, who is credited, and
    the terms known at the pinned position."""

    organization_id: str
    store_id: str
    placed_at: datetime
    attribution: Attribution
    pinned: PinnedTerms
    terms: Terms


def split_order(order: MergedOrder, basis: Basis, *, before: Split | None, times: ChangeTimes) -> Split | None:
    """The split of an order, None while it was not paid in full. Of the split posted so far only what has cleared and
    effective times are carried over; `times` are those of this change."""
    states = [(at, state, _amounts(state, basis)) for at, state in history(order)]
    if not states:
        return None
    _, _, split = states[-1]
    claims = _claims(states, before, basis, times=times)
    return replace(split, claims=claims, clears_at=next_clearing(claims, clears=clears_by_time(basis.pinned)))


def _amounts(order: MergedOrder, basis: Basis) -> Split:
    """The amounts of a paid order, without claims."""
    money = order.money
    if money is None:
        msg = "only a paid order has amounts"
        raise ValueError(msg)
    ordered = in_line_order(money.lines)
    reversal = reverse(order, ordered, currency=money.currency, taxes_included=money.taxes_included)
    gross = _gross_lines(order, money, ordered, basis)
    reversed_bases = (*reversal.by_line, *([0] * (len(gross) - len(ordered))))
    return Split(
        currency=money.currency,
        creator_id=basis.attribution.creator_id,
        collected=order.collected,
        cash_refunded=reversal.cash,
        lines=tuple(
            _with_reversal(line, reversed_base, basis.pinned)
            for line, reversed_base in zip(gross, reversed_bases, strict=True)
        ),
        claims=(),
        discrepancies=reversal.discrepancies,
        clears_at=None,
    )


def clears_by_time(pinned: PinnedTerms) -> bool:
    """Platform-collected money clears when its holding period ends; a seller-collected store's only when the seller
    has paid, unless the organisation advances."""
    return pinned.settlement is Settlement.PLATFORM_COLLECTED or pinned.advance


def _gross_lines(
    order: MergedOrder, money: OrderSnapshot, lines: Sequence[OrderLine], basis: Basis
) -> list[LineSplit]:
    pinned, store_id = basis.pinned, basis.store_id
    bases = [line.base for line in lines]
    platform_fees = allocate(share_of(sum(bases), rate_bps=pinned.platform_fee_bps), bases)
    rules = [_rule_of(line, money, basis) for line in lines]
    commissions = _commissions(lines, rules, platform_fees)
    fee = _payment_fee(order, money, pinned)
    payment_fees = allocate(fee, bases) if lines else []
    split_lines = [
        LineSplit(
            line_id=line.line_id,
            product_id=product_id(store_id, line.product_external_id) if line.product_external_id else None,
            sku_id=sku_id(store_id, line.sku_external_id) if line.sku_external_id else None,
            quantity=line.quantity,
            base=line.base,
            platform_fee=platform_fees[index],
            commission=commissions[index],
            payment_fee=payment_fees[index],
            rule=RuleRef(id=rule.id, version=rule.version, scope=rule.scope) if rule else None,
        )
        for index, (line, rule) in enumerate(zip(lines, rules, strict=True))
    ]
    if fee and not lines:
        split_lines.append(
            LineSplit(
                line_id=None,
                product_id=None,
                sku_id=None,
                quantity=0,
                base=0,
                platform_fee=0,
                commission=0,
                payment_fee=fee,
                rule=None,
            )
        )
    return split_lines


def _rule_of(line: OrderLine, money: OrderSnapshot, basis: Basis) -> RuleDetails | None:
    attribution, terms, store_id = basis.attribution, basis.terms, basis.store_id
    if attribution.creator_id is None:
        return None
    return choose_rule(
        rules=terms.rules,
        placed_at=basis.placed_at,
        currency=money.currency,
        campaign=terms.campaign(attribution.campaign_id),
        creator_id=attribution.creator_id,
        product_id=product_id(store_id, line.product_external_id) if line.product_external_id else None,
        sku_id=sku_id(store_id, line.sku_external_id) if line.sku_external_id else None,
    )


def _commissions(
    lines: Sequence[OrderLine], rules: Sequence[RuleDetails | None], platform_fees: Sequence[int]
) -> list[int]:
    """A rate is rounded once over all lines that share its rule version; a fixed amount is per line, at most what the
    platform fee leaves of it."""
    commissions = [0] * len(lines)
    sharing: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, rule in enumerate(rules):
        if rule is None:
            continue
        if rule.fixed is not None:
            line = lines[index]
            commissions[index] = max(min(line.quantity * rule.fixed.amount, line.base - platform_fees[index]), 0)
        else:
            sharing[(rule.id, rule.version)].append(index)
    for indexes in sharing.values():
        rule = rules[indexes[0]]
        assert rule is not None  # noqa: S101 - only rules were gathered above
        bases = [lines[index].base for index in indexes]
        total = share_of(sum(bases), rate_bps=rule.rate_bps or 0)
        for index, part in zip(indexes, allocate(total, bases), strict=True):
            commissions[index] = part
    return commissions


def _payment_fee(order: MergedOrder, money: OrderSnapshot, pinned: PinnedTerms) -> int:
    """The snapshot's, else the store's schedule applied once to the total collected."""
    if money.payment_fee is not None:
        return money.payment_fee
    schedule = pinned.payment_fee
    if schedule is None or order.collected == 0:
        return 0  # where nothing was collected, no provider kept anything
    return share_of(order.collected, rate_bps=schedule.rate_bps) + schedule.fixed_in(money.currency)


def _with_reversal(line: LineSplit, reversed_base: int, pinned: PinnedTerms) -> LineSplit:
    """Cumulative: a full refund in any number of parts reverses exactly everything but the payment fee."""
    if line.base == 0 or reversed_base == 0:
        return line
    fee = line.platform_fee if pinned.refund_platform_fee else 0
    return replace(
        line,
        reversed_base=reversed_base,
        reversed_platform_fee=round_half_even(fee * reversed_base, line.base),
        reversed_commission=round_half_even(line.commission * reversed_base, line.base),
    )


ClaimKey = tuple[str | None, str]  # (line id, payee id)


def sale_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """What the sale alone gives each payee, per line; the pass-through has line id None."""
    claims: dict[ClaimKey, int] = defaultdict(int)
    for line in split.lines:
        if split.creator_id is not None:
            claims[line.line_id, split.creator_id] += line.commission
        if settlement is Settlement.PLATFORM_COLLECTED:
            claims[line.line_id, organization_id] += (
                line.base - line.platform_fee - line.commission - line.payment_fee
            )
    if settlement is Settlement.PLATFORM_COLLECTED:
        claims[None, organization_id] += split.collected - split.subtotal
    return dict(claims)


def refund_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """What reversals change: below zero on the lines, above zero on the pass-through."""
    claims: dict[ClaimKey, int] = defaultdict(int)
    for line in split.lines:
        if split.creator_id is not None:
            claims[line.line_id, split.creator_id] -= line.reversed_commission
        if settlement is Settlement.PLATFORM_COLLECTED:
            claims[line.line_id, organization_id] -= (
                line.reversed_base - line.reversed_platform_fee - line.reversed_commission
            )
    if settlement is Settlement.PLATFORM_COLLECTED:
        claims[None, organization_id] += split.reversed_base
    return dict(claims)


def cash_claims(split: Split, organization_id: str, *, settlement: Settlement) -> dict[ClaimKey, int]:
    """Money given back to the buyer leaves the pass-through."""
    if settlement is Settlement.SELLER_COLLECTED:
        return {}
    return {(None, organization_id): -split.cash_refunded}


def changes(before: dict[ClaimKey, int], after: dict[ClaimKey, int]) -> Iterable[tuple[ClaimKey, int]]:
    """Differences, in a stable order: known claims first, then new ones."""
    for key in (*before, *(key for key in after if key not in before)):
        difference = after.get(key, 0) - before.get(key, 0)
        if difference:
            yield key, difference


_States = Sequence[tuple[datetime, MergedOrder, Split]]


def _claims(states: _States, before: Split | None, basis: Basis, *, times: ChangeTimes) -> tuple[Claim, ...]:
    """What each payee is owed and when. All follows from the order's history but K, which clearings raised, and
    `since`, which is how the journals were posted."""
    _, order, split = states[-1]
    nets = _nets(split, basis)
    known = {(claim.line_id, claim.payee_id): claim for claim in before.claims} if before else {}
    maturing = _maturing(states, basis)
    raised = _raised_by_sale(split, before, basis)
    hold = timedelta(days=basis.pinned.hold_days)
    claims = []
    for key in (*known, *(key for key in nets if key not in known)):
        line_id, payee_id = key
        net, was = nets.get(key, 0), known.get(key) or Claim(line_id=line_id, payee_id=payee_id, net=0)
        if net == 0 and key not in known:
            continue
        held = _owed_to_buyer(order, split, net) if key == (None, basis.organization_id) else 0
        if basis.attribution.own_link and payee_id == split.creator_id:
            held = net
        held = max(held, 0)
        due = maturing.get(key, ())
        rise = (net - held) - (was.net - was.held)
        since = was.since
        if rise > 0:
            at = times.sale if rise <= raised.get(key, 0) else times.refund
            if sum(tranche.amount for tranche in due if tranche.due_at >= at + hold) < rise:
                # It belongs to money that is due earlier than a holding period after this change: what clears of it
                # takes effect after the change.
                since = max(since or at, at)
        claims.append(
            Claim(
                line_id=line_id,
                payee_id=payee_id,
                net=net,
                cleared=min(was.cleared, net - held) if held else was.cleared,
                held=held,
                maturing=due,
                since=since,
            )
        )
    return tuple(claims)


def _nets(split: Split, basis: Basis) -> dict[ClaimKey, int]:
    nets: dict[ClaimKey, int] = defaultdict(int)
    for component in (sale_claims, refund_claims, cash_claims):
        for key, amount in component(split, basis.organization_id, settlement=basis.pinned.settlement).items():
            nets[key] += amount
    return nets


def _raised_by_sale(split: Split, before: Split | None, basis: Basis) -> dict[ClaimKey, int]:
    """The claims that the sale's own journal raises, and by how much."""
    settlement = basis.pinned.settlement
    old = sale_claims(before, basis.organization_id, settlement=settlement) if before else {}
    new = sale_claims(split, basis.organization_id, settlement=settlement)
    return {key: difference for key, difference in changes(old, new) if difference > 0}


def _owed_to_buyer(order: MergedOrder, split: Split, net: int) -> int:
    """The part of the pass-through that the buyer has not got back yet; all of it while cancelled or refunded."""
    return net if order.everything_reversed else min(net, split.reversed_base - split.cash_refunded)


def _maturing(states: _States, basis: Basis) -> dict[ClaimKey, tuple[Tranche, ...]]:
    """When which part of what each payee is owed is due: what was there from the first payment a holding period after
    it, each later increase a holding period after its own time; a decrease eats what would be due last. What is owed
    to the buyer is no part of it."""
    hold = timedelta(days=basis.pinned.hold_days)
    pass_through = (None, basis.organization_id)
    tranches: dict[ClaimKey, list[Tranche]] = defaultdict(list)
    reached: dict[ClaimKey, int] = defaultdict(int)
    for at, order, split in states:
        nets = _nets(split, basis)
        if pass_through in nets:
            nets[pass_through] -= max(_owed_to_buyer(order, split, nets[pass_through]), 0)
        for key in {**reached, **nets}:
            amount = max(nets.get(key, 0), 0)
            _follow(tranches[key], amount - reached[key], due_at=at + hold)
            reached[key] = amount
    return {key: tuple(parts) for key, parts in tranches.items()}


def _follow(tranches: list[Tranche], change: int, *, due_at: datetime) -> None:
    if change > 0:
        tranches.append(Tranche(due_at=due_at, amount=change))
    left = -change
    while left > 0:
        last = tranches.pop()
        if last.amount > left:
            tranches.append(replace(last, amount=last.amount - left))
        left -= last.amount


def clear_claim(claim: Claim, *, at: datetime) -> Claim:
    """The claim after a clearing at `at`: K rises to N less what is held and what is not due yet, and never falls."""
    return replace(claim, cleared=_cleared_at(claim, at))


def _cleared_at(claim: Claim, at: datetime) -> int:
    not_due = sum(tranche.amount for tranche in claim.maturing if tranche.due_at > at)
    return max(claim.cleared, claim.net - claim.held - not_due)


def next_clearing(claims: Sequence[Claim], *, clears: bool) -> datetime | None:
    """The next time at which a clearing would move money."""
    if not clears:
        return None
    dues = [
        tranche.due_at
        for claim in claims
        if claim.pending > claim.held
        for tranche in claim.maturing
        if min(claim.net, _cleared_at(claim, tranche.due_at)) > claim.available
    ]
    return min(dues, default=None)
