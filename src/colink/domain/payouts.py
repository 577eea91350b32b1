"""Payouts: reserving cleared money, once, and following it to the payee. Semantics section 7.

This module decides; `payout_funds` says what there is to reserve, `payout_journals` what each decision posts,
`payout_accounts` where the money goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict, Forbidden, PayoutStateError
from colink.domain.payout_accounts import PayoutAccountDetails, Rail, without_private
from colink.domain.payout_funds import Funds, Stretch, plan_payout
from colink.domain.withholding import WithheldTax, WithholdingDetails, tax_of

AUTOMATIC = "policy:automatic"  # the approver where COLINK_PAYOUT_APPROVAL is `auto`
MAX_ATTEMPTS = 3
PAYOUT_ID = "pyt"  # the prefix of payout ids


class NoPayoutAccount(Conflict):
    slug, title = "no-payout-account", "The payee has no payout account in this currency"


class SelfApproval(Forbidden):
    slug, title = "self-approval", "Who requested a payout may not approve it"


class HeldByFinance(Conflict):
    slug, title = "payout-held", "Finance holds the payout"


class ProviderDisagrees(Conflict):
    slug, title = "provider-disagrees", "What the provider says does not fit the payout"


class PayoutStatus(StrEnum):
    REQUESTED = "requested"
    HELD = "held"
    APPROVED = "approved"
    SUBMITTED = "submitted"
    IN_TRANSIT = "in_transit"
    PAID = "paid"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RETURNED = "returned"


RELEASED = frozenset({PayoutStatus.REJECTED, PayoutStatus.CANCELLED, PayoutStatus.FAILED, PayoutStatus.RETURNED})
"""In these the stretches are free again; in all others the payout holds them."""

UNSUBMITTED = frozenset({PayoutStatus.REQUESTED, PayoutStatus.HELD, PayoutStatus.APPROVED})
AT_PROVIDER = frozenset({PayoutStatus.SUBMITTED, PayoutStatus.IN_TRANSIT})


class ProviderOutcome(StrEnum):
    """What a provider made of an attempt. `unknown`: it did not say (a timeout, an error); anything may be true."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ProviderReport:
    """What a provider says about one attempt, named by our `reference`. Amounts in minor units.

    passing: a failure that another attempt may get over. settled: the provider expects no further change (a payout
    that is paid may still be returned). An unknown outcome tells neither amount nor currency.
    """

    reference: str
    outcome: ProviderOutcome
    amount: int | None = None
    currency: str | None = None
    provider_id: str | None = None
    failure_code: str | None = None
    passing: bool = False
    fee: int = 0
    settled: bool = True


@dataclass(frozen=True, kw_only=True)
class PayoutRequested(Created):
    """The money is reserved. `requested_by`: the actor, who may not approve it."""

    TOPIC: ClassVar[str] = "payout.requested"
    status: ClassVar[PayoutStatus] = PayoutStatus.REQUESTED
    payee_id: str
    organization_id: str | None
    currency: str
    amount: int
    stretches: tuple[Stretch, ...]
    requested_by: str


@dataclass(frozen=True, kw_only=True)
class PayoutChanged(Event):
    """What every later event repeats, so that rows and journals follow from one event alone. `tax`: what is withheld
    of the amount, from the approval on; None where nothing is."""

    class_version: ClassVar[int] = 2
    status: ClassVar[PayoutStatus]
    payee_id: str
    organization_id: str | None
    currency: str
    amount: int
    stretches: tuple[Stretch, ...]
    tax: WithheldTax | None

    def apply(self, aggregate: Payout) -> None:
        aggregate.status = self.status
        aggregate.tax = self.tax

    @property
    def net(self) -> int:
        """What the payee gets."""
        return self.amount - (self.tax.amount if self.tax else 0)

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["tax"] = None  # nothing was withheld then


PayoutEvent = PayoutRequested | PayoutChanged


