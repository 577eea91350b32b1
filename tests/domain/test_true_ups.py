"""Promise: what a creator earns in a period is a function of the set of its orders, exact to the minor unit; posted
is what that comes to less what the orders posted, however often it is counted (semantics section 4, decision 22)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.audit.report import Pass, PassResult
from colink.domain.audit.true_ups import TrueUpReplay
from colink.domain.commission import RuleDetails, Scope
from colink.domain.ledger import JournalPosted, check_postings_balance, payee_available, payee_pending
from colink.domain.money import Money
from colink.domain.organizations import Settlement
from colink.domain.split import Claim, LineSplit, PinnedTerms, RulePeriod, RuleRef, Split, Tranche
from colink.domain.tiers import Tier, TierMode, Tiers
from colink.domain.true_up_counts import (
    NOTHING,
    Ageing,
    Earned,
    PeriodKey,
    PlacedSplit,
    cleared,
    counted_again,
    earned_by,
    held_and_due,
    target,
)
from colink.domain.true_up_journals import journals_of
from colink.domain.true_ups import TrueUp, TrueUpCleared
from colink.domain.value import replace

ENDS = datetime(2026, 4, 1, tzinfo=UTC)
KEY = PeriodKey(organization_id="org_1", rule_id="rul_1", creator_id="cre_1", currency="MYR", period="2026-03")


def rule(version: int = 1, **changes: Any) -> RuleDetails:
    given_ = {"id": "rul_1", "organization_id": "org_1", "scope": Scope.DEFAULT, "rate_bps": 1000}
    return RuleDetails(version=version, **(given_ | changes))


def myr(amount: int) -> Money:
    return Money(amount, "MYR")


def earned(commission: int, *, base: int = 0, version: int = 1, day: str = "2026-03-10") -> Earned:
    return Earned(version=version, day=day, by_us=True, base=base, commission=commission)


MARGINAL = Tiers(
    mode=TierMode.MARGINAL,
    steps=(Tier(from_revenue=myr(100), rate_bps=2000), Tier(from_revenue=myr(300), rate_bps=5000)),
)


@pytest.mark.parametrize(
    ("versions", "parts", "expected"),
    [
        ([rule(cap_per_month=myr(50))], [earned(30), earned(30, day="2026-03-11")], 50),
        ([rule(cap_per_month=myr(50))], [earned(30)], 30),
        ([rule(cap_per_day=myr(20))], [earned(30), earned(15, day="2026-03-11")], 35),
        ([rule(cap_per_day=myr(20), cap_per_month=myr(30))], [earned(30), earned(15, day="2026-03-11")], 30),
        ([rule(tiers=MARGINAL)], [earned(10, base=100)], 10),
        ([rule(tiers=MARGINAL)], [earned(20, base=200)], 30),
        ([rule(tiers=MARGINAL)], [earned(40, base=400)], 10 + 40 + 50),
        ([rule(tiers=MARGINAL, cap_per_month=myr(60))], [earned(40, base=400)], 60),
        # 0.5 of a unit rounds to the even one.
        ([rule(tiers=MARGINAL, rate_bps=100)], [earned(1, base=50)], 0),
        # A later version goes on where the earlier one stopped, and takes nothing away.
        ([rule(1, cap_per_month=myr(50)), rule(2, cap_per_month=myr(80))], [earned(60), earned(60, version=2)], 80),
        ([rule(1, cap_per_month=myr(80)), rule(2, cap_per_month=myr(50))], [earned(60), earned(60, version=2)], 60),
        (
            [rule(1, tiers=MARGINAL), rule(2, tiers=MARGINAL)],
            [earned(10, base=100), earned(20, base=200, version=2)],
            50,
        ),
    ],
)
def test_what_the_orders_of_a_period_come_to(
    versions: Sequence[RuleDetails], parts: Sequence[Earned], expected: int
) -> None:
    known = {each.version: each for each in versions}
    assert target(parts, known.__getitem__) == expected


def order(
    commission: int,
    *,
    base: int = 1000,
    reversed_base: int = 0,
    hold_days: int = 14,
    settlement: Settlement = Settlement.PLATFORM_COLLECTED,
    advance: bool = False,
    day: int = 10,
    creator_id: str = "cre_1",
) -> PlacedSplit:
    return PlacedSplit(
        placed_at=datetime(2026, 3, day, 12, tzinfo=UTC),
        terms=PinnedTerms(
            position=1,
            platform_fee_bps=500,
            refund_platform_fee=True,
            hold_days=hold_days,
            settlement=settlement,
            advance=advance,
            payment_fee=None,
            keeps_rates=True,
        ),
        split=Split(
            currency="MYR",
            creator_id=creator_id,
            collected=base,
            cash_refunded=0,
            lines=(
                LineSplit(
                    line_id="1",
                    product_id=None,
                    sku_id=None,
                    quantity=1,
                    base=base,
                    platform_fee=0,
                    commission=commission,
                    payment_fee=0,
                    rule=RuleRef(id="rul_1", version=1, scope=Scope.DEFAULT),
                    reversed_base=reversed_base,
                    reversed_commission=commission * reversed_base // base,
                ),
            ),
            claims=(),
            discrepancies=(),
            clears_at=None,
            periods=(RulePeriod(rule_id="rul_1", period="2026-03", ends_at=ENDS),),
        ),
    )


def test_only_orders_of_the_creator_in_the_period_count() -> None:
    orders = [order(100), order(70, creator_id="cre_2"), order(50, reversed_base=500)]
    (part,) = earned_by(KEY, orders, timezone="UTC")
    assert (part.base, part.commission) == (1500, 125)


class Book:
    """A true-up and what its journals come to."""

    def __init__(self, **terms: Any) -> None:
        self.rule = rule(**terms)
        self.true_up: TrueUp | None = None
        self.balances: dict[str, int] = {}

    def count(self, *orders: PlacedSplit, at: datetime = ENDS) -> None:
        counting = {"rule": lambda *_: self.rule, "position": 9, "timezone": "UTC", "at": at}
        if self.true_up is None:
            self.true_up = TrueUp.count(KEY, orders, **counting)
        else:
            self.true_up.recount(orders, **counting)
        self._post()

    def clear(self, at: datetime) -> bool:
        assert self.true_up is not None
        moved = self.true_up.clear(at=at)
        self._post()
        return moved

    def _post(self) -> None:
        assert self.true_up is not None
        for event in self.true_up.new_events():
            for journal in journals_of(event):  # type: ignore[arg-type]  # a true-up has no other events
                (posted,) = journal.new_events()
                assert isinstance(posted, JournalPosted)
                check_postings_balance(posted.postings)
                for posting in posted.postings:
                    self.balances[posting.account] = self.balances.get(posting.account, 0) + posting.amount

    def of(self, payee_id: str) -> tuple[int, int]:
        """Pending and available."""
        return (
            self.balances.get(payee_pending(payee_id), 0),
            self.balances.get(payee_available(payee_id), 0),
        )


def test_a_credit_waits_for_the_longest_hold_after_the_period() -> None:
    book = Book(tiers=MARGINAL)
    book.count(order(100), order(100, hold_days=30))
    assert (book.of("cre_1"), book.of("org_1")) == ((700, 0), (0, -700))
    assert not book.clear(ENDS + timedelta(days=30) - timedelta(seconds=1))
    assert book.clear(ENDS + timedelta(days=30))
    assert book.of("cre_1") == (0, 700)


def test_a_cap_bites_at_once_and_gives_the_seller_a_credit_that_waits() -> None:
    book = Book(cap_per_month=myr(150))
    book.count(order(100), order(100))
    assert (book.of("cre_1"), book.of("org_1")) == ((0, -50), (50, 0))
    book.clear(ENDS + timedelta(days=14))
    assert book.of("org_1") == (0, 50)
    book.count(order(100), order(100, reversed_base=1000), at=ENDS + timedelta(days=20))  # a refund releases the cap
    assert (book.of("cre_1"), book.of("org_1")) == ((0, 0), (0, 0))


def test_a_credit_that_cleared_and_is_taken_back_leaves_a_debt() -> None:
    book = Book(tiers=MARGINAL)
    book.count(order(100))
    book.clear(ENDS + timedelta(days=14))
    book.count(order(100, reversed_base=1000), at=ENDS + timedelta(days=20))
    assert book.of("cre_1") == (0, 0)
    assert book.of("org_1") == (0, 0)


def test_what_the_seller_collects_is_billed_and_held_unless_it_advances() -> None:
    collected = {"settlement": Settlement.SELLER_COLLECTED}
    for advance in (False, True):
        book = Book(tiers=MARGINAL)
        book.count(order(100, **collected, advance=advance))
        assert book.of("org_1") == (0, 0)
        assert book.balances["seller:org_1:receivable"] == -book.of("cre_1")[0]
        assert book.clear(ENDS + timedelta(days=99)) is advance


HIS = {"settlement": Settlement.SELLER_COLLECTED}


def waiting(order: PlacedSplit, *claims: Claim) -> PlacedSplit:
    """It waits for its seller's money; `claims` of the creator."""
    return replace(order, split=replace(order.split, waits_for_seller=True, claims=claims))


