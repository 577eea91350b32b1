"""The plain case of a Shopify order, read fast: paid or not, but without refunds, gift cards, tips or anything odd.

Webhooks are the busiest way in, and most of them are such orders. `plain_order` reads one with a typed decoder and
whole minor units, at a third of the time of the full reading in `shopify.py`, or gives None where anything at all is
out of the ordinary: a wrong type, an amount finer than the currency, a key that occurs twice. Then the full reading
says what it is, or what is wrong with it. So the two must agree wherever this one answers (tested on changed bodies).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.customers import customer_ref_of
from colink.domain.errors import InvalidInput
from colink.domain.money import MAX_AMOUNT, currency_exponent
from colink.domain.snapshots import FinancialStatus, OrderLine, OrderSnapshot

References = Callable[[list[tuple[str | None, str | None]], str, str], tuple[str, ...]]
_AMOUNT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,4}))?", re.ASCII)
_TENS = (1, 10, 100, 1_000, 10_000)  # no currency has more decimals
_MOST_TEXT, _MOST_ID, _MOST_COUNT = 255, 64, 10**9
_YEARS = range(1970, 3000)
_ESCAPES = ((b"\\/", b"/"), (b"\\u0026", b"&"), (b"\\u003c", b"<"), (b"\\u003e", b">"), (b"\\u0027", b"'"))
"""What JSON writers escape without need."""

Id = int | str


class _Odd(Exception):
    """Not a plain order."""


class _Money(Struct):
    amount: str | None = None
    currency_code: str | None = None


class _Set(Struct):
    shop_money: _Money | None = None


class _Discount(Struct):
    amount: str | None = None
    amount_set: _Set | None = None


class _Tax(Struct):
    price: str | None = None
    price_set: _Set | None = None


class _Code(Struct):
    code: str | None = None
    amount: str | None = None
    amount_set: _Set | None = None


class _Attribute(Struct):
    name: str | None = None
    value: str | None = None


class _Customer(Struct):
    email: str | None = None


class _Line(Struct):
    id: Id
    quantity: int
    price: str | None = None
    price_set: _Set | None = None
    product_id: Id | None = None
    variant_id: Id | None = None
    current_quantity: int | None = None
    gift_card: bool | None = None
    tip: dict[str, Any] | None = None
    discount_allocations: list[_Discount] | None = None
    tax_lines: list[_Tax] | None = None


class _Order(Struct):
    id: Id
    currency: str
    created_at: str
    updated_at: str
    financial_status: FinancialStatus
    line_items: list[_Line]
    name: str | None = None
    order_number: Id | None = None
    cancelled_at: str | None = None
    test: bool | None = None
    taxes_included: bool | None = None
    total_price: str | None = None
    total_price_set: _Set | None = None
    total_outstanding: str | None = None
    total_outstanding_set: _Set | None = None
    note_attributes: list[_Attribute] | None = None
    landing_site: str | None = None
    discount_codes: list[_Code] | None = None
    customer: _Customer | None = None
    email: str | None = None
    contact_email: str | None = None
    refunds: list[Any] | None = None


_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def plain_order(body: bytes, *, pepper: bytes, references: References) -> OrderSnapshot | None:
    """The snapshot of a plain order, None where the body is anything else. `references` finds our ids: among pairs of
    note attributes, the landing site, by name."""
    try:
        value = _decoder.decode(body)
        if not _is_all_of(value, body):
            return None
        order = msgspec.convert(value, _Order)
        return None if order.refunds else _snapshot(order, body, pepper, references)
    except (msgspec.MsgspecError, _Odd, InvalidInput, ValueError, RecursionError):
        return None


def _is_all_of(value: Any, body: bytes) -> bool:
    """Whether the decoded body, written again, is the body: so no key occurred twice and nothing was lost."""
    if b"\\" in body:
        if b"\\u0000" in body:
            return False
        for escaped, plain in _ESCAPES:
            body = body.replace(escaped, plain)
    written = _encoder.encode(value)
    return written == body


def _snapshot(order: _Order, body: bytes, pepper: bytes, references: References) -> OrderSnapshot:
    amounts = _Minor(order.currency)
    included = bool(order.taxes_included)
    external_id = _id(order.id)
    lines = tuple([_line(line, amounts, included=included) for line in order.line_items])
    if len({line.line_id for line in lines}) != len(lines) or sum([line.base for line in lines]) > MAX_AMOUNT:
        raise _Odd
    attributes = [(pair.name, pair.value) for pair in order.note_attributes or ()]
    landing_site = order.landing_site or ""
    number = _text(order.name) if order.name else None
    addresses = (order.customer.email if order.customer else None, order.email, order.contact_email)
    return OrderSnapshot(
        external_id=external_id,
        number=number or (_id(order.order_number) if order.order_number is not None else external_id),
        currency=order.currency,
        placed_at=_time(order.created_at),
        updated_at=_time(order.updated_at),
        status=order.financial_status,
        cancelled=order.cancelled_at is not None and _time(order.cancelled_at) is not None,
        test=bool(order.test),
        taxes_included=included,
        lines=lines,
        total_price=amounts.of(order.total_price, order.total_price_set),
        total_outstanding=amounts.of(
            "0" if order.total_outstanding is None else order.total_outstanding, order.total_outstanding_set
        ),
        keys=OrderKeys(
            click_ids=references(attributes, landing_site, "colink_ref"),
            visitor_ids=references(attributes, landing_site, "colink_vid"),
            coupons=_coupons(order.discount_codes, amounts) if order.discount_codes else (),
            customer_ref=customer_ref_of(next(filter(None, addresses), None), pepper=pepper),
        ),
        refunds=(),
        digest=hashlib.sha256(body).hexdigest(),
    )


class _Minor:
    """Reads amounts of zero or more in the shop's currency as minor units: where they are whole ones, nothing is
    rounded, so sums of them are what the exact reading rounds to."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._exponent = currency_exponent(currency)

    def of(self, amount: str | None, twin: _Set | None) -> int:
        if twin is not None and (shop_money := twin.shop_money) is not None:
            if shop_money.currency_code is not None and shop_money.currency_code != self._currency:
                raise _Odd
            amount = shop_money.amount
        found = _AMOUNT.fullmatch(amount) if amount is not None else None
        if found is None:
            raise _Odd
        whole, decimals = found.groups("")
        missing = self._exponent - len(decimals)
        if missing < 0:
            raise _Odd
        minor: int = int(whole + decimals) * _TENS[missing]
        if minor > MAX_AMOUNT:
            raise _Odd
        return minor


