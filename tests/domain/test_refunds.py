"""Refunds are cumulative: any number of partial refunds that add up to everything equals one full refund."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_order_money import CREATOR, ORGANIZATION, STORE, Played, rule, terms
from tests.scenarios.stories import PLACED_AT

from colink.application.record_order import StandaloneRefund
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.commission import Scope
from colink.domain.ledger import JournalKind
from colink.domain.money import Money
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)
from colink.domain.split import LineSplit


def snapshot(
    bases: dict[str, int], *, total: int | None = None, quantity: int = 1, **changes: object
) -> OrderSnapshot:
    order = OrderSnapshot(
        external_id="1",
        number="#1",
        currency="MYR",
        placed_at=PLACED_AT,
        updated_at=PLACED_AT,
        status=FinancialStatus.PAID,
        cancelled=False,
        test=False,
        taxes_included=False,
        lines=tuple(
            OrderLine(line_id=line_id, quantity=quantity, base=base, sku_external_id=f"v{line_id}")
            for line_id, base in bases.items()
        ),
        total_price=sum(bases.values()) if total is None else total,
        total_outstanding=0,
        keys=OrderKeys(coupons=(CouponUse(code="AINA10", discount=0, ordinal=0),)),
        refunds=(),
        digest="a",
        payment_fee=0,
    )
    return replace(order, **changes)


def refund(
    number: int,
    lines: dict[str, str],
    *,
    amount_only: str = "0",
    paid: str | None = None,
    status: TransactionStatus = TransactionStatus.SUCCESS,
    tax: str = "0",
) -> Refund:
    return Refund(
        refund_id=str(number),
        processed_at=PLACED_AT + timedelta(hours=number),
        lines=tuple(
            RefundLine(line_id=line_id, quantity=0, subtotal=Decimal(subtotal), tax=Decimal(tax))
            for line_id, subtotal in lines.items()
        ),
        amount_only=Decimal(amount_only),
        transactions=(
            (RefundTransaction(transaction_id=f"t{number}", amount=Decimal(paid), status=status),) if paid else ()
        ),
        detail=len(lines),
        digest=f"r{number}",
    )


def lines_after(order: OrderSnapshot, *refunds: Refund, played: Played | None = None) -> dict[str | None, LineSplit]:
    played = played or Played(terms())
    played.receive(order)
    for each in refunds:
        played.receive(StandaloneRefund(order_external_id="1", refund=each))
    assert played.order is not None
    assert played.order.split is not None
    return {line.line_id: line for line in played.order.split.lines}


@given(
    bases=st.lists(st.integers(min_value=1, max_value=10**7), min_size=1, max_size=4),
    cuts=st.lists(st.integers(min_value=0, max_value=10**7), max_size=6),
    rate_bps=st.integers(min_value=0, max_value=9500),
)
@settings(max_examples=150, deadline=None)
def test_partial_refunds_that_add_up_equal_one_full_refund(bases: list[int], cuts: list[int], rate_bps: int) -> None:
    by_line = {str(number): base for number, base in enumerate(bases, 1)}
    order = snapshot(by_line)

    def parts_of(base: int) -> list[int]:
        points = sorted({0, base, *(cut for cut in cuts if cut < base)})
        return [end - start for start, end in itertools.pairwise(points)]

    pieces = {line_id: parts_of(base) for line_id, base in by_line.items()}
    partial = [
        refund(
            number,
            {
                line_id: str(Decimal(parts[number - 1]) / 100)
                for line_id, parts in pieces.items()
                if number <= len(parts)
            },
        )
        for number in range(1, max(len(parts) for parts in pieces.values()) + 1)
    ]
    known = terms(rules=(rule("rul_1", rate_bps=rate_bps),))
    in_parts, at_once = Played(known), Played(known)
    assert lines_after(order, *partial, played=in_parts) == lines_after(
        order, refund(1, {line_id: str(Decimal(base) / 100) for line_id, base in by_line.items()}), played=at_once
    )
    assert in_parts.sums() == at_once.sums()
    for line in lines_after(order, *partial).values():
        assert line.seller_take == line.net_commission == line.net_platform_fee == 0


def test_reversal_of_a_part_is_rounded_half_even_on_the_whole_line() -> None:
    line = lines_after(snapshot({"1": 1000}), refund(1, {"1": "3.33"}))["1"]
    assert (line.reversed_base, line.reversed_platform_fee, line.reversed_commission) == (333, 17, 33)
    assert line.seller_take == 850 - (333 - 17 - 33)


def test_what_exceeds_a_line_spills_to_the_other_lines_of_that_refund_only() -> None:
    lines = lines_after(snapshot({"1": 100, "2": 100, "3": 100}), refund(1, {"1": "1.30", "2": "0.20"}))
    assert [lines[id_].reversed_base for id_ in ("1", "2", "3")] == [100, 50, 0]


@pytest.mark.parametrize("told", [(0, 1), (1, 0)])
@pytest.mark.parametrize("hours_apart", [1, 0])
def test_refunds_take_effect_in_order_of_processing_whatever_came_first(
    told: tuple[int, int], hours_apart: int
) -> None:
    """The earlier refund's excess takes half of line 2, so the later one's spills to its own line 3, not to 4."""
    first, second = refund(1, {"1": "1.50", "2": "0"}), refund(2, {"2": "1.00", "3": "0"})
    both = (first, replace(second, processed_at=first.processed_at + timedelta(hours=hours_apart)))
    lines = lines_after(snapshot({"1": 100, "2": 100, "3": 100, "4": 100}), *(both[index] for index in told))
    assert [lines[id_].reversed_base for id_ in ("1", "2", "3", "4")] == [100, 100, 50, 0]


def test_money_without_lines_is_spread_over_what_is_left() -> None:
    lines = lines_after(snapshot({"1": 100, "2": 300}), refund(1, {"1": "1.00"}), refund(2, {}, amount_only="0.90"))
    assert [lines[id_].reversed_base for id_ in ("1", "2")] == [100, 90]


def test_more_than_the_order_is_a_discrepancy_and_moves_no_money() -> None:
    played = Played(terms())
    lines = lines_after(
        snapshot({"1": 100}), refund(1, {"1": "1.50", "77": "9.00"}, amount_only="5.00"), played=played
    )
    assert lines["1"].reversed_base == 100
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.discrepancies == (
        "refund 1 names line 77, which the order does not have",
        "refunds exceed what was left of the order by 550",
    )


def test_money_without_lines_does_not_count_when_all_its_transactions_failed() -> None:
    failed = refund(1, {}, amount_only="0.50", paid="0.50", status=TransactionStatus.FAILURE)
    played = Played(terms())
    assert lines_after(snapshot({"1": 100}), failed, played=played)["1"].reversed_base == 0
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.cash_refunded == 0


PENDING, SUCCESS, FAILURE = TransactionStatus


def by(*transactions: tuple[str, TransactionStatus]) -> Refund:
    """0.50 of a line of 1.00, without lines, by transactions of this cash and status."""
    parts = tuple(
        RefundTransaction(transaction_id=f"t{number}", amount=Decimal(cash), status=status)
        for number, (cash, status) in enumerate(transactions)
    )
    return replace(refund(1, {}, amount_only="0.50"), transactions=parts)


@pytest.mark.parametrize(
    ("transactions", "reversed_", "cash"),
    [
        ([], 50, 0),
        ([("0", PENDING)], 50, 0),
        ([("0", SUCCESS)], 50, 0),
        ([("0", FAILURE)], 0, 0),
        ([("0", FAILURE), ("0", FAILURE)], 0, 0),
        ([("0.10", FAILURE), ("0", SUCCESS)], 50, 0),
        ([("0.10", FAILURE), ("0", PENDING)], 50, 0),
        ([("0.10", FAILURE), ("0", FAILURE)], 0, 0),
        ([("0.10", SUCCESS), ("0", FAILURE)], 50, 10),
    ],
)
def test_what_no_cash_went_back_by_counts_unless_all_failed(
    transactions: list[tuple[str, TransactionStatus]], reversed_: int, cash: int
) -> None:
    """What goes back onto a gift card is a transaction without cash."""
    played = Played(terms())
    assert lines_after(snapshot({"1": 100}), by(*transactions), played=played)["1"].reversed_base == reversed_
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.cash_refunded == cash


def test_a_gift_card_that_cannot_be_filled_after_all_takes_nothing_back() -> None:
    """However it is told: first pending and then failed, late, or by a program that left out what is no cash."""
    for tellings in itertools.permutations([by(), by(("0", PENDING)), by(("0", FAILURE))]):
        assert lines_after(snapshot({"1": 100}), *tellings)["1"].reversed_base == 0


def test_no_cash_is_none_in_any_currency() -> None:
    foreign = by(("0", SUCCESS))
    foreign = replace(foreign, transactions=(replace(foreign.transactions[0], currency="EUR"),))
    played = Played(terms())
    lines_after(snapshot({"1": 100}), foreign, played=played)
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.discrepancies == ()


def test_cash_in_another_currency_is_a_discrepancy_but_its_lines_count() -> None:
    foreign = refund(1, {"1": "0.50"}, paid="0.11")
    foreign = replace(foreign, transactions=(replace(foreign.transactions[0], currency="EUR"),))
    played = Played(terms())
    assert lines_after(snapshot({"1": 100}), foreign, played=played)["1"].reversed_base == 50
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.cash_refunded == 0
    assert played.order.split.discrepancies == (
        "transaction t1 gave back 0.11 EUR, the order is in MYR: its cash is not booked",
    )


def test_what_is_refunded_of_a_gift_card_spills_to_no_other_line() -> None:
    order = snapshot({"1": 1000, "2": 0}, total=6000)
    order = replace(order, lines=(order.lines[0], replace(order.lines[1], carries_base=False)))
    assert lines_after(order, refund(1, {"2": "50.00"}))["1"].reversed_base == 0


def test_a_transaction_told_twice_in_one_body_is_one_and_the_same_refund_again_is_no_news() -> None:
    once = refund(1, {"1": "4.00"}, paid="4.00")
    other = replace(once.transactions[0], transaction_id="a0", amount=Decimal("1.00"))
    twice = replace(once, transactions=(*once.transactions, *once.transactions, other))
    played = Played(terms())
    lines_after(snapshot({"1": 1000}), twice, played=played)
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.cash_refunded == 500
    version = played.order.version
    played.receive(StandaloneRefund(order_external_id="1", refund=twice))
    assert played.order.version == version


def test_a_free_order_is_charged_no_payment_fee() -> None:
    lines = lines_after(snapshot({"1": 0}, total=0, payment_fee=None))
    assert (lines["1"].payment_fee, lines["1"].seller_take) == (0, 0)


def available(played: Played) -> dict[tuple[str | None, str], int]:
    """What is available by now, by line and payee."""
    return {
        (line_id, account.split(":")[1]): amount
        for (line_id, account), amount in played.sums().items()
        if account.endswith(":available")
    }


def day(number: int) -> datetime:
    return PLACED_AT + timedelta(days=number)


def test_what_an_edit_takes_off_a_line_is_due_a_holding_period_after_the_edit() -> None:
    """The line's base becomes the seller's pass-through, which the buyer may yet be owed: it waits again."""
    played = Played(terms())
    played.receive(snapshot({"1": 9000}))
    played.clear(until=day(14))
    assert available(played) == {("1", CREATOR): 900, ("1", ORGANIZATION): 7650}
    played.receive(snapshot({"1": 2000}, total=9000, updated_at=day(19), digest="b"))
    played.clear(until=day(32))
    assert available(played) == {("1", CREATOR): 200, ("1", ORGANIZATION): 1700}
    played.clear(until=day(33))
    assert available(played)[None, ORGANIZATION] == 7000


def test_shipping_added_later_is_due_later_and_shipping_paid_first_is_not_delayed() -> None:
    later = Played(terms())
    later.receive(snapshot({"1": 10000}))
    later.receive(snapshot({"1": 10000}, total=11000, updated_at=day(20), digest="b"))
    later.clear(until=day(33))
    assert (None, ORGANIZATION) not in available(later)
    later.clear(until=day(34))
    assert available(later)[None, ORGANIZATION] == 1000

    first = Played(terms())
    first.receive(snapshot({"1": 500}, total=1500))
    first.receive(snapshot({"1": 500, "2": 10000}, total=11500, updated_at=day(10), digest="b"))
    first.clear(until=day(14))
    assert available(first)[None, ORGANIZATION] == 1000


def test_what_comes_back_after_a_cancel_is_due_and_cleared_after_it_came_back() -> None:
    """As of any day, nothing is available before it was there."""
    played = Played(terms())
    played.receive(snapshot({"1": 10000}))
    played.receive(snapshot({"1": 10000}, cancelled=True, updated_at=day(2), digest="b"))
    played.clear(until=day(29))
    assert available(played) == {}
    played.receive(snapshot({"1": 10000}, updated_at=day(30), digest="c"))
    played.clear(until=day(43))
    assert available(played) == {}
    played.clear(until=day(44))
    assert available(played) == {("1", CREATOR): 1000, ("1", ORGANIZATION): 8500}
    assert played.journals[-1].effective_at == day(44)


@pytest.mark.parametrize("processed", [5, 6])
def test_a_refund_and_the_snapshot_that_shows_it_happened_together(processed: int) -> None:
    """The unit that left reverses its share only as long as no refund explains it: never for a moment in between."""
    sold = snapshot({"1": 30000}, quantity=3)
    given_back = replace(
        refund(1, {"1": "1.00"}),
        processed_at=day(processed),
        lines=(RefundLine(line_id="1", quantity=1, subtotal=Decimal("1.00"), tax=Decimal(0)),),
    )
    shown = replace(
        sold,
        status=FinancialStatus.PARTIALLY_REFUNDED,
        lines=(replace(sold.lines[0], current_quantity=2),),
        refunds=(given_back,),
        updated_at=day(5),
        digest="b",
    )
    played = Played(terms())
    played.receive(sold)
    played.receive(shown)
    played.clear(until=day(14))
    assert available(played) == {("1", CREATOR): 2990, ("1", ORGANIZATION): 25415}


@pytest.mark.parametrize("worker_comes", [15, 21])
def test_when_a_clearing_takes_effect_does_not_depend_on_when_the_worker_comes(worker_comes: int) -> None:
    played = Played(terms())
    played.receive(snapshot({"1": 10000}))
    if worker_comes == 15:
        played.clear(until=day(15))
    played.receive(snapshot({"1": 12000}, updated_at=day(20), digest="b"))
    played.clear(until=day(21))
    (clearing,) = (journal for journal in played.journals if journal.kind is JournalKind.CLEARING)
    assert clearing.effective_at == day(14)
    assert available(played)["1", CREATOR] == 1000


def test_what_was_collected_stays_collected_when_an_edit_lowers_the_total() -> None:
    """Only money that really went back lowers it: until then the difference is the seller's pass-through."""
    played = Played(terms())
    lines_after(snapshot({"1": 9000}), played=played)
    played.receive(snapshot({"1": 2000}, updated_at=day(1), digest="b"))
    assert played.order is not None
    assert played.order.split is not None
    assert played.order.split.collected == 9000
    assert played.sums()[None, f"payee:{ORGANIZATION}:pending"] == 7000


