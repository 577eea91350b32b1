"""What makes an order cheap to decide changes no number: sums told in one go, indexes, and work that is left out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import timedelta
from fractions import Fraction
from random import Random
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_money import AT, ORGANIZATION, SEEDS, STORE, Played, rule, terms
from tests.scenarios.stories import PLACED_AT, shuffled, story

from colink.domain.claims import cash_claims, net_claims, refund_claims, sale_claims
from colink.domain.commission import KnownRule, Scope, SoldLine, rule_for
from colink.domain.ids import natural_id
from colink.domain.merge import MergedOrder, history, merge_snapshot, same_money
from colink.domain.money import Money, allocate, round_half_even
from colink.domain.organizations import Settlement
from colink.domain.snapshots import OrderSnapshot
from colink.domain.split import Claim
from colink.domain.terms import KnownCoupon, Terms
from colink.domain.tracking import CouponDetails
from colink.domain.value import replace


@given(seed=SEEDS, order=SEEDS, settlement=st.sampled_from(Settlement), clear_after=st.integers(1, 6))
@settings(max_examples=250, deadline=None)
def test_a_delivery_that_changes_nothing_would_have_changed_nothing(
    seed: int, order: int, settlement: Settlement, clear_after: int
) -> None:
    """An order whose money has not moved is not split again; splitting it again gives what is posted."""
    known = terms(settlement=settlement)
    played = Played(known)
    for number, news in enumerate(shuffled(story(seed).deliveries, Random(order)), 1):
        played.receive(news)
        if number == clear_after:
            played.clear(until=PLACED_AT + timedelta(days=15))
        assert played.order is not None
        assert played.order.resplit(known, at=AT) == []
        if played.order.attribution is not None:
            assert played.order.next_split(known) == played.order.split


@given(seed=SEEDS, settlement=st.sampled_from(Settlement), refund_platform_fee=st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_a_payee_is_owed_is_the_sale_less_refunds_and_cash(
    seed: int, settlement: Settlement, refund_platform_fee: bool
) -> None:
    played = Played(terms(settlement=settlement, refund_platform_fee=refund_platform_fee))
    for news in story(seed).deliveries:
        played.receive(news)
        split = played.order.split if played.order else None
        if split is None:
            continue
        parts: Counter[tuple[str | None, str]] = Counter()
        for component in (sale_claims, refund_claims, cash_claims):
            parts.update(component(split, ORGANIZATION, settlement=settlement))
        assert net_claims(split, ORGANIZATION, settlement=settlement) == parts


@given(seed=SEEDS, order=SEEDS)
@settings(max_examples=300, deadline=None)
def test_two_states_tell_the_same_money_if_they_do_at_every_time(seed: int, order: int) -> None:
    """Against the obvious comparison: the content of every state of the history."""
    told = shuffled(story(seed).deliveries, Random(order))
    snapshots = [news for news in told if isinstance(news, OrderSnapshot)]

    def content(order: MergedOrder) -> object:
        return (
            order.placed_at,
            order.facts.tenders,
            [
                (known.at, known.money.lines, known.money.taxes_included, known.money.payment_fee, *known[2:])
                for known in history(order)
            ],
        )

    state = MergedOrder()
    for snapshot in snapshots:
        after = merge_snapshot(state, snapshot)
        assert same_money(state, after) == (content(state) == content(after))
        assert merge_snapshot(after, snapshot) is after
        state = after


@given(numerator=st.integers(-(10**20), 10**20), denominator=st.integers(1, 10**12))
def test_rounding_is_that_of_exact_fractions(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))
    assert round_half_even(2 * numerator + 1, 2) == round(Fraction(2 * numerator + 1, 2))


@given(total=st.integers(-(10**6), 10**6), weights=st.lists(st.integers(0, 10**5), min_size=1, max_size=8))
def test_an_allocation_is_the_floor_and_a_unit_for_the_largest_remainders(total: int, weights: list[int]) -> None:
    parts, whole = allocate(total, weights), sum(weights)
    assert sum(parts) == total
    if whole:
        sign = -1 if total < 0 else 1
        remainders = [abs(total) * weight % whole for weight in weights]
        ranked = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
        lucky = set(ranked[: sum(remainders) // whole])
        assert parts == [sign * (abs(total) * w // whole + (index in lucky)) for index, w in enumerate(weights)]


@given(st.text())
def test_a_part_of_an_id_is_encoded_where_it_has_to_be(part: str) -> None:
    try:
        expected = quote(part, safe="-_~").replace(".", "%2E")
    except UnicodeEncodeError:
        return
    assert natural_id("ord", "sto_1", part) == f"ord_sto_1.{expected}"


AMOUNTS = st.sampled_from([{"rate_bps": 1000}, {"rate_bps": 700}, {"fixed": Money(90, "MYR")}])
TARGETS = st.sampled_from(
    [
        (Scope.DEFAULT, None),
        (Scope.PRODUCT, "prd_1"),
        (Scope.PRODUCT, "prd_2"),
        (Scope.SKU, "sku_1"),
        (Scope.CAMPAIGN, "cmp_1"),
    ]
)


@given(
    rules=st.lists(st.tuples(TARGETS, AMOUNTS, st.sampled_from([None, "crt_1", "crt_2"])), max_size=8),
    product_id=st.sampled_from([None, "prd_1", "prd_3"]),
    sku_id=st.sampled_from([None, "sku_1"]),
    known_at=st.integers(0, 9),
)
def test_rules_looked_up_by_what_they_are_for_are_those_that_win(rules, product_id, sku_id, known_at) -> None:
    details = [
        rule(f"rul_{number}", scope=scope, target_id=target, creator_id=creator, **amount)
        for number, ((scope, target), amount, creator) in enumerate(rules)
    ]
    every = Terms(
        position=9,
        organization=terms().organization,
        stores=terms().stores,
        campaigns={},
        rules=tuple(KnownRule(position=position, details=each) for position, each in enumerate(details, 1)),
        coupons=(),
    )
    then = every.known_at(known_at)

    def chosen(among: object) -> object:
        line = SoldLine(
            placed_at=PLACED_AT,
            currency="MYR",
            campaign=None,
            creator_id="crt_1",
            product_id=product_id,
            sku_id=sku_id,
        )
        return rule_for(line, among)

    found = then.rules_for(creator_id="crt_1", campaign_id=None, sku_id=sku_id, product_id=product_id)
    assert chosen(found) == chosen([known for known in every.rules if known.position <= known_at])
    assert then.rules == tuple(known for known in every.rules if known.position <= known_at)


def test_a_coupon_is_found_by_store_and_code_as_known_at_a_position() -> None:
    def coupon(position: int, creator_id: str, *, store_id: str = STORE) -> KnownCoupon:
        details = CouponDetails(
            id=f"cpn_{position}", organization_id=ORGANIZATION, store_id=store_id, code="Aina", creator_id=creator_id
        )
        return KnownCoupon(position=position, details=details)

    coupons = (coupon(3, "crt_1"), coupon(5, "crt_2", store_id="sto_2"), coupon(7, "crt_3"))
    known = dataclasses.replace(terms(), coupons=coupons)
    assert known.coupon(STORE, "aina") == coupons[2]
    assert known.known_at(6).coupon(STORE, "aina") == coupons[0]
    assert known.known_at(6).known_at(2).coupon(STORE, "aina") is None
    assert known.known_at(6).coupon("sto_2", "aina") == coupons[1]


def test_a_changed_value_is_another_value() -> None:
    claim = Claim(line_id="1", payee_id="crt_1", net=5)
    changed = replace(claim, net=7)
    assert (claim.net, changed) == (5, Claim(line_id="1", payee_id="crt_1", net=7))
    assert hash(replace(changed, net=5)) == hash(claim)


def test_an_aggregate_is_created_once() -> None:
    (snapshot, *_) = [news for news in story(1).deliveries if isinstance(news, OrderSnapshot)]
    played = Played(terms())
    played.receive(snapshot)
    assert played.order is not None
    created = played.order.new_events()[0]
    with pytest.raises(ValueError, match="created before"):
        created.mutate(played.order)