def of_creator(net: int, cleared: int, *, line_id: str = "1", held: int = 0) -> Claim:
    return Claim(line_id=line_id, payee_id="cre_1", net=net, cleared=cleared, held=held)


@pytest.mark.parametrize(
    ("claim", "base", "commission"),
    [
        (of_creator(201, 200), 2001, 200),  # 2000.995
        (of_creator(201, 201), 2011, 201),
        (of_creator(201, 500), 2011, 201),  # it was more once: K stays, N is what there is
        (of_creator(201, 100), 1000, 100),  # 1000.4975
        (of_creator(201, 1), 10, 1),  # 10.0049
        (of_creator(201, 0), 0, 0),
        (of_creator(201, 200, line_id="2"), 0, 0),
        (replace(of_creator(201, 200), payee_id="cre_2"), 0, 0),
    ],
)
def test_what_is_available_of_an_order_that_waits_is_capped(claim: Claim, base: int, commission: int) -> None:
    """200 of another order, at most 250: without what is available nothing is taken off, and the creator has both."""
    paid, open_ = order(200, base=2000, **HIS), waiting(order(201, base=2011, **HIS), claim)
    known = rule(cap_per_month=myr(250))
    how: dict[str, Any] = {"rule": lambda *_: known, "timezone": "UTC", "effective_at": ENDS, "at": ENDS}
    earned_, hold_days, count = counted_again(NOTHING, KEY, [paid, open_], **how)
    assert [(each.base, each.commission) for each in earned_] == [(2000 + base, 200 + commission)]
    assert (count.amount, count.receivable) == (min(50 - commission, 0), min(50 - commission, 0))
    assert hold_days == 14
    before, _, count = counted_again(NOTHING, KEY, [paid, open_], **how, ageing=Ageing.WITH_ORDERS)
    assert ([(each.base, each.commission) for each in before], count.amount) == ([(2000, 200)], 0)