def test_a_coupon_told_late_clears_with_its_sale_but_not_before_it_was_posted() -> None:
    """The commission is due with the sale; as of a day before it was credited it is not available."""
    played = Played(terms())
    played.receive(snapshot({"1": 10000}, keys=OrderKeys()))
    told = OrderKeys(coupons=(CouponUse(code="AINA10", discount=0, ordinal=0),))
    played.receive(snapshot({"1": 10000}, keys=told, updated_at=day(20), digest="b"))
    played.clear(until=day(21))
    assert available(played)["1", CREATOR] == 1000
    (clearing,) = (journal for journal in played.journals if journal.kind is JournalKind.CLEARING)
    assert clearing.effective_at == day(20)


def test_money_owed_to_the_buyer_delays_nothing_else() -> None:
    """A refund without cash yet is held; shipping, paid long before, clears on its own day."""
    played = Played(terms())
    played.receive(snapshot({"1": 9000}, total=10000))
    given_back = replace(refund(1, {"1": "50.00"}), processed_at=day(10))
    played.receive(StandaloneRefund(order_external_id="1", refund=given_back))
    played.clear(until=day(14))
    assert available(played)[None, ORGANIZATION] == 1000


def test_money_given_back_late_frees_nothing_that_is_not_due() -> None:
    """Held for the buyer and not due yet are different money here."""
    played = Played(terms())
    played.receive(snapshot({"1": 9000}, total=10000))
    played.receive(StandaloneRefund(order_external_id="1", refund=refund(24, {"1": "50.00"})))
    played.receive(snapshot({"1": 9000}, total=20000, updated_at=day(10), digest="b"))
    played.clear(until=day(23))
    assert available(played)[None, ORGANIZATION] == 1000
    played.clear(until=day(24))
    assert available(played)[None, ORGANIZATION] == 11000


