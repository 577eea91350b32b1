"""Promise: what is held of a creator's part of an order counts nowhere until it is released: no true-up is paid on
it, it uses up no cap, and whatever order holds, releases, refunds, disputes and counts come in, the true-up is that
of the set of what is not held (decision 22).

The month is March 2026 and its rule is, unless said otherwise, 10 % with marginal tiers: 20 % from 100.00 on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_disputes import dispute, inquiry, told
from tests.domain.test_order_decisions import BY, Decided
from tests.domain.test_order_money import AT, CREATOR, ORGANIZATION, SEEDS, rule, terms
from tests.domain.test_refunds import refund, snapshot
from tests.scenarios.stories import renamed

from colink.application.record_order import News, StandaloneRefund
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import RuleDetails
from colink.domain.facts import DisputeKind, DisputeStatus
from colink.domain.ledger import JournalPosted, check_postings_balance, payee_available, payee_pending
from colink.domain.local_time import period_bounds
from colink.domain.money import Money
from colink.domain.order_decisions import HoldKind, OrderSettled
from colink.domain.order_holds import hold, reattribute, release
from colink.domain.orders import OrderSplit
from colink.domain.organizations import Settlement
from colink.domain.terms import KnownCampaign
from colink.domain.tiers import Tier, TierMode, Tiers
from colink.domain.true_up_counts import PeriodKey, PlacedSplit, holding_days
from colink.domain.true_up_journals import journals_of
from colink.domain.true_ups import TrueUp
from colink.domain.value import replace

ENDS = period_bounds("2026-03", "UTC")[1]
HOLD = timedelta(days=14)
KEY = PeriodKey(organization_id=ORGANIZATION, rule_id="rul_1", creator_id=CREATOR, currency="MYR", period="2026-03")


def myr(amount: int) -> Money:
    return Money(amount, "MYR")


def marginal(*steps: tuple[int, int], below: int = 1000) -> RuleDetails:
    tiers = Tiers(
        mode=TierMode.MARGINAL, steps=tuple(Tier(from_revenue=myr(amount), rate_bps=bps) for amount, bps in steps)
    )
    return rule("rul_1", rate_bps=below, tiers=tiers)


@dataclass
class Month:
    """Orders of one month by one rule, and its true-up with all that it posted."""

    rule: RuleDetails = field(default_factory=lambda: marginal((100_00, 2000)))
    store: dict[str, Any] = field(default_factory=dict)
    orders: list[Decided] = field(default_factory=list)
    true_up: TrueUp | None = None
    journals: int = 0
    balances: dict[str, int] = field(default_factory=dict)

    def sell(self, **lines: int) -> Decided:
        """An order of these lines, named `a`, `b`, with their prices in minor units."""
        order = Decided(terms(rules=(self.rule,), **self.store))
        order.receive(renamed(snapshot(lines), str(len(self.orders) + 1)))
        self.orders.append(order)
        return order

    def count(self, *, key: PeriodKey = KEY, at: datetime = ENDS) -> None:
        counting: dict[str, Any] = {"rule": lambda *_: self.rule, "position": 9, "timezone": "UTC", "at": at}
        if self.true_up is None:
            self.true_up = TrueUp.count(key, self.placed(), **counting)
        else:
            self.true_up.recount(self.placed(), **counting)
        self._post()

    def clear(self, at: datetime) -> None:
        assert self.true_up is not None
        while self.true_up.clear(at=at):
            pass
        self._post()

    def placed(self) -> list[PlacedSplit]:
        return [placed(order) for order in self.orders]

    def _post(self) -> None:
        assert self.true_up is not None
        for event in self.true_up.new_events():
            for journal in journals_of(event):  # type: ignore[arg-type]  # a true-up has no other events
                (posted,) = journal.new_events()
                assert isinstance(posted, JournalPosted)
                check_postings_balance(posted.postings)
                self.journals += 1
                for posting in posted.postings:
                    self.balances[posting.account] = self.balances.get(posting.account, 0) + posting.amount

    def owed(self, payee_id: str = CREATOR) -> tuple[int, int]:
        """Pending and available, of the true-up alone."""
        return self.balances.get(payee_pending(payee_id), 0), self.balances.get(payee_available(payee_id), 0)


def placed(order: Decided) -> PlacedSplit:
    known = order.known
    assert known.split is not None
    assert known.terms is not None
    assert known.merged.placed_at is not None
    return PlacedSplit(placed_at=known.merged.placed_at, terms=known.terms, split=known.split)


def held_lines(order: Decided) -> tuple[str, ...] | None:
    assert order.known.split is not None
    return order.known.split.held_lines


def released(order: Decided) -> None:
    (review,) = order.known.decisions.holds
    order.release(review)


def test_what_is_held_earns_no_true_up_until_it_is_released() -> None:
    month = Month()
    month.sell(a=60_00)
    suspect = month.sell(a=900_00)
    suspect.hold()
    month.count()
    assert month.owed() == (0, 0)  # 60.00 are below the first tier
    released(suspect)
    month.count(at=ENDS + timedelta(days=3))
    # 100.00 at 10 % and 860.00 at 20 % are 182.00, and 96.00 were posted.
    assert month.owed() == (86_00, 0)
    month.clear(ENDS + timedelta(days=3) + HOLD - timedelta(seconds=1))
    assert month.owed() == (86_00, 0)
    month.clear(ENDS + timedelta(days=3) + HOLD)
    assert month.owed() == (0, 86_00)


def test_a_hold_takes_back_at_once_what_had_cleared_and_its_release_gives_it_back_at_once() -> None:
    month = Month()
    month.sell(a=160_00)
    suspect = month.sell(a=300_00)
    month.count()
    month.clear(ENDS + HOLD)
    assert (month.owed(), month.owed(ORGANIZATION)) == ((0, 36_00), (0, -36_00))
    suspect.hold()
    assert month.true_up is not None
    assert not month.true_up.stands(month.placed(), rule=lambda *_: month.rule, timezone="UTC")
    month.count(at=ENDS + timedelta(days=20))
    # Paid out meanwhile or not: what is left of 36.00 is 6.00. The seller's 30.00 were taken at once, so they come
    # back at once.
    assert (month.owed(), month.owed(ORGANIZATION)) == ((0, 6_00), (0, -6_00))
    released(suspect)
    month.count(at=ENDS + timedelta(days=40))
    assert (month.owed(), month.owed(ORGANIZATION)) == ((0, 36_00), (0, -36_00))


def test_what_had_not_cleared_ages_again_after_a_release() -> None:
    month = Month()
    month.sell(a=160_00)
    suspect = month.sell(a=300_00)
    month.count()
    suspect.hold()
    month.count(at=ENDS + timedelta(days=1))
    released(suspect)
    month.count(at=ENDS + timedelta(days=2))
    assert month.owed() == (36_00, 0)
    month.clear(ENDS + HOLD)
    assert month.owed() == (30_00, 6_00)
    month.clear(ENDS + timedelta(days=2) + HOLD)
    assert month.owed() == (0, 36_00)


def test_a_hold_and_its_release_between_two_counts_leave_no_trace() -> None:
    month = Month()
    suspect = month.sell(a=160_00)
    month.count()
    before, journals = month.true_up.standing if month.true_up else None, month.journals
    suspect.hold()
    released(suspect)
    month.count(at=ENDS + timedelta(days=9))
    month.count(at=ENDS + timedelta(days=10))
    assert month.true_up is not None
    assert (month.true_up.standing, month.journals) == (before, journals)


def test_a_held_order_uses_up_no_cap() -> None:
    month = Month(rule=rule("rul_1", rate_bps=1000, cap_per_month=myr(15_00)))
    month.sell(a=100_00)
    suspect = month.sell(a=100_00)
    suspect.hold()
    month.count()
    assert month.owed() == (0, 0)
    released(suspect)
    month.count(at=ENDS + timedelta(days=1))
    assert month.owed() == (0, -5_00)
    suspect.hold()
    month.count(at=ENDS + timedelta(days=2))
    assert month.owed() == (0, 0)


def test_of_a_line_that_is_held_only_the_other_lines_count() -> None:
    month = Month()
    order = month.sell(a=160_00, b=40_00)
    order.hold(line_id="a")
    assert held_lines(order) == ("a",)
    month.count()
    assert month.owed() == (0, 0)
    order.hold(line_id="b", payee_id=CREATOR)
    released_a, _ = order.known.decisions.holds
    order.release(released_a)
    assert held_lines(order) == ("b",)
    month.count(at=ENDS + timedelta(days=1))
    assert month.owed() == (6_00, 0)


def test_what_is_held_of_the_seller_alone_counts() -> None:
    month = Month()
    order = month.sell(a=160_00)
    order.hold(payee_id=ORGANIZATION)
    assert held_lines(order) == ()
    month.count()
    assert month.owed() == (6_00, 0)


def test_a_line_that_earns_nothing_yet_is_held_too() -> None:
    """At 0 % below the first tier there is no claim that could be held; its revenue would count all the same."""
    month = Month(rule=marginal((100_00, 2000), below=0))
    order = month.sell(a=160_00)
    order.hold(payee_id=CREATOR)
    assert all(claim.payee_id != CREATOR for claim in placed(order).split.claims)
    assert held_lines(order) == ("a",)
    month.count()
    assert month.owed() == (0, 0)
    released(order)
    month.count(at=ENDS + timedelta(days=1))
    assert month.owed() == (12_00, 0)


def test_a_refund_while_it_is_held_changes_nothing_and_counts_when_it_is_released() -> None:
    month = Month()
    order = month.sell(a=160_00)
    order.hold()
    month.count()
    back = refund(1, {"a": "50.00"}, paid="50.00")
    order.receive(StandaloneRefund(order_external_id="1", refund=back))
    month.count(at=ENDS + timedelta(days=1))
    assert (month.owed(), month.journals) == ((0, 0), 0)
    released(order)
    month.count(at=ENDS + timedelta(days=2))
    assert month.owed() == (1_00, 0)


def test_a_dispute_counts_not_while_it_is_open_then_as_a_refund_then_again() -> None:
    month = Month()
    order = month.sell(a=160_00)
    month.count()
    order.receive(told(inquiry(DisputeStatus.NEEDS_RESPONSE, "160.00")))
    assert held_lines(order) == ("a",)
    month.count(at=ENDS + timedelta(days=1))
    assert month.owed() == (0, 0)
    order.receive(told(dispute(DisputeStatus.UNDER_REVIEW, "40.00")))  # withdrawn: a refund of a quarter
    assert held_lines(order) == ()
    month.count(at=ENDS + timedelta(days=2))
    assert month.owed() == (2_00, 0)
    order.receive(told(dispute(DisputeStatus.WON, "40.00")))
    month.count(at=ENDS + timedelta(days=3))
    assert month.owed() == (6_00, 0)


def bought_by_the_creator(order: Decided) -> None:
    attribution = order.known.attribution
    assert attribution is not None
    order.known.attribute(replace(attribution, own_link=True), at=AT)
    order.journals += order.known.resplit(order.terms, at=AT)


def test_an_own_purchase_counts_once_it_is_released() -> None:
    month = Month()
    order = month.sell(a=160_00)
    bought_by_the_creator(order)
    month.count()
    assert month.owed() == (0, 0)
    release(order.known, HoldKind.OWN_LINK, payee_id=None, line_id=None, at=AT, **BY)
    order.journals += order.known.resplit(order.terms, at=AT)
    month.count(at=ENDS + timedelta(days=1))
    assert month.owed() == (6_00, 0)


def credit(order: Decided, creator_id: str) -> None:
    reattribute(order.known, creator_id=creator_id, campaign_id=None, at=AT, **BY)
    order.journals += order.known.resplit(order.terms, at=AT)


def test_a_held_order_that_is_credited_to_another_is_held_for_him_too_unless_only_the_first_was_held() -> None:
    his = replace(KEY, creator_id="crt_2")
    for payee_id, counts in ((None, (0, 0)), (CREATOR, (6_00, 0))):
        month = Month()
        order = month.sell(a=160_00)
        order.hold(payee_id=payee_id)
        credit(order, "crt_2")
        assert held_lines(order) == (("a",) if payee_id is None else ())
        month.count(key=his)
        assert month.owed("crt_2") == counts


def test_an_order_that_came_to_nothing_is_held_as_the_campaign_it_is_credited_to_says() -> None:
    month = Month()
    order = month.sell(a=160_00)
    details = CampaignDetails(id="cmp_1", organization_id=ORGANIZATION, name="Slow", slug="slow", hold_days=40)
    order.terms = replace(order.terms, campaigns={"cmp_1": KnownCampaign(position=1, details=details)})
    order.receive(StandaloneRefund(order_external_id="1", refund=refund(1, {"a": "160.00"}, paid="160.00")))
    reattribute(order.known, creator_id=CREATOR, campaign_id="cmp_1", at=AT, **BY)
    assert order.known.resplit(order.terms, at=AT) == [], "no money moves"
    assert order.known.terms is not None
    assert order.known.terms.hold_days == 40
    assert holding_days(KEY, month.placed()) == 40
    events = len(order.known.pending_events)
    order.known.resplit(order.terms, at=AT)
    assert len(order.known.pending_events) == events, "once"


def test_a_seller_who_collects_is_billed_for_what_is_released_and_it_waits_for_its_money() -> None:
    month = Month(store={"settlement": Settlement.SELLER_COLLECTED})
    month.sell(a=160_00)
    suspect = month.sell(a=300_00)
    suspect.hold()
    month.count()
    receivable = f"seller:{ORGANIZATION}:receivable"
    assert (month.balances[receivable], month.owed()) == (-6_00, (6_00, 0))
    assert month.true_up is not None
    month.true_up.release(by="key:finance", reason="paid", at=ENDS)
    month.clear(ENDS + HOLD)
    assert month.owed() == (0, 6_00)
    released(suspect)
    month.count(at=ENDS + timedelta(days=20))
    month.clear(ENDS + timedelta(days=99))
    assert (month.balances[receivable], month.owed()) == (-36_00, (30_00, 6_00))
    month.true_up.release(by="key:finance", reason="paid", at=ENDS + timedelta(days=99))
    month.clear(ENDS + timedelta(days=99))
    assert month.owed() == (0, 36_00)


def test_a_cap_takes_off_what_the_seller_paid_and_tiers_add_to_what_he_has_to_pay() -> None:
    store = {"settlement": Settlement.SELLER_COLLECTED}
    capped = rule("rul_1", rate_bps=1000, cap_per_month=myr(15_00))
    for advance, ruled, counts in (
        (False, capped, (0, -1_00)),
        (True, capped, (-17_00, -17_00)),
        (False, marginal((100_00, 2000)), (22_00, 22_00)),
    ):
        month = Month(rule=ruled, store=store | {"advance": advance})
        orders = [month.sell(a=160_00), month.sell(a=160_00)]
        month.count()
        assert month.true_up is not None
        assert month.true_up.standing.amount == counts[0]
        orders[0].known.settle(orders[0].known.unsettled - 1, account_id="sac_1", number=1, at=AT)
        month.count(at=ENDS)
        assert month.true_up.standing.amount == counts[0], "a part is not enough"
        orders[0].known.settle(1, account_id="sac_1", number=2, at=AT)
        month.count(at=ENDS)
        assert month.true_up.standing.amount == counts[1]
        orders[0].known.take_back(2, account_id="sac_1", number=3, at=AT)
        month.count(at=ENDS)
        assert month.true_up.standing.amount == counts[0]
        journals = orders[0].known.resplit(orders[0].terms, at=AT)
        assert journals == []


def test_a_split_of_before_it_said_whether_it_waits_counts_as_it_did_and_is_no_change_by_itself() -> None:
    month = Month(
        rule=rule("rul_1", rate_bps=1000, cap_per_month=myr(15_00)), store={"settlement": Settlement.SELLER_COLLECTED}
    )
    known = month.sell(a=160_00).known
    assert known.split is not None
    known.new_events()
    known.split = replace(known.split, waits_for_seller=None)
    month.count()
    assert month.owed() == (0, -1_00)
    known.settle(known.unsettled, account_id="sac_1", number=1, at=AT)
    assert [type(event) for event in known.new_events()] == [OrderSettled], "it counted all the same"


def test_a_split_of_before_it_said_what_is_held_counts_as_it_did_and_is_no_change_by_itself() -> None:
    month = Month()
    order = month.sell(a=160_00)
    known = order.known
    assert known.split is not None
    known.new_events()
    known.split, known.split_from = replace(known.split, held_lines=None), None
    assert known.resplit(order.terms, at=AT) == []
    assert known.new_events() == []
    month.count()
    assert month.owed() == (6_00, 0)
    hold(known, payee_id=None, line_id=None, at=AT, **BY)
    known.resplit(order.terms, at=AT)
    assert [event.split.held_lines for event in known.new_events() if isinstance(event, OrderSplit)] == [("a",)]


RULES = st.sampled_from(
    [
        marginal((100_00, 2000), (300_00, 5000)),
        marginal((50_00, 1500), below=0),
        rule("rul_1", rate_bps=1000, cap_per_month=myr(30_00)),
        rule("rul_1", rate_bps=1000, cap_per_month=myr(30_00), cap_per_day=myr(9_00)),
    ]
)
STORES = st.sampled_from(
    [
        {},
        {"settlement": Settlement.SELLER_COLLECTED},
        {"settlement": Settlement.SELLER_COLLECTED, "advance": True},
    ]
)


class Lived:
    """An order that lives at random; beside it, told apart from the domain, what of it is held, and the same order of
    which nothing ever was."""

    def __init__(self, month: Month, random: Random, number: int) -> None:
        self.month, self.random, self.number = month, random, number
        self.lines = {name: random.randrange(1, 200_00) for name in "abc"[: random.randint(1, 3)]}
        self.order = month.sell(**self.lines)
        self.plain = Decided(self.order.terms)
        self.plain.receive(renamed(snapshot(self.lines), str(number)))
        self.reviews: set[tuple[str | None, str | None]] = set()
        self.own_link = random.random() < 0.2
        if self.own_link:
            bought_by_the_creator(self.order)
        self.dispute: Iterator[tuple[News, bool]] = iter(())
        self.disputed = self.inquired = False
        self.refunds = 0

    def happen(self) -> None:
        self.random.choice(
            [self.hold, self.hold, self.release, self.refund, self.tell_dispute, self.release_own_link, self.pay]
        )()

    def pay(self) -> None:
        """The seller pays what he owes for it or a part, or is given back what he paid too much."""
        owed = self.order.known.unsettled
        amount = owed if owed < 0 or self.random.random() < 0.6 else self.random.randint(1, max(owed, 1))
        for each in (self.order, self.plain):
            if owed:
                each.known.settle(amount, account_id="sac_1", number=1, at=AT)

    def hold(self) -> None:
        payee_id = self.random.choice([None, None, ORGANIZATION, CREATOR])
        line_id = self.random.choice([None, *self.lines])
        self.order.hold(payee_id=payee_id, line_id=line_id)
        self.reviews.add((payee_id, line_id))

    def release(self) -> None:
        if self.reviews:
            payee_id, line_id = self.random.choice(sorted(self.reviews, key=str))
            review = next(
                each
                for each in self.order.known.decisions.holds
                if (each.payee_id, each.line_id) == (payee_id, line_id)
            )
            self.order.release(review)
            self.reviews.remove((payee_id, line_id))

    def release_own_link(self) -> None:
        if self.own_link:
            release(self.order.known, HoldKind.OWN_LINK, payee_id=None, line_id=None, at=AT, **BY)
            self.order.journals += self.order.known.resplit(self.order.terms, at=AT)
            self.own_link = False

    def refund(self) -> None:
        self.refunds += 1
        name = self.random.choice(list(self.lines))
        amount = f"{self.random.randrange(1, self.lines[name] + 1) / 100:.2f}"
        self.receive(
            StandaloneRefund(
                order_external_id=str(self.number), refund=refund(self.refunds, {name: amount}, paid=amount)
            )
        )

    def tell_dispute(self) -> None:
        """The next step of its one dispute: an inquiry or a chargeback, withdrawn or not, lost, won or left open."""
        if not self.disputed:
            self.disputed, self.dispute = True, iter(self.steps())
        step = next(self.dispute, None)
        if step is not None:
            news, self.inquired = step
            self.receive(news)

    def steps(self) -> list[tuple[News, bool]]:
        amount = f"{sum(self.lines.values()) / 100 / self.random.choice([1, 2, 3]):.2f}"
        opened = dispute(DisputeStatus.NEEDS_RESPONSE, amount, withdrawn_at=None)
        asked = replace(opened, kind=DisputeKind.INQUIRY)
        last = self.random.choice([DisputeStatus.WON, DisputeStatus.LOST])
        ways: list[list[tuple[Any, bool]]] = [
            [(asked, True), (inquiry(DisputeStatus.WON, amount), False)],
            [(asked, True), (opened, True), (dispute(DisputeStatus.UNDER_REVIEW, amount), False)],
            [(asked, True), (dispute(DisputeStatus.UNDER_REVIEW, amount), False), (dispute(last, amount), False)],
            [(opened, True), (dispute(last, amount, withdrawn_at=None), False)],
        ]
        return [(renamed(told(each), str(self.number)), holds) for each, holds in self.random.choice(ways)]

    def receive(self, news: News) -> None:
        self.order.receive(news)
        self.plain.receive(news)

    def is_held(self, line_id: str) -> bool:
        return (
            self.inquired
            or self.own_link
            or any(payee in (None, CREATOR) and line in (None, line_id) for payee, line in self.reviews)
        )

    def what_counts(self) -> PlacedSplit:
        """As if the held lines were not there."""
        plain = placed(self.plain)
        lines = tuple(line for line in plain.split.lines if not self.is_held(line.line_id or ""))
        return replace(plain, split=replace(plain.split, lines=lines, held_lines=()))


def counted_at_once(rule: RuleDetails, orders: Sequence[PlacedSplit]) -> TrueUp:
    return TrueUp.count(KEY, orders, rule=lambda *_: rule, position=9, timezone="UTC", at=ENDS)


@given(RULES, STORES, SEEDS, st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_in_whatever_order_the_true_up_is_that_of_what_is_not_held(
    rule: RuleDetails, store: dict[str, Any], seed: int, count: int
) -> None:
    random, month = Random(seed), Month(rule=rule, store=store)
    orders = [Lived(month, random, number) for number in range(1, count + 1)]
    now = ENDS
    for _ in range(random.randint(1, 16)):
        now += timedelta(days=random.randrange(9))
        random.choice(orders).happen()
        for each in orders:
            assert held_lines(each.order) == tuple(name for name in each.lines if each.is_held(name))
        if random.random() < 0.4:
            month.count(at=now)
            assert month.true_up is not None
            assert month.true_up.stands(month.placed(), rule=lambda *_: rule, timezone="UTC")
            check(month, counted_at_once(rule, [each.what_counts() for each in orders]))
        if month.true_up is not None and random.random() < 0.3:
            month.clear(now)
    month.count(at=now)
    once = counted_at_once(rule, [each.what_counts() for each in orders])
    check(month, once)
    journals = month.journals
    month.count(at=now)
    assert month.journals == journals, "counted again without a change, nothing is posted"


def check(month: Month, once: TrueUp) -> None:
    assert month.true_up is not None
    standing, wanted = month.true_up.standing, once.standing
    assert (standing.target, standing.amount, standing.receivable) == (
        wanted.target,
        wanted.amount,
        wanted.receivable,
    )
    for payee_id in (CREATOR, ORGANIZATION):
        known = [claim for claim in wanted.claims if claim.payee_id == payee_id]
        assert sum(month.owed(payee_id)) == sum(claim.net for claim in known)
        assert month.owed(payee_id)[0] >= 0, "what is owed back is owed at once"
    assert sum(month.balances.values()) == 0
    commission = {
        paid: sum(
            line.net_commission
            for each in month.orders
            if each.known.split is not None
            and (not paid or each.known.unsettled <= 0 or each.terms.organization.advance)
            for line in each.known.split.counting_lines
        )
        for paid in (False, True)
    }
    if standing.amount < 0:
        assert standing.amount == standing.target - commission[True], "it takes off what is paid, and nothing else"
    else:
        assert standing.amount in (standing.target - commission[False], standing.target - commission[True])
