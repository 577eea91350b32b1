"""Promise: what finance releases of money owed to the buyer covers that money and no later debt. When it goes back to
the buyer after all, so much is held again of what is owed for something else, whatever is told first (decision 21).

The order: 50.00 and 30.00, with 8.00 shipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_decisions import BY, Decided
from tests.domain.test_order_money import AT, ORGANIZATION, SEEDS, terms
from tests.domain.test_refunds import refund, snapshot
from tests.scenarios.stories import PLACED_AT, shuffled, story

from colink.application.record_order import News, StandaloneRefund
from colink.domain.audit.decisions import check_decision
from colink.domain.audit.report import Pass, PassResult
from colink.domain.order_decisions import HoldKind, NothingHeld, OrderReleased
from colink.domain.order_holds import owed_to_buyer, release
from colink.domain.snapshots import OrderSnapshot, Refund, RefundTransaction, TransactionStatus

LATER = int((AT - PLACED_AT) / timedelta(hours=1)) + 24
"""The hour of refunds that are processed after the release; the others are before it."""

SOLD = snapshot({"1": 5000, "2": 3000}, total=8800)


class Owing(Decided):
    """An order of which the buyer is owed something. `pass_through`: N and what of it is held."""

    def refund(self, told: Refund) -> None:
        self.receive(StandaloneRefund(order_external_id="1", refund=told))

    def release_owed(self, *, at: datetime = AT) -> None:
        release(self.known, HoldKind.OWED_TO_BUYER, payee_id=None, line_id=None, at=at, **BY)
        self.journals += self.known.resplit(self.terms, at=at)

    @property
    def pass_through(self) -> tuple[int, int]:
        assert self.known.split is not None
        [claim] = [claim for claim in self.known.split.claims if claim.line_id is None]
        return claim.net, claim.held


def owing(*refunds: Refund, sold: OrderSnapshot = SOLD) -> Owing:
    order = Owing(terms())
    order.receive(sold)
    for told in refunds:
        order.refund(told)
    return order


@pytest.mark.parametrize("hour", [2, LATER])
@pytest.mark.parametrize("cash_first", [True, False])
def test_money_that_goes_back_after_all_frees_nothing_for_a_later_debt(hour: int, *, cash_first: bool) -> None:
    order = owing(refund(1, {"1": "50.00"}))
    assert order.pass_through == (5800, 5000)
    order.release_owed()
    assert order.pass_through == (5800, 0)
    news = [refund(1, {"1": "50.00"}, paid="50.00"), refund(hour, {"2": "30.00"})]
    first, then = news if cash_first else news[::-1]
    order.refund(first)
    assert order.pass_through == ((800, 0) if cash_first else (8800, 3000))
    order.refund(then)
    assert order.pass_through == (3800, 3000)
    order.clear()
    order.check_books()
    assert order.sums()[None, f"payee:{ORGANIZATION}:available"] == 800
    order.release_owed()
    assert order.pass_through == (3800, 0)


@pytest.mark.parametrize("hour", [2, LATER])
def test_what_another_refund_gives_back_was_not_released(hour: int) -> None:
    order = owing(refund(1, {"1": "50.00"}))
    order.release_owed()
    order.refund(refund(hour, {"2": "30.00"}))
    assert order.pass_through == (8800, 3000)
    order.refund(refund(hour, {"2": "30.00"}, paid="30.00"))
    assert order.pass_through == (5800, 0), "the 50.00 stay released"


def test_a_second_release_covers_both_debts() -> None:
    order = owing(refund(1, {"1": "50.00"}))
    order.release_owed()
    order.refund(refund(2, {"2": "30.00"}))
    order.release_owed()
    assert order.pass_through == (8800, 0)
    order.refund(refund(1, {"1": "50.00"}, paid="50.00"))
    assert order.pass_through == (3800, 0), "the 30.00 stay released"
    order.refund(refund(2, {"2": "30.00"}, paid="30.00"))
    assert order.pass_through == (800, 0)
    with pytest.raises(NothingHeld):
        order.release_owed()


def test_a_part_that_goes_back_is_held_again_of_what_comes_later() -> None:
    order = owing(refund(1, {"1": "50.00"}))
    order.release_owed()
    order.refund(refund(1, {"1": "50.00"}, paid="20.00"))
    assert order.pass_through == (3800, 0)
    order.refund(refund(LATER, {"2": "30.00"}))
    assert order.pass_through == (6800, 3000)


def test_money_that_turns_out_not_to_have_gone_back_is_owed_again() -> None:
    order = owing(refund(1, {"1": "50.00"}, paid="20.00"))
    order.release_owed()
    assert order.pass_through == (3800, 0)
    failed = refund(1, {"1": "50.00"}, paid="20.00", status=TransactionStatus.FAILURE)
    order.refund(failed)
    assert order.pass_through == (5800, 2000), "20.00 nobody has released"
    made_good = RefundTransaction(transaction_id="t9", amount=failed.transactions[0].amount, status=SUCCESS)
    order.refund(replace(failed, transactions=(*failed.transactions, made_good)))
    assert order.pass_through == (3800, 0)


SUCCESS = TransactionStatus.SUCCESS


@pytest.mark.parametrize("cash_first", [True, False])
def test_a_debt_that_a_later_refund_pays_is_covered_no_more(*, cash_first: bool) -> None:
    """Units left without a refund line; the refund that finance did not know comes after the release."""
    gone = replace(SOLD, lines=(replace(SOLD.lines[0], current_quantity=0), SOLD.lines[1]))
    order = owing(sold=gone)
    order.release_owed()
    assert order.pass_through == (5800, 0)
    paid = refund(LATER, {"1": "50.00"}, paid="50.00")
    paid = replace(paid, lines=(replace(paid.lines[0], quantity=1),))
    news = [paid, refund(LATER + 1, {"2": "30.00"})]
    for told in news if cash_first else news[::-1]:
        order.refund(told)
    assert order.pass_through == (3800, 3000)


def test_a_release_of_before_counts_for_ever_as_it_did() -> None:
    """What an older program recorded does not say what was owed in all: its splits have to follow from it again."""
    order = owing(refund(1, {"1": "50.00"}))
    event = {"kind": HoldKind.OWED_TO_BUYER, "payee_id": ORGANIZATION, "line_id": None, "amount": 5000}
    before = owing(refund(1, {"1": "50.00"})).known
    order.known.trigger_event(OrderReleased, **event, **BY, timestamp=AT)
    recorded = order.known.pending_events[-1]
    assert isinstance(recorded, OrderReleased)
    results = {Pass.CLEARING: PassResult(audit_pass=Pass.CLEARING)}
    before.new_events()
    check_decision(results, 7, before, replace(recorded, originator_version=before.version + 1))
    assert results[Pass.CLEARING].findings == []
    order.journals += order.known.resplit(order.terms, at=AT)
    order.refund(refund(1, {"1": "50.00"}, paid="50.00"))
    order.refund(refund(2, {"2": "30.00"}))
    assert order.pass_through == (3800, 0)


@given(seed=SEEDS, known=st.integers(1, 6), order=SEEDS, at=st.sampled_from((PLACED_AT, AT)))
@settings(max_examples=300, deadline=None)
def test_what_is_told_after_a_release_may_come_in_any_order(seed: int, known: int, order: int, at: datetime) -> None:
    deliveries = story(seed).deliveries
    told = played(deliveries[:known], deliveries[known:], at=at)
    mixed = played(deliveries[:known], shuffled(deliveries[known:], Random(order)), at=at)
    assert mixed.sums() == told.sums()
    for one in (told, mixed):
        one.clear()
        one.check_books()
    if told.known.attribution == mixed.known.attribution:
        assert mixed.sums() == told.sums()


def played(known: Sequence[News], later: Sequence[News], *, at: datetime) -> Owing:
    order = Owing(terms())
    for news in known:
        order.receive(news)
    if owed_to_buyer(order.known) > 0:
        order.release_owed(at=at)
    for news in later:
        order.receive(news)
    return order
