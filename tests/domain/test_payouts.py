"""Money is reserved once, oldest first, never more than there is; a payout moves only along its states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.errors import InsufficientFunds, InvalidInput, PayoutStateError
from colink.domain.money import Money
from colink.domain.payout_accounts import (
    PayoutAccount,
    PayoutAccountDetails,
    PayoutAccountReplaced,
    Rail,
    detail_pairs,
    payout_account_id,
)
from colink.domain.payout_funds import BelowMinimum, Funds, Stretch, plan_payout
from colink.domain.payout_journals import journals_of
from colink.domain.payouts import (
    AUTOMATIC,
    MAX_ATTEMPTS,
    RELEASED,
    Payout,
    PayoutChanged,
    PayoutRequested,
    PayoutStatus,
    PayoutSubmitted,
    ProviderDisagrees,
    ProviderOutcome,
    ProviderReport,
    SelfApproval,
)

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


def funds(*, credited: int, balance: int, taken: tuple[tuple[int, int], ...] = ()) -> Funds:
    stretches = tuple(Stretch(start=start, end=end) for start, end in taken)
    return Funds(payee_id="crt_1", currency="MYR", balance=balance, version=1, credited=credited, taken=stretches)


def account(**changes: object) -> PayoutAccountDetails:
    fields: dict[str, object] = {
        "id": payout_account_id("crt_1", "MYR"),
        "payee_id": "crt_1",
        "organization_id": None,
        "rail": Rail.SANDBOX,
        "currency": "MYR",
        "details": detail_pairs({"outcome": "paid"}),
    }
    return PayoutAccountDetails(**(fields | changes))  # type: ignore[arg-type]  # fields of one test's choosing


def requested(amount: int = 900) -> Payout:
    plenty = funds(credited=amount, balance=amount)
    return Payout.request("pay_1", funds=plenty, account=account(), amount=None, by="key:ann", at=NOW)


def approved() -> Payout:
    payout = requested()
    payout.approve(account=account(), by="key:finn", at=NOW)
    return payout


def submitted() -> Payout:
    payout = approved()
    payout.submit(current_account=account(), at=NOW)
    return payout


def report(
    outcome: ProviderOutcome, *, reference: str = "pay_1.1", amount: int = 900, passing: bool = False, fee: int = 0
) -> ProviderReport:
    return ProviderReport(
        reference=reference,
        outcome=outcome,
        amount=amount,
        currency="MYR",
        provider_id="sbx_1",
        failure_code="why",
        passing=passing,
        fee=fee,
    )


def after(*outcomes: ProviderOutcome) -> Payout:
    payout = submitted()
    for outcome in outcomes:
        payout.record(report(outcome), at=NOW)
    return payout


def steps(payout: Payout) -> list[str]:
    return [type(event).__name__ for event in payout.pending_events]


# Planning -----------------------------------------------------------------------------------------------------------


def test_everything_is_all_free_credits_with_all_debits_netted() -> None:
    assert plan_payout(funds(credited=1000, balance=700), amount=None, minimum=1) == (
        700,
        (Stretch(start=0, end=1000),),
    )


def test_a_part_takes_all_debits_first_then_the_oldest_credits_and_splits_only_the_last() -> None:
    assert plan_payout(funds(credited=1000, balance=700), amount=250, minimum=1) == (
        250,
        (Stretch(start=0, end=550),),
    )


def test_debits_netted_by_an_earlier_payout_are_not_netted_again() -> None:
    # 300 of debits were netted by the payout of 250 above, which holds 550 of the line.
    rest = funds(credited=1000, balance=450, taken=((0, 550),))
    assert rest.debits_to_net == 0
    assert plan_payout(rest, amount=None, minimum=1) == (450, (Stretch(start=550, end=1000),))


def test_gaps_that_released_payouts_left_are_used_first() -> None:
    gaps = funds(credited=1000, balance=600, taken=((100, 300), (500, 700)))
    assert plan_payout(gaps, amount=350, minimum=1) == (
        350,
        (Stretch(start=0, end=100), Stretch(start=300, end=500), Stretch(start=700, end=750)),
    )


@pytest.mark.parametrize(
    ("balance", "amount", "minimum", "error"),
    [
        (700, 701, 1, InsufficientFunds),
        (0, None, 1, InsufficientFunds),
        (-5, None, 1, InsufficientFunds),
        (-5, 3, 1, InsufficientFunds),
        (700, 0, 1, InvalidInput),
        (700, -1, 1, InvalidInput),
        (700, 99, 100, BelowMinimum),
        (99, None, 100, BelowMinimum),
    ],
)
def test_what_is_not_planned(balance: int, amount: int | None, minimum: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_payout(funds(credited=700, balance=balance), amount=amount, minimum=minimum)


def test_exactly_the_minimum_is_enough() -> None:
    assert plan_payout(funds(credited=100, balance=100), amount=None, minimum=100)[0] == 100


class Purse:
    """An independent model of one payee: credits, debits and payouts, with who holds which unit of money."""

    def __init__(self) -> None:
        self.credited = 0
        self.debited = 0
        self.live: dict[int, tuple[int, tuple[Stretch, ...]]] = {}
        self.paid: set[int] = set()
        self.next = 0

    @property
    def balance(self) -> int:
        return self.credited - self.debited - sum(amount for amount, _ in self.live.values())

    @property
    def funds(self) -> Funds:
        taken = sorted((part.start, part.end) for _, stretches in self.live.values() for part in stretches)
        return funds(credited=self.credited, balance=self.balance, taken=tuple(taken))

    def pay(self, amount: int | None) -> None:
        before, free = self.balance, self.funds.free
        owed = self.funds.debits_to_net
        try:
            planned, stretches = plan_payout(self.funds, amount=amount, minimum=1)
        except InsufficientFunds:
            assert before <= 0 or (amount is not None and amount > before)
            return
        assert 0 < planned <= before
        assert planned == (before if amount is None else amount)
        units = [unit for part in free for unit in range(part.start, part.end)]
        held = [unit for part in stretches for unit in range(part.start, part.end)]
        assert held == units[: planned + owed], "the oldest free units, debits included, in order"
        self.live[self.next] = (planned, stretches)
        self.next += 1


moves = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.integers(1, 60)),
        st.tuples(st.just("debit"), st.integers(1, 60)),
        st.tuples(st.just("pay_all"), st.just(0)),
        st.tuples(st.just("pay"), st.integers(1, 90)),
        st.tuples(st.just("release"), st.integers(0, 20)),
        st.tuples(st.just("settle"), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(moves)
def test_no_money_is_reserved_twice_whatever_happens(story: list[tuple[str, int]]) -> None:
    purse = Purse()
    for move, number in story:
        if move == "credit":
            purse.credited += number
        elif move == "debit":
            purse.debited += number
        elif move == "pay_all":
            purse.pay(None)
        elif move == "pay":
            purse.pay(number)
        elif move == "release" and purse.live:
            chosen = sorted(purse.live)[number % len(purse.live)]
            del purse.live[chosen]  # cancelled, failed or, when it was paid, returned
            purse.paid.discard(chosen)
        elif move == "settle" and purse.live:
            purse.paid.add(sorted(purse.live)[number % len(purse.live)])
        held = [unit for _, parts in purse.live.values() for part in parts for unit in range(part.start, part.end)]
        assert len(held) == len(set(held)), "two payouts hold the same unit"
        assert all(0 <= unit < purse.credited for unit in held)
        assert purse.funds.debits_to_net >= 0


# The life of a payout -----------------------------------------------------------------------------------------------


def test_the_whole_way_to_the_bank_and_back() -> None:
    payout = after(ProviderOutcome.PENDING, ProviderOutcome.PAID, ProviderOutcome.RETURNED)
    assert payout.status is PayoutStatus.RETURNED
    assert steps(payout) == [
        "PayoutRequested",
        "PayoutApproved",
        "PayoutSubmitted",
        "PayoutInTransit",
        "PayoutPaid",
        "PayoutReturned",
    ]


def test_every_event_says_enough_for_its_row() -> None:
    for event in after(ProviderOutcome.PENDING, ProviderOutcome.PAID).new_events():
        assert isinstance(event, PayoutRequested | PayoutChanged)
        assert (event.payee_id, event.currency, event.amount) == ("crt_1", "MYR", 900)
        assert event.stretches == (Stretch(start=0, end=900),)


def test_a_return_nobody_saw_being_paid_is_paid_and_returned() -> None:
    assert steps(after(ProviderOutcome.RETURNED))[-2:] == ["PayoutPaid", "PayoutReturned"]


def test_a_failure_after_success_is_a_return() -> None:
    assert after(ProviderOutcome.PAID, ProviderOutcome.FAILED).status is PayoutStatus.RETURNED


@pytest.mark.parametrize(
    ("seen", "late"),
    [
        ((ProviderOutcome.PAID,), ProviderOutcome.PAID),
        ((ProviderOutcome.PAID,), ProviderOutcome.PENDING),
        ((ProviderOutcome.PENDING,), ProviderOutcome.PENDING),
        ((ProviderOutcome.FAILED,), ProviderOutcome.FAILED),
        ((ProviderOutcome.FAILED,), ProviderOutcome.PENDING),
        ((ProviderOutcome.RETURNED,), ProviderOutcome.PAID),
        ((ProviderOutcome.RETURNED,), ProviderOutcome.RETURNED),
        ((), ProviderOutcome.UNKNOWN),
    ],
)
def test_late_and_repeated_reports_change_nothing(seen: tuple[ProviderOutcome, ...], late: ProviderOutcome) -> None:
    payout = after(*seen)
    before = steps(payout)
    payout.record(report(late), at=NOW)
    assert steps(payout) == before


def test_a_provider_that_paid_what_we_gave_up_is_not_believed_silently() -> None:
    payout = after(ProviderOutcome.FAILED)
    with pytest.raises(ProviderDisagrees):
        payout.record(report(ProviderOutcome.PAID), at=NOW)
    assert payout.status is PayoutStatus.FAILED


def called_failed() -> Payout:
    """After one attempt, which is said to have failed for a passing reason."""
    payout = submitted()
    payout.record(report(ProviderOutcome.FAILED, passing=True), at=NOW)
    return payout


@pytest.mark.parametrize("until", ["", "hold", "hold lift_hold", "hold lift_hold approve", "hold lift_hold hold"])
@pytest.mark.parametrize(
    ("outcome", "recorded"),
    [
        (ProviderOutcome.PAID, ["PayoutPaid"]),
        (ProviderOutcome.RETURNED, ["PayoutPaid", "PayoutReturned"]),
        (ProviderOutcome.FAILED, []),
        (ProviderOutcome.PENDING, []),
        (ProviderOutcome.UNKNOWN, []),
    ],
)
def test_an_attempt_called_failed_that_is_paid_after_all_is_paid(
    until: str, outcome: ProviderOutcome, recorded: list[str]
) -> None:
    payout = called_failed()
    for step in until.split():
        STEPS[step](payout)
    before = steps(payout)
    payout.record(report(outcome, fee=15), at=NOW)
    assert steps(payout) == before + recorded
    if recorded == ["PayoutPaid"]:
        assert posted(payout) == {
            "jrn_pay_1.reserved": {"payee:crt_1:available": -900, "payee:crt_1:in_transit": 900},
            "jrn_pay_1.paid": {"payee:crt_1:in_transit": -900, "processor:sandbox:cash": 900},
            "jrn_pay_1.fee": {"platform:expense": -15, "processor:sandbox:cash": 15},
        }


@pytest.mark.parametrize("ended", ["cancel", "hold reject"])
def test_what_is_paid_after_all_when_its_money_was_given_back_is_a_persons_to_settle(ended: str) -> None:
    payout = called_failed()
    for step in ended.split():
        STEPS[step](payout)
    before = steps(payout)
    with pytest.raises(ProviderDisagrees):
        payout.record(report(ProviderOutcome.PAID), at=NOW)
    assert steps(payout) == before


@pytest.mark.parametrize("reference", ["pay_1.0", "pay_1.1", "pay_1.2"])
def test_what_never_began_is_not_paid(reference: str) -> None:
    for payout in (requested(), approved()):
        before = steps(payout)
        with pytest.raises(ProviderDisagrees):
            payout.record(report(ProviderOutcome.PAID, reference=reference), at=NOW)
        assert steps(payout) == before


def test_an_attempt_that_is_paid_when_another_began_is_not_believed_silently() -> None:
    payout = called_failed()
    payout.submit(current_account=account(), at=NOW)
    with pytest.raises(ProviderDisagrees):
        payout.record(report(ProviderOutcome.PAID, reference="pay_1.1"), at=NOW)
    assert payout.status is PayoutStatus.SUBMITTED
    assert payout.begun == (("pay_1.2", Rail.SANDBOX), ("pay_1.1", Rail.SANDBOX))


def test_a_provider_that_paid_another_amount_is_refused() -> None:
    payout = submitted()
    with pytest.raises(ProviderDisagrees):
        payout.record(report(ProviderOutcome.PAID, amount=901), at=NOW)
    assert payout.status is PayoutStatus.SUBMITTED


def test_each_attempt_has_its_own_key_and_a_passing_failure_leads_to_the_next() -> None:
    payout = submitted()
    payout.record(report(ProviderOutcome.FAILED, passing=True), at=NOW)
    assert payout.status is PayoutStatus.APPROVED
    payout.submit(current_account=account(), at=NOW)
    references = [event.reference for event in payout.pending_events if isinstance(event, PayoutSubmitted)]
    assert references == ["pay_1.1", "pay_1.2"]
    payout.record(report(ProviderOutcome.FAILED, reference="pay_1.1"), at=NOW)  # late, of the first attempt
    assert payout.status is PayoutStatus.SUBMITTED
    payout.record(report(ProviderOutcome.PAID, reference="pay_1.2"), at=NOW)
    assert payout.status is PayoutStatus.PAID


def test_attempts_end_after_three_passing_failures() -> None:
    payout = approved()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        payout.submit(current_account=account(), at=NOW)
        payout.record(report(ProviderOutcome.FAILED, reference=f"pay_1.{attempt}", passing=True), at=NOW)
    assert payout.status is PayoutStatus.FAILED


def test_who_requested_it_never_approves_it() -> None:
    payout = requested()
    with pytest.raises(SelfApproval):
        payout.approve(account=account(), by="key:ann", at=NOW)
    assert payout.status is PayoutStatus.REQUESTED
    payout.approve(account=account(), by=AUTOMATIC, at=NOW)
    assert payout.approved_by == AUTOMATIC


def test_a_held_payout_is_approved_again_before_it_goes_out() -> None:
    payout = approved()
    payout.hold(by="key:finn", reason="looks odd", at=NOW)
    with pytest.raises(PayoutStateError):
        payout.submit(current_account=account(), at=NOW)
    payout.lift_hold(by="key:finn", at=NOW)
    assert (payout.status, payout.account) == (PayoutStatus.REQUESTED, None)
    payout.approve(account=account(), by="key:finn", at=NOW)
    payout.submit(current_account=account(), at=NOW)
    assert payout.status is PayoutStatus.SUBMITTED


def test_an_account_changed_after_approval_cancels_the_payout() -> None:
    payout = approved()
    payout.submit(current_account=account(version=2), at=NOW)
    assert payout.status is PayoutStatus.CANCELLED


STEPS: dict[str, Callable[[Payout], None]] = {
    "approve": lambda payout: payout.approve(account=account(), by="key:finn", at=NOW),
    "hold": lambda payout: payout.hold(by="key:finn", reason="", at=NOW),
    "lift_hold": lambda payout: payout.lift_hold(by="key:finn", at=NOW),
    "reject": lambda payout: payout.reject(by="key:finn", reason="", at=NOW),
    "cancel": lambda payout: payout.cancel(by="key:ann", reason="", at=NOW),
    "submit": lambda payout: payout.submit(current_account=account(), at=NOW),
}
ALLOWED = {
    PayoutStatus.REQUESTED: {"approve", "hold", "reject", "cancel"},
    PayoutStatus.HELD: {"lift_hold", "reject", "cancel"},
    PayoutStatus.APPROVED: {"hold", "cancel", "submit"},
}


def in_status(status: PayoutStatus) -> Payout:
    ways: dict[PayoutStatus, Callable[[], Payout]] = {
        PayoutStatus.REQUESTED: requested,
        PayoutStatus.APPROVED: approved,
        PayoutStatus.SUBMITTED: submitted,
        PayoutStatus.IN_TRANSIT: lambda: after(ProviderOutcome.PENDING),
        PayoutStatus.PAID: lambda: after(ProviderOutcome.PAID),
        PayoutStatus.FAILED: lambda: after(ProviderOutcome.FAILED),
        PayoutStatus.RETURNED: lambda: after(ProviderOutcome.RETURNED),
    }
    if status in ways:
        return ways[status]()
    payout = requested()
    words = {PayoutStatus.HELD: "hold", PayoutStatus.REJECTED: "reject", PayoutStatus.CANCELLED: "cancel"}
    STEPS[words[status]](payout)
    return payout


@pytest.mark.parametrize("status", PayoutStatus)
@pytest.mark.parametrize("step", STEPS)
def test_only_the_steps_of_the_state_are_taken(status: PayoutStatus, step: str) -> None:
    payout = in_status(status)
    assert payout.status is status
    if step in ALLOWED.get(status, set()):
        STEPS[step](payout)
        assert payout.status is not status
    else:
        with pytest.raises(PayoutStateError):
            STEPS[step](payout)
        assert payout.status is status


# What it posts ------------------------------------------------------------------------------------------------------


def posted(payout: Payout) -> dict[str, dict[str, int]]:
    return {
        journal.id: {posting.account: posting.amount for posting in journal.postings}
        for event in payout.new_events()
        if isinstance(event, PayoutRequested | PayoutChanged)
        for journal in journals_of(event)
    }


def test_journals_of_a_payout_that_is_paid_with_a_fee_and_returned() -> None:
    payout = submitted()
    payout.record(report(ProviderOutcome.RETURNED, fee=15), at=NOW)
    assert posted(payout) == {
        "jrn_pay_1.reserved": {"payee:crt_1:available": -900, "payee:crt_1:in_transit": 900},
        "jrn_pay_1.paid": {"payee:crt_1:in_transit": -900, "processor:sandbox:cash": 900},
        "jrn_pay_1.fee": {"platform:expense": -15, "processor:sandbox:cash": 15},
        "jrn_pay_1.returned": {"processor:sandbox:cash": -900, "payee:crt_1:available": 900},
    }


@pytest.mark.parametrize("status", [PayoutStatus.REJECTED, PayoutStatus.CANCELLED, PayoutStatus.FAILED])
def test_what_is_given_up_is_available_again(status: PayoutStatus) -> None:
    assert status in RELEASED
    assert posted(in_status(status)) == {
        "jrn_pay_1.reserved": {"payee:crt_1:available": -900, "payee:crt_1:in_transit": 900},
        "jrn_pay_1.released": {"payee:crt_1:in_transit": -900, "payee:crt_1:available": 900},
    }


# Payout accounts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rail": Rail.STRIPE}, "rail"),
        ({"currency": "XXQ", "id": "pac_1"}, "currency"),
        ({"minimum": Money(100, "USD")}, "minimum.currency"),
        ({"minimum": Money(0, "MYR")}, "minimum.amount"),
        ({"details": detail_pairs({"outcome": "lost"})}, "details.outcome"),
        ({"details": detail_pairs({"delay_ms": -1})}, "details.delay_ms"),
        ({"details": detail_pairs({"delay_ms": "5"})}, "details.delay_ms"),
        ({"details": detail_pairs({"iban": "MY00"})}, "details.iban"),
    ],
)
def test_accounts_that_cannot_be_used(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PayoutAccount.register(account(**changes), by="key:ann", at=NOW)
    assert refused.value.field == field


def test_registering_the_same_account_again_is_no_change_and_changing_back_is_a_third_version() -> None:
    known = PayoutAccount.register(account(), by="key:ann", at=NOW)
    known.replace_with(account(), by="key:bob", at=NOW)
    assert (known.details.version, known.set_by) == (1, "key:ann")
    known.replace_with(account(details=detail_pairs({"outcome": "failed"})), by="key:ann", at=NOW)
    known.replace_with(account(), by="key:bob", at=NOW)
    assert known.details == account(version=3)
    assert known.set_by == "key:bob"
    assert sum(isinstance(event, PayoutAccountReplaced) for event in known.pending_events) == 2
