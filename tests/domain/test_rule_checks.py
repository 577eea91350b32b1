"""Promise: a rule set that makes no sense is refused when it is written, naming the field and the other rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from colink.domain.commission import KnownRule, RuleDetails, Scope
from colink.domain.errors import InvalidInput
from colink.domain.money import Money
from colink.domain.rule_checks import CommissionTooHigh, RulesConflict, check_rule, check_rule_set
from colink.domain.tiers import Tier, TierMode, Tiers

DAY = datetime(2026, 3, 10, tzinfo=UTC)
MYR = Money(100, "MYR")


def rule(id_: str = "rul_1", **changes: Any) -> RuleDetails:
    given = {"version": 1, "organization_id": "org_1", "scope": Scope.DEFAULT, "rate_bps": 1000}
    return RuleDetails(id=id_, **(given | changes))


def tiers(*steps: tuple[int, int], mode: TierMode = TierMode.WHOLE, currency: str = "MYR") -> Tiers:
    made = (Tier(from_revenue=Money(revenue, currency), rate_bps=rate) for revenue, rate in steps)
    return Tiers(mode=mode, steps=tuple(made))


@pytest.mark.parametrize(
    "changes",
    [
        {"tiers": tiers((1, 9_500))},
        {"tiers": tiers((100, 2_000), (200, 500))},
        {"tiers": tiers((100, 2_000), mode=TierMode.MARGINAL), "cap_per_month": MYR},
        {"tiers": tiers((100, 2_000)), "cap_per_order": MYR, "cap_per_day": MYR, "cap_per_month": MYR},
    ],
)
def test_tiers_and_caps_that_make_sense(changes: dict[str, Any]) -> None:
    check_rule(rule(**changes), platform_fee_bps=500)


@pytest.mark.parametrize(
    ("changes", "field", "error"),
    [
        ({"tiers": tiers((1, 9_501))}, "tiers.steps.0.rate_bps", CommissionTooHigh),
        ({"tiers": tiers((1, 9_500), (2, 9_501))}, "tiers.steps.1.rate_bps", CommissionTooHigh),
        ({"tiers": tiers((1, -1))}, "tiers.steps.0.rate_bps", InvalidInput),
        ({"tiers": tiers()}, "tiers.steps", InvalidInput),
        ({"tiers": tiers((0, 500))}, "tiers.steps.0.from_revenue.amount", InvalidInput),
        ({"tiers": tiers((200, 500), (200, 600))}, "tiers.steps.1.from_revenue.amount", InvalidInput),
        ({"tiers": tiers((200, 500), (100, 600))}, "tiers.steps.1.from_revenue.amount", InvalidInput),
        ({"tiers": tiers((1, 500)), "rate_bps": None, "fixed": MYR}, "tiers", InvalidInput),
        (
            {"tiers": tiers((1, 500), currency="SGD"), "cap_per_order": MYR},
            "tiers.steps.0.from_revenue.currency",
            None,
        ),
        ({"cap_per_order": MYR, "cap_per_month": Money(5, "SGD")}, "cap_per_month.currency", InvalidInput),
        ({"cap_per_order": MYR, "rate_bps": None, "fixed": MYR}, "cap_per_order", InvalidInput),
        ({"cap_per_day": Money(0, "MYR")}, "cap_per_day.amount", InvalidInput),
        ({"cap_per_day": Money(5, "XYZ")}, "cap_per_day.currency", InvalidInput),
        ({"cap_per_day": MYR, "tiers": tiers((1, 500), mode=TierMode.MARGINAL)}, "cap_per_day", InvalidInput),
        ({"cap_per_order": MYR, "tiers": tiers((1, 500), mode=TierMode.MARGINAL)}, "cap_per_order", InvalidInput),
    ],
)
def test_senseless_tiers_and_caps_are_refused(
    changes: dict[str, Any], field: str, error: type[InvalidInput] | None
) -> None:
    with pytest.raises(error or InvalidInput) as refused:
        check_rule(rule(**changes), platform_fee_bps=500)
    assert refused.value.field == field


def known(details: RuleDetails) -> KnownRule:
    return KnownRule(position=1, details=details)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({"rate_bps": 500}, {"rate_bps": 700}),
        ({"valid_from": DAY, "valid_to": DAY + timedelta(2)}, {"valid_from": DAY, "valid_to": DAY + timedelta(1)}),
        ({"scope": Scope.SKU, "target_id": "sku_1"}, {"scope": Scope.SKU, "target_id": "sku_1"}),
        ({"creator_id": "cre_1"}, {"creator_id": "cre_1"}),
        ({"rate_bps": None, "fixed": MYR}, {}),
    ],
)
def test_two_rules_between_which_only_their_recording_decides_are_refused_as_a_pair(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    with pytest.raises(RulesConflict, match=r"rule rul_2 and rule rul_1 \(version 1\)") as refused:
        check_rule_set(rule("rul_2", **other), [known(rule("rul_1", **one))])
    assert (refused.value.field, refused.value.status) == ("valid_from", 409)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"valid_from": DAY}),
        ({"valid_from": DAY}, {"valid_from": DAY + timedelta(1)}),
        ({"scope": Scope.SKU, "target_id": "sku_1"}, {"scope": Scope.SKU, "target_id": "sku_2"}),
        ({"creator_id": "cre_1"}, {}),
        ({"rate_bps": None, "fixed": MYR}, {"rate_bps": None, "fixed": Money(5, "SGD")}),
    ],
)
def test_rules_of_which_one_clearly_comes_first_stand_beside_each_other(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    check_rule_set(rule("rul_2", **other), [known(rule("rul_1", **one))])


def test_a_rule_does_not_conflict_with_its_own_versions() -> None:
    check_rule_set(rule("rul_1", version=2), [known(rule("rul_1"))])
