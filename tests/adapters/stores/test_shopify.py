"""The promise: what Shopify sends is understood to the cent. What is refused: test_shopify_refusals.py."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from tests.adapters.stores.shopify_bodies import MUG, PLACED_AT, REFUNDED_AT, TSHIRT, a_refund, an_order

from colink.adapters.stores.shopify import ShopifyConnector
from colink.application.deliveries import Ignored
from colink.application.record_order import StandaloneRefund
from colink.cli.shopify_traffic import Item, RefundedItem, encoded, signature
from colink.domain.attribution import CouponUse
from colink.domain.errors import InvalidInput
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)

PEPPER = b"a pepper"
SHOPIFY = ShopifyConnector(pepper=PEPPER)
SIGNATURE = "x-shopify-hmac-sha256"


def snapshot(body: dict[str, Any] | bytes, topic: str = "orders/updated") -> OrderSnapshot:
    told = SHOPIFY.translate(topic, body if isinstance(body, bytes) else encoded(body))
    assert isinstance(told, OrderSnapshot)
    return told


def refund(body: dict[str, Any]) -> Refund:
    told = SHOPIFY.translate("refunds/create", encoded(body))
    assert isinstance(told, StandaloneRefund)
    return told.refund


def bases(body: dict[str, Any]) -> list[int]:
    return [line.base for line in snapshot(body).lines]


def one_line(**changes: Any) -> dict[str, Any]:
    """An order of one line, whose raw fields are changed."""
    body = an_order([TSHIRT])
    body["line_items"][0] |= changes
    return body


def refusal(body: dict[str, Any] | bytes, topic: str = "orders/updated") -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        SHOPIFY.translate(topic, body if isinstance(body, bytes) else encoded(body))
    return refused.value


class TestSignature:
    def test_the_published_vector_verifies(self) -> None:
        headers = {SIGNATURE: "hMTq0K2x7oyOjoBwGYeTj5oxfnaVYXzbanUG9aajpKI="}
        assert SHOPIFY.verify(b'"my secret message"', headers, ["hush"])

    def test_any_secret_of_the_list_may_have_signed(self) -> None:
        headers = {SIGNATURE: signature(b"{}", "old")}
        assert SHOPIFY.verify(b"{}", headers, ["new", "old"])
        assert not SHOPIFY.verify(b"{}", headers, ["new"])

    @pytest.mark.parametrize(
        "claimed", ["", "hush", "hMTq0K2x7oyOjoBwGYeTj5oxfnaVYXzbanUG9aajpKI", "\u20ac", "=" * 44]
    )
    def test_another_signature_does_not_verify(self, claimed: str) -> None:
        assert not SHOPIFY.verify(b'"my secret message"', {SIGNATURE: claimed}, ["hush"])

    def test_a_changed_byte_does_not_verify(self) -> None:
        headers = {SIGNATURE: signature(b'{"id": 1}', "hush")}
        assert not SHOPIFY.verify(b'{"id":  1}', headers, ["hush"])

    def test_nothing_verifies_without_signature_secret_or_body(self) -> None:
        assert not SHOPIFY.verify(b"{}", {}, ["hush"])
        assert not SHOPIFY.verify(b"{}", {SIGNATURE: signature(b"{}", "hush")}, [])
        assert not SHOPIFY.verify(b"{}", {SIGNATURE: signature(b"{}", "")}, [""])
        assert not SHOPIFY.verify(b"", {SIGNATURE: signature(b"", "hush")}, ["hush"])


class TestTopics:
    @pytest.mark.parametrize("topic", ["orders/create", "orders/paid", "orders/updated", "orders/cancelled"])
    def test_an_order_is_a_snapshot_whatever_happened_to_it(self, topic: str) -> None:
        assert snapshot(an_order(), topic) == snapshot(an_order())

    def test_edits_and_unused_topics_are_ignored(self) -> None:
        edit = SHOPIFY.translate("orders/edited", b'{"order_edit": {"id": 1}}')
        assert edit == Ignored(reason="an edit carries only the differences; orders/updated brings the money")
        assert SHOPIFY.translate("app/uninstalled", b"{}") == Ignored(reason="topic app/uninstalled is not used")

    def test_a_delivery_without_topic_is_refused(self) -> None:
        assert refusal(an_order(), "").field == "x-shopify-topic"


class TestSnapshot:
    def test_an_order_in_canonical_form(self) -> None:
        raw = encoded(an_order(code="AINA10", click_id="clk_1", visitor_id="vis_1"))
        told = snapshot(raw)
        reference = hmac.new(PEPPER, b"aina@example.com", hashlib.sha256).hexdigest()
        assert told.external_id == "4507"
        assert told.number == "#1042"
        assert (told.currency, told.placed_at, told.updated_at) == ("MYR", PLACED_AT, PLACED_AT)
        assert told.status is FinancialStatus.PAID
        assert (told.cancelled, told.test, told.taxes_included) == (False, False, False)
        assert told.lines == (
            OrderLine(
                line_id="11",
                quantity=2,
                base=11980,
                product_external_id="71",
                sku_external_id="81",
                current_quantity=2,
            ),
            OrderLine(
                line_id="12",
                quantity=1,
                base=2250,
                product_external_id="72",
                sku_external_id="82",
                current_quantity=1,
            ),
        )
        assert told.total_price == 11980 + 2250 + 800 + 719 + 135
        assert told.total_outstanding == 0
        assert told.keys.click_ids == ("clk_1",)
        assert told.keys.visitor_ids == ("vis_1",)
        assert told.keys.coupons == (CouponUse(code="AINA10", discount=250, ordinal=0),)
        assert told.keys.customer_ref == reference
        assert told.refunds == ()
        assert told.digest == hashlib.sha256(raw).hexdigest()
        assert told.payment_fee is None

    def test_the_smallest_body_that_says_an_order(self) -> None:
        told = snapshot(
            {
                "id": "4507",
                "created_at": "2026-03-01T20:00:00+08:00",
                "updated_at": "2026-03-01T12:00:01Z",
                "currency": "JPY",
                "financial_status": "pending",
                "total_price": "500",
                "line_items": [],
            }
        )
        assert (told.external_id, told.number, told.lines, told.total_price) == ("4507", "4507", (), 500)
        assert (told.placed_at, told.updated_at) == (PLACED_AT, PLACED_AT + timedelta(seconds=1))
        assert (told.test, told.taxes_included, told.cancelled, told.total_outstanding) == (False, False, False, 0)
        assert told.keys.customer_ref is None

    def test_times_become_utc(self) -> None:
        placed_at = datetime(2026, 3, 1, 7, 0, tzinfo=timezone(timedelta(hours=-5)))
        told = snapshot(an_order(placed_at=placed_at))
        assert told.placed_at == PLACED_AT
        assert told.placed_at.tzinfo is UTC

    def test_the_creation_time_is_when_it_was_placed(self) -> None:
        body = an_order() | {"processed_at": "2020-01-01T00:00:00Z"}
        assert snapshot(body).placed_at == PLACED_AT

    @pytest.mark.parametrize("status", list(FinancialStatus))
    def test_every_status_is_known(self, status: FinancialStatus) -> None:
        assert snapshot(an_order(status=status.value)).status is status

    def test_a_cancelled_order_says_so_itself(self) -> None:
        told = snapshot(an_order(cancelled_at=PLACED_AT))
        assert told.cancelled
        assert told.status is FinancialStatus.PAID

    def test_a_test_order_says_so(self) -> None:
        assert snapshot(an_order(test=True)).test

    def test_money_that_is_owed_back_is_outstanding_below_zero(self) -> None:
        assert snapshot(an_order(total_outstanding="-10.00")).total_outstanding == -1000

    def test_products_that_are_not_in_the_shop_are_none(self) -> None:
        line = snapshot(an_order([Item(line_id=1, title="By hand", price="1.00")])).lines[0]
        assert (line.product_external_id, line.sku_external_id) == (None, None)

    def test_units_that_left_the_order_are_told(self) -> None:
        body = an_order([Item(line_id=1, title="Cap", price="1.00", quantity=3, current_quantity=1)])
        assert snapshot(body).lines[0].current_quantity == 1
        del body["line_items"][0]["current_quantity"]
        assert snapshot(body).lines[0].current_quantity is None


class TestBase:
    def test_price_times_quantity_less_discounts(self) -> None:
        items = [
            Item(line_id=1, title="Green", price="199.00", discount="3.34"),
            Item(line_id=2, title="Red", price="199.00", discount="3.33"),
            Item(line_id=3, title="Black", price="199.00", discount="3.33"),
        ]
        assert bases(an_order(items)) == [19566, 19567, 19567]

    def test_every_discount_of_a_line_counts(self) -> None:
        parts = [{"amount": "1.00"}, {"amount": "2.00", "amount_set": {"shop_money": {"amount": "0.50"}}}]
        assert bases(one_line(discount_allocations=parts)) == [11980 - 150]

    def test_included_tax_is_no_base_and_added_tax_is_not_taken_off(self) -> None:
        assert bases(an_order(taxes_included=True)) == [11980 - 719, 2250 - 135]
        assert bases(an_order(taxes_included=False)) == [11980, 2250]

    def test_every_tax_of_a_line_counts(self) -> None:
        body = one_line(tax_lines=[{"price": "6.00"}, {"price": "1.19"}]) | {"taxes_included": True}
        assert bases(body) == [11980 - 719]

    def test_gift_cards_and_tips_have_no_base(self) -> None:
        items = [
            MUG,
            Item(line_id=2, title="Gift card", price="50.00", gift_card=True),
            Item(line_id=3, title="Tip", price="5.00", tip=True),
        ]
        assert bases(an_order(items)) == [2250, 0, 0]

    def test_summed_exactly_and_rounded_once_half_to_even(self) -> None:
        # 3 x 0.115 - 0.02 = 0.325: rounding the price first would give 0.34 or 0.31.
        line = one_line(price="0.115", price_set=None, quantity=3, discount_allocations=[{"amount": "0.02"}])
        assert bases(line) == [32]
        assert bases(one_line(price="0.335", price_set=None, quantity=1)) == [34]

    def test_nothing_is_lost_of_long_decimals_times_many(self) -> None:
        assert bases(one_line(price="1234567.123456789012", price_set=None, quantity=1_000_000)) == [123456712345679]

    @pytest.mark.parametrize(("currency", "base"), [("JPY", 1500), ("MYR", 150000), ("KWD", 1500000), ("VND", 1500)])
    def test_the_exponent_is_the_currencys(self, currency: str, base: int) -> None:
        assert bases(an_order([Item(line_id=1, title="Pot", price="1500.00")], currency=currency)) == [base]

    def test_shop_money_counts_not_what_the_buyer_saw(self) -> None:
        twin = {
            "shop_money": {"amount": "59.90", "currency_code": "MYR"},
            "presentment_money": {"amount": "17.01", "currency_code": "SGD"},
        }
        assert bases(one_line(price="17.01", price_set=twin)) == [11980]

    def test_json_numbers_are_read_exactly(self) -> None:
        assert bases(one_line(price=59.9, price_set=None)) == [11980]
        raw = encoded(one_line(price_set=None)).replace(b'"price":"59.90"', b'"price":59.900000000000006')
        assert snapshot(raw).lines[0].base == 11980


class TestKeys:
    def test_ids_come_from_attributes_and_from_the_landing_page(self) -> None:
        body = an_order(
            click_id="clk_a",
            visitor_id="vis_a",
            landing_site="/products/mug?utm_source=ig&colink_ref=clk_b&colink_vid=vis_b#top",
        )
        keys = snapshot(body).keys
        assert keys.click_ids == ("clk_a", "clk_b")
        assert keys.visitor_ids == ("vis_a", "vis_b")

    def test_the_landing_page_may_be_a_whole_address(self) -> None:
        body = an_order(landing_site="https://shop.example.com/?colink_ref=clk_1&colink_ref=clk_1")
        assert snapshot(body).keys.click_ids == ("clk_1",)

    @pytest.mark.parametrize(
        "site", [None, "", "/wallets/checkout", "http://[::1", "?colink_ref=", "?colink_ref=%00a"]
    )
    def test_other_landing_pages_carry_nothing(self, site: str | None) -> None:
        assert snapshot(an_order(landing_site=site)).keys.click_ids == ()

    def test_what_a_shopper_wrote_there_is_passed_over(self) -> None:
        body = an_order()
        body["note_attributes"] = [
            {"name": "colink_ref", "value": "not one of ours"},
            {"name": "colink_ref", "value": None},
            {"name": "gift", "value": "yes"},
            {"value": "clk_1"},
        ]
        assert snapshot(body).keys.click_ids == ()

    def test_coupons_keep_their_order_and_amounts(self) -> None:
        body = an_order() | {
            "discount_codes": [
                {"code": "BEN5", "amount": "1.25"},
                {"code": "", "amount": "3.00"},
                {"code": "Aina10", "amount": "2.50"},
            ]
        }
        assert snapshot(body).keys.coupons == (
            CouponUse(code="BEN5", discount=125, ordinal=0),
            CouponUse(code="Aina10", discount=250, ordinal=2),
        )

    def test_one_buyer_has_one_reference_however_the_address_is_spelt(self) -> None:
        first = snapshot(an_order(email="Aina@Example.com ")).keys.customer_ref
        body = an_order(email=None) | {"contact_email": "aina@example.com"}
        assert first == snapshot(body).keys.customer_ref
        assert first != ShopifyConnector(pepper=b"other").translate("orders/paid", encoded(body)).keys.customer_ref  # type: ignore[union-attr]  # an order

    def test_no_address_is_kept(self) -> None:
        assert "aina" not in repr(snapshot(an_order()))


class TestRefund:
    def test_a_refund_in_canonical_form(self) -> None:
        body = a_refund([RefundedItem(item=MUG), RefundedItem(item=TSHIRT, quantity=1)])
        told = SHOPIFY.translate("refunds/create", encoded(body))
        assert isinstance(told, StandaloneRefund)
        assert told.order_external_id == "4507"
        assert told.refund == Refund(
            refund_id="900",
            processed_at=REFUNDED_AT,
            lines=(
                RefundLine(line_id="12", quantity=1, subtotal=Decimal("22.50"), tax=Decimal("1.35")),
                RefundLine(line_id="11", quantity=1, subtotal=Decimal("59.90"), tax=Decimal("3.60")),
            ),
            amount_only=Decimal(0),
            transactions=(
                RefundTransaction(
                    transaction_id="9000",
                    amount=Decimal("87.35"),
                    status=TransactionStatus.SUCCESS,
                    currency="MYR",
                ),
            ),
            detail=2,
            digest=told.refund.digest,
            currency="MYR",
        )

    def test_the_exact_twin_counts_not_the_binary_number(self) -> None:
        body = a_refund()
        body["refund_line_items"][0]["subtotal"] = 22.499999999999996
        assert refund(body).lines[0].subtotal == Decimal("22.50")

    def test_inside_an_order_it_is_read_alike(self) -> None:
        alone = refund(a_refund())
        inside = snapshot(an_order(refunds=[a_refund()])).refunds
        assert inside == (alone,)

    def test_the_digest_is_of_the_content(self) -> None:
        shuffled = dict(reversed(a_refund().items()))
        assert refund(shuffled).digest == refund(a_refund()).digest
        assert refund(a_refund() | {"note": "broken"}).digest != refund(a_refund()).digest

    def test_money_given_back_without_lines(self) -> None:
        told = refund(a_refund([], amount_only="15.00", shipping="8.00"))
        assert told.amount_only == Decimal("15.00")
        assert told.detail == 2
        assert told.transactions[0].amount == Decimal("23.00")

    def test_only_negative_discrepancies_count_and_their_tax_does_not(self) -> None:
        body = a_refund([])
        body["order_adjustments"] = [
            {"kind": "refund_discrepancy", "amount": "-4.00", "tax_amount": "-0.24"},
            {"kind": "refund_discrepancy", "amount": "-1.50", "tax_amount": "0.00"},
            {"kind": "refund_discrepancy", "amount": "2.00", "tax_amount": "0.00"},
            {"kind": "shipping_refund", "amount": "-8.00", "tax_amount": "0.00"},
        ]
        body["refund_shipping_lines"] = [{"id": 1}]
        told = refund(body)
        assert told.amount_only == Decimal("5.50")
        assert told.detail == 5

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("pending", TransactionStatus.PENDING),
            ("success", TransactionStatus.SUCCESS),
            ("failure", TransactionStatus.FAILURE),
            ("error", TransactionStatus.FAILURE),
        ],
    )
    def test_what_became_of_the_money(self, word: str, status: TransactionStatus) -> None:
        assert [each.status for each in refund(a_refund(transaction_status=word)).transactions] == [status]

    def test_other_transactions_are_left_out(self) -> None:
        body = a_refund()
        body["transactions"][0] |= {"kind": "sale"}
        assert refund(body).transactions == ()

    def test_a_transaction_of_nothing_keeps_what_became_of_it(self) -> None:
        body = a_refund(transaction_status="failure")
        body["transactions"][0] |= {"amount": "0.00"}
        assert [(each.amount, each.status) for each in refund(body).transactions] == [
            (Decimal(0), TransactionStatus.FAILURE)
        ]

    def test_it_happened_when_it_was_processed_else_when_it_was_made(self) -> None:
        body = a_refund() | {"created_at": "2026-03-04T00:00:00Z"}
        assert refund(body).processed_at == REFUNDED_AT
        assert refund(body | {"processed_at": None}).processed_at == datetime(2026, 3, 4, tzinfo=UTC)

    def test_a_refund_is_the_same_alone_and_inside_its_order(self) -> None:
        """What is refunded of a gift card, or paid in another currency, is judged where the order is known."""
        card = Item(line_id=13, title="Gift card", price="50.00", gift_card=True)
        body = a_refund([RefundedItem(item=card)])
        body["transactions"][0] |= {"currency": "SGD"}
        del body["refund_line_items"][0]["line_item"]
        order = snapshot(an_order([MUG, card], refunds=[body]))
        assert order.refunds == (refund(body),)
        assert [line.carries_base for line in order.lines] == [True, False]

    def test_its_currency_as_far_as_it_tells(self) -> None:
        body = a_refund([], amount_only="1.00")
        assert refund(body).currency == "MYR"
        del body["order_adjustments"][0]["amount_set"]
        del body["total_duties_set"]
        assert refund(body).currency is None

    def test_money_paid_back_in_another_currency_carries_it(self) -> None:
        body = a_refund()
        body["transactions"][0] |= {"currency": "SGD", "amount": "7.00"}
        assert refund(body).transactions[0].currency == "SGD"
        assert refund(body).currency == "MYR"
        body["transactions"][0]["amount_set"] = {"shop_money": {"amount": "23.85", "currency_code": "MYR"}}
        assert refund(body).transactions[0].amount == Decimal("23.85")
        assert refund(body).transactions[0].currency is None  # the amount is shop money
