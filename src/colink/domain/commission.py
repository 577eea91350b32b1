"""Commission rules: which rate or amount a creator earns on a line, and which rule wins. Semantics section 4.

This module chooses a rule and refuses rules that make no sense; what a rule amounts to is `revenue.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.campaigns import CampaignDetails
from colink.domain.errors import InvalidInput
from colink.domain.money import MAX_AMOUNT, Money, currency_exponent

FULL_BPS = 10_000
_OPEN = datetime.min.replace(tzinfo=UTC)  # a rule without a start began before all others


class CommissionTooHigh(InvalidInput):
    slug, title = "commission-too-high", "Platform fee and commission together exceed the price"


class Scope(StrEnum):
    """In order of precedence."""

    __hash__ = str.__hash__  # rules are looked up by it: the hash of an enum is computed in Python

    CAMPAIGN = "campaign"
    SKU = "sku"
    PRODUCT = "product"
    DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class RuleDetails:
    """One version of a rule; a version never changes. Exactly one of `rate_bps` and `fixed` (per unit) is set.

    target_id: the campaign, SKU or product; None for the default scope. Valid from `valid_from` (included) to
    `valid_to` (excluded), at the order's `placed_at`; None is open.
    """

    id: str
    version: int
    organization_id: str
    scope: Scope
    target_id: str | None = None
    creator_id: str | None = None
    rate_bps: int | None = None
    fixed: Money | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class KnownRule:
    """A rule version with the log position at which it became known."""

    position: int
    details: RuleDetails


@dataclass(frozen=True, kw_only=True)
class RuleAdded(Created):
    TOPIC: ClassVar[str] = "commission_rule.added"
    details: RuleDetails


@dataclass(frozen=True, kw_only=True)
class RuleRevised(Event):
    TOPIC: ClassVar[str] = "commission_rule.revised"
    details: RuleDetails

    def apply(self, aggregate: CommissionRule) -> None:
        aggregate.details = self.details


class CommissionRule(Aggregate):
    """`details` is the newest version."""

    TOPIC: ClassVar[str] = "commission_rule"
    details: RuleDetails

    @classmethod
    def add(cls, details: RuleDetails, *, at: datetime) -> CommissionRule:
        return cls._create(RuleAdded, id=details.id, timestamp=at, details=details)

    def revise(self, details: RuleDetails, *, at: datetime) -> None:
        self.trigger_event(RuleRevised, details=details, timestamp=at)


def choose_rule(
    *,
    rules: Sequence[KnownRule],
    placed_at: datetime,
    currency: str,
    campaign: CampaignDetails | None,
    creator_id: str,
    product_id: str | None,
    sku_id: str | None,
) -> RuleDetails | None:
    """The rule version that serves one line, or None. `campaign` is the one the order was attributed to.

    Campaign, SKU, product, default; inside a scope a creator's own rule before a general one, then the latest
    `valid_from` (an open start is the earliest), then the latest position. Each version of a rule stands for itself:
    an older one goes on serving the times that the newer one does not cover.
    """

    def matches(rule: RuleDetails) -> bool:
        return (
            rule.creator_id in (None, creator_id)
            and (rule.valid_from is None or rule.valid_from <= placed_at)
            and (rule.valid_to is None or placed_at < rule.valid_to)
            and (rule.fixed is None or rule.fixed.currency == currency)
            and _reaches(rule, campaign=campaign, product_id=product_id, sku_id=sku_id)
        )

    best = max((known for known in rules if matches(known.details)), key=_rank, default=None)
    return best.details if best else None


def check_rule(details: RuleDetails, *, platform_fee_bps: int) -> None:
    """Refuse a rule that could never apply, is not clear, or gives away more than a line is worth.

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
        _check_fixed(details.fixed)
    elif details.rate_bps is None:
        msg = "give rate_bps (basis points of a line) or fixed (money per unit)"
        raise InvalidInput(msg, field="rate_bps")
    elif not 0 <= details.rate_bps <= FULL_BPS:
        msg = f"rate_bps is {details.rate_bps}: it must be between 0 and {FULL_BPS} (100 %)"
        raise InvalidInput(msg, field="rate_bps")
    elif details.rate_bps + platform_fee_bps > FULL_BPS:
        msg = (
            f"rate_bps {details.rate_bps} and the platform fee of {platform_fee_bps} bps exceed 100 % of a line: "
            f"at most {FULL_BPS - platform_fee_bps} is left for the commission"
        )
        raise CommissionTooHigh(msg, field="rate_bps")
    if details.valid_from is not None and details.valid_to is not None and details.valid_to <= details.valid_from:
        msg = "valid_to must be later than valid_from: the rule would never apply"
        raise InvalidInput(msg, field="valid_to")


def _check_fixed(fixed: Money) -> None:
    if not 0 <= fixed.amount <= MAX_AMOUNT:
        msg = f"fixed.amount is {fixed.amount}: it must be between 0 and {MAX_AMOUNT} minor units"
        raise InvalidInput(msg, field="fixed.amount")
    try:
        currency_exponent(fixed.currency)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field="fixed.currency") from error


def _reaches(
    rule: RuleDetails, *, campaign: CampaignDetails | None, product_id: str | None, sku_id: str | None
) -> bool:
    """Whether the line lies inside the rule's scope."""
    match rule.scope:
        case Scope.CAMPAIGN:
            return (
                campaign is not None
                and rule.target_id == campaign.id
                and (not campaign.product_ids or product_id in campaign.product_ids)
            )
        case Scope.SKU:
            return sku_id is not None and rule.target_id == sku_id
        case Scope.PRODUCT:
            return product_id is not None and rule.target_id == product_id
        case Scope.DEFAULT:
            return True


_PRECEDENCE = {scope: -place for place, scope in enumerate(Scope)}


def _rank(known: KnownRule) -> tuple[int, bool, datetime, int]:
    rule = known.details
    return (_PRECEDENCE[rule.scope], rule.creator_id is not None, rule.valid_from or _OPEN, known.position)
