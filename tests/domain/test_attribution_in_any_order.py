"""Promise: whatever the touches and keys of an order are, their order and number decide nothing, and each decision is
sound."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.domain.touches import DAY, PLACED, SECOND, WEEK, decide, touch

from colink.domain.attribution import Attribution, CouponUse, OrderKeys, Outcome, merge_keys
from colink.domain.tracking import SeenTouch, SetAside, TouchKind

touches_drawn = st.lists(
    st.builds(
        touch,
        st.integers(0, 10**6).map("clk_{}".format),
        ago=st.sampled_from(
            [-SECOND, timedelta(0), SECOND, timedelta(hours=1), timedelta(hours=2), DAY, WEEK, WEEK + SECOND]
        ),
        kind=st.sampled_from(TouchKind),
        creator=st.sampled_from(["cre_ana", "cre_ben", "cre_cat"]),
        campaign=st.sampled_from([None, "cmp_plain", "cmp_short", "cmp_click_first"]),
        host=st.sampled_from([None, "kedai.example"]),
        position=st.integers(1, 110),
        set_aside=st.sampled_from([None, None, None, SetAside.BOT]),
    ),
    max_size=12,
    unique_by=(lambda seen: seen.details.id, lambda seen: seen.position),
)
keys_drawn = st.builds(
    OrderKeys,
    click_ids=st.lists(st.sampled_from(["clk_1", "clk_2", "clk_3"])).map(tuple),
    visitor_ids=st.lists(st.sampled_from(["vis_1", "vis_2"])).map(tuple),
    coupons=st.lists(
        st.builds(
            CouponUse,
            code=st.sampled_from(["ANA10", "ana10", "Ben", "WEAK", "FAR", "X"]),
            discount=st.integers(0, 3),
            ordinal=st.integers(0, 2),
        ),
        max_size=4,
    ).map(tuple),
    customer_ref=st.sampled_from([None, "ref_a", "ref_b"]),
)


@given(touches_drawn, keys_drawn, st.randoms(use_true_random=False))
def test_the_order_of_touches_does_not_matter(touches: list[SeenTouch], keys: OrderKeys, random: Random) -> None:
    shuffled = list(touches)
    random.shuffle(shuffled)
    decision = decide(*touches, keys=keys)
    assert decide(*shuffled, *shuffled[:2], keys=keys) == decision
    assert_sound(decision, touches)


def assert_sound(decision: Attribution, touches: Sequence[SeenTouch]) -> None:
    """What holds of every decision, found without the code under test."""
    winners = [c for c in decision.candidates if c.reason == "winner"]
    assert len(winners) == (decision.outcome is not Outcome.NONE)
    assert {c.touch_id for c in decision.candidates if c.touch_id} == {seen.details.id for seen in touches}
    for c in decision.candidates:
        assert c.accepted is (c.reason in {"winner", "supporting"})
        assert not (c.accepted and (c.set_aside or c.occurred_at > PLACED or c.creator_id != decision.creator_id))
    if decision.outcome is Outcome.VIEW:
        assert not [c for c in decision.candidates if c.kind is Outcome.COUPON]


@given(keys_drawn, keys_drawn, keys_drawn)
def test_keys_merge_in_any_order_and_number(a: OrderKeys, b: OrderKeys, c: OrderKeys) -> None:
    assert merge_keys(a, b) == merge_keys(b, a)
    assert merge_keys(merge_keys(a, b), c) == merge_keys(a, merge_keys(b, c))
    merged = merge_keys(a, b)
    assert merge_keys(merged, merged) == merged
    assert merge_keys(merged, a) == merged


def test_merged_keys_are_canonical() -> None:
    a = OrderKeys(click_ids=("clk_2", "clk_1"), coupons=(CouponUse(code="BEN", discount=5, ordinal=1),))
    b = OrderKeys(
        click_ids=("clk_1",),
        coupons=(CouponUse(code="ana10", discount=3, ordinal=1), CouponUse(code="Ben", discount=4, ordinal=0)),
        customer_ref="ref_b",
    )
    assert merge_keys(a, b) == OrderKeys(
        click_ids=("clk_1", "clk_2"),
        coupons=(CouponUse(code="ben", discount=5, ordinal=0), CouponUse(code="ana10", discount=3, ordinal=1)),
        customer_ref="ref_b",
    )
    assert merge_keys(b, OrderKeys(customer_ref="ref_a")).customer_ref == "ref_a"