@dataclass(frozen=True, kw_only=True)
class PayoutApproved(PayoutChanged):
    """`account` is the payee's account as it was then; the money goes there or nowhere."""

    TOPIC: ClassVar[str] = "payout.approved"
    class_version: ClassVar[int] = 3
    status: ClassVar[PayoutStatus] = PayoutStatus.APPROVED
    approved_by: str
    account: PayoutAccountDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        without_private(state["account"])

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["tax"] = None  # nothing was withheld then

    def apply(self, aggregate: Payout) -> None:
        super().apply(aggregate)
        aggregate.account = self.account
        aggregate.approved_by = self.approved_by


@dataclass(frozen=True, kw_only=True)
class PayoutHeld(PayoutChanged):
    TOPIC: ClassVar[str] = "payout.held"
    status: ClassVar[PayoutStatus] = PayoutStatus.HELD
    held_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PayoutHoldLifted(PayoutChanged):
    """Back to requested: doubts about a payout undo an approval given before them."""

    TOPIC: ClassVar[str] = "payout.hold_lifted"
    status: ClassVar[PayoutStatus] = PayoutStatus.REQUESTED
    lifted_by: str

    def apply(self, aggregate: Payout) -> None:
        super().apply(aggregate)
        aggregate.account = None
        aggregate.approved_by = None


@dataclass(frozen=True, kw_only=True)
class PayoutRejected(PayoutChanged):
    TOPIC: ClassVar[str] = "payout.rejected"
    status: ClassVar[PayoutStatus] = PayoutStatus.REJECTED
    rejected_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PayoutCancelled(PayoutChanged):
    TOPIC: ClassVar[str] = "payout.cancelled"
    status: ClassVar[PayoutStatus] = PayoutStatus.CANCELLED
    cancelled_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PayoutSubmitted(PayoutChanged):
    """An attempt begins. Recorded before the provider hears of it, so that no try is ever forgotten. `reference` is
    both our reference at the provider and the idempotency key of every retry of this attempt."""

    TOPIC: ClassVar[str] = "payout.submitted"
    status: ClassVar[PayoutStatus] = PayoutStatus.SUBMITTED
    attempt: int
    reference: str

    def apply(self, aggregate: Payout) -> None:
        super().apply(aggregate)
        aggregate.attempt = self.attempt
        if aggregate.account is not None:
            aggregate.rails = (*aggregate.rails, aggregate.account.rail)


@dataclass(frozen=True, kw_only=True)
class PayoutAttemptFailed(PayoutChanged):
    """The provider says that it did not pay, for a passing reason: the next submission is a new attempt. Where it
    corrects itself before that one begins, the payout is paid."""

    TOPIC: ClassVar[str] = "payout.attempt_failed"
    status: ClassVar[PayoutStatus] = PayoutStatus.APPROVED
    attempt: int
    failure_code: str | None


@dataclass(frozen=True, kw_only=True)
class PayoutInTransit(PayoutChanged):
    TOPIC: ClassVar[str] = "payout.in_transit"
    status: ClassVar[PayoutStatus] = PayoutStatus.IN_TRANSIT
    provider_id: str | None


@dataclass(frozen=True, kw_only=True)
class PayoutPaid(PayoutChanged):
    """`fee`: what the provider charged us for it, minor units of the payout's currency."""

    TOPIC: ClassVar[str] = "payout.paid"
    status: ClassVar[PayoutStatus] = PayoutStatus.PAID
    rail: Rail
    provider_id: str | None
    fee: int


@dataclass(frozen=True, kw_only=True)
class PayoutFailed(PayoutChanged):
    TOPIC: ClassVar[str] = "payout.failed"
    status: ClassVar[PayoutStatus] = PayoutStatus.FAILED
    attempt: int
    failure_code: str | None


@dataclass(frozen=True, kw_only=True)
class PayoutReturned(PayoutChanged):
    """The bank sent the money back after it was paid."""

    TOPIC: ClassVar[str] = "payout.returned"
    status: ClassVar[PayoutStatus] = PayoutStatus.RETURNED
    rail: Rail
    failure_code: str | None


