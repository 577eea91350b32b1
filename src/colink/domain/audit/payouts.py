"""A payout decided again, step by step: each event must be the one that the rules give for what is said of it, on the
payout as it was, and repeats what the request said. How much was there to reserve is verified with the balances, the
tax in `withholding.py`; who decided and why, and what a provider said, cannot be derived.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

from colink.domain.aggregates import Event
from colink.domain.errors import ColinkError
from colink.domain.payout_accounts import PayoutAccountDetails
from colink.domain.payout_funds import Stretch
from colink.domain.payouts import (
    AUTOMATIC,
    Payout,
    PayoutApproved,
    PayoutAttemptFailed,
    PayoutCancelled,
    PayoutChanged,
    PayoutEvent,
    PayoutFailed,
    PayoutHeld,
    PayoutHoldLifted,
    PayoutInTransit,
    PayoutPaid,
    PayoutRejected,
    PayoutRequested,
    PayoutReturned,
    PayoutSubmitted,
    ProviderOutcome,
    ProviderReport,
)

_Repeated = tuple[str, str | None, str, int, tuple[Stretch, ...]]


@dataclass(frozen=True, kw_only=True)
class KnownAccount:
    """A version of the payee's account, as it was set at `position` by `set_by`."""

    position: int
    details: PayoutAccountDetails
    set_by: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An event that is not what follows; `derived`: what would have, None where nothing might have happened."""

    position: int
    event: Event
    says: str
    derived: Event | None = None


def decided_again(
    events: Sequence[tuple[int, PayoutEvent]], accounts: Sequence[KnownAccount]
) -> Iterator[Difference]:
    """What differs in the events of one payout, from its request on. `accounts`: all versions of its account, in
    order."""
    # One event that repeats something else than all others is the one that was changed, the request too.
    [(repeated, _)] = Counter(_repeated(event) for _, event in events).most_common(1)
    payout: Payout | None = None
    before = 0
    for position, event in events:
        if _repeated(event) != repeated:
            says = "says another payee, amount or reservation than the other events of its payout"
            yield Difference(position=position, event=event, says=says, derived=_repeating(event, repeated))
        event = _repeating(event, repeated)  # noqa: PLW2901 - from here on it is compared in all else
        if payout is None:
            if isinstance(event, PayoutRequested) and not _reserves(event):
                yield Difference(position=position, event=event, says="reserves less than it pays")
            payout = event.mutate(None)
            before = position
            continue
        if isinstance(event, PayoutChanged):
            seen = _seen(accounts, since=_since(event, before), until=position)
            difference = _difference(payout, position, event, seen)
            if difference is not None:
                yield difference
        event.mutate(payout)
        before = position


def _repeated(event: PayoutEvent) -> _Repeated:
    return event.payee_id, event.organization_id, event.currency, event.amount, event.stretches


def _repeating(event: PayoutEvent, repeated: _Repeated) -> PayoutEvent:
    payee_id, organization_id, currency, amount, stretches = repeated
    return replace(
        event,
        payee_id=payee_id,
        organization_id=organization_id,
        currency=currency,
        amount=amount,
        stretches=stretches,
    )


def _reserves(event: PayoutRequested) -> bool:
    """Debits come on top of what is paid."""
    return 0 < event.amount <= sum(part.end - part.start for part in event.stretches)


def _since(event: PayoutChanged, before: int) -> int:
    """Commands read the account no earlier than the step before. Where the approval is one command with the request,
    it may have read any older one."""
    return 0 if isinstance(event, PayoutApproved) and event.approved_by == AUTOMATIC else before


def _seen(accounts: Sequence[KnownAccount], *, since: int, until: int) -> list[KnownAccount]:
    """The versions that may have been read, the newest first."""
    known = [each for each in accounts if each.position < until]
    stood = [each for each in known if each.position <= since]
    return known[max(len(stood) - 1, 0) :][::-1]


def _difference(
    payout: Payout, position: int, event: PayoutChanged, seen: Sequence[KnownAccount]
) -> Difference | None:
    try:
        derived = _steps(payout, event, seen)
    except ColinkError as error:
        return Difference(position=position, event=event, says=f"could not happen then: {error.detail}")
    # What was withheld is compared by the passes over tax.
    if any(replace(step, tax=event.tax) == event for step in derived):
        return None
    says = "does not follow from what the payout and its account were then"
    return Difference(position=position, event=event, says=says, derived=derived[0] if derived else None)


def _steps(payout: Payout, event: PayoutChanged, seen: Sequence[KnownAccount]) -> list[PayoutChanged]:
    """What might have been recorded in place of the event. Raises ColinkError where nothing could be."""
    match event:
        case PayoutApproved():
            allowed = [each.details for each in seen if event.approved_by != each.set_by]
            return [step for account in allowed for step in _approved(payout, event, account)]
        case PayoutSubmitted():
            return [step for each in seen for step in _submitted(payout, event, each.details)]
        case PayoutCancelled() if event.cancelled_by == AUTOMATIC:
            return [step for each in seen for step in _submitted(payout, event, each.details)]
        case _:
            twin = _twin(payout)
            _decide(twin, event)
            return _new_steps(twin)


def _approved(payout: Payout, event: PayoutApproved, account: PayoutAccountDetails) -> list[PayoutChanged]:
    twin = _twin(payout)
    twin.approve(account=account, by=event.approved_by, at=event.timestamp)
    return _new_steps(twin)


def _submitted(payout: Payout, event: PayoutChanged, account: PayoutAccountDetails) -> list[PayoutChanged]:
    twin = _twin(payout)
    twin.submit(current_account=account, at=event.timestamp)
    return _new_steps(twin)


def _decide(payout: Payout, event: PayoutChanged) -> None:
    at = event.timestamp
    match event:
        case PayoutHeld():
            payout.hold(by=event.held_by, reason=event.reason, at=at)
        case PayoutHoldLifted():
            payout.lift_hold(by=event.lifted_by, at=at)
        case PayoutRejected():
            payout.reject(by=event.rejected_by, reason=event.reason, at=at)
        case PayoutCancelled():
            payout.cancel(by=event.cancelled_by, reason=event.reason, at=at)
        case _:
            payout.record(_report(payout, event), at=at)


def _report(payout: Payout, event: PayoutChanged) -> ProviderReport:
    """What a provider said so that this was recorded."""
    said = ProviderReport(
        reference=payout.reference,
        outcome=ProviderOutcome.UNKNOWN,
        amount=payout.net,
        currency=payout.currency,
        failure_code=getattr(event, "failure_code", None),
        provider_id=getattr(event, "provider_id", None),
    )
    match event:
        case PayoutInTransit():
            return replace(said, outcome=ProviderOutcome.PENDING)
        case PayoutPaid():
            return replace(said, outcome=ProviderOutcome.PAID, fee=event.fee)
        case PayoutReturned():
            return replace(said, outcome=ProviderOutcome.RETURNED)
        case PayoutFailed() | PayoutAttemptFailed():
            return replace(said, outcome=ProviderOutcome.FAILED, passing=isinstance(event, PayoutAttemptFailed))
        case _:
            return said


def _twin(payout: Payout) -> Payout:
    twin = copy(payout)
    twin.new_events()  # from here on it keeps its own
    return twin


def _new_steps(payout: Payout) -> list[PayoutChanged]:
    return [event for event in payout.new_events() if isinstance(event, PayoutChanged)]