def _line(line: _Line, amounts: _Minor, *, included: bool) -> OrderLine:
    if line.gift_card or line.tip is not None:
        raise _Odd
    quantity, current = line.quantity, line.current_quantity
    if not 0 <= quantity <= _MOST_COUNT or (current is not None and not 0 <= current <= _MOST_COUNT):
        raise _Odd
    base = amounts.of(line.price, line.price_set) * quantity
    if line.discount_allocations:
        base -= sum([amounts.of(part.amount, part.amount_set) for part in line.discount_allocations])
    if line.tax_lines:
        taxes = sum([amounts.of(part.price, part.price_set) for part in line.tax_lines])
        base -= taxes if included else 0
    if not 0 <= base <= MAX_AMOUNT:
        raise _Odd
    return OrderLine(
        line_id=_id(line.id),
        quantity=quantity,
        base=base,
        product_external_id=_id_or_none(line.product_id),
        sku_external_id=_id_or_none(line.variant_id),
        current_quantity=current,
    )


def _coupons(codes: list[_Code], amounts: _Minor) -> tuple[CouponUse, ...]:
    uses = []
    for ordinal, discount in enumerate(codes):
        amount = amounts.of("0" if discount.amount is None else discount.amount, discount.amount_set)
        if discount.code:
            uses.append(CouponUse(code=_text(discount.code), discount=amount, ordinal=ordinal))
    return tuple(uses)


def _id(value: Id) -> str:
    if isinstance(value, int):
        if not 0 < value < 2**64:
            raise _Odd
        return str(value)
    if not value or len(value) > _MOST_ID:
        raise _Odd
    return _text(value)


def _id_or_none(value: Id | None) -> str | None:
    return None if value is None else _id(value)


def _text(value: str) -> str:
    if len(value) > _MOST_TEXT or not value.isprintable():
        raise _Odd
    return value


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None or time.year not in _YEARS:
        raise _Odd
    return time.astimezone(UTC)
