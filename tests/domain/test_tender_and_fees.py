"""What a gift card paid is no money that was collected; a statement knows a payment fee better than anybody else.

The order of these tests is 60.00 and 40.00 of goods and 10.00 of shipping; its fee 2.9 % of what came in and 0.30.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.domain.test_disputes import balances
from tests.domain.test_order_money import CREATOR, ORGANIZATION, STORE, Played, terms
from tests.domain.test_refunds import refund, snapshot
from tests.scenarios.stories import PLACED_AT

from colink.application.record_order import News, StandaloneFacts, StandaloneRefund
from colink.domain.facts import FeeKind, OrderFacts, StatedFee, Tender
from colink.domain.ledger import JournalKind
from colink.domain.snapshots import OrderSnapshot, TransactionStatus

CREATOR_PENDING, SELLER_PENDING = f"payee:{CREATOR}:pending", f"payee:{ORGANIZATION}:pending"
CLEARING, REVENUE, FEES = f"store:{STORE}:clearing", "platform:revenue", "processor:shopify:fees"
SETTLED = PLACED_AT + timedelta(days=3)


def order_snapshot(**changes: object) -> OrderSnapshot:
    return snapshot({"1": 6000, "2": 4000}, total=11000, **({"payment_fee": None} | changes))


def played(*news: News) -> Played:
    order = Played(terms())
    for each in news:
        order.receive(each)
    return order


def card(amount: str, *, status: TransactionStatus = TransactionStatus.SUCCESS, **changes: object) -> StandaloneFacts:
    tender = Tender(transaction_id="t1", amount=Decimal(amount), status=status, processed_at=PLACED_AT)
    return StandaloneFacts(order_external_id="1", facts=OrderFacts(tenders=(replace(tender, **changes),)))


def fee(amount: int, *, reference: str = "stl_1", **changes: object) -> StandaloneFacts:
    stated = StatedFee(reference=reference, kind=FeeKind.PAYMENT, amount=amount, currency="MYR", at=SETTLED)
    return StandaloneFacts(order_external_id="1", facts=OrderFacts(fees=(replace(stated, **changes),)))


def payment_fees(order: Played) -> list[int]:
    assert order.order is not None
    assert order.order.split is not None
    return [line.payment_fee for line in order.order.split.lines]


@pytest.mark.parametrize("card_first", [True, False])
def test_a_card_lowers_what_was_collected_and_no_base(card_first: bool) -> None:
    news = [card("50.00"), order_snapshot()] if card_first else [order_snapshot(), card("50.00")]
    order = played(*news)
    # 60.00 of 110.00 are money; 2.9 % of it and 0.30 are 2.04. The bases stay 100.00.
    assert payment_fees(order) == [122, 82]
    # 100.00 of goods less 15.00 less the fee of 2.04; the 40.00 that did not come in are the seller's debt.
    assert balances(order) == {
        CREATOR_PENDING: 1000,
        SELLER_PENDING: 8296,
        f"payee:{ORGANIZATION}:available": -4000,
        CLEARING: -6000,
        REVENUE: 500,
        FEES: 204,
    }


def test_a_card_that_was_refused_in_the_end_pays_nothing() -> None:
    order = played(order_snapshot(), card("50.00"), card("50.00", status=TransactionStatus.FAILURE))
    order.receive(card("50.00", status=TransactionStatus.PENDING))
    assert balances(order)[CLEARING] == -11000


def test_a_refund_to_the_card_and_the_bank_ends_with_nothing() -> None:
    order = played(
        order_snapshot(payment_fee=0),
        card("50.00"),
        StandaloneRefund(order_external_id="1", refund=refund(1, {"1": "60.00", "2": "40.00"}, paid="60.00")),
    )
    assert balances(order) == {}


def test_a_card_in_another_currency_is_a_discrepancy() -> None:
    order = played(order_snapshot(), card("50.00", currency="SGD"))
    assert balances(order)[CLEARING] == -11000
    assert order.order is not None
    assert order.order.split is not None
    assert order.order.split.discrepancies == ("gift-card payment t1 is in SGD, the order in MYR",)


@pytest.mark.parametrize("snapshot_fee", [None, 400])
def test_a_statement_posts_the_difference_to_what_was_known_of_the_fee(snapshot_fee: int | None) -> None:
    order = played(order_snapshot(payment_fee=snapshot_fee))
    assert sum(payment_fees(order)) == (349 if snapshot_fee is None else 400)
    order.receive(fee(380))
    assert payment_fees(order) == [228, 152]
    assert balances(order)[FEES] == 380
    correction = order.journals[-1]
    assert (correction.kind, correction.effective_at) == (JournalKind.SALE, SETTLED)
    known = order_snapshot(payment_fee=500, updated_at=SETTLED + timedelta(days=1), digest="b")
    order.receive(known)  # the snapshot knows no better, however late it comes
    assert payment_fees(order) == [228, 152]


def test_fees_of_two_statements_are_two_fees_and_one_told_twice_is_one() -> None:
    order = played(order_snapshot(), fee(100), fee(100), fee(-30, reference="stl_2"))
    assert sum(payment_fees(order)) == 70


def test_a_lower_fee_is_due_a_period_after_the_statement() -> None:
    order = played(order_snapshot(), fee(149))
    assert order.order is not None
    dues = []
    while (clearing := order.order.next_clearing()) is not None:
        order.journals.append(order.order.clear(at=clearing.due_at))
        dues.append(clearing.due_at)
    assert dues == [PLACED_AT + timedelta(days=14), SETTLED + timedelta(days=14)]
    assert [(each.line_id, each.amount) for each in order.journals[-1].postings if each.amount > 0] == [
        ("1", 120),
        ("2", 80),
    ]


def test_a_refund_that_fails_later_takes_its_cash_back() -> None:
    """The lines stay reversed: what the buyer is owed is held until it really goes back."""
    tried = refund(1, {"1": "60.00"}, paid="66.00")
    order = played(order_snapshot(payment_fee=0), StandaloneRefund(order_external_id="1", refund=tried))
    assert balances(order)[CLEARING] == -4400
    (transaction,) = tried.transactions
    failed = replace(tried, transactions=(replace(transaction, status=TransactionStatus.FAILURE),), digest="later")
    order.receive(StandaloneRefund(order_external_id="1", refund=failed))
    assert balances(order)[CLEARING] == -11000
    assert order.journals[-1].kind is JournalKind.CASH_REFUND
    assert order.order is not None
    assert order.order.split is not None
    assert [line.reversed_base for line in order.order.split.lines] == [6000, 0]
    held = [claim.held for claim in order.order.split.claims if claim.line_id is None]
    assert held == [6000]
