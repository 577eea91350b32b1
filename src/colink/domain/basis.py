"""What an order is split by, whatever of it was delivered. Semantics section 4.

An order lives by the terms that were known when it was first split (`pin_terms`); with whose it is and who is
credited they are its basis, from which `revenue.py` and `claims.py` compute.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from colink.domain.attribution import Attribution
from colink.domain.order_decisions import NO_DECISIONS, NOTHING_SUSPENDED, Decisions, Suspended
from colink.domain.organizations import Settlement
from colink.domain.split import ClaimKey, PinnedTerms, Split
from colink.domain.terms import Terms
from colink.domain.tiers import CountedRevenue
from colink.domain.value import value


@value
class Basis:
    """Whose an order is, when it was placed, who is credited, the terms known at the pinned position, what people
    decided about it, and what their holds took of K.

    `revenues`: those that the split so far rests on; what else was counted the terms know."""

    organization_id: str
    store_id: str
    placed_at: datetime
    attribution: Attribution
    pinned: PinnedTerms
    terms: Terms
    revenues: tuple[CountedRevenue, ...] = ()
    decisions: Decisions = NO_DECISIONS
    suspended: Suspended = NOTHING_SUSPENDED

    @property
    def hold(self) -> timedelta:
        return timedelta(days=self.pinned.hold_days)

    @property
    def pass_through(self) -> ClaimKey:
        """The seller's claim on what was collected and is no base."""
        return (None, self.organization_id)


def pin_terms(terms: Terms, *, store_id: str, attribution: Attribution, keeps_rates: bool) -> PinnedTerms:
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
        keeps_rates=keeps_rates,
    )


def clears_by_time(pinned: PinnedTerms) -> bool:
    """Platform-collected money clears when its holding period ends; a seller-collected store's only when the seller
    has paid, unless the organisation advances."""
    return pinned.settlement is Settlement.PLATFORM_COLLECTED or pinned.advance


def may_clear(pinned: PinnedTerms, split: Split, *, settled: int) -> bool:
    """Whether what is due of an order may clear. `settled`: what its seller has paid of it, in minor units."""
    return clears_by_time(pinned) or settled >= split.receivable
