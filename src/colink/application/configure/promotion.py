"""Create links and coupons: what a creator hands to buyers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colink.application.configure.checks import Setup, check_host, check_text, referenced
from colink.application.ports import Decision, Facts, Needs
from colink.application.representations import shown
from colink.domain.campaigns import CampaignDetails
from colink.domain.creators import CreatorDetails
from colink.domain.errors import Conflict, InvalidInput, NotFound
from colink.domain.organizations import StoreDetails
from colink.domain.tracking import Coupon, CouponDetails, Link, LinkDetails, check_code, destination_host

UTM_NAMES = ("source", "medium", "campaign", "term", "content", "id")


@dataclass(frozen=True, kw_only=True)
class CreateLink(Setup):
    """Answers with the link, its URLs left to the caller, who knows the public address. Raises Conflict for a code
    that is taken. `creator_only`: the creator the caller is bound to, if any. `utm` names come with or without
    `utm_` and are stored with it."""

    id: str
    creator_id: str
    destination: str
    code: str
    campaign_id: str | None = None
    utm: Mapping[str, str] | None = None
    creator_only: str | None = None

    def needs(self) -> Needs:
        documents: list[tuple[type, str]] = [(CreatorDetails, self.creator_id)]
        if self.campaign_id is not None:
            documents.append((CampaignDetails, self.campaign_id))
        return Needs(streams=(self.id,), documents=tuple(documents), keys=((LinkDetails, self.code),))

    def decide(self, facts: Facts) -> Decision:
        if self.creator_only is not None and self.creator_id != self.creator_only:
            msg = "there is no such creator"
            raise NotFound(msg)
        creator = referenced(facts, CreatorDetails, self.creator_id, field="creator_id")
        organization_id = None
        if self.campaign_id is not None:
            campaign = referenced(facts, CampaignDetails, self.campaign_id, field="campaign_id")
            self.check_within(campaign.organization_id, what="campaign")
            organization_id = campaign.organization_id
        check_code(self.code)
        if facts.keyed(LinkDetails, self.code) is not None:
            msg = f"the code {self.code!r} is taken"
            raise Conflict(msg, field="code")
        details = LinkDetails(
            id=self.id,
            code=self.code,
            creator_id=self.creator_id,
            destination=check_destination(self.destination),
            campaign_id=self.campaign_id,
            organization_id=organization_id,
            creator_customer_ref=creator.customer_ref,
            utm=check_utm(self.utm or {}),
        )
        link = Link.create(details, at=facts.now)
        return Decision(answer=shown(details), events=link.new_events(), organization_id=organization_id)


@dataclass(frozen=True, kw_only=True)
class CreateCoupon(Setup):
    """Answers with the coupon. Raises Conflict for a code that the store has already, in any case."""

    id: str
    creator_id: str
    store_id: str
    code: str
    campaign_id: str | None = None

    @property
    def key(self) -> str:
        return f"{self.store_id}:{self.code.strip().lower()}"

    def needs(self) -> Needs:
        documents: list[tuple[type, str]] = [(CreatorDetails, self.creator_id), (StoreDetails, self.store_id)]
        if self.campaign_id is not None:
            documents.append((CampaignDetails, self.campaign_id))
        return Needs(streams=(self.id,), documents=tuple(documents), keys=((CouponDetails, self.key),))

    def decide(self, facts: Facts) -> Decision:
        creator = referenced(facts, CreatorDetails, self.creator_id, field="creator_id")
        store = referenced(facts, StoreDetails, self.store_id, field="store_id")
        self.check_within(store.organization_id, what="store")
        if self.campaign_id is not None:
            campaign = referenced(facts, CampaignDetails, self.campaign_id, field="campaign_id")
            self.check_within(campaign.organization_id, what="campaign")
            if campaign.organization_id != store.organization_id:
                msg = f"campaign {self.campaign_id} and store {self.store_id} are of two organizations"
                raise InvalidInput(msg, field="campaign_id")
        code = check_text(self.code, field="code", longest=100)
        if facts.keyed(CouponDetails, self.key) is not None:
            msg = f"the store has a coupon {code!r} already"
            raise Conflict(msg, field="code")
        details = CouponDetails(
            id=self.id,
            organization_id=store.organization_id,
            store_id=self.store_id,
            code=code,
            creator_id=self.creator_id,
            campaign_id=self.campaign_id,
            creator_customer_ref=creator.customer_ref,
        )
        coupon = Coupon.create(details, at=facts.now)
        return Decision(answer=shown(details), events=coupon.new_events(), organization_id=store.organization_id)


def check_destination(value: str) -> str:
    """The URL without surrounding white space, where a click can be sent there and its host be that of a store."""
    destination = value.strip()
    check_host(destination_host(destination), field="destination")
    return destination


def check_utm(utm: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for name, value in utm.items():
        bare = name.removeprefix("utm_")
        if bare not in UTM_NAMES:
            msg = f"utm holds {', '.join(UTM_NAMES)}, not {name!r}"
            raise InvalidInput(msg, field="utm")
        pairs.append((f"utm_{bare}", check_text(value, field=f"utm.{name}")))
    return tuple(sorted(pairs))
