"""Pay people: the commands of a payout's life. Semantics section 7.

Each takes at most one step and is harmless when repeated. Who may call which is the edge's business, by role; whose
payout it is, is checked here (`within_payee`: the payee a caller is bound to, None for one who sees everything).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from colink.application.ports import BalanceUnchanged, Decision, Facts, Needs, Request
from colink.application.privacy.erasure import check_not_erased
from colink.application.privacy.people import SealedDetails
from colink.domain.aggregates import Event
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ledger import payee_available
from colink.domain.money import Money, currency_exponent
from colink.domain.organizations import OrganizationDetails
from colink.domain.payout_accounts import (
    PayoutAccount,
    PayoutAccountDetails,
    Rail,
    check_details,
    detail_pairs,
    payout_account_id,
)
from colink.domain.payout_journals import journals_of
from colink.domain.payouts import (
    AUTOMATIC,
    NoPayoutAccount,
    Payout,
    PayoutChanged,
    PayoutRequested,
)
from colink.domain.people import ErasedPerson
from colink.domain.withholding import WithholdingDetails, withholding_id


def shown_payout(payout: Payout) -> dict[str, Any]:
    """A payout as the API shows it: `{id, payee_id, status, amount, tax, net}`, the last three as money."""
    return {
        "id": payout.id,
        "payee_id": payout.payee_id,
        "status": payout.status,
        "amount": Money(payout.amount, payout.currency),
        "tax": Money(payout.amount - payout.net, payout.currency),
        "net": Money(payout.net, payout.currency),
    }


def decided(payout: Payout, **also: Any) -> Decision:
    """What the payout decided, each event followed by the journals it means. `also` joins the answer."""
    events: list[Event] = []
    for event in payout.new_events():
        events.append(event)
        if isinstance(event, PayoutRequested | PayoutChanged):
            events.extend(posted for journal in journals_of(event) for posted in journal.new_events())
    return Decision(
        answer=shown_payout(payout) | also,
        events=events,
        organization_id=payout.organization_id,
    )


@dataclass(frozen=True, kw_only=True)
class RegisterPayoutAccount(Request):
    """Set the account a payee is paid to in one currency; a new one takes the place of the old.

    `details` are looked at, and recorded as they were `sealed`. Answers with the account, they too sealed. Raises
    InvalidInput naming the field, also for an unknown payee, PersonIsErased."""

    payee_id: str
    rail: Rail
    currency: str
    details: Mapping[str, str | int]
    minimum: Money | None = None
    within_payee: str | None = None
    sealed: SealedDetails | None = None

    @property
    def id(self) -> str:
        return payout_account_id(self.payee_id, self.currency)

    def needs(self) -> Needs:
        payees = ((CreatorDetails, self.payee_id), (OrganizationDetails, self.payee_id))
        return Needs(streams=(self.id,), documents=(*payees, (ErasedPerson, self.payee_id)))

    def decide(self, facts: Facts) -> Decision:
        check_payee_is_visible(self.payee_id, within_payee=self.within_payee, what="payee")
        organization = facts.document(OrganizationDetails, self.payee_id)
        if organization is None and facts.document(CreatorDetails, self.payee_id) is None:
            msg = f"payee_id {self.payee_id!r} is neither a creator nor an organization"
            raise InvalidInput(msg, field="payee_id")
        check_not_erased(facts, self.payee_id)
        check_details(self.rail, self.details)
        details = PayoutAccountDetails(
            id=self.id,
            payee_id=self.payee_id,
            organization_id=organization.id if organization else None,
            rail=self.rail,
            currency=self.currency,
            details=() if self.sealed else detail_pairs(self.details),
            minimum=self.minimum,
            private=self.sealed.details if self.sealed else None,
        )
        account = facts.aggregate(PayoutAccount, self.id)
        if account is None:
            account = PayoutAccount.register(details, by=self.caller.actor, at=facts.now)
        else:
            account.replace_with(details, by=self.caller.actor, at=facts.now)
        events = account.new_events()
        return Decision(
            answer=shown_account(account.details),
            events=events,
            organization_id=details.organization_id,
            private=(self.sealed.key,) if self.sealed and events else (),
        )


def shown_account(account: PayoutAccountDetails) -> dict[str, Any]:
    """A payout account as the API shows it to who may not read its details: `private` is their sealed text."""
    return {
        "id": account.id,
        "payee_id": account.payee_id,
        "rail": account.rail,
        "currency": account.currency,
        "details": dict(account.details),
        "minimum": account.minimum,
        "private": account.private.text if account.private else None,
    }


def check_payee_is_visible(payee_id: str, *, within_payee: str | None, what: str) -> None:
    """Raises NotFound: what belongs to another payee is not there."""
    if within_payee is not None and payee_id != within_payee:
        msg = f"there is no such {what}"
        raise NotFound(msg)


@dataclass(frozen=True, kw_only=True)
class RequestPayout(Request):
    """Reserve what a payee has, or `amount` of it. `automatic_approval` as COLINK_PAYOUT_APPROVAL says.

    The reservation holds only if nothing was posted to the available account since it was read, so two requests
    never reserve the same money. Raises NoPayoutAccount, InsufficientFunds, BelowMinimum, InvalidInput."""

    payout_id: str
    payee_id: str
    currency: str
    amount: Money | None = None
    automatic_approval: bool = False
    within_payee: str | None = None

    def needs(self) -> Needs:
        account = (PayoutAccountDetails, payout_account_id(self.payee_id, self.currency))
        withholding = (WithholdingDetails, withholding_id(self.payee_id, self.currency))
        documents = (account, withholding, (ErasedPerson, self.payee_id))
        return Needs(streams=(self.payout_id,), documents=documents, funds_of=((self.payee_id, self.currency),))

    def decide(self, facts: Facts) -> Decision:
        check_payee_is_visible(self.payee_id, within_payee=self.within_payee, what="payee")
        currency_exponent(self.currency)
        if self.amount is not None and self.amount.currency != self.currency:
            msg = f"the amount is in {self.amount.currency}, the payout in {self.currency}"
            raise InvalidInput(msg, field="amount.currency")
        account = facts.document(PayoutAccountDetails, payout_account_id(self.payee_id, self.currency))
        if account is None:
            msg = f"{self.payee_id} has no payout account in {self.currency}: register one first"
            raise NoPayoutAccount(msg, field="payee_id")
        check_not_erased(facts, self.payee_id)
        funds = facts.funds(self.payee_id, self.currency)
        payout = Payout.request(
            self.payout_id,
            funds=funds,
            account=account,
            amount=self.amount.amount if self.amount else None,
            by=self.caller.actor,
            at=facts.now,
        )
        if self.automatic_approval:
            withholding = facts.document(WithholdingDetails, withholding_id(self.payee_id, self.currency))
            payout.approve(account=account, by=AUTOMATIC, at=facts.now, withholding=withholding)
        decision = decided(payout)
        unchanged = BalanceUnchanged(
            account=payee_available(self.payee_id), currency=self.currency, version=funds.version
        )
        return Decision(
            answer=decision.answer,
            events=decision.events,
            organization_id=decision.organization_id,
            guards=(unchanged,),
        )


@dataclass(frozen=True, kw_only=True)
class PayoutCommand(Request):
    """A step of a payout that exists."""

    payout_id: str
    within_payee: str | None = None

    def needs(self) -> Needs:
        return Needs(streams=(self.payout_id,))

    def payout(self, facts: Facts) -> Payout:
        """Raises NotFound for no payout, or another payee's."""
        payout = facts.aggregate(Payout, self.payout_id)
        if payout is None:
            msg = "there is no such payout"
            raise NotFound(msg)
        check_payee_is_visible(payout.payee_id, within_payee=self.within_payee, what="payout")
        return payout


