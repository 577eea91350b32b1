"""Promise: an order is credited as semantics section 3 says, line by line, and every candidate says why or why not.

The tables below are the page, sentence by sentence. Times are to the second, because windows are.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.domain.touches import (
    COUPONS,
    DAY,
    ORG,
    OTHER_ORG,
    PLACED,
    SECOND,
    STORE,
    TERMS,
    WEEK,
    coupons,
    decide,
    touch,
    verdicts,
    view,
    winner,
)

from colink.domain.attribution import OrderKeys, leads_to_store, rederive
from colink.domain.terms import KnownCoupon
from colink.domain.tracking import SeenTouch, SetAside, TouchKind


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
