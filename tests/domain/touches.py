"""A store with campaigns and coupons, and touches before an order: what the tests of attribution decide on.

`decide` also derives every decision again, which must give the same.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from colink.domain.attribution import Attribution, CouponUse, OrderKeys, decide_attribution, rederive
from colink.domain.campaigns import CampaignDetails
from colink.domain.organizations import OrganizationDetails, Platform, Settlement, StoreDetails
from colink.domain.terms import KnownCampaign, KnownCoupon, Terms
from colink.domain.tracking import CouponDetails, SeenTouch, SetAside, TouchDetails, TouchKind

PLACED = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)

ORG, OTHER_ORG = "org_1", "org_2"
STORE = StoreDetails(
    id="sto_1",
    organization_id=ORG,
    platform=Platform.SHOPIFY,
    name="Kedai",
    settlement=Settlement.PLATFORM_COLLECTED,
    domain="kedai.example",
)
CAMPAIGNS = (
    CampaignDetails(id="cmp_plain", organization_id=ORG, name="Plain", slug="plain"),
    CampaignDetails(
        id="cmp_short", organization_id=ORG, name="Short", slug="short", click_window_hours=2, view_window_hours=1
    ),
    CampaignDetails(id="cmp_click_first", organization_id=ORG, name="C", slug="click-first", coupon_first=False),
)
COUPONS = (
    CouponDetails(id="cou_ana", organization_id=ORG, store_id="sto_1", code="Ana10", creator_id="cre_ana"),
    CouponDetails(id="cou_ben", organization_id=ORG, store_id="sto_1", code="BEN", creator_id="cre_ben"),
    CouponDetails(id="cou_far", organization_id=ORG, store_id="sto_2", code="FAR", creator_id="cre_ben"),
    CouponDetails(
        id="cou_weak",
        organization_id=ORG,
        store_id="sto_1",
        code="WEAK",
        creator_id="cre_ana",
        campaign_id="cmp_click_first",
    ),
    CouponDetails(
        id="cou_plain",
        organization_id=ORG,
        store_id="sto_1",
        code="PLAIN",
        creator_id="cre_ana",
        campaign_id="cmp_plain",
    ),
)
TERMS = Terms(
    position=90,
    organization=OrganizationDetails(id=ORG, name="Kedai Sdn Bhd", platform_fee_bps=500),
    stores={STORE.id: STORE},
    campaigns={campaign.id: KnownCampaign(position=5, details=campaign) for campaign in CAMPAIGNS},
    rules=(),
    coupons=tuple(KnownCoupon(position=10 + index, details=coupon) for index, coupon in enumerate(COUPONS)),
)


def touch(
    id_: str,
    *,
    ago: timedelta = timedelta(hours=1),
    kind: TouchKind = TouchKind.CLICK,
    creator: str = "cre_cat",
    campaign: str | None = "cmp_plain",
    organization: str | None = ORG,
    host: str | None = None,
    position: int = 1,
    set_aside: SetAside | None = None,
    repeat: bool = False,
    customer_ref: str | None = None,
) -> SeenTouch:
    return SeenTouch(
        position=position,
        details=TouchDetails(
            id=id_,
            kind=kind,
            creator_id=creator,
            occurred_at=PLACED - ago,
            link_id=None if kind is TouchKind.VIEW else f"lnk_{creator}",
            campaign_id=campaign,
            organization_id=organization if campaign else None,
            destination_host=host,
            visitor_id="vis_1",
            creator_customer_ref=customer_ref,
            set_aside=set_aside,
            repeat=repeat,
        ),
    )


view = partial(touch, kind=TouchKind.VIEW)


def coupons(*codes: tuple[str, int]) -> OrderKeys:
    return OrderKeys(coupons=tuple(CouponUse(code=c, discount=d, ordinal=i) for i, (c, d) in enumerate(codes)))


def decide(*touches: SeenTouch, keys: OrderKeys | None = None, terms: Terms = TERMS, seen: int = 100) -> Attribution:
    decision = decide_attribution(
        keys=keys or OrderKeys(),
        placed_at=PLACED,
        store=STORE,
        touches=touches,
        tracking_position=seen,
        terms=terms,
    )
    assert rederive(decision, store=STORE, terms=terms) == decision
    return decision


def verdicts(decision: Attribution) -> list[tuple[str | None, bool, str]]:
    return [(c.touch_id or c.coupon_id, c.accepted, c.reason.value) for c in decision.candidates]


def winner(decision: Attribution) -> tuple[str, str | None]:
    return decision.outcome.value, decision.creator_id