def test_of_an_order_that_waits_what_refunds_reversed_is_not_counted_twice() -> None:
    half = waiting(order(200, base=2000, reversed_base=1000, **HIS), of_creator(100, 50))
    known = rule(cap_per_month=myr(20))
    how: dict[str, Any] = {"rule": lambda *_: known, "timezone": "UTC", "effective_at": ENDS, "at": ENDS}
    (part,), _, count = counted_again(NOTHING, KEY, [half], **how)
    assert (part.base, part.commission, count.amount) == (500, 50, -30)


def test_an_order_that_waits_adds_whole_where_nothing_is_taken_off() -> None:
    known = rule(tiers=MARGINAL)
    how: dict[str, Any] = {"rule": lambda *_: known, "timezone": "UTC", "effective_at": ENDS, "at": ENDS}
    _, _, count = counted_again(NOTHING, KEY, [waiting(order(40, base=400, **HIS), of_creator(40, 10))], **how)
    assert count.amount == 10 + 40 + 50 - 40


def test_what_only_the_true_up_gives_is_held_from_when_it_is_counted_first() -> None:
    """By a rate of 0 nobody is owed anything of the order, so nothing says that it was paid in May."""
    nothing_said = order(0, base=400, **HIS, advance=True)
    dated = replace(nothing_said, split=replace(nothing_said.split, claims=(_maturing(ENDS),)))
    refunded = order(0, base=400, reversed_base=400, **HIS, advance=True)
    late, fortnight = ENDS + timedelta(days=30), timedelta(days=14)
    for orders, counted_at, due_at in (
        ([nothing_said], ENDS, ENDS + fortnight),
        ([nothing_said], late, late + fortnight),
        ([dated, nothing_said], late, late + fortnight),
        ([dated], late, ENDS + fortnight),
        ([dated, refunded], late, ENDS + fortnight),
    ):
        book = Book(tiers=MARGINAL, rate_bps=0)
        book.count(*orders, at=counted_at)
        assert book.true_up is not None
        assert book.true_up.standing.clears_at == due_at, (len(orders), counted_at)


