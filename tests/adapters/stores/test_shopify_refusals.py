"""The promise: what cannot be used is refused naming the field at fault, and no body does anything worse."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.stores.shopify_bodies import TSHIRT, a_refund, an_order

from colink.adapters.stores.shopify import ShopifyConnector
from colink.application.record_order import StandaloneRefund
from colink.cli.shopify_traffic import Item, encoded
from colink.domain.errors import InvalidInput, UnreadableBody
from colink.domain.snapshots import OrderSnapshot

SHOPIFY = ShopifyConnector(pepper=b"a pepper")


def snapshot(body: dict[str, Any] | bytes, topic: str = "orders/updated") -> OrderSnapshot:
    told = SHOPIFY.translate(topic, body if isinstance(body, bytes) else encoded(body))
    assert isinstance(told, OrderSnapshot)
    return told


def one_line(**changes: Any) -> dict[str, Any]:
    """An order of one line, whose raw fields are changed."""
    body = an_order([TSHIRT])
    body["line_items"][0] |= changes
    return body


def refusal(body: dict[str, Any] | bytes, topic: str = "orders/updated") -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        SHOPIFY.translate(topic, body if isinstance(body, bytes) else encoded(body))
    return refused.value


class TestRefusals:
    @pytest.mark.parametrize(
        "raw", [b"", b"hello", b"{", b'{"id": NaN}', b'{"id": -Infinity}', b"\xff{}", b'{"a": "\x00"}']
    )
    def test_what_is_no_json(self, raw: bytes) -> None:
        error = refusal(raw)
        assert isinstance(error, UnreadableBody)
        assert (error.status, error.slug) == (400, "unreadable-body")

    @pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"order"'])
    def test_what_is_no_object(self, raw: bytes) -> None:
        assert refusal(raw).status == 422

    def test_a_key_that_occurs_twice(self) -> None:
        raw = encoded(an_order()).replace(b'"currency":"MYR"', b'"currency":"MYR","currency":"USD"', 1)
        assert refusal(raw).field == "currency"

    @pytest.mark.parametrize("digits", [b"9" * 20, b"9" * 5000, b"1e999999999999999999999", b"1e400"])
    def test_numbers_nobody_can_mean(self, digits: bytes) -> None:
        raw = encoded(one_line(price_set=None)).replace(b'"price":"59.90"', b'"price":' + digits)
        assert refusal(raw).status == 422

    def test_nesting_beyond_measure(self) -> None:
        raw = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
        assert "nested" in refusal(raw).detail

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"id": None}, "id"),
            ({"id": -1}, "id"),
            ({"id": 1.5}, "id"),
            ({"id": True}, "id"),
            ({"id": "4507\x01"}, "id"),
            ({"created_at": None}, "created_at"),
            ({"updated_at": None}, "updated_at"),
            ({"updated_at": 1767225600}, "updated_at"),
            ({"updated_at": "yesterday"}, "updated_at"),
            ({"updated_at": "2026-03-01T12:00:00"}, "updated_at"),
            ({"updated_at": "9999-12-31T23:59:59Z"}, "updated_at"),
            ({"cancelled_at": True}, "cancelled_at"),
            ({"currency": None}, "currency"),
            ({"currency": "RM"}, "currency"),
            ({"currency": "myr"}, "currency"),
            ({"currency": "XXX"}, "currency"),
            ({"currency": "M\x00R"}, "currency"),
            ({"currency": 458}, "currency"),
            ({"financial_status": None}, "financial_status"),
            ({"financial_status": "paid?"}, "financial_status"),
            ({"test": "false"}, "test"),
            ({"taxes_included": 1}, "taxes_included"),
            ({"total_price_set": None, "total_price": None}, "total_price"),
            ({"total_price_set": None, "total_price": "-1.00"}, "total_price"),
            ({"total_price_set": None, "total_price": "1,000.00"}, "total_price"),
            ({"total_price_set": None, "total_price": "NaN"}, "total_price"),
            ({"total_price_set": None, "total_price": "1e3"}, "total_price"),
            ({"total_price_set": None, "total_price": {}}, "total_price"),
            ({"total_price_set": None, "total_price": "10000000000000.01"}, "total_price"),
            ({"total_price_set": {"shop_money": {"amount": "1.00", "currency_code": "SGD"}}},
             "total_price_set.shop_money.currency_code"),
            ({"total_price_set": {"shop_money": {"amount": []}}}, "total_price_set.shop_money.amount"),
            ({"total_price_set": "12.00"}, "total_price_set"),
            ({"total_outstanding": []}, "total_outstanding"),
            ({"name": "#\x001042"}, "name"),
            ({"name": "#\ud800"}, "name"),
            ({"name": "#" * 256}, "name"),
            ({"note": "buyer's \x00 note"}, "note"),
            ({"email": 7}, "email"),
            ({"customer": "aina"}, "customer"),
            ({"landing_site": ["/"]}, "landing_site"),
            ({"line_items": None}, "line_items"),
            ({"line_items": {}}, "line_items"),
            ({"line_items": ["mug"]}, "line_items[0]"),
            ({"discount_codes": {}}, "discount_codes"),
            ({"discount_codes": [{"code": "A\x00", "amount": "1"}]}, "discount_codes[0].code"),
            ({"discount_codes": [{"code": "A"}, {"code": "B", "amount": "-1"}]}, "discount_codes[1].amount"),
            ({"note_attributes": [{"name": "colink_ref", "value": 5}]}, "note_attributes[0].value"),
            ({"refunds": [{}]}, "refunds[0].id"),
            ({"refunds": {"id": 1}}, "refunds"),
        ],
    )  # fmt: skip
    def test_of_an_order(self, change: dict[str, Any], field: str) -> None:
        error = refusal(an_order() | change)
        assert (error.status, error.field) == (422, field)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"id": None}, "id"),
            ({"id": 11}, "id"),
            ({"quantity": -1}, "quantity"),
            ({"quantity": "1"}, "quantity"),
            ({"quantity": 1.0}, "quantity"),
            ({"quantity": True}, "quantity"),
            ({"quantity": None}, "quantity"),
            ({"quantity": 10**9 + 1}, "quantity"),
            ({"current_quantity": -1}, "current_quantity"),
            ({"price_set": None, "price": None}, "price"),
            ({"price_set": None, "price": "-0.01"}, "price"),
            ({"price_set": None, "price": "99999999999999999999"}, "price"),
            ({"price_set": None, "price": "10000000000000.00", "quantity": 2}, "price"),
            ({"product_id": []}, "product_id"),
            ({"variant_id": 0}, "variant_id"),
            ({"gift_card": "no"}, "gift_card"),
            ({"title": "Mug\x00"}, "title"),
            ({"tax_lines": [{"price": "1"}, {"price": "x"}]}, "tax_lines[1].price"),
            ({"discount_allocations": [{"amount": None}]}, "discount_allocations[0].amount"),
            ({"discount_allocations": [{"amount": "-1"}]}, "discount_allocations[0].amount"),
            ({"discount_allocations": [{"amount": "25.01"}]}, "discount_allocations"),
        ],
    )
    def test_of_a_line(self, change: dict[str, Any], field: str) -> None:
        body = an_order()
        body["line_items"][1] |= change
        error = refusal(body)
        assert (error.status, error.field) == (422, f"line_items[1].{field}")

    def test_of_lines_that_are_absurd_together(self) -> None:
        items = [Item(line_id=n, title="Diamond", price="9999999999999.00") for n in (1, 2)]
        assert refusal(an_order(items, total_price="1.00")).field == "line_items"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"id": None}, "id"),
            ({"order_id": None}, "order_id"),
            ({"processed_at": None, "created_at": None}, "created_at"),
            ({"refund_line_items": {}}, "refund_line_items"),
            ({"order_adjustments": [{"kind": "refund_discrepancy"}]}, "order_adjustments[0].amount"),
            ({"transactions": [{"kind": "refund", "id": 1, "amount": "-1", "status": "success"}]},
             "transactions[0].amount"),
            ({"transactions": [{"kind": "refund", "id": 1, "amount": "1", "status": "lost"}]},
             "transactions[0].status"),
            ({"transactions": [{"kind": "refund", "amount": "1", "status": "success"}]}, "transactions[0].id"),
        ],
    )  # fmt: skip
    def test_of_a_refund(self, change: dict[str, Any], field: str) -> None:
        body = a_refund() | change
        assert refusal(body, "refunds/create").field == field
        if "order_id" not in change:
            assert refusal(an_order(refunds=[a_refund(), body])).field == f"refunds[1].{field}"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"line_item_id": None}, "line_item_id"),
            ({"quantity": -1}, "quantity"),
            ({"subtotal_set": None, "subtotal": None}, "subtotal"),
            ({"subtotal_set": None, "subtotal": -1.5}, "subtotal"),
            ({"subtotal_set": None, "subtotal": 1e14}, "subtotal"),
            ({"total_tax_set": {"shop_money": {"amount": "1.00", "currency_code": "EUR"}}},
             "total_tax_set.shop_money.currency_code"),
        ],
    )  # fmt: skip
    def test_of_a_refund_line(self, change: dict[str, Any], field: str) -> None:
        body = a_refund()
        body["refund_line_items"][0] |= change
        assert refusal(body, "refunds/create").field == f"refund_line_items[0].{field}"

    def test_fields_that_are_not_known_are_ignored_however_wrong(self) -> None:
        body = an_order() | {"loyalty": {"points": -math.pi, "tier": [[]]}, "tags": 7, "shipping_lines": "none"}
        body["line_items"][0]["warranty"] = False
        assert snapshot(body).lines == snapshot(an_order()).lines

    def test_an_escaped_backslash_is_no_nul(self) -> None:
        assert snapshot(an_order() | {"note": "\\u0000"}).external_id == "4507"

    def test_a_problem_shows_foreign_text_harmlessly(self) -> None:
        error = refusal(an_order() | {"financial_status": "\u202e" + "p" * 200})
        assert error.detail.isascii()
        assert len(error.detail) < 250


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\x00", "\ud800", "1e9", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a body."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


_ORDER = an_order(code="AINA10", click_id="clk_1", refunds=[a_refund(amount_only="1.00")], taxes_included=True)
_REFUND = a_refund(amount_only="1.00", shipping="2.00")


class TestAnything:
    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_a_changed_body_is_understood_or_refused(self, data: st.DataObject) -> None:
        topic, original = data.draw(st.sampled_from([("orders/paid", _ORDER), ("refunds/create", _REFUND)]))
        body = copy.deepcopy(original)
        for _ in range(data.draw(st.integers(1, 3))):
            *parents, last = data.draw(st.sampled_from([place for place in _places(body) if place]))
            target: Any = body
            for key in parents:
                target = target[key]
            if data.draw(st.booleans()):
                target[last] = data.draw(_JSON)
            else:
                del target[last]
        try:
            told = SHOPIFY.translate(topic, json.dumps(body).encode())
        except InvalidInput:
            return
        assert isinstance(told, (OrderSnapshot, StandaloneRefund))

    @settings(max_examples=300, deadline=None)
    @given(
        raw=st.binary(max_size=60)
        | st.text(alphabet='{}[]":,0123456789eE.-\\u ntrfalse', max_size=40).map(str.encode)
    )
    def test_any_bytes_are_refused_and_nothing_worse(self, raw: bytes) -> None:
        with pytest.raises(InvalidInput):
            SHOPIFY.translate("orders/paid", raw)
