"""The terms of every organisation, rebuilt from the events of the log alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from colink.domain.aggregates import Event
from colink.domain.campaigns import CampaignCreated
from colink.domain.commission import KnownRule, RuleAdded, RuleRevised
from colink.domain.organizations import OrganizationDetails, OrganizationRegistered, StoreConnected, StoreDetails
from colink.domain.terms import KnownCampaign, KnownCoupon, Terms
from colink.domain.tracking import CouponCreated

TOPICS: tuple[str, ...] = tuple(
    event.TOPIC
    for event in (OrganizationRegistered, StoreConnected, CampaignCreated, RuleAdded, RuleRevised, CouponCreated)
)


@dataclass(kw_only=True)
class _Known:
    organization: OrganizationDetails
    moved: list[int]
    stores: dict[str, StoreDetails] = field(default_factory=dict)
    campaigns: dict[str, KnownCampaign] = field(default_factory=dict)
    rules: list[KnownRule] = field(default_factory=list)
    coupons: list[KnownCoupon] = field(default_factory=list)


class TermsBook:
    """Folds the configuration, which is small, into terms as of the end of the log; `Terms.known_at` goes back."""

    def __init__(self) -> None:
        self._organizations: dict[str, _Known] = {}
        self._terms: dict[str, Terms] = {}

    def add(self, position: int, event: Event) -> None:
        """Events come in order of position. Raises KeyError for an event of an organisation nobody registered."""
        if isinstance(event, OrganizationRegistered):
            known = _Known(organization=event.details, moved=[position])
            self._organizations[event.details.id] = known
            return
        if not isinstance(event, StoreConnected | CampaignCreated | RuleAdded | RuleRevised | CouponCreated):
            return
        known = self._organizations[event.details.organization_id]
        known.moved.append(position)
        match event:
            case StoreConnected(details=store):
                known.stores[store.id] = store
            case CampaignCreated(details=campaign):
                known.campaigns[campaign.id] = KnownCampaign(position=position, details=campaign)
            case CouponCreated(details=coupon):
                known.coupons.append(KnownCoupon(position=position, details=coupon))
            case RuleAdded(details=rule) | RuleRevised(details=rule):
                known.rules.append(KnownRule(position=position, details=rule))

    def of(self, organization_id: str) -> Terms:
        """Call after the last event was added. Raises KeyError for an unknown organisation."""
        if organization_id not in self._terms:
            known = self._organizations[organization_id]
            self._terms[organization_id] = Terms(
                position=known.moved[-1],
                organization=known.organization,
                stores=known.stores,
                campaigns=known.campaigns,
                rules=tuple(known.rules),
                coupons=tuple(known.coupons),
            )
        return self._terms[organization_id]

    def store(self, organization_id: str, store_id: str) -> StoreDetails | None:
        """Of that organisation."""
        known = self._organizations.get(organization_id)
        return known.stores.get(store_id) if known else None

    def moved_before(self, organization_id: str, position: int) -> int:
        """Where the terms last moved before an event, 0 where they were not there yet. An append that decides by the
        terms is refused when they moved since they were read, so these are the ones that were read.

        Raises KeyError for an unknown organisation."""
        moved = self._organizations[organization_id].moved
        before = bisect_left(moved, position)
        return moved[before - 1] if before else 0

    def counting(self) -> Iterator[str]:
        """The organisations whose rules count orders together: by tiers, or by caps per day or month."""
        for organization_id, known in self._organizations.items():
            if any(rule.details.tiers is not None or rule.details.counts_by is not None for rule in known.rules):
                yield organization_id

    @property
    def organizations(self) -> Sequence[str]:
        return list(self._organizations)
