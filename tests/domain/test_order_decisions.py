"""What people decide never breaks the books: whatever is delivered, held, released and cleared in any order,
available holds min(N, K), journals sum to zero, nothing held can be paid out, an ended hold leaves no trace."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_money import (
    AT,
    CREATOR,
    FAR_FUTURE,
    ORGANIZATION,
    SEEDS,
    Played,
    play,
    terms,
)
from tests.scenarios.stories import PLACED_AT, shuffled, story

from colink.domain.ledger import check_postings_balance
from colink.domain.order_decisions import Hold, HoldKind, NothingHeld, OverSettled
from colink.domain.order_holds import hold, owed_to_buyer, release
from colink.domain.orders import Order
from colink.domain.organizations import Settlement

SELLER_AVAILABLE = f"payee:{ORGANIZATION}:available"
BY = {"reason": "looks odd", "by": "key:finance"}


class Decided(Played):
    """An order that people decide about."""

    @property
    def known(self) -> Order:
        assert self.order is not None
        return self.order

    def hold(self, *, payee_id: str | None = None, line_id: str | None = None) -> None:
        hold(self.known, payee_id=payee_id, line_id=line_id, at=AT, **BY)
        self.journals += self.known.resplit(self.terms, at=AT)

    def release(self, held: Hold) -> None:
        release(self.known, HoldKind.REVIEW, payee_id=held.payee_id, line_id=held.line_id, at=AT, **BY)
        self.journals += self.known.resplit(self.terms, at=AT)

    def decide(self, random: Random, until: int) -> None:
        """Anything that people or the worker may do next."""
        match random.choice(("hold", "release", "clear")):
            case "hold":
                claims = self.known.split.claims if self.known.split else ()
                claim = random.choice([None, *claims])
                scope = random.choice(("order", "payee", "line", "both")) if claim else "order"
                self.hold(
                    payee_id=claim.payee_id if claim and scope in ("payee", "both") else None,
                    line_id=claim.line_id if claim and scope in ("line", "both") else None,
                )
            case "release":
                if self.known.decisions.holds:
                    self.release(random.choice(self.known.decisions.holds))
            case _:
                self.clear(until=PLACED_AT + timedelta(days=until))

    def check_books(self) -> None:
        for journal in self.journals:
            check_postings_balance(journal.postings)
        fee = self.known.split.dispute_fee if self.known.split else 0  # the seller's, beside what he has claims to
        sums = self.sums()
        sums[None, SELLER_AVAILABLE] = sums.get((None, SELLER_AVAILABLE), 0) + fee
        for claim in self.known.split.claims if self.known.split else ():
            available = sums.get((claim.line_id, f"payee:{claim.payee_id}:available"), 0)
            assert available == min(claim.net, claim.cleared)
            assert sums.get((claim.line_id, f"payee:{claim.payee_id}:pending"), 0) == claim.net - available
            if self.known.decisions.hold((claim.line_id, claim.payee_id)):
                assert available <= 0, "held money must not be available to a payout"


@given(seed=SEEDS, order=SEEDS, decisions=SEEDS, until=st.integers(10, 30))
@settings(max_examples=300, deadline=None)
def test_deliveries_holds_releases_and_clearings_in_any_order(
    seed: int, order: int, decisions: int, until: int
) -> None:
    random, deliveries = Random(decisions), story(seed).deliveries
    decided = Decided(terms())
    for news in shuffled(deliveries, Random(order)):
        decided.receive(news)
        for _ in range(random.randrange(3)):
            decided.decide(random, until)
            decided.check_books()
    for held in decided.known.decisions.holds:
        decided.release(held)
    decided.check_books()
    decided.clear()
    decided.check_books()

    plain = play(deliveries)
    plain.clear()
    assert plain.order is not None
    if plain.order.attribution == decided.known.attribution:  # a clearing keeps later keys from deciding again
        assert decided.sums() == plain.sums(), "no trace of the holds is left"


@given(seed=SEEDS, days=st.integers(10, 30))
@settings(max_examples=150, deadline=None)
def test_a_release_gives_back_what_the_hold_took_and_nothing_else(seed: int, days: int) -> None:
    decided = Decided(terms())
    for news in story(seed).deliveries:
        decided.receive(news)
    decided.clear(until=PLACED_AT + timedelta(days=days))
    before, clears_at = decided.sums(), decided.known.split.clears_at if decided.known.split else None
    decided.hold()
    decided.check_books()
    decided.hold()
    [held] = decided.known.decisions.holds
    decided.release(held)
    assert decided.sums() == before
    assert (decided.known.split.clears_at if decided.known.split else None) == clears_at
    with pytest.raises(NothingHeld):
        decided.release(held)


@given(seed=SEEDS, days=st.integers(10, 30))
@settings(max_examples=150, deadline=None)
def test_what_the_buyer_is_owed_is_the_sellers_once_it_is_released(seed: int, days: int) -> None:
    decided = Decided(terms())
    for news in story(seed).deliveries:
        decided.receive(news)
    decided.clear(until=PLACED_AT + timedelta(days=days))
    owed = owed_to_buyer(decided.known)
    if owed == 0:
        return
    release(decided.known, HoldKind.OWED_TO_BUYER, payee_id=None, line_id=None, at=AT, **BY)
    decided.journals += decided.known.resplit(decided.terms, at=AT)
    decided.check_books()
    assert owed_to_buyer(decided.known) == 0
    decided.clear(until=FAR_FUTURE + timedelta(days=400))
    for claim in decided.known.split.claims if decided.known.split else ():
        if (claim.line_id, claim.payee_id) == (None, ORGANIZATION):
            assert claim.available == claim.net


@given(seed=SEEDS, order=SEEDS, payments=SEEDS, until=st.integers(10, 30))
@settings(max_examples=200, deadline=None)
def test_a_sellers_order_clears_only_while_it_is_settled(seed: int, order: int, payments: int, until: int) -> None:
    """Paid in any parts between deliveries; what was paid too much is taken back."""
    random = Random(payments)
    decided = Decided(terms(settlement=Settlement.SELLER_COLLECTED))
    for news in shuffled(story(seed).deliveries, Random(order)):
        decided.receive(news)
        known = decided.known
        before = decided.sums()
        decided.clear(until=PLACED_AT + timedelta(days=until))
        if known.unsettled > 0:
            assert decided.sums() == before, "nothing clears that the seller has not paid for"
            amount = random.randint(1, known.unsettled)
            with pytest.raises(OverSettled):
                known.settle(known.unsettled + 1, account_id="sac_1", number=1, at=AT)
            known.settle(amount, account_id="sac_1", number=1, at=AT)
        elif known.unsettled < 0:
            known.settle(known.unsettled, account_id="sac_1", number=2, at=AT)
            assert known.unsettled == 0
        decided.check_books()
    if decided.known.unsettled:
        decided.known.settle(decided.known.unsettled, account_id="sac_1", number=3, at=AT)
    decided.clear()
    decided.check_books()
    earned = sum(claim.net - claim.held for claim in decided.known.split.claims) if decided.known.split else 0
    available = sum(amount for (_, account), amount in decided.sums().items() if account.endswith(":available"))
    assert available == earned
    assert all(account != SELLER_AVAILABLE for _, account in decided.sums())
    assert {claim.payee_id for claim in (decided.known.split.claims if decided.known.split else ())} <= {CREATOR}
