"""Add commission rules and revise them. A version never changes: a revision is a new version of the same rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from colink.application.configure.checks import Setup, check_money, referenced
from colink.application.ports import Decision, Facts, Needs
from colink.application.representations import shown
from colink.domain.campaigns import CampaignDetails
from colink.domain.catalog import ProductDetails, Sku
from colink.domain.commission import CommissionRule, RuleDetails, Scope, check_rule
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ids import natural_parts
from colink.domain.money import Money
from colink.domain.organizations import OrganizationDetails, StoreDetails


def store_of_sku(sku_id: str) -> str:
    """A SKU's id names its store, and through the store its organisation."""
    return natural_parts(sku_id)[0]


@dataclass(frozen=True, kw_only=True)
class AddCommissionRule(Setup):
    """Answers with version 1 of the rule."""

    id: str
    organization_id: str
    scope: Scope
    target_id: str | None = None
    creator_id: str | None = None
    rate_bps: int | None = None
    fixed: Money | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def needs(self) -> Needs:
        documents: list[tuple[type, str]] = [(OrganizationDetails, self.organization_id)]
        if self.creator_id is not None:
            documents.append((CreatorDetails, self.creator_id))
        if self.target_id is not None and self.scope is Scope.CAMPAIGN:
            documents.append((CampaignDetails, self.target_id))
        if self.target_id is not None and self.scope is Scope.PRODUCT:
            documents.append((ProductDetails, self.target_id))
        if self.target_id is not None and self.scope is Scope.SKU:
            documents += [(Sku, self.target_id), (StoreDetails, store_of_sku(self.target_id))]
        return Needs(streams=(self.id,), documents=tuple(documents))

    def decide(self, facts: Facts) -> Decision:
        organization = self.organization(facts, self.organization_id)
        if self.creator_id is not None:
            referenced(facts, CreatorDetails, self.creator_id, field="creator_id")
        details = RuleDetails(
            id=self.id,
            version=1,
            organization_id=self.organization_id,
            scope=self.scope,
            target_id=self.target_id,
            creator_id=self.creator_id,
            rate_bps=self.rate_bps,
            fixed=None if self.fixed is None else check_money(self.fixed, field="fixed"),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
        )
        check_rule(details, platform_fee_bps=organization.platform_fee_bps)
        self._check_target(facts)
        rule = CommissionRule.add(details, at=facts.now)
        return Decision(answer=shown(details), events=rule.new_events(), organization_id=self.organization_id)

    def _check_target(self, facts: Facts) -> None:
        if self.target_id is None:
            return
        if self.scope is Scope.CAMPAIGN:
            owner = referenced(facts, CampaignDetails, self.target_id, field="target_id").organization_id
        elif self.scope is Scope.PRODUCT:
            owner = referenced(facts, ProductDetails, self.target_id, field="target_id").organization_id
        else:
            referenced(facts, Sku, self.target_id, field="target_id")
            store = referenced(facts, StoreDetails, store_of_sku(self.target_id), field="target_id")
            owner = store.organization_id
        self.check_within(owner, what=self.scope.value)
        if owner != self.organization_id:
            msg = f"{self.scope} {self.target_id} is not one of organization {self.organization_id}"
            raise InvalidInput(msg, field="target_id")


@dataclass(frozen=True, kw_only=True)
class ReviseCommissionRule(Setup):
    """Answers with the new version: the same scope, target and creator with another rate, amount or validity.
    Orders that were split before keep the version they were split by."""

    rule_id: str
    organization_id: str
    rate_bps: int | None = None
    fixed: Money | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def needs(self) -> Needs:
        return Needs(streams=(self.rule_id,), documents=((OrganizationDetails, self.organization_id),))

    def decide(self, facts: Facts) -> Decision:
        rule = facts.aggregate(CommissionRule, self.rule_id)
        if rule is None or rule.details.organization_id != self.organization_id:
            msg = "there is no such commission rule"
            raise NotFound(msg)
        organization = self.organization(facts, self.organization_id)
        details = replace(
            rule.details,
            version=rule.details.version + 1,
            rate_bps=self.rate_bps,
            fixed=None if self.fixed is None else check_money(self.fixed, field="fixed"),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
        )
        check_rule(details, platform_fee_bps=organization.platform_fee_bps)
        rule.revise(details, at=facts.now)
        return Decision(answer=shown(details), events=rule.new_events(), organization_id=self.organization_id)