@dataclass(frozen=True, kw_only=True)
class PayoutAccountCommand(PayoutCommand):
    """A step that also looks at the payee's current account, which `payee_id` and `currency` of the payout name."""

    payee_id: str
    currency: str

    def needs(self) -> Needs:
        account = (PayoutAccountDetails, payout_account_id(self.payee_id, self.currency))
        withholding = (WithholdingDetails, withholding_id(self.payee_id, self.currency))
        documents = (account, withholding, (ErasedPerson, self.payee_id))
        return Needs(streams=(self.payout_id,), documents=documents)

    def current_account(self, facts: Facts) -> PayoutAccountDetails | None:
        return facts.document(PayoutAccountDetails, payout_account_id(self.payee_id, self.currency))

    def payout(self, facts: Facts) -> Payout:
        payout = super().payout(facts)
        if (payout.payee_id, payout.currency) != (self.payee_id, self.currency):
            msg = f"{payout.id} is {payout.payee_id}'s in {payout.currency}"
            raise NotFound(msg)
        return payout


@dataclass(frozen=True, kw_only=True)
class ApprovePayout(PayoutAccountCommand):
    """Approve with a copy of the payee's account. Raises SelfApproval, OwnAccount, PayoutStateError,
    NoPayoutAccount."""

    def needs(self) -> Needs:
        return super().needs().joined(Needs(reads=(payout_account_id(self.payee_id, self.currency),)))

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        account = facts.aggregate(PayoutAccount, payout_account_id(self.payee_id, self.currency))
        if account is None:
            msg = f"{payout.payee_id} has no payout account in {payout.currency}"
            raise NoPayoutAccount(msg)
        check_not_erased(facts, self.payee_id)
        withholding = facts.document(WithholdingDetails, withholding_id(self.payee_id, self.currency))
        payout.approve(account=account.details, by=self.caller.actor, at=facts.now, withholding=withholding)
        account.check_approver(self.caller.actor)
        return decided(payout)


@dataclass(frozen=True, kw_only=True)
class HoldPayout(PayoutCommand):
    """Stop a payout that was not submitted yet; its money stays reserved."""

    reason: str

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        payout.hold(by=self.caller.actor, reason=self.reason, at=facts.now)
        return decided(payout)


@dataclass(frozen=True, kw_only=True)
class LiftPayoutHold(PayoutCommand):
    """Back to requested: it has to be approved again."""

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        payout.lift_hold(by=self.caller.actor, at=facts.now)
        return decided(payout)


@dataclass(frozen=True, kw_only=True)
class RejectPayout(PayoutCommand):
    """Refuse a payout that was requested; its money is available again."""

    reason: str = ""

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        payout.reject(by=self.caller.actor, reason=self.reason, at=facts.now)
        return decided(payout)


@dataclass(frozen=True, kw_only=True)
class CancelPayout(PayoutCommand):
    """Call off a payout that was not submitted; its money is available again. Raises PayoutStateError, HeldByFinance
    where the payee calls off what finance holds."""

    reason: str = ""

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        if self.within_payee is not None:
            payout.check_payee_may_cancel()
        payout.cancel(by=self.caller.actor, reason=self.reason, at=facts.now)
        return decided(payout)
