"""Campaigns and commission rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypedDict

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Body, ExactBody, Flag, Id, Int, Moment, MoneyBody, Text
from colink.api.configured import Kind, answer_list, answer_one, find
from colink.api.pages import Page, page
from colink.api.session import Session, may
from colink.application.configure.campaigns import MOST_PRODUCTS, CreateCampaign
from colink.application.configure.rules import AddCommissionRule, ReviseCommissionRule
from colink.application.representations import shown
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import RuleDetails, Scope
from colink.domain.money import Money
from colink.domain.rule_checks import MOST_TIERS
from colink.domain.tiers import Tier, TierMode, Tiers, TierSpan

router = APIRouter(prefix="/v1", tags=["campaigns"])

Configuring = Annotated[Session, Depends(may(Permission.CONFIGURE))]
Reading = Annotated[Session, Depends(may(Permission.READ_SETUP))]
Paging = Annotated[Page, Depends(page)]

CAMPAIGN = Kind(details_class=CampaignDetails, name="campaign")
RULE = Kind(details_class=RuleDetails, name="commission rule")


class CampaignBody(Body):
    """Windows in hours, their end included; `hold_days` left out: the organisation's; no products: all. For
    `notice_days` after a rate is cut, links that existed before keep the old rate."""

    organization_id: Id
    name: Text
    slug: Text
    click_window_hours: Int = 168
    view_window_hours: Int = 24
    coupon_first: Flag = True
    hold_days: Int | None = None
    product_ids: Annotated[list[Id], Field(max_length=MOST_PRODUCTS, default_factory=list)]
    notice_days: Int = 30


class TierBody(ExactBody):
    from_revenue: MoneyBody
    rate_bps: Int


class TiersBody(ExactBody):
    """Rates from a revenue of the creator on; below the first the rule's `rate_bps` holds. `whole`: the tier that the
    revenue before the calendar month reaches (of the month before, or of all time) holds for all orders of the month.
    `marginal`: each part of the month's revenue at the rate of its tier, settled when the month ends."""

    mode: TierMode
    steps: Annotated[list[TierBody], Field(max_length=MOST_TIERS)]
    span: TierSpan = TierSpan.MONTH_BEFORE

    def tiers(self) -> Tiers:
        steps = (Tier(from_revenue=step.from_revenue.money(), rate_bps=step.rate_bps) for step in self.steps)
        return Tiers(mode=self.mode, steps=tuple(steps), span=self.span)


class RuleVersionBody(ExactBody):
    """`rate_bps` of a line, or `fixed` money per unit. Valid from (included) to (excluded); without dates always.
    Caps limit what a creator earns by the rule on one order, and on the orders of one day or month. A rule that names
    money serves orders in its currency only."""

    rate_bps: Int | None = None
    fixed: MoneyBody | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    tiers: TiersBody | None = None
    cap_per_order: MoneyBody | None = None
    cap_per_day: MoneyBody | None = None
    cap_per_month: MoneyBody | None = None

    def terms(self) -> RuleTermsFields:
        return RuleTermsFields(
            rate_bps=self.rate_bps,
            fixed=_money(self.fixed),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            tiers=self.tiers.tiers() if self.tiers else None,
            cap_per_order=_money(self.cap_per_order),
            cap_per_day=_money(self.cap_per_day),
            cap_per_month=_money(self.cap_per_month),
        )


class RuleTermsFields(TypedDict):
    """The fields that adding and revising a rule have in common."""

    rate_bps: int | None
    fixed: Money | None
    valid_from: datetime | None
    valid_to: datetime | None
    tiers: Tiers | None
    cap_per_order: Money | None
    cap_per_day: Money | None
    cap_per_month: Money | None


def _money(body: MoneyBody | None) -> Money | None:
    return body.money() if body else None


class RuleBody(RuleVersionBody):
    organization_id: Id
    scope: Scope
    target_id: Id | None = None
    creator_id: Id | None = None


@router.post("/campaigns", status_code=201)
async def create_campaign(body: CampaignBody, session: Configuring) -> Response:
    return await session.submit(
        CreateCampaign(
            **session.common(),
            within=session.within_organization,
            id=session.services.ids("cmp"),
            **body.model_dump(exclude={"product_ids"}),
            product_ids=tuple(body.product_ids),
        )
    )


@router.get("/campaigns")
async def list_campaigns(session: Reading, page: Paging, organization_id: str | None = None) -> Response:
    return await answer_list(session, CAMPAIGN, page, organization_id=organization_id)


@router.get("/campaigns/{campaign_id}")
async def read_campaign(campaign_id: str, session: Reading) -> Response:
    return await answer_one(session, CAMPAIGN, campaign_id)


@router.post("/commission-rules", status_code=201)
async def add_commission_rule(body: RuleBody, session: Configuring) -> Response:
    """Add a rule. The first match of campaign, SKU, product and default serves a line."""
    return await session.submit(
        AddCommissionRule(
            **session.common(),
            within=session.within_organization,
            id=session.services.ids("rul"),
            organization_id=body.organization_id,
            scope=body.scope,
            target_id=body.target_id,
            creator_id=body.creator_id,
            **body.terms(),
        )
    )


@router.post("/commission-rules/{rule_id}/versions", status_code=201)
async def revise_commission_rule(rule_id: str, body: RuleVersionBody, session: Configuring) -> Response:
    """A new version of a rule, for orders split from now on; what was split before keeps its version."""
    rule: RuleDetails = await find(session, RULE, rule_id)
    return await session.submit(
        ReviseCommissionRule(
            **session.common(),
            within=session.within_organization,
            rule_id=rule_id,
            organization_id=rule.organization_id,
            **body.terms(),
        )
    )


@router.get("/commission-rules")
async def list_commission_rules(session: Reading, page: Paging, organization_id: str | None = None) -> Response:
    """The newest version of each rule."""
    return await answer_list(session, RULE, page, organization_id=organization_id)


@router.get("/commission-rules/{rule_id}")
async def read_commission_rule(
    rule_id: str, session: Reading, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Response:
    """The newest version, or the one asked for."""
    return json_answer(shown(await find(session, RULE, rule_id, version=version)))
