"""The revenue split: what a paid order amounts to, line by line. Semantics sections 1, 4, 5.

    what was known, time by time (merge.history) --_Amounts--> lines, gross and reversed, at each time
    lines at each time                           --claims.py-> what each payee is owed (N) and when it is due
    that, and the split before                   --claims.py-> claims (N, K, held, what matures when)

Everything but K is recomputed from the merged order each time; `postings.py` turns the difference between two splits
into journals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from colink.domain.basis import Basis, may_clear
from colink.domain.claims import ClaimHistory, HeldWhole, claims_now, next_clearing
from colink.domain.commission import KnownRule, RuleDetails, SoldLine
from colink.domain.facts import NO_FACTS, FeeKind, StatedFee, dispute_fees, stated_fee, unbooked
from colink.domain.ids import product_id, sku_id
from colink.domain.local_time import local_day, local_month, period_bounds
from colink.domain.merge import Known, MergedOrder, history
from colink.domain.money import allocate, round_half_even, share_of
from colink.domain.notice import promised_rule
from colink.domain.organizations import FeeSchedule, Settlement
from colink.domain.refunds import in_line_order, reverse
from colink.domain.snapshots import OrderLine, OrderSnapshot
from colink.domain.split import ChangeTimes, LineSplit, RulePeriod, RuleRef, Split
from colink.domain.terms import Terms
from colink.domain.tiers import CountedRevenue, RevenueKey, TierMode, counted
from colink.domain.value import replace


def split_order(order: MergedOrder, basis: Basis, *, before: Split | None, times: ChangeTimes) -> Split | None:
    """The split of an order, None while it was not paid in full. Of the split posted so far only what has cleared and
    effective times are carried over; `times` are those of this change."""
    split: Split | None = None
    amounts, owed = _Amounts(basis), ClaimHistory(basis)
    for known in history(order):
        split = amounts.of(known)
        owed.follow(split, known)
    if split is None:
        return None
    if order.facts is not NO_FACTS:
        foreign = unbooked(order.facts, split.currency)
        split = replace(split, discrepancies=(*split.discrepancies, *foreign))
    held_whole = HeldWhole(owed, split, basis)
    claims = claims_now(owed, split, before=before, basis=basis, times=times, held_whole=held_whole)
    clears = may_clear(basis.pinned, split, settled=basis.decisions.settled)
    clears_at = next_clearing(claims, clears=clears)
    split = split.with_claims(
        claims,
        clears_at=clears_at,
        waits_for_seller=bool(split.periods) and not clears,
        held_lines=held_whole.lines_of(split),
    )
    return replace(split, revenues=amounts.revenues) if amounts.revenues else split


class _Service(NamedTuple):
    """What serves the lines of one product and SKU."""

    product_id: str | None
    sku_id: str | None
    rule: RuleDetails | None
    rule_ref: RuleRef | None


class _Sale(NamedTuple):
    """What a snapshot sells, in columns, one element a line in line order."""

    lines: Sequence[OrderLine]
    services: Sequence[_Service]
    platform_fees: Sequence[int]
    commissions: Sequence[int]
    payment_fee: int
    payment_fees: Sequence[int]
    periods: tuple[RulePeriod, ...]


class _Amounts:
    """The amounts of one order at the times of its history; what two times share is computed once."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._services: dict[tuple[str | None, str | None], _Service] = {}
        self._last_sale: tuple[OrderSnapshot, int, tuple[StatedFee, ...], _Sale] | None = None
        self._revenues: dict[str, CountedRevenue] = {}

    @property
    def revenues(self) -> tuple[CountedRevenue, ...]:
        """Those that the amounts rest on."""
        return tuple(self._revenues.values())

    def of(self, known: Known) -> Split:
        """The split without claims."""
        sale = self._sale(known)
        reversal = reverse(known, sale.lines)
        refund_platform_fee = self._basis.pinned.refund_platform_fee
        lines = []
        for line, service, platform_fee, commission, payment_fee, reversed_base in zip(
            sale.lines,
            sale.services,
            sale.platform_fees,
            sale.commissions,
            sale.payment_fees,
            reversal.by_line,
            strict=True,
        ):
            reversed_fee, reversed_commission = 0, 0
            if reversed_base:
                # Cumulative: a full refund in any number of parts reverses exactly everything but the payment fee.
                reversed_commission = round_half_even(commission * reversed_base, line.base)
                if refund_platform_fee:
                    reversed_fee = round_half_even(platform_fee * reversed_base, line.base)
            lines.append(
                LineSplit(
                    line_id=line.line_id,
                    product_id=service.product_id,
                    sku_id=service.sku_id,
                    quantity=line.quantity,
                    base=line.base,
                    platform_fee=platform_fee,
                    commission=commission,
                    payment_fee=payment_fee,
                    rule=service.rule_ref,
                    reversed_base=reversed_base,
                    reversed_platform_fee=reversed_fee,
                    reversed_commission=reversed_commission,
                )
            )
        if sale.payment_fee and not lines:
            lines.append(_payment_fee_alone(sale.payment_fee))
        return Split(
            currency=known.money.currency,
            creator_id=self._basis.attribution.creator_id,
            collected=known.collected,
            cash_refunded=reversal.cash,
            lines=tuple(lines),
            claims=(),
            discrepancies=tuple(reversal.discrepancies),
            clears_at=None,
            dispute_fee=self._dispute_fee(known) if known.disputes or known.fees else 0,
            periods=sale.periods,
        )

    def _dispute_fee(self, known: Known) -> int:
        """Only where we hold the money it is taken from."""
        if self._basis.pinned.settlement is not Settlement.PLATFORM_COLLECTED:
            return 0
        return dispute_fees(known.fees, known.disputes.values(), known.money.currency)

    def _sale(self, known: Known) -> _Sale:
        money, collected, fees = known.money, known.collected, known.fees
        if self._last_sale is not None and self._last_sale[0] is money and self._last_sale[1:3] == (collected, fees):
            return self._last_sale[3]
        lines = in_line_order(money.lines)
        bases = [line.base for line in lines]
        platform_fees = allocate(share_of(sum(bases), rate_bps=self._basis.pinned.platform_fee_bps), bases)
        services = [self._service(line, money.currency) for line in lines]
        stated = stated_fee(fees, FeeKind.PAYMENT, money.currency) if fees else None
        payment_fee = _payment_fee(money, collected, self._basis.pinned.payment_fee) if stated is None else stated
        rules = [service.rule for service in services]
        commissions = _commissions(lines, rules, platform_fees, rate_of=self._rate)
        payment_fees = allocate(payment_fee, bases) if lines else []
        periods = _periods(rules, self._basis)
        sale = _Sale(lines, services, platform_fees, commissions, payment_fee, payment_fees, periods)
        self._last_sale = (money, collected, fees, sale)
        return sale

    def _rate(self, rule: RuleDetails) -> int:
        """In basis points. Whole tiers are those that the revenue before the order's month reaches; marginal ones are
        trued up, so an order is posted at the rate below them. Raises RevenueNotCounted."""
        rate, tiers = rule.rate_bps or 0, rule.tiers
        if tiers is None or tiers.mode is TierMode.MARGINAL:
            return rate
        basis = self._basis
        key = RevenueKey(
            organization_id=basis.organization_id,
            creator_id=basis.attribution.creator_id or "",
            currency=rule.currency or "",
            month=local_month(basis.attribution.placed_at, basis.terms.organization.timezone),
            span=tiers.span,
        )
        known = counted((*basis.revenues, *basis.terms.revenues), key)
        self._revenues[known.decision_id] = known
        return tiers.rate_at(known.revenue, below=rate)

    def _service(self, line: OrderLine, currency: str) -> _Service:
        names = (line.product_external_id, line.sku_external_id)
        service = self._services.get(names)
        if service is None:
            store_id = self._basis.store_id
            product = product_id(store_id, names[0]) if names[0] else None
            sku = sku_id(store_id, names[1]) if names[1] else None
            rule = _rule_of(product, sku, currency, self._basis)
            ref = RuleRef(id=rule.id, version=rule.version, scope=rule.scope) if rule else None
            service = self._services[names] = _Service(product, sku, rule, ref)
        return service