def _maturing(due_at: datetime) -> Claim:
    return Claim(line_id="1", payee_id="cre_1", net=1, maturing=(Tranche(due_at=due_at, amount=1),))


def test_that_something_cleared_is_remembered_whatever_is_taken_back() -> None:
    book = Book(tiers=MARGINAL)
    book.count(order(100))
    assert book.true_up is not None
    assert not book.true_up.has_cleared
    book.clear(ENDS + timedelta(days=14))
    assert book.true_up.has_cleared
    collected = order(100, **HIS)
    book.count(at=ENDS + timedelta(days=15))
    book.count(collected, at=ENDS + timedelta(days=16))
    assert [claim.cleared for claim in book.true_up.standing.claims if claim.payee_id == "cre_1"] == [0]
    assert book.true_up.has_cleared


def waiting_twice() -> Book:
    """700 more by marginal tiers, released and due a fortnight after the period; then 500 more, which wait."""
    collected = {"settlement": Settlement.SELLER_COLLECTED}
    book = Book(tiers=MARGINAL)
    book.count(order(100, **collected), order(100, **collected))
    assert book.true_up is not None
    book.true_up.release(by="worker", reason="paid", amount=700, at=ENDS)
    book.count(order(100, **collected), order(100, **collected), order(0, **collected), at=ENDS + timedelta(days=4))
    assert (book.true_up.standing.amount, book.true_up.standing.held) == (1200, 500)
    return book


def test_what_waits_for_the_sellers_money_keeps_nothing_that_was_paid() -> None:
    """What is held came last, as what is not due did: they are the same money and are not kept back twice."""
    book = waiting_twice()
    assert book.true_up is not None
    count, first, second = book.true_up.standing, ENDS + timedelta(days=14), ENDS + timedelta(days=18)
    assert [held_and_due(count, at=at) for at in (first, second - timedelta(seconds=1), second)] == [0, 0, 500]
    assert book.clear(first)
    assert book.of("cre_1") == (500, 700)
    assert not book.clear(second)
    book.true_up.release(by="worker", reason="paid", amount=250, at=second)
    assert book.clear(second)
    assert book.of("cre_1") == (250, 950)
    book.true_up.release(by="key:finance", reason="as agreed", at=second + timedelta(days=1))
    assert not book.clear(second + timedelta(hours=1)), "when it was released, not before"
    assert book.clear(second + timedelta(days=1))
    assert book.of("cre_1") == (0, 1200)


