"""Which commission rules are refused when they are written: those that could never apply, are not clear, give away
more than a line is worth, or leave it to chance which of two applies. Semantics section 4.

Every refusal names the field at fault; where two rules do not go together, the other rule by its id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from colink.domain.commission import KnownRule, RuleDetails, Scope
from colink.domain.errors import Conflict, InvalidInput
from colink.domain.money import FULL_BPS, MAX_AMOUNT, Money, currency_exponent
from colink.domain.tiers import TierMode, Tiers

MOST_TIERS = 20
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class CommissionTooHigh(InvalidInput):
    slug, title = "commission-too-high", "Platform fee and commission together exceed the price"


class RulesConflict(Conflict):
    slug, title = "rules-conflict", "Two commission rules cannot both stand"


def check_rule(details: RuleDetails, *, platform_fee_bps: int) -> None:
    """Refuse a rule that makes no sense by itself.

    A fixed amount needs no upper bound: it is capped at the line's base less the platform fee when it is computed.
    Raises InvalidInput or CommissionTooHigh naming the field.
    """
    if (details.scope is Scope.DEFAULT) != (details.target_id is None):
        msg = (
            "the default scope takes no target_id"
            if details.scope is Scope.DEFAULT
            else f"a rule of scope {details.scope.value} needs target_id, the {details.scope.value} it is for"
        )
        raise InvalidInput(msg, field="target_id")
    if details.rate_bps is not None and details.fixed is not None:
        msg = "give either rate_bps or fixed, not both"
        raise InvalidInput(msg, field="fixed")
    if details.fixed is not None:
        _check_money(details.fixed, field="fixed")
    elif details.rate_bps is None:
        msg = "give rate_bps (basis points of a line) or fixed (money per unit)"
        raise InvalidInput(msg, field="rate_bps")
    else:
        _check_rate(details.rate_bps, platform_fee_bps=platform_fee_bps, field="rate_bps")
    if details.valid_from is not None and details.valid_to is not None and details.valid_to <= details.valid_from:
        msg = "valid_to must be later than valid_from: the rule would never apply"
        raise InvalidInput(msg, field="valid_to")
    if details.tiers is not None:
        _check_tiers(details, details.tiers, platform_fee_bps=platform_fee_bps)
    _check_caps(details)
    for field, money in _moneys(details):
        if money.currency != details.currency:
            msg = f"{field} is in {money.currency}: all money of a rule is in one currency, here {details.currency}"
            raise InvalidInput(msg, field=f"{field}.currency")


def check_rule_set(details: RuleDetails, others: Sequence[KnownRule]) -> None:
    """Refuse a rule where only the order of recording would decide between it and another: the same scope, target
    and creator, the same `valid_from`, and times (and currencies) that both cover. `others`: all versions of all
    rules of the organisation; versions of the rule itself replace each other. Raises RulesConflict, with the pair."""
    for known in others:
        other = known.details
        if (
            other.id != details.id
            and (other.scope, other.target_id, other.creator_id)
            == (details.scope, details.target_id, details.creator_id)
            and other.valid_from == details.valid_from
            and (other.currency is None or details.currency is None or other.currency == details.currency)
            and max(other.valid_from or _FIRST, details.valid_from or _FIRST)
            < min(other.valid_to or _LAST, details.valid_to or _LAST)
        ):
            msg = (
                f"rule {details.id} and rule {other.id} (version {other.version}) have the same scope, target, "
                f"creator and valid_from, and cover the same time: revise {other.id}, or give another valid_from"
            )
            raise RulesConflict(msg, field="valid_from")


def _place(rule: RuleDetails) -> tuple[object, ...]:
    """Where it ranks among the rules, but for its position."""
    return (rule.scope, rule.target_id, rule.creator_id, rule.valid_from)


def _check_rate(rate_bps: int, *, platform_fee_bps: int, field: str) -> None:
    if not 0 <= rate_bps <= FULL_BPS:
        msg = f"{field} is {rate_bps}: it must be between 0 and {FULL_BPS} (100 %)"
        raise InvalidInput(msg, field=field)
    if rate_bps + platform_fee_bps > FULL_BPS:
        msg = (
            f"{field} {rate_bps} and the platform fee of {platform_fee_bps} bps exceed 100 % of a line: "
            f"at most {FULL_BPS - platform_fee_bps} is left for the commission"
        )
        raise CommissionTooHigh(msg, field=field)


def _check_tiers(details: RuleDetails, tiers: Tiers, *, platform_fee_bps: int) -> None:
    if details.fixed is not None:
        msg = "tiers are rates: they go with rate_bps, which holds below the first of them, not with fixed"
        raise InvalidInput(msg, field="tiers")
    if not 1 <= len(tiers.steps) <= MOST_TIERS:
        msg = f"a rule has 1 to {MOST_TIERS} tiers, not {len(tiers.steps)}"
        raise InvalidInput(msg, field="tiers.steps")
    reached = 0
    for number, step in enumerate(tiers.steps):
        field = f"tiers.steps.{number}"
        _check_money(step.from_revenue, field=f"{field}.from_revenue")
        if step.from_revenue.amount <= reached:
            msg = f"{field}.from_revenue is {step.from_revenue.amount}: it must be more than {reached}, tiers rise"
            raise InvalidInput(msg, field=f"{field}.from_revenue.amount")
        reached = step.from_revenue.amount
        _check_rate(step.rate_bps, platform_fee_bps=platform_fee_bps, field=f"{field}.rate_bps")


def _check_caps(details: RuleDetails) -> None:
    marginal = details.tiers is not None and details.tiers.mode is TierMode.MARGINAL
    for field, cap in _caps(details):
        _check_money(cap, field=field)
        if cap.amount == 0:
            msg = f"{field} of nothing: a rule that earns nothing has rate_bps 0"
            raise InvalidInput(msg, field=f"{field}.amount")
        if details.fixed is not None:
            msg = f"{field} and fixed do not go together: a fixed amount per unit is a cap of its own"
            raise InvalidInput(msg, field=field)
        if marginal and field != "cap_per_month":
            msg = f"{field} and marginal tiers do not go together: they are settled by the month, so is their cap"
            raise InvalidInput(msg, field=field)


def _caps(details: RuleDetails) -> Iterator[tuple[str, Money]]:
    for field in ("cap_per_order", "cap_per_day", "cap_per_month"):
        if (cap := getattr(details, field)) is not None:
            yield field, cap


def _moneys(details: RuleDetails) -> Iterator[tuple[str, Money]]:
    """All money a rule names, with its field."""
    if details.fixed is not None:
        yield "fixed", details.fixed
    yield from _caps(details)
    for number, step in enumerate(details.tiers.steps if details.tiers else ()):
        yield f"tiers.steps.{number}.from_revenue", step.from_revenue


def _check_money(money: Money, *, field: str) -> None:
    if not 0 <= money.amount <= MAX_AMOUNT:
        msg = f"{field}.amount is {money.amount}: it must be between 0 and {MAX_AMOUNT} minor units"
        raise InvalidInput(msg, field=f"{field}.amount")
    try:
        currency_exponent(money.currency)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field=f"{field}.currency") from error
