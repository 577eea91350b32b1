"""The promise: whatever is sold, refunded, paid, charged and credited in any order, the balance of a seller's
receivable is the credit of his account less what is unsettled of his orders, and nothing clears that he has not paid.
"""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_money import AT, ORGANIZATION, SEEDS, Played, terms
from tests.golden.shapes import FOLDER
from tests.scenarios.stories import PLACED_AT, shuffled, story

from colink.adapters.postgres.mapper import EventMapper
from colink.domain.ledger import Posting, Purpose, seller_receivable
from colink.domain.order_decisions import OrderSettled, OrderSettlementTakenBack
from colink.domain.orders import Order
from colink.domain.organizations import Settlement
from colink.domain.seller_account_events import (
    SellerAccountChanged,
    SellerAccountDetails,
    SellerAccountOpened,
    booked,
    credited,
)
from colink.domain.seller_accounts import SellerAccount, beside_orders

RECEIVABLE = seller_receivable(ORGANIZATION)


class Billed:
    """Orders of a seller who collects the money himself, his account, and what all of it posted to his receivable."""

    def __init__(self, random: Random, *, advance: bool) -> None:
        self.random = random
        known = terms(settlement=Settlement.SELLER_COLLECTED, advance=advance)
        self.orders = [Played(known) for _ in range(4)]
        self.untold = [
            shuffled(story(random.randrange(10**9), external_id=str(number)).deliveries, random)
            for number in range(len(self.orders))
        ]
        self.advance = advance
        self.payments: list[int] = []
        self.account = SellerAccount.open(ORGANIZATION, "MYR", since=0, at=AT)
        self.beside = 0
        self.position = 0
        self.entries: list[tuple[int, Order, int]] = []

    @property
    def told(self) -> list[Order]:
        return [played.order for played in self.orders if played.order is not None]

    @property
    def balance(self) -> int:
        return self.beside + sum(amount for _, _, amount in self.entries)

    def happen(self) -> None:
        """Anything that may happen next."""
        random, amount = self.random, self.random.randint(1, 20_000)
        self.position += 1
        match random.choice(("deliver", "deliver", "pay", "bounce", "back", "book", "allocate", "allocate", "clear")):
            case "deliver":
                self.deliver()
            case "pay":
                self.account.credit(f"spm_{self.position}", amount, at=AT)
                self.beside += amount
                self.payments.append(amount)
                if self.told and random.random() < 0.3:
                    named = random.sample(self.told, random.randint(1, len(self.told)))
                    self.account.allocate(taking=[(0, order) for order in named], at=AT)
            case "book":
                amount = random.choice((amount, -amount))
                self.account.book(amount, journal_id=f"jrn_{self.position}", cause_id="bkg_1", at=AT)
                self.beside += amount
            case "bounce" if self.payments:
                amount = self.payments.pop(random.randrange(len(self.payments)))
                self.account.return_payment("spm_1", amount, at=AT)
                self.beside -= amount
                if random.random() < 0.5:
                    self.take_back(page=random.randint(1, 3))
            case "back":
                self.take_back(page=random.randint(1, 3))
            case "allocate":
                self.allocate()
            case _:
                if self.advance or not self.account.details.returned:  # as a clearing does (clear_order.py)
                    for played in self.orders:
                        if played.order is not None:
                            played.clear(until=random.choice((PLACED_AT, AT)))

    def take_back(self, *, page: int) -> None:
        """As a return and the worker do: the newest first, a page at a time."""
        first = {order.id: at for at, order, _ in reversed(self.entries)}
        newest = sorted(self.told, key=lambda order: -first.get(order.id, 0))
        candidates = [(first.get(order.id, 0), order) for order in newest if order.returnable]
        before, settled = self.account.details, sum(order.decisions.settled for order in self.told)
        self.account.take_back(candidates[:page], exhausted=len(candidates) <= page, at=AT)
        details = self.account.details
        taken = settled - sum(order.decisions.settled for order in self.told)
        assert 0 <= taken <= before.returned
        assert details.owed == before.owed - taken, "what is taken back pays for what was returned"
        assert 0 <= details.returned <= details.owed
        if details.returned < before.returned - taken:
            assert not any(order.returnable for order in self.told), "only what has cleared stays owed"

    def deliver(self) -> None:
        number = self.random.randrange(len(self.orders))
        played, untold = self.orders[number], self.untold[number]
        if not untold:
            return
        posted = len(played.journals)
        self.position += 1
        played.receive(untold.pop())
        assert played.order is not None
        for journal in played.journals[posted:]:
            for posting in journal.postings:
                if posting.account == RECEIVABLE:
                    assert posting.purpose is Purpose.RECEIVABLE
                    self.entries.append((self.position, played.order, posting.amount))

    def allocate(self) -> None:
        """As the worker does: what lies behind the positions that the account has reached."""
        details, taking = self.account.details, {}
        giving = [order for at, order, amount in self.entries if at > details.credited_to and amount > 0]
        for at, order, _ in self.entries:
            if at > details.settled_to:
                taking.setdefault(order.id, (at, order))
        before = {order.id: order.unsettled for order in self.told}
        self.account.allocate(
            giving=giving,
            taking=list(taking.values()),
            credited_to=self.position,
            settled_to=self.position,
            at=AT,
        )
        if details.credit < 0 and self.account.details.credit < 0:
            assert all(before[order.id] >= order.unsettled or before[order.id] < 0 for order in self.told)
            assert not any(before[order.id] > order.unsettled >= 0 for order in self.told), "the charge comes first"

    def check(self) -> None:
        assert self.balance == self.account.details.credit - sum(order.unsettled for order in self.told)


