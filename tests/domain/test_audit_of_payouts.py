"""A payout decided again: what a provider corrected follows, what no report may lead to does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.domain.test_payouts import NOW, STEPS, account, approved, called_failed, report

from colink.domain.audit.payouts import KnownAccount, decided_again
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import Payout, PayoutChanged, PayoutEvent, PayoutPaid, PayoutRequested, ProviderOutcome

ACCOUNTS = [KnownAccount(position=1, details=account(), set_by="key:ann")]


def recorded(payout: Payout) -> list[PayoutEvent]:
    return [event for event in payout.pending_events if isinstance(event, PayoutRequested | PayoutChanged)]


def said_of(events: Sequence[PayoutEvent]) -> list[tuple[str, str]]:
    placed = list(enumerate(events, start=2))
    return [(type(found.event).__name__, found.says) for found in decided_again(placed, ACCOUNTS)]


@pytest.mark.parametrize("until", ["", "hold", "hold lift_hold", "hold lift_hold hold"])
@pytest.mark.parametrize("outcome", [ProviderOutcome.PAID, ProviderOutcome.RETURNED])
def test_an_attempt_that_was_paid_after_all_follows(until: str, outcome: ProviderOutcome) -> None:
    payout = called_failed()
    for step in until.split():
        STEPS[step](payout)
    payout.record(report(outcome, fee=15), at=NOW)
    assert said_of(recorded(payout)) == []


def test_it_is_paid_by_what_it_was_handed_to() -> None:
    payout = called_failed()
    payout.record(report(ProviderOutcome.PAID), at=NOW)
    *before, paid = recorded(payout)
    assert isinstance(paid, PayoutPaid)
    assert said_of([*before, replace(paid, rail=Rail.STRIPE)]) == [
        ("PayoutPaid", "does not follow from what the payout and its account were then")
    ]


@pytest.mark.parametrize("began", [False, True])
def test_nothing_is_paid_that_never_began_or_was_given_back(began: bool) -> None:
    paid_after_all = called_failed()
    paid_after_all.record(report(ProviderOutcome.PAID), at=NOW)
    paid = recorded(paid_after_all)[-1]
    payout = called_failed() if began else approved()
    if began:
        STEPS["cancel"](payout)
    events = recorded(payout)
    [(event, says)] = said_of([*events, replace(paid, originator_version=len(events) + 1)])
    assert event == "PayoutPaid"
    assert says.startswith("could not happen then: pay_1.")
