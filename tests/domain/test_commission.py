"""Promise: the rule that serves a line is the one semantics section 4 names, and a senseless rule is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule, RuleDetails, Scope, SoldLine, rule_for
from colink.domain.errors import InvalidInput
from colink.domain.money import Money
from colink.domain.rule_checks import CommissionTooHigh, check_rule

PLACED = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
CAMPAIGN = CampaignDetails(id="cmp_1", organization_id="org_1", name="Raya", slug="raya")
NARROW = CampaignDetails(id="cmp_1", organization_id="org_1", name="Raya", slug="raya", product_ids=("prd_9",))
TARGETS = {Scope.CAMPAIGN: "cmp_1", Scope.SKU: "sku_1", Scope.PRODUCT: "prd_1", Scope.DEFAULT: None}


def rule(
    id_: str,
    scope: Scope,
    *,
    position: int = 1,
    target: str | None = None,
    creator: str | None = None,
    version: int = 1,
    fixed: Money | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
) -> KnownRule:
    return KnownRule(
        position=position,
        details=RuleDetails(
            id=id_,
            version=version,
            organization_id="org_1",
            scope=scope,
            target_id=target or TARGETS[scope],
            creator_id=creator,
            rate_bps=None if fixed else 1000,
            fixed=fixed,
            valid_from=valid_from,
            valid_to=valid_to,
        ),
    )


def chosen(*rules: KnownRule, campaign: CampaignDetails | None = CAMPAIGN, currency: str = "MYR") -> str | None:
    line = SoldLine(
        placed_at=PLACED,
        currency=currency,
        campaign=campaign,
        creator_id="cre_1",
        product_id="prd_1",
        sku_id="sku_1",
    )
    details = rule_for(line, rules)
    return f"{details.id}.{details.version}" if details else None


# "the first match wins: Campaign > SKU > Product > Default"
@pytest.mark.parametrize("scopes", [list(Scope)[start:] for start in range(4)])
def test_precedence_of_scopes(scopes: list[Scope]) -> None:
    # The weaker the scope, the more everything else speaks for it: own creator, later start, later position.
    rules = [
        rule(scope, scope, position=n, creator="cre_1" if n else None, valid_from=PLACED - DAY + n * SECOND)
        for n, scope in enumerate(scopes)
    ]
    assert chosen(*rules) == f"{scopes[0]}.1"
    assert chosen(*reversed(rules)) == f"{scopes[0]}.1"


def test_no_rule_no_commission() -> None:
    assert chosen() is None


@pytest.mark.parametrize(
    ("candidate", "campaign", "matches"),
    [
        (rule("r", Scope.CAMPAIGN), CAMPAIGN, True),
        (rule("r", Scope.CAMPAIGN, target="cmp_2"), CAMPAIGN, False),
        pytest.param(rule("r", Scope.CAMPAIGN), None, False, id="order without a campaign"),
        pytest.param(rule("r", Scope.CAMPAIGN), NARROW, False, id="campaign with other products"),
        pytest.param(rule("r", Scope.DEFAULT), NARROW, True, id="its product list narrows campaign rules only"),
        (rule("r", Scope.SKU), None, True),
        (rule("r", Scope.SKU, target="sku_2"), None, False),
        (rule("r", Scope.PRODUCT), None, True),
        (rule("r", Scope.PRODUCT, target="prd_2"), None, False),
        (rule("r", Scope.DEFAULT), None, True),
        (rule("r", Scope.DEFAULT, creator="cre_1"), None, True),
        pytest.param(rule("r", Scope.DEFAULT, creator="cre_2"), None, False, id="another creator's"),
    ],
)
def test_what_a_rule_matches(candidate: KnownRule, campaign: CampaignDetails | None, matches: bool) -> None:
    assert chosen(candidate, campaign=campaign) == ("r.1" if matches else None)


def test_a_campaign_with_products_matches_those() -> None:
    listed = CampaignDetails(id="cmp_1", organization_id="org_1", name="R", slug="r", product_ids=("prd_9", "prd_1"))
    assert chosen(rule("own", Scope.CAMPAIGN), rule("rest", Scope.DEFAULT), campaign=listed) == "own.1"
    assert chosen(rule("own", Scope.CAMPAIGN), rule("rest", Scope.DEFAULT), campaign=NARROW) == "rest.1"


def test_a_line_without_known_product_has_only_campaign_and_default_rules() -> None:
    line = SoldLine(placed_at=PLACED, currency="MYR", campaign=None, creator_id="cre_1", product_id=None, sku_id=None)
    details = rule_for(line, [rule("sku", Scope.SKU), rule("product", Scope.PRODUCT), rule("default", Scope.DEFAULT)])
    assert details is not None
    assert details.id == "default"


# "... a creator-specific rule beats a general one, then the latest `valid_from`, then the latest position"
@pytest.mark.parametrize("scope", list(Scope))
def test_precedence_inside_a_scope(scope: Scope) -> None:
    own = rule("own", scope, creator="cre_1", position=1)
    newer = rule("newer", scope, valid_from=PLACED - DAY, position=2)
    older = rule("older", scope, valid_from=PLACED - 2 * DAY, position=4)
    always = rule("always", scope, position=5)
    late = rule("late", scope, position=6)
    assert chosen(own, newer, older, always, late) == "own.1"
    assert chosen(newer, older, always, late) == "newer.1"
    assert chosen(older, always, late) == "older.1"
    assert chosen(always, late) == "late.1"


# validity is [valid_from, valid_to), judged at the order's placed_at
@pytest.mark.parametrize(
    ("valid_from", "valid_to", "matches"),
    [
        (None, None, True),
        (PLACED, None, True),
        (PLACED + SECOND, None, False),
        (None, PLACED, False),
        (None, PLACED + SECOND, True),
        (PLACED - DAY, PLACED + DAY, True),
    ],
)
def test_validity(valid_from: datetime | None, valid_to: datetime | None, matches: bool) -> None:
    candidate = rule("r", Scope.DEFAULT, valid_from=valid_from, valid_to=valid_to)
    assert chosen(candidate) == ("r.1" if matches else None)


def test_an_older_version_serves_the_times_a_newer_one_does_not_cover() -> None:
    first = rule("r", Scope.DEFAULT, position=1)
    raised = rule("r", Scope.DEFAULT, version=2, position=2, valid_from=PLACED + DAY)
    now = rule("r", Scope.DEFAULT, version=3, position=3, valid_from=PLACED)
    assert chosen(first, raised) == "r.1"
    assert chosen(first, raised, now) == "r.3"


def test_a_fixed_amount_matches_only_its_own_currency() -> None:
    fixed = rule("fixed", Scope.SKU, fixed=Money(500, "MYR"))
    rate = rule("rate", Scope.DEFAULT)
    assert chosen(fixed, rate, currency="MYR") == "fixed.1"
    assert chosen(fixed, rate, currency="SGD") == "rate.1"


@given(
    st.lists(
        st.builds(
            rule,
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(Scope),
            position=st.integers(1, 1000),
            creator=st.sampled_from([None, "cre_1", "cre_2"]),
            fixed=st.sampled_from([None, Money(1, "MYR"), Money(1, "SGD")]),
            valid_from=st.sampled_from([None, PLACED - DAY, PLACED, PLACED + SECOND]),
            valid_to=st.sampled_from([None, PLACED, PLACED + SECOND]),
        ),
        max_size=8,
        unique_by=lambda known: known.position,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rules_does_not_matter(rules: list[KnownRule], random: Random) -> None:
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert chosen(*shuffled) == chosen(*rules)


def details(**changes: object) -> RuleDetails:
    given_: dict[str, object] = {
        "id": "rul_1",
        "version": 1,
        "organization_id": "org_1",
        "scope": Scope.DEFAULT,
        "rate_bps": 1000,
    }
    return RuleDetails(**(given_ | changes))  # type: ignore[arg-type]  # each case changes another field


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rate_bps": 0},
        {"rate_bps": 9500},
        {"rate_bps": None, "fixed": Money(0, "MYR")},
        {"rate_bps": None, "fixed": Money(10**15, "JPY")},
        {"scope": Scope.SKU, "target_id": "sku_1"},
        {"valid_from": PLACED, "valid_to": PLACED + SECOND},
        {"valid_to": PLACED},
    ],
)
def test_sensible_rules_pass(changes: dict[str, object]) -> None:
    check_rule(details(**changes), platform_fee_bps=500)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rate_bps": -1}, "rate_bps"),
        ({"rate_bps": 10_001}, "rate_bps"),
        ({"rate_bps": None}, "rate_bps"),
        ({"fixed": Money(5, "MYR")}, "fixed"),
        ({"rate_bps": None, "fixed": Money(-1, "MYR")}, "fixed.amount"),
        ({"rate_bps": None, "fixed": Money(10**15 + 1, "MYR")}, "fixed.amount"),
        ({"rate_bps": None, "fixed": Money(5, "XYZ")}, "fixed.currency"),
        ({"target_id": "prd_1"}, "target_id"),
        ({"scope": Scope.CAMPAIGN}, "target_id"),
        ({"scope": Scope.SKU}, "target_id"),
        ({"scope": Scope.PRODUCT}, "target_id"),
        ({"valid_from": PLACED, "valid_to": PLACED}, "valid_to"),
        ({"valid_from": PLACED, "valid_to": PLACED - SECOND}, "valid_to"),
    ],
)
def test_senseless_rules_are_refused_naming_the_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_rule(details(**changes), platform_fee_bps=500)
    assert (refused.value.field, refused.value.status) == (field, 422)


# "A rule set in which platform fee and commission can exceed 100 % of a line is refused when it is written"
@pytest.mark.parametrize(("fee", "rate", "refused"), [(500, 9500, False), (500, 9501, True), (10_000, 1, True)])
def test_fee_and_commission_never_exceed_a_line(fee: int, rate: int, refused: bool) -> None:
    if not refused:
        check_rule(details(rate_bps=rate), platform_fee_bps=fee)
        return
    with pytest.raises(CommissionTooHigh) as error:
        check_rule(details(rate_bps=rate), platform_fee_bps=fee)
    assert error.value.field == "rate_bps"
    assert f"at most {10_000 - fee} is left" in error.value.detail
