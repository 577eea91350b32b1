"""Create campaigns: what creators are asked to promote, with windows and a holding period of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from colink.application.configure.checks import Setup, check_range, check_text, referenced
from colink.application.ports import Decision, Facts, Needs
from colink.application.representations import shown
from colink.domain.campaigns import Campaign, CampaignDetails
from colink.domain.catalog import ProductDetails
from colink.domain.errors import Conflict, Forbidden, InvalidInput
from colink.domain.organizations import OrganizationDetails

LONGEST_WINDOW_HOURS = 24 * 365
MOST_PRODUCTS = 1_000
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class CreateCampaign(Setup):
    """Answers with the campaign. Raises Conflict for a slug that is taken (slugs are public, so unique over all), and
    Forbidden where a caller bound to the organisation would let money clear earlier than the organisation's terms."""

    id: str
    organization_id: str
    name: str
    slug: str
    click_window_hours: int = 168
    view_window_hours: int = 24
    coupon_first: bool = True
    hold_days: int | None = None
    product_ids: tuple[str, ...] = ()
    notice_days: int = 30

    def needs(self) -> Needs:
        products = tuple((ProductDetails, product_id) for product_id in self.product_ids)
        return Needs(
            streams=(self.id,),
            documents=((OrganizationDetails, self.organization_id), *products),
            keys=((CampaignDetails, self.slug),),
        )

    def decide(self, facts: Facts) -> Decision:
        organization = self.organization(facts, self.organization_id)
        self._check_products(facts)
        if not _SLUG.fullmatch(self.slug):
            msg = "slug must be 1 to 100 lower-case letters, digits, dashes or underscores"
            raise InvalidInput(msg, field="slug")
        if facts.keyed(CampaignDetails, self.slug) is not None:
            msg = f"the slug {self.slug!r} is taken"
            raise Conflict(msg, field="slug")
        hold_days = None
        if self.hold_days is not None:
            hold_days = check_range(self.hold_days, field="hold_days", least=0, most=365)
            self._check_holds_long_enough(hold_days, least=organization.hold_days)
        details = CampaignDetails(
            id=self.id,
            organization_id=self.organization_id,
            name=check_text(self.name, field="name"),
            slug=self.slug,
            click_window_hours=check_range(
                self.click_window_hours, field="click_window_hours", least=0, most=LONGEST_WINDOW_HOURS
            ),
            view_window_hours=check_range(
                self.view_window_hours, field="view_window_hours", least=0, most=LONGEST_WINDOW_HOURS
            ),
            coupon_first=self.coupon_first,
            hold_days=hold_days,
            product_ids=tuple(dict.fromkeys(self.product_ids)),
            notice_days=check_range(self.notice_days, field="notice_days", least=0, most=365),
        )
        campaign = Campaign.create(details, at=facts.now)
        return Decision(answer=shown(details), events=campaign.new_events(), organization_id=self.organization_id)

    def _check_holds_long_enough(self, hold_days: int, *, least: int) -> None:
        if self.within is not None and hold_days < least:
            msg = f"a key bound to an organization holds money for its {least} days or longer, not {hold_days}"
            raise Forbidden(msg, field="hold_days")

    def _check_products(self, facts: Facts) -> None:
        if len(self.product_ids) > MOST_PRODUCTS:
            msg = f"a campaign lists at most {MOST_PRODUCTS} products"
            raise InvalidInput(msg, field="product_ids")
        for number, product_id in enumerate(self.product_ids):
            field = f"product_ids.{number}"
            product = referenced(facts, ProductDetails, product_id, field=field)
            self.check_within(product.organization_id, what="product")
            if product.organization_id != self.organization_id:
                msg = f"product {product_id} is not a product of organization {self.organization_id}"
                raise InvalidInput(msg, field=field)
