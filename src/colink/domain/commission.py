"""Commission rules: which rate or amount a creator earns on a line, and which rule wins. Semantics section 4.

This module chooses a rule and says why the others lost. What a rule amounts to is `revenue.py`'s, which rules make no
sense `rule_checks.py`'s, what a promise of notice keeps of older versions `notice.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.campaigns import CampaignDetails
from colink.domain.money import Money
from colink.domain.tiers import TierMode, Tiers
from colink.domain.value import value

_OPEN = datetime.min.replace(tzinfo=UTC)  # a rule without a start began before all others


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
    `valid_to` (excluded), at the order's `placed_at`; None is open. tiers: rates above `rate_bps`, by revenue. Caps
    limit what a creator earns by the rule on one order, and on the orders placed on one day and in one month of the
    organisation's time zone. published_at: when this version was written (None: before that was kept).
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
    tiers: Tiers | None = None
    cap_per_order: Money | None = None
    cap_per_day: Money | None = None
    cap_per_month: Money | None = None
    published_at: datetime | None = None

    @property
    def currency(self) -> str | None:
        """The one currency it is for; None where it names no money and so serves any."""
        for money in (self.fixed, self.cap_per_order, self.cap_per_day, self.cap_per_month):
            if money is not None:
                return money.currency
        return self.tiers.steps[0].from_revenue.currency if self.tiers else None

    @property
    def counts_by(self) -> str | None:
        """`month` or `day` where its orders are trued up together at its end; None where each order stands alone."""
        if self.cap_per_month is not None or (self.tiers is not None and self.tiers.mode is TierMode.MARGINAL):
            return "month"
        return "day" if self.cap_per_day is not None else None


@dataclass(frozen=True, kw_only=True)
class KnownRule:
    """A rule version with the log position at which it became known."""

    position: int
    details: RuleDetails


@dataclass(frozen=True, kw_only=True)
class RuleAdded(Created):
    TOPIC: ClassVar[str] = "commission_rule.added"
    class_version: ClassVar[int] = 2
    details: RuleDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """What version 1 had no fields for did not exist: no tiers, no caps; nobody kept when it was published."""
        no_tiers_no_caps = ("tiers", "cap_per_order", "cap_per_day", "cap_per_month", "published_at")
        state["details"] |= dict.fromkeys(no_tiers_no_caps)


@dataclass(frozen=True, kw_only=True)
class RuleRevised(Event):
    TOPIC: ClassVar[str] = "commission_rule.revised"
    class_version: ClassVar[int] = 2
    details: RuleDetails

    def apply(self, aggregate: CommissionRule) -> None:
        aggregate.details = self.details

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """What version 1 had no fields for did not exist: no tiers, no caps; nobody kept when it was published."""
        no_tiers_no_caps = ("tiers", "cap_per_order", "cap_per_day", "cap_per_month", "published_at")
        state["details"] |= dict.fromkeys(no_tiers_no_caps)


class CommissionRule(Aggregate):
    """`details` is the newest version."""

    TOPIC: ClassVar[str] = "commission_rule"
    details: RuleDetails

    @classmethod
    def add(cls, details: RuleDetails, *, at: datetime) -> CommissionRule:
        return cls._create(RuleAdded, id=details.id, timestamp=at, details=details)

    def revise(self, details: RuleDetails, *, at: datetime) -> None:
        self.trigger_event(RuleRevised, details=details, timestamp=at)


@value
class SoldLine:
    """What decides which rule serves a line. `campaign` is the one the order was attributed to."""

    placed_at: datetime
    currency: str
    campaign: CampaignDetails | None
    creator_id: str
    product_id: str | None
    sku_id: str | None


class Verdict(StrEnum):
    """Why a rule serves a line or not. Stable words: they are shown."""

    SERVES = "serves"
    # Barred: it could not serve the line.
    OTHER_TARGET = "other_target"
    PRODUCT_NOT_IN_CAMPAIGN = "product_not_in_campaign"
    OTHER_CREATOR = "other_creator"
    NOT_YET_VALID = "not_yet_valid"
    NO_LONGER_VALID = "no_longer_valid"
    OTHER_CURRENCY = "other_currency"
    # It could, but something comes before it.
    WEAKER_SCOPE = "weaker_scope"
    GENERAL_RULE = "general_rule"  # one for this creator comes first
    EARLIER_START = "earlier_start"
    EARLIER_VERSION = "earlier_version"  # of the same rule
    EARLIER_RECORDED = "earlier_recorded"
    CUT_UNDER_NOTICE = "cut_under_notice"  # the creator's link, or the order, keeps what it had


def rule_for(line: SoldLine, rules: Sequence[KnownRule]) -> RuleDetails | None:
    """The rule version that serves a line, or None.

    Campaign, SKU, product, default; inside a scope a creator's own rule before a general one, then the latest
    `valid_from` (an open start is the earliest), then the latest position. Each version of a rule stands for itself:
    an older one goes on serving the times that the newer one does not cover.
    """
    best = max((known for known in rules if barred(known.details, line) is None), key=_rank, default=None)
    return best.details if best else None


def barred(rule: RuleDetails, line: SoldLine) -> Verdict | None:
    """Why a rule could not serve the line, None where it could."""
    if (out_of_reach := _out_of_reach(rule, line)) is not None:
        return out_of_reach
    if rule.creator_id not in (None, line.creator_id):
        return Verdict.OTHER_CREATOR
    if rule.valid_from is not None and line.placed_at < rule.valid_from:
        return Verdict.NOT_YET_VALID
    if rule.valid_to is not None and line.placed_at >= rule.valid_to:
        return Verdict.NO_LONGER_VALID
    if rule.currency not in (None, line.currency):
        return Verdict.OTHER_CURRENCY
    return None


def verdicts(
    line: SoldLine, rules: Sequence[KnownRule], serving: RuleDetails | None
) -> list[tuple[RuleDetails, Verdict]]:
    """Each rule with the reason why it serves the line or does not; the one that serves first, then as they rank."""
    rank_of_serving = max((_rank(known) for known in rules if known.details is serving), default=None)
    judged = []
    for known in sorted(rules, key=_rank, reverse=True):
        rule = known.details
        verdict = Verdict.SERVES if rule is serving else barred(rule, line)
        if verdict is None and serving is not None and rank_of_serving is not None:
            verdict = _behind(rule, serving) if _rank(known) < rank_of_serving else Verdict.CUT_UNDER_NOTICE
        judged.append((rule, verdict or Verdict.CUT_UNDER_NOTICE))
    judged.sort(key=lambda each: each[1] is not Verdict.SERVES)
    return judged


def _behind(rule: RuleDetails, serving: RuleDetails) -> Verdict:
    """Why a rule that could serve the line comes after the one that does."""
    if rule.scope is not serving.scope:
        return Verdict.WEAKER_SCOPE
    if rule.creator_id != serving.creator_id:
        return Verdict.GENERAL_RULE
    if rule.valid_from != serving.valid_from:
        return Verdict.EARLIER_START
    return Verdict.EARLIER_VERSION if rule.id == serving.id else Verdict.EARLIER_RECORDED


def _out_of_reach(rule: RuleDetails, line: SoldLine) -> Verdict | None:
    """Whether the line lies outside the rule's scope."""
    match rule.scope:
        case Scope.CAMPAIGN:
            campaign = line.campaign
            if campaign is None or rule.target_id != campaign.id:
                return Verdict.OTHER_TARGET
            if campaign.product_ids and line.product_id not in campaign.product_ids:
                return Verdict.PRODUCT_NOT_IN_CAMPAIGN
            return None
        case Scope.SKU:
            reached = line.sku_id is not None and rule.target_id == line.sku_id
        case Scope.PRODUCT:
            reached = line.product_id is not None and rule.target_id == line.product_id
        case Scope.DEFAULT:
            reached = True
    return None if reached else Verdict.OTHER_TARGET


_PRECEDENCE = {scope: -place for place, scope in enumerate(Scope)}


def _rank(known: KnownRule) -> tuple[int, bool, datetime, int]:
    rule = known.details
    return (_PRECEDENCE[rule.scope], rule.creator_id is not None, rule.valid_from or _OPEN, known.position)
