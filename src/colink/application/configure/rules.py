"""Add commission rules and revise them. A version never changes: a revision is a new version of the same rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from colink.application.configure.checks import Setup, referenced
from colink.application.ports import Decision, Facts, Needs, TermsUnchanged
from colink.application.representations import shown
from colink.domain.campaigns import CampaignDetails
from colink.domain.catalog import ProductDetails, Sku
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ids import natural_parts
from colink.domain.money import Money
from colink.domain.organizations import OrganizationDetails, StoreDetails
from colink.domain.rule_checks import check_rule, check_rule_set
from colink.domain.tiers import Tiers


def store_of_sku(sku_id: str) -> str:
    """A SKU's id names its store, and through the store its organisation."""
    return natural_parts(sku_id)[0]


@dataclass(frozen=True, kw_only=True)
class RuleTerms(Setup):
    """What a version of a rule gives: a rate or a fixed amount, tiers and caps, and when."""

    rate_bps: int | None = None
    fixed: Money | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    tiers: Tiers | None = None
    cap_per_order: Money | None = None
    cap_per_day: Money | None = None
    cap_per_month: Money | None = None

    def _checked(self, details: RuleDetails, facts: Facts, organization: OrganizationDetails) -> RuleDetails:
        """The details with what this version gives. Raises InvalidInput, CommissionTooHigh, RulesConflict."""
        details = replace(
            details,
            rate_bps=self.rate_bps,
            fixed=self.fixed,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            tiers=self.tiers,
            cap_per_order=self.cap_per_order,
            cap_per_day=self.cap_per_day,
            cap_per_month=self.cap_per_month,
            published_at=facts.now,
        )
        check_rule(details, platform_fee_bps=organization.platform_fee_bps)
        check_rule_set(details, facts.terms().rules)
        return details

    def _decided(self, rule: CommissionRule, facts: Facts) -> Decision:
        """Guarded by the terms: of two rules written at once that do not go together, one is refused."""
        details = rule.details
        guard = TermsUnchanged(organization_id=details.organization_id, position=facts.terms().position)
        return Decision(
            answer=shown(details),
            events=rule.new_events(),
            organization_id=details.organization_id,
            guards=(guard,),
        )


@dataclass(frozen=True, kw_only=True)
class AddCommissionRule(RuleTerms):
    """Answers with version 1 of the rule."""

    id: str
    organization_id: str
    scope: Scope
    target_id: str | None = None
    creator_id: str | None = None

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
        return Needs(streams=(self.id,), documents=tuple(documents), terms_of=self.organization_id)

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
        )
        details = self._checked(details, facts, organization)
        self._check_target(facts)
        return self._decided(CommissionRule.add(details, at=facts.now), facts)

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
class ReviseCommissionRule(RuleTerms):
    """Answers with the new version: the same scope, target and creator with another rate, amount or validity.
    Orders that were split before keep the version they were split by."""

    rule_id: str
    organization_id: str

    def needs(self) -> Needs:
        return Needs(
            streams=(self.rule_id,),
            documents=((OrganizationDetails, self.organization_id),),
            terms_of=self.organization_id,
        )

    def decide(self, facts: Facts) -> Decision:
        rule = facts.aggregate(CommissionRule, self.rule_id)
        if rule is None or rule.details.organization_id != self.organization_id:
            msg = "there is no such commission rule"
            raise NotFound(msg)
        organization = self.organization(facts, self.organization_id)
        details = replace(rule.details, version=rule.details.version + 1)
        rule.revise(self._checked(details, facts, organization), at=facts.now)
        return self._decided(rule, facts)
