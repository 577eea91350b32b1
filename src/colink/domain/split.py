"""The revenue split of an order: value objects. Semantics sections 5 and 6; `revenue.py` computes them.

All amounts are minor units of the order's currency.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from colink.domain.commission import Scope
from colink.domain.organizations import FeeSchedule, Settlement
from colink.domain.tiers import CountedRevenue
from colink.domain.value import replace, value

ClaimKey = tuple[str | None, str]  # (line id, payee id)


@value
class RuleRef:
    """The rule version that served a line, copied so that replaying never consults today's rules."""

    id: str
    version: int
    scope: Scope


@value
class RulePeriod:
    """The day or month (`2026-03-14`, `2026-03`) that a rule counts an order's lines in, and when it ends: they clear
    no sooner, and what the orders of the period come to together is trued up then."""

    rule_id: str
    period: str
    ends_at: datetime


class CountedIn(NamedTuple):
    """A day or month that an order of this creator counts in."""

    creator_id: str
    currency: str
    period: RulePeriod


@value
class LineSplit:
    """One line, gross, and beside it what refunds reversed of it. `line_id` None: the payment fee of an order without
    lines. Net of refunds is gross minus reversed; the payment fee is never reversed."""

    line_id: str | None
    product_id: str | None
    sku_id: str | None
    quantity: int
    base: int
    platform_fee: int
    commission: int
    payment_fee: int
    rule: RuleRef | None
    reversed_base: int = 0
    reversed_platform_fee: int = 0
    reversed_commission: int = 0

    @property
    def net_platform_fee(self) -> int:
        return self.platform_fee - self.reversed_platform_fee

    @property
    def net_commission(self) -> int:
        return self.commission - self.reversed_commission

    @property
    def seller_take(self) -> int:
        """Net of refunds; the residual, so that the four always sum to the net base."""
        fee, commission = self.platform_fee - self.reversed_platform_fee, self.commission - self.reversed_commission
        return self.base - self.reversed_base - fee - commission - self.payment_fee


@value
class Tranche:
    """A part of what a payee is owed, and when it comes due."""

    due_at: datetime
    amount: int


@value
class Claim:
    """What one payee is owed on one order line (line_id None: the pass-through line). Semantics section 6:
    `net` is N, `cleared` K; available holds min(N, K), pending the rest. `held` of N may not clear; `maturing` says
    when which part of the rest is due. `since`: effective time of the last journal that added to what was due
    already."""

    line_id: str | None
    payee_id: str
    net: int
    cleared: int = 0
    held: int = 0
    maturing: tuple[Tranche, ...] = ()
    since: datetime | None = None

    @property
    def available(self) -> int:
        return self.net if self.net < self.cleared else self.cleared

    @property
    def pending(self) -> int:
        return self.net - self.available


@value
class ChangeTimes:
    """Effective times of what changed: `sale` for lines and totals, `refund` for reversals and cash."""

    sale: datetime
    refund: datetime


@value
class PinnedTerms:
    """The terms in force at `placed_at` as known when the split was first posted; they serve the order for ever.
    `keeps_rates`: whether a cut that was published after the order was placed leaves it alone; not so of orders that
    were split before this was kept."""

    position: int
    platform_fee_bps: int
    refund_platform_fee: bool
    hold_days: int
    settlement: Settlement
    advance: bool
    payment_fee: FeeSchedule | None
    keeps_rates: bool


@value
class Split:
    """Everything an order's money amounts to. `collected` is G, `cash_refunded` M.

    `discrepancies`: what a platform reported that fits no line; recorded, moves no money. `clears_at`: the next time
    a clearing would move something, None if never. `dispute_fee`: what the provider charges the seller for disputes;
    it is no part of the lines and claims, but taken from what is available. `revenues`: whose tiers it rests on.
    `periods`: of the rules that count by the day or month. `waits_for_seller`: such an order clears when its seller
    has paid what he owes for it, and he has not; None where a program split it that counted it all the same.
    `held_lines`: ids of the lines of which the creator's part
    is held; None where a program split it that did not say so yet.
    """

    currency: str
    creator_id: str | None
    collected: int
    cash_refunded: int
    lines: tuple[LineSplit, ...]
    claims: tuple[Claim, ...]
    discrepancies: tuple[str, ...]
    clears_at: datetime | None
    dispute_fee: int = 0
    revenues: tuple[CountedRevenue, ...] = ()
    periods: tuple[RulePeriod, ...] = ()
    waits_for_seller: bool | None = False
    held_lines: tuple[str, ...] | None = ()

    @property
    def counts_in(self) -> tuple[CountedIn, ...]:
        """The days and months that it counts in."""
        if self.creator_id is None:
            return ()
        return tuple([CountedIn(self.creator_id, self.currency, period) for period in self.periods])

    @property
    def counting_lines(self) -> tuple[LineSplit, ...]:
        """The lines that count where a creator's orders are counted together, by tiers and true-ups: what is held of
        what the creator earns counts once it is released (decision 22)."""
        if not self.held_lines:
            return self.lines
        held = set(self.held_lines)
        return tuple(line for line in self.lines if line.line_id not in held)

    def says_the_same_as(self, later: Split) -> bool:
        """Whether nothing changed. What an older program did not say is no change while it would be nothing."""
        if self.held_lines is None and not later.held_lines:
            return replace(self, held_lines=later.held_lines).says_the_same_as(later)
        if self.waits_for_seller is None and not later.waits_for_seller:
            return replace(self, waits_for_seller=later.waits_for_seller) == later
        return self == later

    @property
    def subtotal(self) -> int:
        return sum([line.base for line in self.lines])

    @property
    def reversed_base(self) -> int:
        return sum([line.reversed_base for line in self.lines])

    def lines_clear_after(self) -> dict[str | None, datetime]:
        """Until when commission cannot clear, by line id; of most orders nothing is in it."""
        if not self.periods:
            return {}
        ends = {each.rule_id: each.ends_at for each in self.periods}
        return {line.line_id: ends[line.rule.id] for line in self.lines if line.rule and line.rule.id in ends}

    @property
    def receivable(self) -> int:
        """What a seller who collects the money himself owes for the order: fees and commissions, net of refunds."""
        return sum([line.net_platform_fee + line.net_commission for line in self.lines])

    def with_claims(
        self,
        claims: tuple[Claim, ...],
        *,
        clears_at: datetime | None,
        waits_for_seller: bool,
        held_lines: tuple[str, ...],
    ) -> Split:
        """The same amounts, with what each payee is owed of them."""
        return Split(
            currency=self.currency,
            creator_id=self.creator_id,
            collected=self.collected,
            cash_refunded=self.cash_refunded,
            lines=self.lines,
            claims=claims,
            discrepancies=self.discrepancies,
            clears_at=clears_at,
            dispute_fee=self.dispute_fee,
            revenues=self.revenues,
            periods=self.periods,
            waits_for_seller=waits_for_seller,
            held_lines=held_lines,
        )