@pytest.mark.parametrize("told", [(0, 1), (1, 0)])
def test_money_is_due_a_holding_period_after_the_first_payment_whatever_came_first(told: tuple[int, int]) -> None:
    """What an edit added is due a holding period after the edit."""
    sold = snapshot({"1": 1000})
    edited = snapshot({"1": 1000, "2": 500}, updated_at=PLACED_AT + timedelta(days=10), digest="b")
    played = Played(terms())
    for index in told:
        played.receive((sold, edited)[index])
    played.clear(until=PLACED_AT + timedelta(days=14))
    cleared = {key: amount for key, amount in played.sums().items() if key[1].endswith(":available")}
    assert cleared == {("1", f"payee:{CREATOR}:available"): 100, ("1", f"payee:{ORGANIZATION}:available"): 850}
    played.clear(until=PLACED_AT + timedelta(days=24))
    assert played.sums()["2", f"payee:{CREATOR}:available"] == 50


def test_refund_lines_count_at_once_whatever_became_of_the_transaction() -> None:
    pending = refund(1, {"1": "0.50"}, paid="0.50", status=TransactionStatus.PENDING)
    assert lines_after(snapshot({"1": 100}), pending)["1"].reversed_base == 50


def test_tax_in_the_price_is_no_base_of_a_refund_either() -> None:
    order = snapshot({"1": 943}, total=1000, taxes_included=True)
    assert lines_after(order, refund(1, {"1": "10.00"}, tax="0.57"))["1"].reversed_base == 943


