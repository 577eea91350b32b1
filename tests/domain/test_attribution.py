"""Promise: an order is credited as semantics section 3 says, line by line, and every candidate says why or why not.

The tables below are the page, sentence by sentence. Times are to the second, because windows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.attribution import (
    Attribution,
    CouponUse,
    OrderKeys,
    Outcome,
    decide_attribution,
    leads_to_store,
    merge_keys,
    rederive,
)
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


def test_nothing_found_credits_nobody() -> None:
    decision = decide(keys=coupons(("NOBODYS", 500)))
    assert winner(decision) == ("none", None)
    assert decision.candidates == ()
    assert (decision.touched_at, decision.own_link, decision.terms_position) == (None, False, 90)


# "the last click within the click window (default 7 days)"; "windows count whole seconds and include their end"
@pytest.mark.parametrize(
    ("ago", "reason"),
    [
        pytest.param(timedelta(0), "winner", id="the very second of the order"),
        pytest.param(WEEK - SECOND, "winner", id="one second less than 7 days"),
        pytest.param(WEEK, "winner", id="exactly 7 days"),
        pytest.param(WEEK + timedelta(microseconds=999_999), "winner", id="a started second does not count"),
        pytest.param(WEEK + SECOND, "outside_window", id="one second more"),
        pytest.param(-SECOND, "after_order", id="after the order"),
        pytest.param(-timedelta(microseconds=999_999), "winner", id="in the order's own second"),
    ],
)
def test_click_window(ago: timedelta, reason: str) -> None:
    decision = decide(touch("clk_1", ago=ago))
    assert verdicts(decision) == [("clk_1", reason == "winner", reason)]
    assert winner(decision) == (("click", "cre_cat") if reason == "winner" else ("none", None))
    assert decision.candidates[0].window_hours == 168


# "the last view within the view window (default 1 day)"
@pytest.mark.parametrize(
    ("ago", "reason"),
    [
        (DAY - SECOND, "winner"),
        (DAY, "winner"),
        (DAY + SECOND, "outside_window"),
        (-SECOND, "after_order"),
    ],
)
def test_view_window(ago: timedelta, reason: str) -> None:
    decision = decide(view("viw_1", ago=ago))
    assert verdicts(decision) == [("viw_1", reason == "winner", reason)]
    assert winner(decision) == (("view", "cre_cat") if reason == "winner" else ("none", None))
    assert decision.candidates[0].window_hours == 24


# "Windows ... can be set per campaign"
@pytest.mark.parametrize(
    ("kind", "ago", "reason"),
    [
        (TouchKind.CLICK, timedelta(hours=2), "winner"),
        (TouchKind.CLICK, timedelta(hours=2) + SECOND, "outside_window"),
        (TouchKind.VIEW, timedelta(hours=1), "winner"),
        (TouchKind.VIEW, timedelta(hours=1) + SECOND, "outside_window"),
    ],
)
def test_a_campaign_sets_its_own_windows(kind: TouchKind, ago: timedelta, reason: str) -> None:
    decision = decide(touch("tch_1", kind=kind, ago=ago, campaign="cmp_short"))
    assert verdicts(decision) == [("tch_1", reason == "winner", reason)]


def test_the_winner_is_explained() -> None:
    decision = decide(touch("clk_1", ago=DAY, campaign="cmp_plain"))
    assert (decision.campaign_id, decision.link_id, decision.touch_id, decision.touched_at) == (
        "cmp_plain",
        "lnk_cre_cat",
        "clk_1",
        PLACED - DAY,
    )
    assert (decision.placed_at, decision.tracking_position) == (PLACED, 100)


# "1. a coupon ... 2. the last click ... 3. the last view"
def test_a_coupon_ranks_before_a_click_before_a_view() -> None:
    decision = decide(view("viw_1", ago=SECOND), touch("clk_1", ago=DAY), keys=coupons(("ANA10", 100)))
    assert winner(decision) == ("coupon", "cre_ana")
    assert verdicts(decision) == [
        ("cou_ana", True, "winner"),
        ("clk_1", False, "outranked_by_coupon"),
        ("viw_1", False, "outranked_by_coupon"),
    ]
    assert (decision.touch_id, decision.touched_at) == (None, None)


def test_an_old_click_ranks_before_a_fresh_view() -> None:
    decision = decide(view("viw_1", ago=SECOND, creator="cre_dan"), touch("clk_1", ago=WEEK))
    assert winner(decision) == ("click", "cre_cat")
    assert verdicts(decision) == [("clk_1", True, "winner"), ("viw_1", False, "outranked_by_click")]


def test_a_click_outside_its_window_leaves_the_order_to_a_view() -> None:
    decision = decide(view("viw_1", ago=SECOND, creator="cre_dan"), touch("clk_1", ago=WEEK + SECOND))
    assert winner(decision) == ("view", "cre_dan")
    assert verdicts(decision) == [("clk_1", False, "outside_window"), ("viw_1", True, "winner")]


def test_the_last_click_wins() -> None:
    decision = decide(
        touch("clk_1", ago=3 * DAY, creator="cre_dan", position=1),
        touch("clk_2", ago=DAY, creator="cre_cat", position=2),
        touch("clk_3", ago=2 * DAY, creator="cre_dan", position=3),
    )
    assert winner(decision) == ("click", "cre_cat")
    assert verdicts(decision) == [
        ("clk_2", True, "winner"),
        ("clk_3", False, "earlier_touch"),
        ("clk_1", False, "earlier_touch"),
    ]


def test_the_last_view_wins() -> None:
    decision = decide(
        view("viw_1", ago=timedelta(hours=2), creator="cre_dan", position=9),
        view("viw_2", ago=timedelta(hours=1), creator="cre_cat", position=8),
    )
    assert winner(decision) == ("view", "cre_cat")
    assert verdicts(decision) == [("viw_2", True, "winner"), ("viw_1", False, "earlier_touch")]


# "Ties go to the later touch, then to the later log position"
@pytest.mark.parametrize("kind", list(TouchKind))
def test_a_tie_goes_to_the_later_log_position(kind: TouchKind) -> None:
    decision = decide(
        touch("tch_a", kind=kind, creator="cre_ana", position=7),
        touch("tch_b", kind=kind, creator="cre_ben", position=8),
    )
    assert decision.creator_id == "cre_ben"
    assert verdicts(decision) == [("tch_b", True, "winner"), ("tch_a", False, "earlier_touch")]


# "a coupon code owned by a creator (two creators' coupons: the larger discount, then payload order)"
@pytest.mark.parametrize(
    ("codes", "creator", "expected"),
    [
        pytest.param([("aNa10", 1)], "cre_ana", [("cou_ana", True, "winner")], id="without regard to case"),
        pytest.param([("ANA10", 0)], "cre_ana", [("cou_ana", True, "winner")], id="a code that gave nothing"),
        pytest.param(
            [("ANA10", 100), ("BEN", 101)],
            "cre_ben",
            [("cou_ben", True, "winner"), ("cou_ana", False, "smaller_discount")],
            id="the larger discount",
        ),
        pytest.param(
            [("BEN", 100), ("ANA10", 100)],
            "cre_ben",
            [("cou_ben", True, "winner"), ("cou_ana", False, "later_in_payload")],
            id="then payload order",
        ),
        pytest.param(
            [("ANA10", 100), ("BEN", 100)],
            "cre_ana",
            [("cou_ana", True, "winner"), ("cou_ben", False, "later_in_payload")],
            id="then payload order, the other way",
        ),
        pytest.param([("FAR", 900)], None, [], id="a code of another store is nobody's here"),
        pytest.param([("NOBODYS", 900), ("BEN", 1)], "cre_ben", [("cou_ben", True, "winner")], id="unowned codes"),
    ],
)
def test_coupons(
    codes: list[tuple[str, int]], creator: str | None, expected: list[tuple[str | None, bool, str]]
) -> None:
    decision = decide(keys=coupons(*codes))
    assert decision.creator_id == creator
    assert verdicts(decision) == expected
    assert all(c.occurred_at == PLACED for c in decision.candidates)


# "the coupon-over-click order (`coupon_first`) can be set per campaign"
@pytest.mark.parametrize(
    ("code", "click_campaign", "expected"),
    [
        pytest.param("ANA10", None, "coupon", id="neither has a campaign: coupon first"),
        pytest.param("ANA10", "cmp_plain", "coupon", id="the click's campaign has coupons first"),
        pytest.param("ANA10", "cmp_click_first", "click", id="a coupon without campaign follows the click's"),
        pytest.param("WEAK", "cmp_click_first", "click", id="the coupon's campaign has clicks first"),
        pytest.param("WEAK", "cmp_plain", "click", id="the coupon's campaign decides, not the click's"),
        pytest.param("WEAK", None, "click", id="the coupon's campaign decides over no campaign"),
        pytest.param("PLAIN", "cmp_click_first", "coupon", id="the coupon's campaign keeps it first"),
    ],
)
def test_coupon_first_is_set_per_campaign(code: str, click_campaign: str | None, expected: str) -> None:
    decision = decide(touch("clk_1", campaign=click_campaign, host="kedai.example"), keys=coupons((code, 100)))
    assert decision.outcome.value == expected
    loser = next(c for c in decision.candidates if not c.accepted)
    assert loser.reason.value == f"outranked_by_{expected}"


def test_clicks_first_needs_a_valid_click() -> None:
    stale = touch("clk_1", ago=WEEK + SECOND, campaign="cmp_click_first")
    fresh = view("viw_1", ago=SECOND, campaign="cmp_click_first")
    decision = decide(stale, fresh, keys=coupons(("WEAK", 100)))
    assert verdicts(decision) == [
        ("cou_weak", True, "winner"),
        ("clk_1", False, "outside_window"),
        ("viw_1", False, "outranked_by_coupon"),
    ]


# "If the coupon's owner also has the winning click, the click is kept as supporting evidence"
def test_the_winning_click_of_the_coupons_owner_supports_it() -> None:
    decision = decide(touch("clk_1", ago=DAY, creator="cre_ana", campaign="cmp_plain"), keys=coupons(("ANA10", 100)))
    assert winner(decision) == ("coupon", "cre_ana")
    assert verdicts(decision) == [("cou_ana", True, "winner"), ("clk_1", True, "supporting")]
    assert (decision.touch_id, decision.link_id, decision.touched_at) == ("clk_1", "lnk_cre_ana", PLACED - DAY)
    assert decision.campaign_id is None  # the coupon's: evidence changes no terms


def test_a_click_of_the_coupons_owner_that_is_not_the_last_supports_nothing() -> None:
    decision = decide(
        touch("clk_1", ago=2 * DAY, creator="cre_ana", position=1),
        touch("clk_2", ago=DAY, creator="cre_ben", position=2),
        keys=coupons(("ANA10", 100)),
    )
    assert verdicts(decision) == [
        ("cou_ana", True, "winner"),
        ("clk_2", False, "outranked_by_coupon"),
        ("clk_1", False, "earlier_touch"),
    ]
    assert decision.touch_id is None


def test_the_coupon_of_a_winning_clicks_creator_supports_it() -> None:
    decision = decide(touch("clk_1", creator="cre_ana", campaign="cmp_click_first"), keys=coupons(("WEAK", 1)))
    assert winner(decision) == ("click", "cre_ana")
    assert verdicts(decision) == [("cou_weak", True, "supporting"), ("clk_1", True, "winner")]


def test_a_view_supports_nothing() -> None:
    decision = decide(view("viw_1", creator="cre_ana"), keys=coupons(("ANA10", 1)))
    assert verdicts(decision)[1] == ("viw_1", False, "outranked_by_coupon")


# "only if its campaign's organisation owns the order or, without a campaign, its link leads to the order's store"
@pytest.mark.parametrize(
    ("campaign", "organization", "host", "reason"),
    [
        pytest.param("cmp_plain", ORG, "elsewhere.example", "winner", id="own campaign, wherever the link leads"),
        pytest.param("cmp_x", OTHER_ORG, "kedai.example", "other_organization", id="another's campaign"),
        pytest.param(None, None, "kedai.example", "winner", id="no campaign, leads to the store"),
        pytest.param(None, None, "www.kedai.example", "winner", id="no campaign, leads to its www."),
        pytest.param(None, None, "elsewhere.example", "other_store", id="no campaign, leads elsewhere"),
        pytest.param(None, None, None, "other_store", id="no campaign, leads nowhere"),
    ],
)
def test_whose_touch_it_is(campaign: str | None, organization: str | None, host: str | None, reason: str) -> None:
    decision = decide(touch("clk_1", campaign=campaign, organization=organization, host=host))
    assert verdicts(decision) == [("clk_1", reason == "winner", reason)]
    assert decision.candidates[0].window_hours == (168 if reason == "winner" else None)


@pytest.mark.parametrize(
    ("host", "domain", "leads"),
    [
        ("kedai.example", "kedai.example", True),
        ("KEDAI.example", "kedai.example", True),
        ("kedai.example", "www.kedai.example", True),
        ("kedai.example", "kedai.example:8443", True),
        ("blog.kedai.example", "kedai.example", False),
        ("notkedai.example", "kedai.example", False),
        ("kedai.example", None, False),
        ("", "", False),
    ],
)
def test_which_hosts_lead_to_a_store(host: str, domain: str | None, leads: bool) -> None:
    assert leads_to_store(host, replace(STORE, domain=domain)) is leads


# "Bots, link previews and HEAD requests are recorded with the reason they were set aside, and never ... credited"
@pytest.mark.parametrize("set_aside", list(SetAside))
@pytest.mark.parametrize("kind", list(TouchKind))
def test_what_was_set_aside_is_never_credited(kind: TouchKind, set_aside: SetAside) -> None:
    decision = decide(touch("tch_1", kind=kind, set_aside=set_aside, ago=SECOND), touch("clk_2", ago=DAY))
    assert winner(decision) == ("click", "cre_cat")
    assert decision.touch_id == "clk_2"
    assert ("tch_1", False, set_aside.value) in verdicts(decision)


# "They [repeats] stay creditable"
def test_a_repeat_stays_creditable() -> None:
    assert winner(decide(touch("clk_1", repeat=True))) == ("click", "cre_cat")


# "touches and coupons recorded after the order was first decided do not [decide again]"
def test_what_was_recorded_after_the_first_decision_does_not_count() -> None:
    decision = decide(touch("clk_1", position=101, ago=SECOND), touch("clk_2", position=100, ago=DAY), seen=100)
    assert verdicts(decision) == [("clk_1", False, "recorded_late"), ("clk_2", True, "winner")]
    before_bens_coupon = TERMS.known_at(10)
    assert winner(decide(keys=coupons(("BEN", 100)), terms=before_bens_coupon)) == ("none", None)


def test_a_decision_is_rederived_under_newer_terms() -> None:
    then = TERMS.known_at(10)
    decision = decide(touch("clk_1"), keys=coupons(("BEN", 100)), terms=then)
    assert winner(decision) == ("click", "cre_cat")
    assert rederive(decision, store=STORE, terms=TERMS) == decision


def test_a_planted_change_is_not_rederived() -> None:
    decision = decide(touch("clk_1", creator="cre_ana"))
    planted = replace(decision, creator_id="cre_thief")
    assert rederive(planted, store=STORE, terms=TERMS) != planted


# "A creator buying through their own link is credited on hold and flagged, never silently dropped"
@pytest.mark.parametrize(
    ("buyer", "creator_ref", "own"),
    [("ref_a", "ref_a", True), ("ref_a", "ref_b", False), (None, "ref_a", False), ("ref_a", None, False)],
)
def test_an_own_purchase_is_credited_and_flagged(buyer: str | None, creator_ref: str | None, own: bool) -> None:
    decision = decide(touch("clk_1", customer_ref=creator_ref), keys=OrderKeys(customer_ref=buyer))
    assert winner(decision) == ("click", "cre_cat")
    assert decision.own_link is own


def test_an_own_coupon_is_flagged_and_the_losers_own_link_is_not() -> None:
    coupon = replace(COUPONS[0], creator_customer_ref="ref_a")
    terms = replace(TERMS, coupons=(KnownCoupon(position=10, details=coupon),))
    keys = replace(coupons(("ANA10", 1)), customer_ref="ref_a")
    assert decide(keys=keys, terms=terms).own_link is True
    other = replace(keys, customer_ref="ref_c")
    assert decide(touch("clk_1", customer_ref="ref_c"), keys=other, terms=terms).own_link is False


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (touch("t", set_aside=SetAside.BOT, campaign="cmp_x", organization=OTHER_ORG, ago=-SECOND), "bot"),
        (touch("t", campaign="cmp_x", organization=OTHER_ORG, ago=-SECOND), "other_organization"),
        (touch("t", campaign=None, host="elsewhere.example", ago=WEEK * 2), "other_store"),
        (touch("t", position=101, ago=-SECOND), "recorded_late"),
    ],
)
def test_the_first_reason_that_bars_is_given(seen: SeenTouch, reason: str) -> None:
    assert verdicts(decide(seen)) == [("t", False, reason)]


def test_a_touch_found_by_two_keys_is_one_candidate() -> None:
    assert len(decide(touch("clk_1"), touch("clk_1")).candidates) == 1


touches_drawn = st.lists(
    st.builds(
        touch,
        st.integers(0, 10**6).map("clk_{}".format),
        ago=st.sampled_from(
            [-SECOND, timedelta(0), SECOND, timedelta(hours=1), timedelta(hours=2), DAY, WEEK, WEEK + SECOND]
        ),
        kind=st.sampled_from(TouchKind),
        creator=st.sampled_from(["cre_ana", "cre_ben", "cre_cat"]),
        campaign=st.sampled_from([None, "cmp_plain", "cmp_short", "cmp_click_first"]),
        host=st.sampled_from([None, "kedai.example"]),
        position=st.integers(1, 110),
        set_aside=st.sampled_from([None, None, None, SetAside.BOT]),
    ),
    max_size=12,
    unique_by=(lambda seen: seen.details.id, lambda seen: seen.position),
)
keys_drawn = st.builds(
    OrderKeys,
    click_ids=st.lists(st.sampled_from(["clk_1", "clk_2", "clk_3"])).map(tuple),
    visitor_ids=st.lists(st.sampled_from(["vis_1", "vis_2"])).map(tuple),
    coupons=st.lists(
        st.builds(
            CouponUse,
            code=st.sampled_from(["ANA10", "ana10", "Ben", "WEAK", "FAR", "X"]),
            discount=st.integers(0, 3),
            ordinal=st.integers(0, 2),
        ),
        max_size=4,
    ).map(tuple),
    customer_ref=st.sampled_from([None, "ref_a", "ref_b"]),
)


@given(touches_drawn, keys_drawn, st.randoms(use_true_random=False))
def test_the_order_of_touches_does_not_matter(touches: list[SeenTouch], keys: OrderKeys, random: Random) -> None:
    shuffled = list(touches)
    random.shuffle(shuffled)
    decision = decide(*touches, keys=keys)
    assert decide(*shuffled, *shuffled[:2], keys=keys) == decision
    assert_sound(decision, touches)


def assert_sound(decision: Attribution, touches: Sequence[SeenTouch]) -> None:
    """What holds of every decision, found without the code under test."""
    winners = [c for c in decision.candidates if c.reason == "winner"]
    assert len(winners) == (decision.outcome is not Outcome.NONE)
    assert {c.touch_id for c in decision.candidates if c.touch_id} == {seen.details.id for seen in touches}
    for c in decision.candidates:
        assert c.accepted is (c.reason in {"winner", "supporting"})
        assert not (c.accepted and (c.set_aside or c.occurred_at > PLACED or c.creator_id != decision.creator_id))
    if decision.outcome is Outcome.VIEW:
        assert not [c for c in decision.candidates if c.kind is Outcome.COUPON]


@given(keys_drawn, keys_drawn, keys_drawn)
def test_keys_merge_in_any_order_and_number(a: OrderKeys, b: OrderKeys, c: OrderKeys) -> None:
    assert merge_keys(a, b) == merge_keys(b, a)
    assert merge_keys(merge_keys(a, b), c) == merge_keys(a, merge_keys(b, c))
    merged = merge_keys(a, b)
    assert merge_keys(merged, merged) == merged
    assert merge_keys(merged, a) == merged


def test_merged_keys_are_canonical() -> None:
    a = OrderKeys(click_ids=("clk_2", "clk_1"), coupons=(CouponUse(code="BEN", discount=5, ordinal=1),))
    b = OrderKeys(
        click_ids=("clk_1",),
        coupons=(CouponUse(code="ana10", discount=3, ordinal=1), CouponUse(code="Ben", discount=4, ordinal=0)),
        customer_ref="ref_b",
    )
    assert merge_keys(a, b) == OrderKeys(
        click_ids=("clk_1", "clk_2"),
        coupons=(CouponUse(code="ben", discount=5, ordinal=0), CouponUse(code="ana10", discount=3, ordinal=1)),
        customer_ref="ref_b",
    )
    assert merge_keys(b, OrderKeys(customer_ref="ref_a")).customer_ref == "ref_a"