def _payment_fee_alone(fee: int) -> LineSplit:
    """An order without lines costs a payment fee all the same."""
    return LineSplit(
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


def _rule_of(product: str | None, sku: str | None, currency: str, basis: Basis) -> RuleDetails | None:
    attribution, terms = basis.attribution, basis.terms
    if attribution.creator_id is None:
        return None
    line = SoldLine(
        placed_at=basis.placed_at,
        currency=currency,
        campaign=terms.campaign(attribution.campaign_id),
        creator_id=attribution.creator_id,
        product_id=product,
        sku_id=sku,
    )
    return promised_rule(line, candidates(line, terms), attribution, keeps_rates=basis.pinned.keeps_rates)


def candidates(line: SoldLine, terms: Terms) -> list[KnownRule]:
    """The rules that may serve a line, whatever their time and currency."""
    return terms.rules_for(
        creator_id=line.creator_id,
        campaign_id=line.campaign.id if line.campaign else None,
        sku_id=line.sku_id,
        product_id=line.product_id,
    )


def _commissions(
    lines: Sequence[OrderLine],
    rules: Sequence[RuleDetails | None],
    platform_fees: Sequence[int],
    *,
    rate_of: Callable[[RuleDetails], int],
) -> list[int]:
    """A rate is rounded once over all lines that share its rule version, and capped before it is allocated to them; a
    fixed amount is per line, at most what the platform fee leaves of it."""
    commissions = [0] * len(lines)
    for rule in {id(rule): rule for rule in rules if rule is not None}.values():
        if rule.fixed is not None:
            amounts = [
                max(min(line.quantity * rule.fixed.amount, line.base - fee), 0) if serving is rule else 0
                for line, serving, fee in zip(lines, rules, platform_fees, strict=True)
            ]
        else:
            bases = [line.base if serving is rule else 0 for line, serving in zip(lines, rules, strict=True)]
            total = share_of(sum(bases), rate_bps=rate_of(rule))
            if rule.cap_per_order is not None:
                total = min(total, rule.cap_per_order.amount)
            amounts = allocate(total, bases)
        commissions = [known + amount for known, amount in zip(commissions, amounts, strict=True)]
    return commissions


def _periods(rules: Sequence[RuleDetails | None], basis: Basis) -> tuple[RulePeriod, ...]:
    """Of the rules that count by the day or month, the one in which the order was placed."""
    placed_at, timezone = basis.attribution.placed_at, basis.terms.organization.timezone
    periods = []
    for rule in {rule.id: rule for rule in rules if rule is not None and rule.counts_by is not None}.values():
        name = local_month if rule.counts_by == "month" else local_day
        period = name(placed_at, timezone)
        periods.append(RulePeriod(rule_id=rule.id, period=period, ends_at=period_bounds(period, timezone)[1]))
    return tuple(periods)


def _payment_fee(money: OrderSnapshot, collected: int, schedule: FeeSchedule | None) -> int:
    """Where no statement shows it: the snapshot's, else the store's schedule applied once to the total collected."""
    if money.payment_fee is not None:
        return money.payment_fee
    if schedule is None or collected == 0:
        return 0  # where nothing was collected, no provider kept anything
    return share_of(collected, rate_bps=schedule.rate_bps) + schedule.fixed_in(money.currency)