def test_units_that_left_without_a_refund_line_reverse_their_share() -> None:
    order = snapshot({"1": 1000}, quantity=3)
    order = replace(order, lines=(replace(order.lines[0], current_quantity=2),))
    assert lines_after(order)["1"].reversed_base == 333


@pytest.mark.parametrize("status", [FinancialStatus.REFUNDED, FinancialStatus.PAID])
def test_refunded_and_cancelled_orders_reverse_everything_and_hold_the_pass_through(status: FinancialStatus) -> None:
    order = snapshot({"1": 1000}, total=1600, status=status, cancelled=status is FinancialStatus.PAID)
    played = Played(terms())
    assert lines_after(order, played=played)["1"].reversed_base == 1000
    assert played.order is not None
    assert played.order.split is not None
    (claim,) = (claim for claim in played.order.split.claims if claim.line_id is None)
    assert (claim.net, claim.held) == (1600, 1600)
    assert played.order.split.clears_at is None


def test_an_organisation_may_keep_its_platform_fee() -> None:
    played = Played(terms(refund_platform_fee=False))
    line = lines_after(snapshot({"1": 1000}), refund(1, {"1": "10.00"}), played=played)["1"]
    assert (line.net_platform_fee, line.net_commission, line.seller_take) == (50, 0, -50)