@given(seed=SEEDS, steps=st.integers(1, 60), advance=st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_receivable_is_what_account_and_orders_say(seed: int, steps: int, advance: bool) -> None:
    billed = Billed(Random(seed), advance=advance)
    for _ in range(steps):
        billed.happen()
        billed.check()
    while any(billed.untold):
        billed.deliver()
    billed.position += 1
    billed.allocate()
    billed.check()
    left = billed.account.details.credit
    assert left <= 0 or all(order.unsettled <= 0 for order in billed.told), "nothing paid is left lying"
    assert all(order.unsettled >= 0 for order in billed.told), "and nothing paid too much stays with an order"


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_an_account_goes_on_from_its_details_as_from_its_events(seed: int) -> None:
    billed = Billed(Random(seed), advance=False)
    for _ in range(30):
        billed.happen()
    events = billed.account.new_events()
    again: SellerAccount | None = None
    for event in events:
        again = event.mutate(again)
    assert again is not None
    standing = SellerAccount.standing(billed.account.details, version=len(events), at=AT)
    for account in (again, standing):
        account.book(-7, journal_id="jrn_1", cause_id="bkg_1", at=AT)
    [one], [other] = again.new_events(), standing.new_events()
    assert one == other
    assert one.originator_version == len(events) + 1


def test_only_what_is_posted_to_a_receivable_beside_orders_is_an_accounts() -> None:
    postings = [
        Posting(account=account, amount=amount, currency=currency, purpose=purpose)
        for account, amount, currency, purpose in (
            ("seller:org_1:receivable", 5, "MYR", Purpose.TRUE_UP),
            ("seller:org_1:receivable", -2, "MYR", Purpose.MANUAL),
            ("seller:org_1:receivable", 100, "MYR", Purpose.RECEIVABLE),
            ("seller:org_1:receivable", 3, "SGD", Purpose.WRITE_OFF),
            ("seller:org_2:receivable", 7, "MYR", Purpose.SELLER_PAYMENT),
            ("seller:org_2:receivable", -7, "MYR", Purpose.MANUAL),
            ("payee:org_1:available", -9, "MYR", Purpose.MANUAL),
        )
    ]
    assert beside_orders(postings) == {("org_1", "MYR"): 3, ("org_1", "SGD"): 3}


def test_a_charge_is_covered_before_anything_is_settled() -> None:
    details = SellerAccountDetails(id="sac_1", organization_id="org_1", currency="MYR", since=0)
    charged = booked(details, -500, held=200, uncovered=0)
    assert (charged.credit, charged.held, charged.owed) == (-500, 200, 500)
    assert (credited(charged, 300).owed, credited(charged, 600).owed) == (200, 0)


@pytest.mark.parametrize("topic", ["opened", "credited", "allocated", "invoiced"])
def test_an_account_of_before_has_still_to_adopt_what_was_charged(topic: str) -> None:
    payload = msgspec.json.decode((FOLDER / f"seller_account.{topic}.v1.json").read_bytes())["payloads"][0]
    event = EventMapper().event("sac_1", 1, f"seller_account.{topic}", msgspec.json.encode(payload).decode())
    assert isinstance(event, SellerAccountOpened | SellerAccountChanged)
    details = event.details
    assert (details.since, details.held, details.returned) == (None, 0, 0)
    assert details.credit == payload["details"]["credit"]


def test_orders_say_what_allocations_say() -> None:
    billed = Billed(Random(1), advance=False)
    for _ in range(300):
        billed.happen()
    allocated = [
        (each.order_id, each.amount)
        for event in billed.account.new_events()
        for each in getattr(event, "allocations", ())
    ]
    settled = [
        (order.id, event.amount if isinstance(event, OrderSettled) else -event.amount)
        for order in billed.told
        for event in order.new_events()
        if isinstance(event, OrderSettled | OrderSettlementTakenBack)
    ]
    assert sorted(allocated) == sorted(settled)
    assert allocated
