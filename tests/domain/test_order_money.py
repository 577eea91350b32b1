"""The promise: an order's money is a function of the set of its deliveries, and every part of it adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenarios.stories import PLACED_AT, shuffled, story

from colink.application.record_order import News, StandaloneFacts, StandaloneRefund, receive
from colink.domain.attribution import decide_attribution
from colink.domain.commission import KnownRule, RuleDetails, Scope
from colink.domain.ledger import JournalKind, check_postings_balance, store_clearing
from colink.domain.merge import MergedOrder, merge_facts, merge_refund, merge_snapshot
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.organizations import FeeSchedule, OrganizationDetails, Platform, Settlement, StoreDetails
from colink.domain.postings import Draft
from colink.domain.terms import KnownCoupon, Terms
from colink.domain.tracking import CouponDetails

ORGANIZATION, STORE, CREATOR = "org_1", "sto_1", "crt_1"
SEEDS = st.integers(min_value=0, max_value=10**9)
AT = datetime(2026, 4, 1, tzinfo=UTC)
FAR_FUTURE = PLACED_AT + timedelta(days=400)


def terms(
    *,
    settlement: Settlement = Settlement.PLATFORM_COLLECTED,
    refund_platform_fee: bool = True,
    advance: bool = False,
    rules: Sequence[RuleDetails] | None = None,
) -> Terms:
    rules = rules if rules is not None else (rule("rul_default", rate_bps=1000),)
    return Terms(
        position=9,
        organization=OrganizationDetails(
            id=ORGANIZATION,
            name="Kedai",
            platform_fee_bps=500,
            refund_platform_fee=refund_platform_fee,
            advance=advance,
        ),
        stores={
            STORE: StoreDetails(
                id=STORE,
                organization_id=ORGANIZATION,
                platform=Platform.SHOPIFY,
                name="Kedai",
                settlement=settlement,
                payment_fee=FeeSchedule(rate_bps=290, fixed=Money(30, "MYR")),
            )
        },
        campaigns={},
        rules=tuple(KnownRule(position=position, details=details) for position, details in enumerate(rules, 1)),
        coupons=(
            KnownCoupon(
                position=8,
                details=CouponDetails(
                    id="cpn_1",
                    organization_id=ORGANIZATION,
                    store_id=STORE,
                    code="AINA10",
                    creator_id=CREATOR,
                ),
            ),
        ),
    )


def rule(id_: str, *, scope: Scope = Scope.DEFAULT, target_id: str | None = None, **amount: object) -> RuleDetails:
    return RuleDetails(id=id_, version=1, organization_id=ORGANIZATION, scope=scope, target_id=target_id, **amount)


class Played:
    """An order played through the aggregate, with everything it posted."""

    def __init__(self, known: Terms) -> None:
        self.terms = known
        self.order: Order | None = None
        self.journals: list[Draft] = []

    def receive(self, news: News) -> None:
        self.order = receive(news, self.order, store=self.terms.stores[STORE], at=AT)
        order = self.order
        if order.needs_attribution():
            assert order.merged.placed_at is not None
            order.attribute(
                decide_attribution(
                    keys=order.merged.keys,
                    placed_at=order.merged.placed_at,
                    store=self.terms.stores[STORE],
                    touches=(),
                    tracking_position=0,
                    terms=self.terms,
                ),
                at=AT,
            )
        self.journals += order.resplit(self.terms, at=AT)

    def clear(self, *, until: datetime = FAR_FUTURE) -> None:
        assert self.order is not None
        while (draft := self.order.clear(at=until)) is not None:
            self.journals.append(draft)

    def sums(self) -> dict[tuple[str | None, str], int]:
        sums: Counter[tuple[str | None, str]] = Counter()
        for journal in self.journals:
            for posting in journal.postings:
                sums[posting.line_id, posting.account] += posting.amount
        return {key: amount for key, amount in sums.items() if amount}

    def split_lines(self) -> object:
        return self.order.split.lines if self.order and self.order.split else None


def play(deliveries: Sequence[News], known: Terms | None = None) -> Played:
    played = Played(known or terms())
    for news in deliveries:
        played.receive(news)
    return played


@given(seed=SEEDS, order=SEEDS, days=st.integers(min_value=13, max_value=24), hours=st.integers(0, 23))
@settings(max_examples=400, deadline=None)
def test_any_order_and_number_of_the_same_deliveries_ends_in_the_same_money(
    seed: int, order: int, days: int, hours: int
) -> None:
    """Also in what has come due by some day: the due times are a function of the deliveries too."""
    some_day = PLACED_AT + timedelta(days=days, hours=hours)
    deliveries = story(seed).deliveries
    told, mixed = play(deliveries), play(shuffled(deliveries, Random(order)))
    assert mixed.sums() == told.sums()
    assert mixed.split_lines() == told.split_lines()
    for due in (some_day, FAR_FUTURE):
        told.clear(until=due)
        mixed.clear(until=due)
        assert mixed.sums() == told.sums()


@given(seed=SEEDS, a=SEEDS, b=SEEDS)
@settings(max_examples=200, deadline=None)
def test_the_merge_is_commutative_and_idempotent(seed: int, a: int, b: int) -> None:
    deliveries = story(seed).deliveries

    def merged(order: Sequence[News]) -> MergedOrder:
        state = MergedOrder()
        for news in order:
            match news:
                case StandaloneRefund():
                    state = merge_refund(state, news.refund)
                case StandaloneFacts():
                    state = merge_facts(state, news.facts)
                case _:
                    state = merge_snapshot(state, news)
        return state

    one = merged(shuffled(deliveries, Random(a)))
    assert one == merged(shuffled(deliveries, Random(b)))
    assert merged([*deliveries, *deliveries]) == one


@given(
    seed=SEEDS,
    settlement=st.sampled_from(Settlement),
    refund_platform_fee=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_books_balance_after_every_delivery(seed: int, settlement: Settlement, refund_platform_fee: bool) -> None:
    """Zero-sum journals; four parts that sum to the net subtotal; clearing that is cash in less cash out."""
    played = Played(terms(settlement=settlement, refund_platform_fee=refund_platform_fee))
    for news in story(seed).deliveries:
        played.receive(news)
        for journal in played.journals:
            check_postings_balance(journal.postings)
        assert played.order is not None
        split = played.order.split
        if split is None:
            assert played.journals == []
            continue
        for line in split.lines:
            assert (
                line.net_platform_fee + line.net_commission + line.payment_fee + line.seller_take
                == line.base - line.reversed_base
            )
            assert 0 <= line.reversed_base <= line.base
        clearing = sum(
            posting.amount
            for journal in played.journals
            for posting in journal.postings
            if posting.account == store_clearing(STORE)
        )
        if settlement is Settlement.PLATFORM_COLLECTED:
            assert clearing == -(split.collected - split.cash_refunded) + split.dispute_fee
        else:
            assert clearing == 0


@given(seed=SEEDS, clear_after=st.integers(min_value=1, max_value=6))
@settings(max_examples=200, deadline=None)
def test_available_holds_the_smaller_of_owed_and_cleared_and_pending_the_rest(seed: int, clear_after: int) -> None:
    """Also with a clearing in the middle: credits age, debits bite at once."""
    played = Played(terms())
    for number, news in enumerate(story(seed).deliveries, 1):
        played.receive(news)
        if number == clear_after:
            played.clear()
        assert played.order is not None
        if played.order.split is None:
            continue
        sums = Counter(played.sums())
        # The fee of a dispute is no claim: it comes off what the seller has available.
        sums[None, f"payee:{ORGANIZATION}:available"] += played.order.split.dispute_fee
        for claim in played.order.split.claims:
            assert sums[claim.line_id, f"payee:{claim.payee_id}:available"] == claim.available
            assert sums[claim.line_id, f"payee:{claim.payee_id}:pending"] == claim.pending
            assert claim.pending >= 0
            if claim.held:
                assert claim.available <= claim.net - claim.held


@given(seed=SEEDS, clear_after=st.integers(min_value=1, max_value=6))
@settings(max_examples=200, deadline=None)
def test_as_of_any_time_nothing_left_pending_before_it_came(seed: int, clear_after: int) -> None:
    """By effective time too, told in order: a clearing takes effect after everything it moves."""
    played = Played(terms())
    for number, news in enumerate(story(seed).deliveries, 1):
        played.receive(news)
        if number == clear_after:
            played.clear()
    played.clear()
    pending: Counter[tuple[str | None, str]] = Counter()
    for journal in sorted(played.journals, key=lambda journal: journal.effective_at):
        for posting in journal.postings:
            if posting.account.endswith(":pending"):
                pending[posting.line_id, posting.account] += posting.amount
        if journal.kind is JournalKind.CLEARING:
            assert all(amount >= 0 for amount in pending.values())