def test_a_fixed_amount_is_capped_at_what_the_platform_fee_leaves_and_reversed_by_money() -> None:
    known = terms(rules=(rule("rul_f", fixed=Money(400, "MYR")),))
    lines = lines_after(snapshot({"1": 1000, "2": 300}, quantity=2), refund(1, {"1": "5.00"}), played=Played(known))
    assert (lines["1"].commission, lines["1"].net_commission) == (800, 400)
    assert (lines["2"].platform_fee, lines["2"].commission) == (15, 285)


def test_a_rate_is_rounded_once_over_the_lines_that_share_its_rule() -> None:
    known = terms(
        rules=(
            rule("rul_d", rate_bps=1000),
            rule("rul_s", scope=Scope.SKU, target_id=f"sku_{STORE}.v3", rate_bps=2000),
        )
    )
    lines = lines_after(snapshot({"1": 5, "2": 5, "3": 5}), played=Played(known))
    assert [lines[id_].commission for id_ in ("1", "2", "3")] == [1, 0, 1]


def test_an_order_without_lines_carries_its_payment_fee_and_passes_the_rest_through() -> None:
    played = Played(terms())
    lines = lines_after(snapshot({}, total=500, payment_fee=44), played=played)
    assert lines[None].seller_take == -44
    assert played.sums() == {
        (None, f"store:{STORE}:clearing"): -500,
        (None, "processor:shopify:fees"): 44,
        (None, f"payee:{ORGANIZATION}:pending"): 456,
    }


def test_a_failed_cash_refund_comes_back() -> None:
    played = Played(terms())
    order = snapshot({"1": 1000})
    lines_after(order, refund(1, {"1": "4.00"}, paid="4.00"), played=played)
    assert played.sums()[None, f"store:{STORE}:clearing"] == -600
    failed = refund(1, {"1": "4.00"}, paid="4.00", status=TransactionStatus.FAILURE)
    played.receive(StandaloneRefund(order_external_id="1", refund=failed))
    assert played.sums()[None, f"store:{STORE}:clearing"] == -1000
    assert played.sums()["1", f"payee:{CREATOR}:pending"] == 60
