"""The model's own arithmetic, by the examples of the semantics: a second opinion that is wrong is none."""

from __future__ import annotations

import pytest

from colink.simulation.model.amounts import fine, half_even, minor, shared_out
from colink.simulation.model.deliveries import Told, read_refund
from colink.simulation.model.money import money_at

TERMS = {
    "organization": "org",
    "store": "sto",
    "fee_bps": 500,
    "keeps_fee": False,
    "fee_rate_bps": 0,
    "fee_fixed": 0,
    "platform_collected": True,
}
TEN_PERCENT = {"id": "rule.1", "rate_bps": 1000, "cap": None}


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"), [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (1, 3, 0), (2, 3, 1)]
)
def test_rounds_half_to_even(numerator: int, denominator: int, rounded: int) -> None:
    assert half_even(numerator, denominator) == rounded


def test_what_is_left_goes_to_the_largest_remainders_and_ties_to_the_earlier() -> None:
    assert shared_out(2935, [19566, 19567, 19567]) == [978, 979, 978]
    assert shared_out(1, [5, 5]) == [1, 0]
    assert shared_out(7, [0, 0]) == [0, 0]


def test_reads_amounts_exactly() -> None:
    assert minor(fine("195.665"), "MYR") == 19566
    assert minor(fine("-4"), "JPY") == -4
    assert minor(fine("0.0005"), "KWD") == 0


def _line(line_id: str, base: int) -> dict[str, object]:
    return {"id": line_id, "base": base, "no_base": False, "quantity": 1, "current": 1, "product": None}


def _paid(status: str, at: int) -> dict[str, object]:
    lines = [_line("1", 19566), _line("2", 19567), _line("3", 19567)]
    told = {"version": (at,), "updated_at": at, "status": status, "paid_in_full": True, "gone": False, "refunds": []}
    return told | {"lines": lines, "total": 59894, "taxes_included": False}


def test_the_example_of_the_semantics() -> None:
    """Section 5, `order_partially_refunded.json`: both refunded lines end fully reversed, 209.00 went back."""
    refund = {
        "id": "1",
        "at": 2,
        "amount_only": 0,
        "detail": 2,
        "lines": [("1", 1, 19567, 0), ("2", 1, 19566, 0)],
        "transactions": {"1": ("success", 20900)},
    }
    money = money_at([_paid("paid", 1)], [refund], terms=TERMS, creator="cre", rule_of=lambda _: TEN_PERCENT)

    assert money is not None
    assert money["lines"] == {
        "1": (19566, 19566, 0, 0, 0, 0),
        "2": (19567, 19567, 0, 0, 0, 0),
        "3": (19567, 0, 978, 1957, 0, 16632),
    }
    assert money["owed"][None, "org"] == 1194 + 39133 - 20900
    assert sum(money["others"].values()) + sum(money["owed"].values()) == 0


@pytest.mark.parametrize(
    ("transactions", "reversed_", "cash"),
    [
        ([("gift_card", "50.00", "failure")], 0, 0),
        ([("gift_card", "50.00", "pending")], 5_000, 0),
        ([("gift_card", "50.00", "success")], 5_000, 0),
        ([("bank", "10.00", "failure"), ("gift_card", "40.00", "success")], 5_000, 0),
        ([("bank", "10.00", "error"), ("gift_card", "40.00", "failure")], 0, 0),
        ([("bank", "10.00", "success"), ("gift_card", "40.00", "failure")], 5_000, 1_000),
        ([("bank", "0.00", "failure")], 0, 0),
    ],
)
def test_what_goes_back_onto_a_gift_card_is_no_cash_and_may_fail(
    transactions: list[tuple[str, str, str]], reversed_: int, cash: int
) -> None:
    told = {
        "id": 7,
        "processed_at": "1970-01-01T00:00:02Z",
        "order_adjustments": [{"kind": "refund_discrepancy", "amount": "-50.00"}],
        "refund_shipping_lines": [],
        "refund_line_items": [],
        "transactions": [
            {"id": n, "kind": "refund", "gateway": gateway, "amount": amount, "status": status}
            for n, (gateway, amount, status) in enumerate(transactions)
        ],
    }
    refund = read_refund(told, "MYR")
    money = money_at([_paid("paid", 1)], [refund], terms=TERMS, creator="cre", rule_of=lambda _: TEN_PERCENT)

    assert money is not None
    assert sum(line[1] for line in money["lines"].values()) == reversed_
    assert money["cash"] == cash


def test_of_two_tellings_of_a_refund_the_fuller_counts_from_the_earlier_time() -> None:
    def told(lines: int, at: str, status: str) -> dict[str, object]:
        line = {"line_item_id": 1, "quantity": 1, "subtotal": "1.00", "total_tax": "0"}
        return {
            "id": 7,
            "processed_at": at,
            "order_adjustments": [],
            "refund_shipping_lines": [],
            "refund_line_items": [line] * lines,
            "transactions": [{"id": 9, "kind": "refund", "status": status, "amount": "1.00"}],
        }

    tellings = [
        read_refund(told(2, "1970-01-01T00:01:00Z", "pending"), "MYR"),
        read_refund(told(1, "1970-01-01T00:00:30Z", "success"), "MYR"),
    ]
    for order in (tellings, tellings[::-1]):
        everything = Told()
        for refund in order:
            everything.take_refund(refund)
        (refund,) = everything.refunds.values()
        assert (len(refund["lines"]), refund["at"], refund["transactions"]) == (2, 30, {"9": ("success", 100)})