class Payout(Aggregate):
    """One payout of one payee in one currency, from the reservation to the bank and, sometimes, back. `rails`: what
    each attempt was handed to, whatever the account is by now."""

    TOPIC: ClassVar[str] = "payout"
    payee_id: str
    organization_id: str | None
    currency: str
    amount: int
    stretches: tuple[Stretch, ...]
    requested_by: str
    status: PayoutStatus = PayoutStatus.REQUESTED
    account: PayoutAccountDetails | None = None
    approved_by: str | None = None
    attempt: int = 0
    tax: WithheldTax | None = None
    rails: tuple[Rail, ...] = ()

    @classmethod
    def request(
        cls, payout_id: str, *, funds: Funds, account: PayoutAccountDetails, amount: int | None, by: str, at: datetime
    ) -> Payout:
        """Reserve money of a payee (`plan_payout` says how much and which, and what it refuses)."""
        planned, stretches = plan_payout(funds, amount=amount, minimum=account.minimum_amount)
        return cls._create(
            PayoutRequested,
            id=payout_id,
            timestamp=at,
            payee_id=funds.payee_id,
            organization_id=account.organization_id,
            currency=funds.currency,
            amount=planned,
            stretches=stretches,
            requested_by=by,
        )

    @property
    def reference(self) -> str:
        """Of the current attempt: our reference and idempotency key at the provider."""
        return f"{self.id}.{self.attempt}"

    @property
    def begun(self) -> tuple[tuple[str, Rail], ...]:
        """The reference of each attempt that began, and the rail it was handed to, the last one first."""
        return tuple((f"{self.id}.{number}", rail) for number, rail in enumerate(self.rails, start=1))[::-1]

    @property
    def net(self) -> int:
        """What the payee gets, and the provider is asked for."""
        return self.amount - (self.tax.amount if self.tax else 0)

    def approve(
        self, *, account: PayoutAccountDetails, by: str, at: datetime, withholding: WithholdingDetails | None = None
    ) -> None:
        """Tax is withheld as `withholding` says now. Raises SelfApproval, PayoutStateError."""
        self._check_status_is_one_of({PayoutStatus.REQUESTED}, to="be approved")
        self._check_approver_is_not_requester(by)
        if self.attempt == 0:  # what was handed to a provider once stays as it was approved then
            self.tax = tax_of(self.amount, withholding)
        self._change(PayoutApproved, at, account=account, approved_by=by)

    def hold(self, *, by: str, reason: str, at: datetime) -> None:
        self._check_status_is_one_of({PayoutStatus.REQUESTED, PayoutStatus.APPROVED}, to="be held")
        self._change(PayoutHeld, at, held_by=by, reason=reason)

    def lift_hold(self, *, by: str, at: datetime) -> None:
        self._check_status_is_one_of({PayoutStatus.HELD}, to="be released from a hold")
        self._change(PayoutHoldLifted, at, lifted_by=by)

    def reject(self, *, by: str, reason: str, at: datetime) -> None:
        self._check_status_is_one_of({PayoutStatus.REQUESTED, PayoutStatus.HELD}, to="be rejected")
        self._change(PayoutRejected, at, rejected_by=by, reason=reason)

    def check_payee_may_cancel(self) -> None:
        """A hold would stop nothing if its payee could cancel the payout and ask for the money again."""
        if self.status is PayoutStatus.HELD:
            msg = f"finance holds {self.id}: only finance can release, reject or cancel it"
            raise HeldByFinance(msg)

    def cancel(self, *, by: str, reason: str, at: datetime) -> None:
        self._check_status_is_one_of(UNSUBMITTED, to="be cancelled")
        self._change(PayoutCancelled, at, cancelled_by=by, reason=reason)

    def submit(self, *, current_account: PayoutAccountDetails | None, at: datetime) -> None:
        """Begin an attempt; or, where the payee's account is no longer the one approved, cancel the payout."""
        self._check_status_is_one_of({PayoutStatus.APPROVED}, to="be submitted")
        if current_account != self.account:
            reason = "the payout account changed after approval"
            self._change(PayoutCancelled, at, cancelled_by=AUTOMATIC, reason=reason)
            return
        attempt = self.attempt + 1
        if self.tax is not None:
            self.tax = replace(self.tax, withheld=True)
        self._change(PayoutSubmitted, at, attempt=attempt, reference=f"{self.id}.{attempt}")

    def record(self, report: ProviderReport, *, at: datetime) -> None:
        """Take over what the provider says. Reports that are late, repeated, out of order or of an earlier attempt
        change nothing. A provider that called the last attempt failed and paid it after all is believed while the
        money is still reserved and no other attempt began.

        Raises ProviderDisagrees where it pays another amount than ours, or paid what we released or tried again."""
        if report.outcome is ProviderOutcome.UNKNOWN:
            return
        self._check_report_is_about_this_money(report)
        if report.reference != self.reference:
            return
        if self.status in AT_PROVIDER | {PayoutStatus.PAID} or self._paid_after_all(report):
            self._follow(report, at)

    def _follow(self, report: ProviderReport, at: datetime) -> None:
        match report.outcome:
            case ProviderOutcome.PENDING:
                if self.status is PayoutStatus.SUBMITTED:
                    self._change(PayoutInTransit, at, provider_id=report.provider_id)
            case ProviderOutcome.PAID:
                self._reach_paid(report, at)
            case ProviderOutcome.RETURNED:
                # The ledger shows the money going out and coming back, even if nobody saw it in between.
                self._reach_paid(report, at)
                self._change(PayoutReturned, at, rail=self._rail, failure_code=report.failure_code)
            case ProviderOutcome.FAILED if self.status is PayoutStatus.PAID:
                # Some providers call a return a failure after success (Stripe: paid, then failed).
                self._change(PayoutReturned, at, rail=self._rail, failure_code=report.failure_code)
            case ProviderOutcome.FAILED:
                again = report.passing and self.attempt < MAX_ATTEMPTS
                failed = PayoutAttemptFailed if again else PayoutFailed
                self._change(failed, at, attempt=self.attempt, failure_code=report.failure_code)

    def _paid_after_all(self, report: ProviderReport) -> bool:
        paid = report.outcome in {ProviderOutcome.PAID, ProviderOutcome.RETURNED}
        return paid and self.attempt > 0 and self.status in UNSUBMITTED

    def _reach_paid(self, report: ProviderReport, at: datetime) -> None:
        if self.status is not PayoutStatus.PAID:
            self._change(PayoutPaid, at, rail=self._rail, provider_id=report.provider_id, fee=report.fee)

    @property
    def _rail(self) -> Rail:
        """What the current attempt was handed to."""
        if not self.rails:
            msg = f"{self.id} was never submitted"
            raise PayoutStateError(msg)
        return self.rails[-1]

    def _change(self, event_class: type[PayoutChanged], at: datetime, **what: Any) -> None:
        self.trigger_event(
            event_class,
            timestamp=at,
            payee_id=self.payee_id,
            organization_id=self.organization_id,
            currency=self.currency,
            amount=self.amount,
            stretches=self.stretches,
            tax=self.tax,
            **what,
        )

    def _check_status_is_one_of(self, statuses: set[PayoutStatus] | frozenset[PayoutStatus], *, to: str) -> None:
        if self.status not in statuses:
            allowed = " or ".join(sorted(statuses))
            msg = f"{self.id} is {self.status}; to {to} it has to be {allowed}"
            raise PayoutStateError(msg)

    def _check_approver_is_not_requester(self, by: str) -> None:
        if by == self.requested_by:
            msg = f"{by} requested {self.id}: somebody else has to approve it"
            raise SelfApproval(msg)

    def _check_report_is_about_this_money(self, report: ProviderReport) -> None:
        if (report.amount, report.currency) != (self.net, self.currency):
            theirs = f"{report.amount} {report.currency}"
            msg = f"{report.reference} is {theirs} at the provider, {self.net} {self.currency} here"
            raise ProviderDisagrees(msg)
        current = self.attempt > 0 and report.reference == self.reference
        given_up = self.status in RELEASED - {PayoutStatus.RETURNED}
        if report.outcome is ProviderOutcome.PAID and (given_up or not current):
            msg = f"{report.reference} is paid at the provider, {self.id} is {self.status} at attempt {self.attempt}"
            raise ProviderDisagrees(msg)
