"""The promise: in whatever order sales, refunds, disputes, clearings, payouts and returns come, all journals sum to
zero, no money is paid twice, and each payee ends with what the deliveries make of it.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import count, pairwise
from random import Random

from hypothesis import given, settings
from tests.domain.test_order_money import AT, CREATOR, FAR_FUTURE, ORGANIZATION, SEEDS, Played, play, terms
from tests.domain.test_payouts import account, report
from tests.scenarios.stories import PLACED_AT, shuffled, story

from colink.domain.audit.balances import BalanceBook
from colink.domain.errors import InsufficientFunds
from colink.domain.ledger import JournalPosted, Posting, payee_accounts, payee_available
from colink.domain.payout_funds import Funds, Stretch
from colink.domain.payout_journals import journals_of
from colink.domain.payouts import (
    AT_PROVIDER,
    RELEASED,
    UNSUBMITTED,
    Payout,
    PayoutChanged,
    PayoutRequested,
    PayoutStatus,
    ProviderOutcome,
)
from colink.domain.value import replace

PAYEES = (CREATOR, ORGANIZATION)
ENDS = (ProviderOutcome.PAID, ProviderOutcome.PAID, ProviderOutcome.FAILED, ProviderOutcome.RETURNED)


class Business:
    """One order and the payouts of its payees, with all that both post."""

    def __init__(self) -> None:
        self.played = Played(terms())
        self.book = BalanceBook()
        self.payouts: list[Payout] = []
        self.numbers = count(1)
        self._booked = 0

    def book_order(self) -> None:
        for journal in self.played.journals[self._booked :]:
            self.post(journal.postings, of_payout=False)
        self._booked = len(self.played.journals)

    def post(self, postings: tuple[Posting, ...], *, of_payout: bool) -> None:
        assert sum(posting.amount for posting in postings) == 0
        self.book.add(next(self.numbers), postings, of_payout=of_payout)

    def funds(self, payee_id: str) -> Funds:
        balance = self.book.balances.get((payee_available(payee_id), "MYR"))
        taken = sorted((part.start, part.end) for part in self.held(payee_id))
        return Funds(
            payee_id=payee_id,
            currency="MYR",
            balance=balance.amount if balance else 0,
            version=1,
            credited=balance.credited if balance else 0,
            taken=tuple(Stretch(start=start, end=end) for start, end in taken),
        )

    def held(self, payee_id: str) -> list[Stretch]:
        live = [each for each in self.payouts if each.payee_id == payee_id and each.status not in RELEASED]
        return [part for each in live for part in each.stretches]

    def request(self, random: Random) -> None:
        """All that is available, or a part of it; never more."""
        payee_id = random.choice(PAYEES)
        funds = self.funds(payee_id)
        amount = random.choice([None, random.randint(1, max(funds.balance, 1))])
        details = replace(account(), payee_id=payee_id)
        number = f"pay_{len(self.payouts)}"
        try:
            payout = Payout.request(number, funds=funds, account=details, amount=amount, by="key:ann", at=AT)
        except InsufficientFunds:
            assert funds.balance <= 0
            return
        assert payout.amount <= funds.balance
        self.payouts.append(payout)
        self.book_payout(payout)

    def bring_on(self, random: Random) -> None:
        """One step of one payout: approval and submission, or what the provider says; after it was paid a return."""
        alive = [each for each in self.payouts if each.status not in RELEASED]
        if not alive:
            return
        payout = random.choice(alive)
        if payout.status is PayoutStatus.REQUESTED:
            if random.random() < 0.2:
                payout.cancel(by="key:ann", reason="a test", at=AT)
            else:
                details = replace(account(), payee_id=payout.payee_id)
                payout.approve(account=details, by="key:finn", at=AT)
                payout.submit(current_account=details, at=AT)
        elif payout.status in AT_PROVIDER:
            self.told(payout, random.choice(ENDS))
        elif payout.status is PayoutStatus.PAID and random.random() < 0.5:
            self.told(payout, ProviderOutcome.RETURNED)
        self.book_payout(payout)

    def told(self, payout: Payout, outcome: ProviderOutcome) -> None:
        """Twice: what a provider says again changes nothing."""
        for _ in range(2):
            payout.record(report(outcome, reference=payout.reference, amount=payout.amount), at=AT)

    def book_payout(self, payout: Payout) -> None:
        for event in payout.new_events():
            assert isinstance(event, PayoutRequested | PayoutChanged)
            for journal in journals_of(event):
                [posted] = journal.new_events()
                assert isinstance(posted, JournalPosted)
                self.post(posted.postings, of_payout=True)

    def check(self) -> None:
        assert sum(balance.amount for balance in self.book.balances.values()) == 0
        for payee_id in PAYEES:
            funds = self.funds(payee_id)
            assert all(a.end <= b.start for a, b in pairwise(funds.taken)), "money is held twice"
            assert all(part.end <= funds.credited for part in funds.taken), "more is held than was ever cleared"
            assert funds.debits_to_net >= 0, "more is held than was there"

    def had_and_has(self) -> Counter[str]:
        """Of each payee: what is on its accounts and what was paid out for good."""
        had: Counter[str] = Counter()
        for payee_id in PAYEES:
            for name in payee_accounts(payee_id):
                balance = self.book.balances.get((name, "MYR"))
                had[payee_id] += balance.amount if balance else 0
        for payout in self.payouts:
            if payout.status is PayoutStatus.PAID:
                had[payout.payee_id] += payout.amount
        return had


def credited(played: Played) -> str | None:
    return played.order.split.creator_id if played.order and played.order.split else None


def owed(played: Played) -> Counter[str]:
    split = played.order.split if played.order else None
    net: Counter[str] = Counter(dict.fromkeys(PAYEES, 0))
    for claim in split.claims if split else ():
        net[claim.payee_id] += claim.net
    net[ORGANIZATION] -= split.dispute_fee if split else 0
    return net


@given(seed=SEEDS, order=SEEDS)
@settings(max_examples=300, deadline=None)
def test_no_order_of_events_pays_twice_or_loses_a_cent(seed: int, order: int) -> None:
    random, business = Random(order), Business()
    deliveries = shuffled(story(seed).deliveries, random)
    while deliveries or random.random() < 0.8:
        step = random.randrange(5)
        if step < 2 and deliveries:
            business.played.receive(deliveries.pop(0))
        elif step == 2 and business.played.order is not None:
            business.played.clear(until=PLACED_AT + timedelta(days=random.choice([13, 15, 40])))
        elif step == 3:
            business.request(random)
        else:
            business.bring_on(random)
        business.book_order()
        business.check()
    business.played.clear()
    business.book_order()
    business.check()
    assert business.had_and_has() == owed(business.played)
    # It is what the deliveries make of it, told in the order they happened and never paid; but a coupon that is told
    # once something has cleared credits nobody any more.
    told = play(story(seed).deliveries)
    if credited(told) == credited(business.played):
        assert owed(told) == owed(business.played)
    for payout in business.payouts:
        if payout.status in UNSUBMITTED:
            payout.cancel(by="key:ann", reason="the end", at=AT)
        elif payout.status in AT_PROVIDER:
            business.told(payout, ProviderOutcome.FAILED)
        business.book_payout(payout)
    business.check()
    assert business.had_and_has() == owed(business.played)
    assert business.played.order is None or business.played.order.clear(at=FAR_FUTURE) is None


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_what_is_paid_and_then_disputed_is_netted_from_the_next_payout(seed: int) -> None:
    """A debt of a payee is never paid out, and later credits pay it first."""
    random, business = Random(seed), Business()
    for news in story(seed).deliveries:
        business.played.receive(news)
        business.played.clear()
        business.book_order()
        for payee_id in PAYEES:
            before = business.funds(payee_id).balance
            business.request(random)
            assert business.funds(payee_id).balance >= min(before, 0)
        business.check()
