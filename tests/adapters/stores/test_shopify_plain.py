"""The promise: wherever the fast reading of a plain order answers, the full reading says the very same; wherever it
could not be sure, it leaves the order to the full reading."""

from __future__ import annotations

import copy
import json
from decimal import localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.stores.shopify_bodies import a_refund, an_order

from colink.adapters.stores.reading import decode_object
from colink.adapters.stores.shopify import ShopifyConnector, _our_ids
from colink.adapters.stores.shopify_plain import plain_order
from colink.domain.snapshots import OrderSnapshot

PEPPER = b"p" * 32
SHOPIFY = ShopifyConnector(pepper=PEPPER)


def fast(body: bytes) -> OrderSnapshot | None:
    return plain_order(body, pepper=PEPPER, references=_our_ids)


def full(body: bytes) -> OrderSnapshot:
    with localcontext(prec=60):
        return SHOPIFY._order(decode_object(body), body)


def written(value: Any) -> bytes:
    """As a shop writes it: nothing between the parts."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


ORDER = an_order(code="AINA10", click_id="clk_1", visitor_id="vis_12345678", landing_site="/a?colink_ref=clk_2")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"taxes_included": True},
        {"email": None},
        {"status": "pending", "test": True},
        {"currency": "JPY", "items": (), "shipping": "0"},
        {"updated_at": None, "landing_site": None, "total_outstanding": "12.00"},
    ],
)
def test_plain_orders_are_read_fast_and_alike(changes: dict[str, Any]) -> None:
    body = an_order(code="AINA10", click_id="clk_1", **changes)
    if changes.get("currency") == "JPY":
        body = {name: value for name, value in body.items() if not name.endswith("_set")}
        body |= {"total_price": "500", "total_outstanding": "0", "discount_codes": []}
    raw = written(body)
    assert fast(raw) == full(raw) is not None


def test_what_writers_escape_without_need_is_still_plain() -> None:
    raw = written(ORDER | {"order_status_url": "https://kedai.example/a?b=c&d", "note": "Ä <b> it's"})
    for plain, escaped in (
        (b"/", b"\\/"),
        (b"&", b"\\u0026"),
        (b"<", b"\\u003c"),
        (b">", b"\\u003e"),
        (b"'", b"\\u0027"),
    ):
        raw = raw.replace(plain, escaped)
    assert fast(raw) == full(raw) is not None


ODD: list[bytes] = [
    b"{}",
    b"[]",
    b"{",
    written(ORDER).replace(b'"name":', b'"id":7,"name":'),  # a key twice
    written(ORDER).replace(b'"name":', b'"a\\/b":1,"a/b":2,"name":'),  # a key twice, written differently
    json.dumps(ORDER).encode(),  # with white space: it is not told from a key that was lost
    written(ORDER | {"note": "\x00"}),
    written(ORDER | {"refunds": [a_refund()]}),
    written(ORDER | {"total_price": "1.005", "total_price_set": None}),
    written(ORDER | {"total_price": "-1.00", "total_price_set": None}),
    written(ORDER | {"total_outstanding": "", "total_outstanding_set": None}),  # no amount is not nothing outstanding
    written(ORDER | {"total_price": 12.5, "total_price_set": None}),
    written(ORDER | {"currency": "SGD"}),
    written(ORDER | {"created_at": "2026-03-01T12:00:00"}),
    written(ORDER | {"line_items": ORDER["line_items"] + ORDER["line_items"][:1]}),
    written(ORDER | {"line_items": [ORDER["line_items"][0] | {"gift_card": True}]}),
    written(ORDER | {"line_items": [ORDER["line_items"][0] | {"tip": {}}]}),
    written(ORDER | {"line_items": [ORDER["line_items"][0] | {"quantity": -1}]}),
    written(
        ORDER | {"line_items": [ORDER["line_items"][0] | {"quantity": 10**9, "price_set": None, "price": "9" * 12}]}
    ),
]


@pytest.mark.parametrize("raw", ODD)
def test_what_is_out_of_the_ordinary_is_left_to_the_full_reading(raw: bytes) -> None:
    assert fast(raw) is None


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


_PLACES = [place for place in _places(ORDER) if place]
_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["", "0", "1.5", "10.00", "1e2", "7.000", "-1", "paid", "refunded", "MYR", "x" * 300, [], {}, "é"]
    )
)


@settings(max_examples=400, deadline=None)
@given(changes=st.lists(st.tuples(st.sampled_from(_PLACES), _VALUES | st.just("drop it")), max_size=3))
def test_a_changed_body_is_read_alike_or_not_fast(changes: list[tuple[tuple[str | int, ...], Any]]) -> None:
    body = copy.deepcopy(ORDER)
    for (*parents, last), value in changes:
        target: Any = body
        for key in parents:
            target = target[key] if isinstance(target, dict | list) and _has(target, key) else None
        if not isinstance(target, dict | list) or not _has(target, last):
            continue
        if value == "drop it":
            del target[last]
        else:
            target[last] = value
    try:
        raw = written(body)
    except UnicodeEncodeError:
        return
    told = fast(raw)
    if told is not None:
        assert told == full(raw)


def _has(target: Any, key: str | int) -> bool:
    return key in target if isinstance(target, dict) else isinstance(key, int) and key < len(target)
