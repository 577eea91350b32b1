"""Promise: a rate cut leaves links that exist alone until its notice has passed; a raise applies at once. Orders that
were attributed to other links, or to none, follow the rules as they are (semantics section 4, decision 22)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from colink.adapters.ids import Uuid7Ids
from colink.domain.attribution import Attribution, Candidate, OrderKeys, Outcome, Reason
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule, RuleDetails, Scope, SoldLine
from colink.domain.ids import made_at
from colink.domain.money import Money
from colink.domain.notice import is_at_least_as_good, promised_rule
from colink.domain.tiers import Tier, TierMode, Tiers, TierSpan

CUT = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
LONG_AGO = CUT - 90 * DAY


class At:
    def __init__(self, time: datetime) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time


def link(made: datetime) -> str:
    return Uuid7Ids(At(made))("lnk")


def version(number: int, rate_bps: int, published_at: datetime, **changes: Any) -> KnownRule:
    given = {"id": "rul_1", "organization_id": "org_1", "scope": Scope.DEFAULT}
    details = RuleDetails(version=number, rate_bps=rate_bps, published_at=published_at, **(given | changes))
    return KnownRule(position=number, details=details)


def rate(
    placed_at: datetime,
    *rules: KnownRule,
    link_id: str | None = "lnk_imported",
    notice_days: int = 30,
    keeps_rates: bool = True,
    outcome: Outcome = Outcome.CLICK,
    candidates: tuple[Candidate, ...] = (),
) -> int | None:
    campaign = CampaignDetails(id="cmp_1", organization_id="org_1", name="Raya", slug="raya", notice_days=notice_days)
    line = SoldLine(
        placed_at=placed_at, currency="MYR", campaign=campaign, creator_id="cre_1", product_id=None, sku_id=None
    )
    attribution = Attribution(
        outcome=outcome,
        creator_id="cre_1",
        campaign_id="cmp_1",
        link_id=link_id,
        touch_id=None,
        touched_at=None,
        own_link=False,
        candidates=candidates,
        keys=OrderKeys(),
        placed_at=placed_at,
        tracking_position=0,
        terms_position=99,
    )
    found = promised_rule(line, rules, attribution, keeps_rates=keeps_rates)
    return found.rate_bps if found else None


def test_when_an_id_was_made() -> None:
    assert made_at(link(CUT + timedelta(milliseconds=7))) == CUT + timedelta(milliseconds=7)
    assert made_at("lnk_1") is None


@pytest.mark.parametrize(
    ("after", "expected"),
    [(-DAY, 1000), (timedelta(0), 1000), (DAY, 1000), (30 * DAY - timedelta(seconds=1), 1000), (30 * DAY, 500)],
)
def test_a_cut_waits_for_its_notice(after: timedelta, expected: int) -> None:
    rules = (version(1, 1000, LONG_AGO), version(2, 500, CUT))
    assert rate(CUT + after, *rules, link_id=link(CUT - DAY)) == expected


def test_links_made_after_a_cut_live_by_it_at_once() -> None:
    rules = (version(1, 1000, LONG_AGO), version(2, 500, CUT))
    assert rate(CUT + 5 * DAY, *rules, link_id=link(CUT + DAY)) == 500
    assert rate(CUT + 5 * DAY, *rules, link_id=link(CUT - DAY)) == 1000


def test_without_a_promise_or_a_link_a_cut_applies_at_once() -> None:
    rules = (version(1, 1000, LONG_AGO), version(2, 500, CUT))
    assert rate(CUT + DAY, *rules, notice_days=0) == 500
    assert rate(CUT + DAY, *rules, link_id=None) == 500


def brought(kind: Outcome, made: datetime, campaign_id: str | None) -> Candidate:
    ids = {Outcome.COUPON: "coupon_id", Outcome.CLICK: "link_id"}
    return Candidate(
        kind=kind,
        creator_id="cre_1",
        occurred_at=CUT,
        accepted=True,
        reason=Reason.WINNER if kind is Outcome.COUPON else Reason.SUPPORTING,
        position=1,
        campaign_id=campaign_id,
        **{ids[kind]: link(made)},
    )


@pytest.mark.parametrize(
    ("coupon", "clicked", "campaign_id", "expected"),
    [
        (DAY, -DAY, None, 500),  # a link of no campaign was promised nothing, and lends the coupon no age
        (DAY, -DAY, "cmp_2", 500),
        (DAY, -DAY, "cmp_1", 1000),
        (-DAY, DAY, "cmp_1", 1000),
        (-DAY, DAY, None, 1000),
        (DAY, DAY, "cmp_1", 500),
    ],
)
def test_the_promise_is_as_old_as_what_the_creator_has_of_the_campaign(
    coupon: timedelta, clicked: timedelta, campaign_id: str | None, expected: int
) -> None:
    rules = (version(1, 1000, LONG_AGO), version(2, 500, CUT))
    candidates = (brought(Outcome.COUPON, CUT + coupon, "cmp_1"), brought(Outcome.CLICK, CUT + clicked, campaign_id))
    used: dict[str, Any] = {"outcome": Outcome.COUPON, "candidates": candidates, "link_id": link(CUT + clicked)}
    assert rate(CUT + 5 * DAY, *rules, **used) == expected
    # Orders that were split before this was seen to live by the link, whosever it was.
    assert rate(CUT + 5 * DAY, *rules, **used, keeps_rates=False) == (1000 if clicked < timedelta(0) else 500)


@pytest.mark.parametrize("without", [{"notice_days": 0}, {"link_id": None}])
def test_a_cut_leaves_orders_alone_that_were_placed_before_it(without: dict[str, Any]) -> None:
    """They may be paid, or told of, after the seller has seen them: what is read then knows the cut."""
    rules = (version(1, 1000, LONG_AGO), version(2, 500, CUT))
    own = version(2, 500, CUT, id="rul_2", creator_id="cre_1")
    assert rate(CUT - timedelta(seconds=1), *rules, **without) == 1000
    assert rate(CUT - DAY, rules[0], own, **without) == 1000
    assert rate(CUT - DAY, rules[0], version(2, 1500, CUT), **without) == 1500
    # Platforms tell whole seconds: in that of the cut nobody knows which was first, and it counts.
    assert rate(CUT, *rules, **without) == rate(CUT, rules[0], version(2, 500, CUT + 0.9 * SECOND), **without) == 500
    # Nothing served it when it was placed, so nothing was cut: it lives by the rules as they are.
    assert rate(LONG_AGO - DAY, *rules, **without) == 500
    # Orders that were split before this was kept live by what they pinned.
    assert rate(CUT - DAY, *rules, **without, keeps_rates=False) == 500


def test_an_order_of_before_there_were_rules_lives_by_them_as_they_are() -> None:
    """Told of late, or imported: the first rule that was published promises nothing against the next one."""
    own = version(2, 500, CUT + SECOND, scope=Scope.CAMPAIGN, target_id="cmp_1", id="rul_2")
    for made in (CUT - DAY, CUT + DAY):  # a link made later says nothing of an order placed before it
        assert rate(CUT - DAY, version(1, 1000, CUT), own, link_id=link(made)) == 500
    assert rate(CUT - DAY, version(1, 1000, LONG_AGO), own, link_id=link(CUT + DAY)) == 1000


def test_a_raise_applies_at_once() -> None:
    assert rate(CUT + DAY, version(1, 1000, LONG_AGO), version(2, 1500, CUT)) == 1500


def test_a_cut_by_another_rule_waits_too() -> None:
    own = {"id": "rul_2", "creator_id": "cre_1"}
    assert rate(CUT + DAY, version(1, 1000, LONG_AGO), version(2, 500, CUT, **own)) == 1000
    assert rate(CUT + 30 * DAY, version(1, 1000, LONG_AGO), version(2, 500, CUT, **own)) == 500


def test_cuts_and_raises_in_a_row() -> None:
    rules = (version(1, 1000, LONG_AGO), version(2, 500, CUT), version(3, 800, CUT + 2 * DAY))
    assert rate(CUT + 3 * DAY, *rules) == 1000
    assert rate(CUT + 31 * DAY, *rules) == 800  # the raise came after the first cut's notice began: it holds
    assert rate(CUT + 40 * DAY, *rules) == 800


def test_an_old_rule_that_ended_by_itself_promises_nothing() -> None:
    ended = version(1, 1000, LONG_AGO, valid_to=CUT)
    assert rate(CUT + DAY, ended, version(2, 500, CUT)) == 500


MYR = Money(100, "MYR")


def details(**changes: Any) -> RuleDetails:
    given = {"id": "rul_1", "version": 1, "organization_id": "org_1", "scope": Scope.DEFAULT, "rate_bps": 1000}
    return RuleDetails(**(given | changes))


def tiers(*steps: tuple[int, int], span: TierSpan = TierSpan.MONTH_BEFORE) -> Tiers:
    made = (Tier(from_revenue=Money(revenue, "MYR"), rate_bps=rate) for revenue, rate in steps)
    return Tiers(mode=TierMode.WHOLE, steps=tuple(made), span=span)


@pytest.mark.parametrize(
    ("new", "old", "as_good"),
    [
        ({}, {}, True),
        ({"rate_bps": 999}, {}, False),
        ({"cap_per_order": MYR}, {}, False),
        ({}, {"cap_per_order": MYR}, True),
        ({"cap_per_month": Money(99, "MYR")}, {"cap_per_month": MYR}, False),
        ({"rate_bps": None, "fixed": MYR}, {}, False),
        ({"rate_bps": None, "fixed": MYR}, {"rate_bps": None, "fixed": MYR}, True),
        ({"rate_bps": None, "fixed": Money(99, "MYR")}, {"rate_bps": None, "fixed": MYR}, False),
        ({"tiers": tiers((500, 1200))}, {}, True),
        ({"tiers": tiers((500, 900))}, {}, False),
        ({}, {"tiers": tiers((500, 1200))}, False),
        ({"tiers": tiers((400, 1200))}, {"tiers": tiers((500, 1200))}, True),
        ({"tiers": tiers((600, 1200))}, {"tiers": tiers((500, 1200))}, False),
        ({"tiers": tiers((5, 1200), span=TierSpan.ALL_TIME)}, {"tiers": tiers((500, 1200))}, False),
    ],
)
def test_what_is_no_cut(new: dict[str, Any], old: dict[str, Any], as_good: bool) -> None:
    assert is_at_least_as_good(details(**new), details(**old)) is as_good
