"""The terms of an organisation: everything an order is judged by, as known at one position of the log.

An order pins `position` when its split is first posted; later commands ask for `known_at(pinned)` and so read the
same terms for ever, whatever is added afterwards (semantics section 4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule, RuleDetails, Scope
from colink.domain.organizations import OrganizationDetails, StoreDetails
from colink.domain.tiers import CountedRevenue
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
    """`position`: of the last event that changed these terms (an append may be guarded by it). Rules and coupons are
    ordered by position. `newer`: the terms these are an earlier state of, whose indexes serve both. `revenues`: those
    that were counted for tiers, as far as an order needs them."""

    position: int
    organization: OrganizationDetails
    stores: Mapping[str, StoreDetails]
    campaigns: Mapping[str, KnownCampaign]
    rules: tuple[KnownRule, ...]
    coupons: tuple[KnownCoupon, ...]
    revenues: tuple[CountedRevenue, ...] = ()
    newer: Terms | None = field(default=None, init=False, compare=False, repr=False)

    def known_at(self, position: int) -> Terms:
        """The same terms without what became known after `position`."""
        if position >= self.position:
            return self
        earlier = Terms(
            position=position,
            organization=self.organization,
            stores=self.stores,
            campaigns=self.campaigns,  # looked up by position, see `campaign`
            rules=self.rules[: bisect_right(self.rules, position, key=_position)],
            coupons=self.coupons[: bisect_right(self.coupons, position, key=_position)],
        )
        object.__setattr__(earlier, "newer", self.newer or self)
        return earlier

    def with_revenues(self, revenues: Sequence[CountedRevenue]) -> Terms:
        """The same terms, knowing these counted revenues too."""
        if not revenues:
            return self
        knowing = replace(self, revenues=(*self.revenues, *revenues))
        object.__setattr__(knowing, "newer", self.newer or self)
        return knowing

    def rule(self, rule_id: str, version: int) -> RuleDetails:
        """That version of a rule. Raises KeyError where there is none."""
        return (self.newer or self)._rules_by_version[rule_id, version]

    def campaign(self, campaign_id: str | None) -> CampaignDetails | None:
        known = self.campaigns.get(campaign_id) if campaign_id else None
        return known.details if known and known.position <= self.position else None

    def coupon(self, store_id: str, code: str) -> KnownCoupon | None:
        """The coupon of a store, by its code in lower case; of two the one known last."""
        coupons = (self.newer or self)._coupons_by_code.get((store_id, code), ())
        return next((known for known in reversed(coupons) if known.position <= self.position), None)

    def rules_for(
        self, *, creator_id: str, campaign_id: str | None, sku_id: str | None, product_id: str | None
    ) -> list[KnownRule]:
        """The rules that may serve a line of a creator's order, whatever their time and currency."""
        rules = (self.newer or self)._rules_by_target
        targets = (
            (Scope.CAMPAIGN, campaign_id),
            (Scope.SKU, sku_id),
            (Scope.PRODUCT, product_id),
            (Scope.DEFAULT, None),
        )
        return [
            known
            for scope, target_id in targets
            if target_id is not None or scope is Scope.DEFAULT
            for owner in (creator_id, None)
            for known in rules.get((scope, target_id, owner), ())
            if known.position <= self.position
        ]

    @cached_property
    def _coupons_by_code(self) -> dict[tuple[str, str], list[KnownCoupon]]:
        coupons: dict[tuple[str, str], list[KnownCoupon]] = {}
        for known in self.coupons:
            coupons.setdefault((known.details.store_id, known.details.code.lower()), []).append(known)
        return coupons

    @cached_property
    def _rules_by_version(self) -> dict[tuple[str, int], RuleDetails]:
        return {(known.details.id, known.details.version): known.details for known in self.rules}

    @cached_property
    def _rules_by_target(self) -> dict[tuple[Scope, str | None, str | None], list[KnownRule]]:
        rules: dict[tuple[Scope, str | None, str | None], list[KnownRule]] = {}
        for known in self.rules:
            rule = known.details
            rules.setdefault((rule.scope, rule.target_id, rule.creator_id), []).append(known)
        return rules


def _position(known: KnownRule | KnownCoupon) -> int:
    return known.position
