"""Switch the withholding of tax from a seller's payouts on, off, or to another rate. Payouts approved before keep
what they were approved with."""

from __future__ import annotations

from dataclasses import dataclass

from colink.application.configure.checks import referenced
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.representations import shown
from colink.domain.organizations import OrganizationDetails
from colink.domain.withholding import Withholding, WithholdingDetails, withholding_id


@dataclass(frozen=True, kw_only=True)
class SetWithholding(Request):
    """Answers with the settings. Raises InvalidInput naming the field."""

    organization_id: str
    currency: str
    authority: str
    rate_bps: int
    threshold: int = 0

    @property
    def id(self) -> str:
        return withholding_id(self.organization_id, self.currency)

    def needs(self) -> Needs:
        return Needs(streams=(self.id,), documents=((OrganizationDetails, self.organization_id),))

    def decide(self, facts: Facts) -> Decision:
        referenced(facts, OrganizationDetails, self.organization_id, field="organization_id")
        details = WithholdingDetails(
            id=self.id,
            organization_id=self.organization_id,
            currency=self.currency,
            authority=self.authority,
            rate_bps=self.rate_bps,
            threshold=self.threshold,
        )
        settings = facts.aggregate(Withholding, self.id)
        if settings is None:
            settings = Withholding.begin(details, at=facts.now)
        else:
            settings.change(details, at=facts.now)
        return Decision(
            answer=shown(settings.details), events=settings.new_events(), organization_id=self.organization_id
        )