def test_what_was_cleared_by_the_rule_of_before_stays_right() -> None:
    """It kept back what is held and what is not due, one beside the other."""
    standing = waiting_twice().true_up
    assert standing is not None
    first, kept = ENDS + timedelta(days=14), standing.standing
    for ageing, available in ((Ageing.WITH_ORDERS, 700), (Ageing.APART, 200)):
        result, replay = PassResult(audit_pass=Pass.COMMISSION), TrueUpReplay()
        event = TrueUpCleared(
            originator_id=KEY.id,
            originator_version=4,
            timestamp=first,
            organization_id="org_1",
            creator_id="cre_1",
            currency="MYR",
            due_at=first,
            before=kept,
            count=cleared(kept, at=first, ageing=ageing),
        )
        assert event.count.claims[0].available == available
        replay.follow(replace(event, count=kept))
        replay.feed(9, event, result)
        assert result.findings == []
        more = tuple(replace(claim, cleared=claim.cleared + 1) for claim in event.count.claims)
        replay.follow(replace(event, count=kept))
        replay.feed(9, replace(event, count=replace(event.count, claims=more)), result)
        assert len(result.findings) == 1


ORDERS = st.lists(
    st.builds(
        order,
        st.integers(0, 400),
        base=st.integers(400, 1000),
        reversed_base=st.integers(0, 400),
        settlement=st.sampled_from(Settlement),
        day=st.integers(1, 31),
    ),
    min_size=1,
    max_size=5,
)
RULES = st.sampled_from(
    [
        {"cap_per_month": myr(300)},
        {"cap_per_month": myr(300), "cap_per_day": myr(90)},
        {"tiers": MARGINAL},
        {"tiers": MARGINAL, "cap_per_month": myr(500)},
    ]
)


@given(RULES, ORDERS, st.lists(st.integers(0, 5), max_size=4), st.permutations(range(5)))
def test_in_whatever_order_orders_come_the_creator_ends_with_the_same(
    terms: dict[str, Any], orders: list[PlacedSplit], counted_after: list[int], places: Sequence[int]
) -> None:
    shuffled = [orders[place] for place in places if place < len(orders)]
    at_once, bit_by_bit = Book(**terms), Book(**terms)
    at_once.count(*orders)
    for number in sorted(counted_after):
        bit_by_bit.count(*shuffled[:number])
    bit_by_bit.count(*shuffled)
    for payee_id in ("cre_1", "org_1"):
        assert sum(bit_by_bit.of(payee_id)) == sum(at_once.of(payee_id))
        assert bit_by_bit.of(payee_id)[0] >= 0
    assert at_once.true_up is not None
    wanted = at_once.true_up.standing.target
    posted = sum(each.split.lines[0].net_commission for each in orders)
    assert posted + sum(at_once.of("cre_1")) == wanted
    if "cap_per_month" in terms:
        assert wanted <= terms["cap_per_month"].amount


def test_lines_of_a_version_that_does_not_count_by_the_month_are_none_of_it() -> None:
    """A cut that was put off: one order has a line of the version before, which has no cap."""
    versions = {1: rule(), 2: rule(2, cap_per_month=myr(250))}
    mixed = order(200, base=2000)
    (line,) = mixed.split.lines
    new = replace(line, rule=RuleRef(id="rul_1", version=2, scope=Scope.DEFAULT))
    mixed = replace(mixed, split=replace(mixed.split, lines=(new, replace(line, line_id="2", commission=600))))
    how: dict[str, Any] = {"rule": lambda _, version: versions[version], "timezone": "UTC"}
    how |= {"effective_at": ENDS, "at": ENDS}
    (part,), _, count = counted_again(NOTHING, KEY, [mixed], **how)
    assert (part.version, part.commission, count.amount) == (2, 200, 0)
    _, _, before = counted_again(NOTHING, KEY, [mixed], **how, ageing=Ageing.WITH_ORDERS)
    assert before.amount == -200, "as it was counted once"
