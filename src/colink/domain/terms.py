"""The terms of an organisation: everything an order is judged by, as known at one position of the log.

An order pins `position` when its split is first posted; later commands ask for `known_at(pinned)` and so read the
same terms for ever, whatever is added afterwards (semantics section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule
from colink.domain.organizations import OrganizationDetails, StoreDetails
from colink.domain.tracking import CouponDetails


@dataclass(frozen=True, kw_only=True)
class KnownCoupon:
    position: int
    details: CouponDetails


@dataclass(frozen=True, kw_only=True)
class KnownCampaign:
    position: int
    details: CampaignDetails


@dataclass(frozen=True, kw_only=True)
class Terms:
    """`position`: of the last event that changed these terms (an append may be guarded by it)."""

    position: int
    organization: OrganizationDetails
    stores: Mapping[str, StoreDetails]
    campaigns: Mapping[str, KnownCampaign]
    rules: tuple[KnownRule, ...]
    coupons: tuple[KnownCoupon, ...]

    def known_at(self, position: int) -> Terms:
        """The same terms without what became known after `position`."""
        if position >= self.position:
            return self
        return replace(
            self,
            position=position,
            campaigns={k: v for k, v in self.campaigns.items() if v.position <= position},
            rules=tuple(rule for rule in self.rules if rule.position <= position),
            coupons=tuple(coupon for coupon in self.coupons if coupon.position <= position),
        )

    def campaign(self, campaign_id: str | None) -> CampaignDetails | None:
        known = self.campaigns.get(campaign_id) if campaign_id else None
        return known.details if known else None
