"""Commission rules: which rate or amount a creator earns on a line, and which rule wins. Semantics section 4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.money import Money


class Scope(StrEnum):
    """In order of precedence."""

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
