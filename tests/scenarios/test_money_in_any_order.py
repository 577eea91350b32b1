"""The promise: whatever order sales, refunds, disputes, clearings, payouts and returns come in, and whatever their
amounts, each currency sums to zero, no money is lost or paid twice, and no payout takes more than is available.

By the real commands, on a log in memory: hypothesis finds the shortest history that breaks it. Commands that race on
a real database are in test_orders_and_payouts.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_money import CREATOR, ORGANIZATION, STORE, terms
from tests.scenarios.in_memory import MemoryLog
from tests.scenarios.stories import PLACED_AT

from colink.application.clear_order import ClearOrder
from colink.application.payout_attempts import RecordPayoutResult, SubmitPayout
from colink.application.payouts import ApprovePayout, RegisterPayoutAccount, RequestPayout
from colink.application.ports import Caller
from colink.application.record_order import News, RecordOrder, StandaloneFacts, StandaloneRefund
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InsufficientFunds
from colink.domain.facts import Dispute, DisputeKind, DisputeStatus, OrderFacts
from colink.domain.ledger import payee_accounts, payee_available, processor_cash
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import AT_PROVIDER, Payout, PayoutStatus, ProviderOutcome, ProviderReport
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)

CURRENCIES = ("MYR", "SGD", "JPY")
PAYEES = (CREATOR, ORGANIZATION)
SHOP, FINANCE, WORKER = (
    Caller(actor=actor, correlation_id="test") for actor in ("key:shop", "key:finance", "worker")
)
FEE = 25
FAR = PLACED_AT + timedelta(days=400)
OPEN_OR_ENDED = (
    (DisputeStatus.NEEDS_RESPONSE,),
    (DisputeStatus.UNDER_REVIEW, DisputeStatus.WON),
    (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.LOST),
    (DisputeStatus.WON,),
    (DisputeStatus.LOST,),
)
AMOUNTS = st.integers(0, 2_000_000)
SHARES = st.integers(0, 100)


def major(minor: int, currency: str) -> Decimal:
    return Decimal(minor) / (1 if currency == "JPY" else 100)


def sale(number: int, currency: str, bases: list[int], shipping: int) -> OrderSnapshot:
    return OrderSnapshot(
        external_id=str(number),
        number=f"#{number}",
        currency=currency,
        placed_at=PLACED_AT,
        updated_at=PLACED_AT,
        status=FinancialStatus.PAID,
        cancelled=False,
        test=False,
        taxes_included=False,
        lines=tuple(OrderLine(line_id=str(line), quantity=1, base=base) for line, base in enumerate(bases, 1)),
        total_price=sum(bases) + shipping,
        total_outstanding=0,
        keys=OrderKeys(coupons=(CouponUse(code="AINA10", discount=0, ordinal=0),)),
        refunds=(),
        digest=f"order {number}",
    )


@st.composite
def refunds(draw: st.DrawFn, order: OrderSnapshot, number: int) -> list[News]:
    """Of a part of each line and some money without lines; its transaction succeeds, fails, or waits first."""
    currency = order.currency
    lines = tuple(
        RefundLine(
            line_id=line.line_id,
            quantity=1,
            subtotal=major(line.base * draw(SHARES) // 100, currency),
            tax=Decimal(0),
        )
        for line in order.lines
        if draw(st.booleans())
    )
    amount_only = major(draw(st.sampled_from([0, 0, 137, order.total_price])), currency)
    paid = sum((line.subtotal for line in lines), amount_only)
    ends = draw(
        st.sampled_from(
            [
                (TransactionStatus.SUCCESS,),
                (TransactionStatus.FAILURE,),
                (TransactionStatus.PENDING, TransactionStatus.SUCCESS),
                (TransactionStatus.PENDING, TransactionStatus.FAILURE),
            ]
        )
    )
    return [
        StandaloneRefund(
            order_external_id=order.external_id,
            refund=Refund(
                refund_id=f"{number}",
                processed_at=PLACED_AT + timedelta(days=draw(st.integers(0, 40))),
                lines=lines,
                amount_only=amount_only,
                transactions=(RefundTransaction(transaction_id=f"t{number}", amount=paid, status=status),)
                if paid
                else (),
                detail=len(lines),
                digest=f"{number} {status}",
            ),
        )
        for status in ends
    ]


@st.composite
def disputes(draw: st.DrawFn, order: OrderSnapshot, number: int) -> list[News]:
    """Of a part of what was paid, or more than it; an inquiry or a chargeback, open, won or lost."""
    opened = PLACED_AT + timedelta(days=draw(st.integers(0, 40)))
    kind = draw(st.sampled_from(DisputeKind))
    amount = order.total_price * draw(st.integers(0, 120)) // 100
    fee = draw(st.sampled_from([None, 0, 1_500]))
    return [
        StandaloneFacts(
            order_external_id=order.external_id,
            facts=OrderFacts(
                disputes=(
                    Dispute(
                        dispute_id=f"d{number}",
                        kind=kind,
                        status=status,
                        amount=major(amount, order.currency),
                        initiated_at=opened,
                        withdrawn_at=opened if kind is DisputeKind.CHARGEBACK else None,
                        closed_at=opened + timedelta(days=9)
                        if status in (DisputeStatus.WON, DisputeStatus.LOST)
                        else None,
                        fee=None if fee is None else major(fee, order.currency),
                        currency=order.currency,
                    ),
                )
            ),
        )
        for status in draw(st.sampled_from(OPEN_OR_ENDED))
    ]


@st.composite
def deliveries(draw: st.DrawFn) -> list[News]:
    """Everything the shop tells of a few orders in a few currencies, in the order in which it happened."""
    told: list[News] = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        currency = draw(st.sampled_from(CURRENCIES))
        bases = draw(st.lists(AMOUNTS, min_size=1, max_size=3))
        order = sale(number, currency, bases, draw(st.integers(0, 5_000)))
        told.append(order)
        for part in range(draw(st.integers(0, 2))):
            told += draw(refunds(order, 10 * number + part))
        for part in range(draw(st.integers(0, 2))):
            told += draw(disputes(order, 10 * number + part))
    return told


@dataclass(frozen=True)
class Tell:
    """The delivery at this place among those that are left, counted around."""

    place: int


@dataclass(frozen=True)
class Clear:
    """Days pass, and the worker clears what is due of all orders."""

    days: int


@dataclass(frozen=True)
class Request:
    """A payout of so many per cent of what is available; more than all of it is refused."""

    payee_id: str
    currency: str
    per_cent: int


@dataclass(frozen=True)
class BringOn:
    """A step of one payout: handed in, or what the provider says of it, twice."""

    place: int
    outcome: ProviderOutcome


BRING_ON = st.builds(
    BringOn,
    st.integers(0, 5),
    st.sampled_from([ProviderOutcome.PAID, ProviderOutcome.FAILED, ProviderOutcome.RETURNED]),
)
STEPS = st.lists(
    st.one_of(
        st.builds(Tell, st.integers(0, 30)),
        st.builds(Clear, st.integers(0, 25)),
        st.builds(Request, st.sampled_from(PAYEES), st.sampled_from(CURRENCIES), st.sampled_from([1, 33, 100, 101])),
        BRING_ON,
        BRING_ON,
    ),
    min_size=20,
    max_size=60,
)


class Business:
    """What the steps do, and what must hold after each."""

    def __init__(self) -> None:
        known = terms()
        creator = CreatorDetails(id=CREATOR, handle="aina", display_name="Aina")
        self.store = known.stores[STORE]
        self.log = MemoryLog(known, now=PLACED_AT, documents=[known.organization, creator])
        self.orders: set[str] = set()
        self.ever_paid: set[str] = set()
        for payee_id in PAYEES:
            for currency in CURRENCIES:
                account = {"payee_id": payee_id, "rail": Rail.SANDBOX, "currency": currency, "details": {}}
                self.log.submit(RegisterPayoutAccount(caller=SHOP, **account))  # type: ignore[arg-type]  # by name

    def tell(self, news: News) -> None:
        command = RecordOrder(caller=SHOP, store=self.store, news=news)
        self.orders.add(command.order_id)
        self.log.submit(command)

    def clear(self, *, until: datetime) -> None:
        self.log.now = until
        for id_ in sorted(self.orders):
            self.log.submit(ClearOrder(caller=WORKER, order_id=id_))

    def request(self, payee_id: str, currency: str, per_cent: int) -> None:
        before = self.available(payee_id, currency)
        amount = before * per_cent // 100
        command = RequestPayout(
            caller=SHOP,
            payout_id=f"pyt_{len(self.log.payouts)}",
            payee_id=payee_id,
            currency=currency,
            amount=Money(amount, currency) if amount > 0 else None,
        )
        try:
            self.log.submit(command)
        except InsufficientFunds:
            assert before <= 0 or amount > before
            assert self.available(payee_id, currency) == before
            return
        taken = self.log.payouts[command.payout_id].amount
        assert 0 < taken <= before, "never more than is available"
        assert self.available(payee_id, currency) == before - taken >= 0
        assert self.log.funds(payee_id, currency).debits_to_net == 0, "all debits are netted first"

    def bring_on(self, payout_id: str, outcome: ProviderOutcome) -> None:
        payout = self.log.payouts[payout_id]
        named = {"payout_id": payout_id, "payee_id": payout.payee_id, "currency": payout.currency}
        if payout.status is PayoutStatus.REQUESTED:
            self.log.submit(ApprovePayout(caller=FINANCE, **named))
            self.log.submit(SubmitPayout(caller=WORKER, **named))
        elif payout.status in AT_PROVIDER | {PayoutStatus.PAID}:
            state = self.log.fold(payout_id)
            assert isinstance(state, Payout)
            report = ProviderReport(
                reference=state.reference, outcome=outcome, amount=state.net, currency=state.currency, fee=FEE
            )
            said = RecordPayoutResult(caller=WORKER, payout_id=payout_id, report=report)
            self.log.submit(said)
            if outcome is not ProviderOutcome.FAILED:
                self.ever_paid.add(payout_id)
            journals = len(self.log.journals)
            self.log.submit(said)
            assert len(self.log.journals) == journals, "what is said again pays nothing"

    def available(self, payee_id: str, currency: str) -> int:
        return self.log.balance(payee_available(payee_id), currency)

    def paid(self, payee_id: str, currency: str) -> int:
        """For good."""
        return sum(
            payout.amount
            for payout in self.log.payouts.values()
            if (payout.payee_id, payout.currency, payout.status) == (payee_id, currency, PayoutStatus.PAID)
        )

    def owed(self) -> Counter[tuple[str, str]]:
        """What the orders say they owe, by payee and currency."""
        owed: Counter[tuple[str, str]] = Counter()
        for id_ in self.orders:
            order = self.log.fold(id_)
            assert isinstance(order, Order)
            if order.split is None:
                continue
            for claim in order.split.claims:
                owed[claim.payee_id, order.split.currency] += claim.net
            owed[ORGANIZATION, order.split.currency] -= order.split.dispute_fee
        return owed

    def check(self) -> None:
        for currency in CURRENCIES:
            in_currency = [each.amount for (_, of), each in self.log.book.balances.items() if of == currency]
            assert sum(in_currency) == 0, f"{currency} does not sum to zero"
        owed = self.owed()
        for payee_id in PAYEES:
            for currency in CURRENCIES:
                on_accounts = sum(self.log.balance(account, currency) for account in payee_accounts(payee_id))
                assert on_accounts + self.paid(payee_id, currency) == owed[payee_id, currency], "money came or went"
                funds = self.log.funds(payee_id, currency)
                assert all(a.end <= b.start for a, b in pairwise(funds.taken)), "the same money twice"
                assert all(part.end <= funds.credited for part in funds.taken), "money that never cleared"
                assert funds.debits_to_net >= 0, "more than there was"
        for currency in CURRENCIES:
            went = sum(self.paid(payee_id, currency) for payee_id in PAYEES)
            fees = FEE * sum(self.log.payouts[id_].currency == currency for id_ in self.ever_paid)
            assert self.log.balance(processor_cash("sandbox"), currency) == went + fees, (
                "another amount left the bank"
            )


@given(told=deliveries(), steps=STEPS)
@settings(max_examples=200, deadline=None)
def test_no_history_loses_money_or_pays_it_twice(told: list[News], steps: list[object]) -> None:
    business, left = Business(), list(told)
    for step in steps:
        payouts = list(business.log.payouts)
        match step:
            case Tell(place) if left:
                business.tell(left.pop(place % len(left)))
            case Clear(days):
                business.clear(until=business.log.now + timedelta(days=days))
            case Request(payee_id, currency, per_cent):
                business.request(payee_id, currency, per_cent)
            case BringOn(place, outcome) if payouts:
                business.bring_on(payouts[place % len(payouts)], outcome)
            case _:
                continue
        business.check()
    for news in left:
        business.tell(news)
        business.check()
    # Whatever was paid meanwhile, the orders owe what they would have, told as it happened and never paid.
    as_it_happened = Business()
    for news in told:
        as_it_happened.tell(news)
    assert business.owed() == as_it_happened.owed()
    # And when all of it has cleared and everybody is paid out, nobody has more than that, and debts are left as such.
    business.clear(until=FAR)
    for payout_id in list(business.log.payouts):
        for _ in range(2):
            if business.log.payouts[payout_id].status is not PayoutStatus.PAID:
                business.bring_on(payout_id, ProviderOutcome.PAID)
    for payee_id in PAYEES:
        for currency in CURRENCIES:
            business.request(payee_id, currency, 100)
            assert business.available(payee_id, currency) <= 0
    business.check()
