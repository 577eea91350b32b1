"""Disputes: an inquiry holds; money withdrawn is one more refund while it may be lost; winning takes it back.

The order of these tests is 60.00 and 40.00 of goods and 10.00 of shipping: fee 5 %, commission 10 %, no payment fee.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_money import CREATOR, ORGANIZATION, STORE, Played, terms
from tests.domain.test_refunds import refund, snapshot
from tests.scenarios.stories import PLACED_AT

from colink.application.record_order import News, StandaloneFacts, StandaloneRefund
from colink.domain.facts import (
    Dispute,
    DisputeKind,
    DisputeStatus,
    FeeKind,
    OrderFacts,
    Stage,
    StatedFee,
    disputes_now,
    join_facts,
)
from colink.domain.ledger import JournalKind
from colink.domain.organizations import Settlement

OPENED, CLOSED = PLACED_AT + timedelta(days=2), PLACED_AT + timedelta(days=30)
CREATOR_PENDING, CREATOR_AVAILABLE = f"payee:{CREATOR}:pending", f"payee:{CREATOR}:available"
SELLER_PENDING, SELLER_AVAILABLE = f"payee:{ORGANIZATION}:pending", f"payee:{ORGANIZATION}:available"
CLEARING, REVENUE = f"store:{STORE}:clearing", "platform:revenue"
UNTOUCHED = {CREATOR_PENDING: 1000, SELLER_PENDING: 9500, CLEARING: -11000, REVENUE: 500}


def dispute(status: DisputeStatus, amount: str, **changes: object) -> Dispute:
    """A chargeback, its money withdrawn when it was opened."""
    closed = status not in {DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW}
    told = Dispute(
        dispute_id="d1",
        kind=DisputeKind.CHARGEBACK,
        status=status,
        amount=Decimal(amount),
        initiated_at=OPENED,
        withdrawn_at=OPENED,
        closed_at=CLOSED if closed else None,
    )
    return replace(told, **changes)


def inquiry(status: DisputeStatus, amount: str = "110.00") -> Dispute:
    return dispute(status, amount, kind=DisputeKind.INQUIRY, withdrawn_at=None)


def told(*facts: Dispute | StatedFee) -> StandaloneFacts:
    return StandaloneFacts(
        order_external_id="1",
        facts=OrderFacts(
            disputes=tuple(each for each in facts if isinstance(each, Dispute)),
            fees=tuple(each for each in facts if isinstance(each, StatedFee)),
        ),
    )


def played(*news: News, settlement: Settlement = Settlement.PLATFORM_COLLECTED) -> Played:
    order = Played(terms(settlement=settlement))
    for each in (snapshot({"1": 6000, "2": 4000}, total=11000), *news):
        order.receive(each)
    return order


def balances(order: Played) -> dict[str, int]:
    sums: dict[str, int] = {}
    for (_, account), amount in order.sums().items():
        sums[account] = sums.get(account, 0) + amount
    return {account: amount for account, amount in sums.items() if amount}


def reversed_bases(order: Played) -> list[int]:
    assert order.order is not None
    assert order.order.split is not None
    return [line.reversed_base for line in order.order.split.lines]


def test_money_withdrawn_is_a_refund_of_the_disputed_share_with_its_cash() -> None:
    order = played(told(dispute(DisputeStatus.NEEDS_RESPONSE, "55.00")))
    # Half of the 110.00 collected is disputed: half of each line goes.
    assert reversed_bases(order) == [3000, 2000]
    assert balances(order) == {CREATOR_PENDING: 500, SELLER_PENDING: 4750, CLEARING: -5500, REVENUE: 250}
    assert {journal.kind for journal in order.journals} == {
        JournalKind.SALE,
        JournalKind.REFUND,
        JournalKind.CASH_REFUND,
    }
    assert [each.effective_at for each in order.journals[1:]] == [OPENED, OPENED]


def test_winning_takes_it_back_and_the_fee_stays() -> None:
    open_ = dispute(DisputeStatus.UNDER_REVIEW, "110.00", fee=Decimal("15.00"))
    order = played(told(open_))
    assert balances(order) == {SELLER_AVAILABLE: -1500, CLEARING: 1500}
    order.receive(told(dispute(DisputeStatus.WON, "110.00")))
    assert reversed_bases(order) == [0, 0]
    assert balances(order) == UNTOUCHED | {SELLER_AVAILABLE: -1500, CLEARING: -9500}
    fee = [journal for journal in order.journals if journal.kind is JournalKind.DISPUTE_FEE]
    assert [[(each.account, each.amount) for each in journal.postings] for journal in fee] == [
        [(SELLER_AVAILABLE, -1500), (CLEARING, 1500)]
    ]


def test_a_fee_goes_back_only_where_the_platform_says_so() -> None:
    order = played(told(dispute(DisputeStatus.UNDER_REVIEW, "110.00", fee=Decimal(15))))
    order.receive(told(dispute(DisputeStatus.WON, "110.00", fee=Decimal(0))))
    assert balances(order) == UNTOUCHED


def test_a_statement_knows_the_fee_better() -> None:
    order = played(told(dispute(DisputeStatus.LOST, "110.00", fee=Decimal(15))))
    order.receive(told(StatedFee(reference="stl_1", kind=FeeKind.DISPUTE, amount=2000, currency="MYR", at=CLOSED)))
    assert balances(order) == {SELLER_AVAILABLE: -2000, CLEARING: 2000}


SECOND = OPENED + timedelta(days=5)
FIRST_FEE, SECOND_FEE = Decimal(15), Decimal(25)


def two_disputes() -> StandaloneFacts:
    """Of 30.00 and 20.00, the second opened five days after the first; they tell fees of 15.00 and 25.00."""
    second = {"dispute_id": "d2", "initiated_at": SECOND, "withdrawn_at": SECOND, "fee": SECOND_FEE}
    return told(dispute(DisputeStatus.LOST, "30.00", fee=FIRST_FEE), dispute(DisputeStatus.LOST, "20.00", **second))


def stated(amount: int, *, at: datetime, dispute_id: str | None = None, reference: str = "stl_1") -> StandaloneFacts:
    fee = {"kind": FeeKind.DISPUTE, "amount": amount, "currency": "MYR", "at": at, "dispute_id": dispute_id}
    return told(StatedFee(reference=reference, **fee))  # type: ignore[arg-type]  # each as its name says


BETWEEN, AFTER = SECOND - timedelta(days=1), SECOND + timedelta(days=1)


@pytest.mark.parametrize(
    ("statements", "fee"),
    [
        ([], 15_00 + 25_00),
        ([stated(14_50, at=AFTER, dispute_id="d1")], 14_50 + 25_00),
        ([stated(24_00, at=AFTER, dispute_id="d2")], 15_00 + 24_00),
        (
            [stated(14_50, at=AFTER, dispute_id="d1"), stated(24_00, at=AFTER, dispute_id="d2", reference="stl_2")],
            14_50 + 24_00,
        ),
        # A statement that names none tells of those that were opened by then,
        ([stated(14_50, at=BETWEEN)], 14_50 + 25_00),
        ([stated(39_00, at=AFTER)], 39_00),
        ([stated(0, at=AFTER)], 0),
        # at least of the first: the clocks of a shop and of its provider differ;
        ([stated(14_50, at=OPENED - timedelta(hours=9))], 14_50 + 25_00),
        # and of those that no statement names: two add up.
        ([stated(24_00, at=AFTER, dispute_id="d2"), stated(14_50, at=AFTER, reference="stl_2")], 14_50 + 24_00),
        ([stated(14_50, at=BETWEEN), stated(24_00, at=AFTER, reference="stl_2")], 14_50 + 24_00),
        # What is given back is given back of what was taken, and tells of no other dispute.
        ([stated(15_00, at=BETWEEN), stated(-15_00, at=AFTER, reference="stl_2")], 25_00),
        (
            [stated(15_00, at=AFTER, dispute_id="d1"), stated(-15_00, at=AFTER, dispute_id="d1", reference="stl_2")],
            25_00,
        ),
        ([stated(15_00, at=BETWEEN), stated(-15_00, at=AFTER, dispute_id="d1", reference="stl_2")], 25_00),
        # A dispute that nobody told of costs what the statement says.
        ([stated(9_00, at=AFTER, dispute_id="d3")], 15_00 + 25_00 + 9_00),
    ],
    ids=[
        "as told",
        "the first named",
        "the second named",
        "both named",
        "unnamed between them",
        "unnamed after both",
        "unnamed, and nothing",
        "unnamed before both",
        "one named and one not",
        "two unnamed",
        "given back unnamed",
        "given back named",
        "taken unnamed and given back named",
        "of another dispute",
    ],
)
def test_a_statement_stands_for_the_disputes_it_tells_of_in_any_order(
    statements: list[StandaloneFacts], fee: int
) -> None:
    for news in permutations([two_disputes(), *statements]):
        order = played(*news)
        assert balances(order).get(SELLER_AVAILABLE, 0) == -fee
        assert order.order is not None
        assert order.order.split is not None
        assert order.order.split.dispute_fee == fee


@given(
    told_fees=st.lists(st.integers(0, 5000), min_size=1, max_size=4),
    named=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000)), max_size=6),
    order_of_telling=st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_named_fees_add_up_per_dispute(
    told_fees: list[int], named: list[tuple[int, int]], order_of_telling: Random
) -> None:
    """Each dispute costs what statements say of it, or, where none does, what it tells of itself."""
    disputes = [
        told(dispute(DisputeStatus.LOST, "5.00", dispute_id=f"d{number}", fee=Decimal(fee) / 100))
        for number, fee in enumerate(told_fees)
    ]
    statements = [
        stated(amount, at=CLOSED, dispute_id=f"d{number}", reference=f"stl_{line}")
        for line, (number, amount) in enumerate(named)
    ]
    news = [*disputes, *statements]
    order_of_telling.shuffle(news)
    order = played(*news)
    assert order.order is not None
    assert order.order.split is not None
    untold = {number: fee for number, fee in enumerate(told_fees) if number not in dict(named)}
    assert order.order.split.dispute_fee == sum(untold.values()) + sum(amount for _, amount in named)


@pytest.mark.parametrize("status", [DisputeStatus.LOST, DisputeStatus.ACCEPTED])
def test_losing_changes_nothing_more(status: DisputeStatus) -> None:
    order = played(told(dispute(DisputeStatus.UNDER_REVIEW, "110.00")))
    before = balances(order)
    order.receive(told(dispute(status, "110.00")))
    assert before == balances(order) == {}


@pytest.mark.parametrize("status", [DisputeStatus.CHARGE_REFUNDED, DisputeStatus.PREVENTED])
def test_a_dispute_that_ended_in_a_refund_counts_no_second_time(status: DisputeStatus) -> None:
    order = played(told(dispute(DisputeStatus.UNDER_REVIEW, "110.00"), dispute(status, "110.00")))
    assert balances(order) == UNTOUCHED


def test_an_inquiry_holds_everything_and_its_end_lets_go() -> None:
    order = played()
    order.clear()
    cleared = balances(order)
    assert cleared == {CREATOR_AVAILABLE: 1000, SELLER_AVAILABLE: 9500, CLEARING: -11000, REVENUE: 500}
    order.receive(told(inquiry(DisputeStatus.NEEDS_RESPONSE)))
    assert balances(order) == UNTOUCHED
    assert order.order is not None
    assert order.order.split is not None
    assert all(claim.held == claim.net for claim in order.order.split.claims)
    assert order.order.next_clearing() is None
    order.receive(told(inquiry(DisputeStatus.WON)))
    # What had cleared is available at once again: the hold is reversed, when it was let go.
    assert balances(order) == cleared
    assert (order.journals[-1].kind, order.journals[-1].effective_at) == (JournalKind.HOLD, CLOSED)
    assert order.order.next_clearing() is None


def test_an_inquiry_that_escalates_becomes_a_refund() -> None:
    order = played(told(inquiry(DisputeStatus.UNDER_REVIEW)))
    order.receive(told(dispute(DisputeStatus.NEEDS_RESPONSE, "110.00")))
    assert balances(order) == {}
    order.receive(told(inquiry(DisputeStatus.UNDER_REVIEW)))  # late: a chargeback never turns back
    assert balances(order) == {}


def test_a_dispute_comes_after_all_refunds_and_takes_at_most_what_remains() -> None:
    refunded = StandaloneRefund(order_external_id="1", refund=refund(1, {"1": "60.00"}, paid="66.00"))
    order = played(told(dispute(DisputeStatus.LOST, "44.00")), refunded)
    # 110.00 - 66.00 = 44.00 are left, and all of it is disputed: all of the 40.00 that remain go.
    assert reversed_bases(order) == [6000, 4000]
    assert balances(order) == {}
    too_much = played(told(dispute(DisputeStatus.LOST, "50.00")), refunded)
    assert reversed_bases(too_much) == [6000, 4000]
    assert balances(too_much) == {SELLER_AVAILABLE: -600, CLEARING: 600}


def test_where_all_cash_went_back_a_dispute_takes_all_that_remains() -> None:
    all_back = StandaloneRefund(order_external_id="1", refund=refund(1, {"1": "60.00"}, paid="110.00"))
    order = played(all_back, told(dispute(DisputeStatus.LOST, "1.00")))
    assert reversed_bases(order) == [6000, 4000]


def test_a_share_is_rounded_once_half_to_even() -> None:
    order = Played(terms())
    order.receive(snapshot({"1": 3}, total=10))
    order.receive(told(dispute(DisputeStatus.LOST, "0.05")))  # 5 x 3 / 10 = 1.5
    assert reversed_bases(order) == [2]


def test_a_dispute_waits_for_its_order() -> None:
    lost = told(dispute(DisputeStatus.LOST, "110.00", fee=Decimal(15)))
    order = Played(terms())
    order.receive(lost)
    assert order.journals == []
    order.receive(snapshot({"1": 6000, "2": 4000}, total=11000))
    assert order.sums() == played(lost).sums()


def test_of_a_seller_who_collects_himself_only_fee_and_commission_go_back() -> None:
    lost = told(dispute(DisputeStatus.LOST, "55.00", fee=Decimal(15)))
    order = played(lost, settlement=Settlement.SELLER_COLLECTED)
    receivable = f"seller:{ORGANIZATION}:receivable"
    assert balances(order) == {CREATOR_PENDING: 500, REVENUE: 250, receivable: -750}


def test_a_dispute_in_another_currency_is_a_discrepancy_and_moves_no_money() -> None:
    order = played(told(dispute(DisputeStatus.LOST, "110.00", currency="SGD")))
    assert balances(order) == UNTOUCHED
    assert order.order is not None
    assert order.order.split is not None
    assert order.order.split.discrepancies == ("dispute d1 is in SGD, the order in MYR",)


def test_what_is_won_back_is_due_a_period_after_it_was_won() -> None:
    """As any increase. Money earned first clears first, so half of it is due when all of it was."""
    half = told(dispute(DisputeStatus.LOST, "55.00"), dispute(DisputeStatus.WON, "55.00"))
    order = played(half)
    assert order.order is not None
    dues = []
    while (clearing := order.order.next_clearing()) is not None:
        order.journals.append(order.order.clear(at=clearing.due_at))
        dues.append(clearing.due_at)
    assert dues == [PLACED_AT + timedelta(days=14), CLOSED + timedelta(days=14)]


def test_the_same_news_again_leaves_no_trace() -> None:
    news = told(dispute(DisputeStatus.UNDER_REVIEW, "110.00"))
    order = played(news)
    assert order.order is not None
    version = order.order.version
    order.receive(news)
    assert order.order.version == version


@given(
    bases=st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    extra=st.integers(0, 10**5),
    cuts=st.lists(st.integers(1, 10**6), max_size=4),
    refunded=st.integers(0, 10**6),
    ends=st.lists(st.sampled_from([DisputeStatus.LOST, DisputeStatus.UNDER_REVIEW]), min_size=6, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_disputes_and_refunds_of_all_the_money_are_one_full_refund(
    bases: list[int], extra: int, cuts: list[int], refunded: int, ends: list[DisputeStatus]
) -> None:
    """In any number: nothing of the order is left; and had all of them been won, nothing would be gone."""
    total = sum(bases) + extra
    points = sorted({0, total, *(cut for cut in cuts if cut < total), min(refunded, total)})
    parts = [end - start for start, end in pairwise(points)]
    sale = snapshot({str(number): base for number, base in enumerate(bases, 1)}, total=total)

    def money(part: int) -> str:
        return str(Decimal(part) / 100)

    def disputed(*statuses: DisputeStatus) -> list[StandaloneFacts]:
        return [
            told(dispute(status, money(part), dispute_id=f"d{number}", withdrawn_at=OPENED + timedelta(hours=number)))
            for number, (part, status) in enumerate(zip(parts[1:], statuses, strict=False))
        ]

    # The refund gives back a part of the money, and of the goods whatever that part pays of them.
    paid = parts[0] if parts else 0
    goods = sum(bases) * paid // max(total, 1)
    first = refund(0, {}, amount_only=money(goods), paid=money(paid) if paid else None)
    order, won = Played(terms()), Played(terms())
    for news in (sale, StandaloneRefund(order_external_id="1", refund=first), *disputed(*ends)):
        order.receive(news)
    assert balances(order) == {}
    for news in (sale, *disputed(*ends), *disputed(*[DisputeStatus.WON] * 6)):
        won.receive(news)
    only_sold = Played(terms())
    only_sold.receive(sale)
    assert balances(won) == balances(only_sold)


VERSIONS = st.builds(
    Dispute,
    dispute_id=st.sampled_from(["d1", "d2"]),
    kind=st.sampled_from(DisputeKind),
    status=st.sampled_from(DisputeStatus),
    amount=st.sampled_from([Decimal(1), Decimal("1.00"), Decimal(2)]),
    initiated_at=st.sampled_from([OPENED, PLACED_AT]),
    withdrawn_at=st.sampled_from([None, OPENED, CLOSED]),
    closed_at=st.sampled_from([None, CLOSED]),
    fee=st.sampled_from([None, Decimal(0), Decimal(15)]),
    currency=st.sampled_from([None, "MYR"]),
)
FACTS = st.lists(VERSIONS, max_size=3).map(
    lambda versions: join_facts(OrderFacts(), OrderFacts(disputes=tuple(versions)))
)


@given(a=FACTS, b=FACTS, c=FACTS)
@settings(max_examples=300, deadline=None)
def test_facts_are_joined_in_any_order_and_number(a: OrderFacts, b: OrderFacts, c: OrderFacts) -> None:
    assert join_facts(a, b) == join_facts(b, a)
    assert join_facts(join_facts(a, b), c) == join_facts(a, join_facts(b, c))
    assert join_facts(a, a) is a
    assert disputes_now(join_facts(a, b)) == disputes_now(join_facts(b, a))


@given(facts=FACTS)
@settings(max_examples=300, deadline=None)
def test_a_dispute_counts_only_with_its_money_withdrawn(facts: OrderFacts) -> None:
    withdrawn = {each.dispute_id for each in facts.disputes if each.withdrawn_at is not None}
    for state in disputes_now(facts):
        assert state.stage is not Stage.COUNTS or state.dispute_id in withdrawn
        assert state.stage is not Stage.HOLDS or state.status in {
            DisputeStatus.NEEDS_RESPONSE,
            DisputeStatus.UNDER_REVIEW,
        }
