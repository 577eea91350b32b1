"""Canonical order snapshots as JSON: what `POST /v1/orders/bulk` takes, read strictly into what the domain needs.

Decoding is msgspec's, since a request may hold a thousand orders: one pass cuts the list into raw orders, so that a
bad one fails alone, a second reads each by its type. What the types cannot say (currencies, duplicate lines, control
characters) is checked here; what orders mean is the domain's. Fields we do not know are ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta, Struct

from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.errors import InvalidInput, UnreadableBody
from colink.domain.money import MAX_AMOUNT, currency_exponent
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)

MOST_ORDERS = 1_000
_YEARS = range(1970, 3000)  # outside of it nothing was sold, and adding days could leave the calendar
_AT = re.compile(r"(?P<detail>.*) - at `\$\.?(?P<path>[^`]*)`", re.DOTALL)

StoreId = Annotated[str, Meta(min_length=1, max_length=400)]
ExternalId = Annotated[str, Meta(min_length=1, max_length=64)]
ShortText = Annotated[str, Meta(min_length=1, max_length=255)]
Reference = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{1,128}$")]
References = Annotated[list[Reference], Meta(max_length=20)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Currency = Annotated[str, Meta(min_length=3, max_length=3)]
Moment = Annotated[datetime, Meta(tz=True)]


class Amount(Struct, frozen=True):
    """Money of zero or more, in minor units."""

    amount: Annotated[int, Meta(ge=0, le=MAX_AMOUNT)]
    currency: Currency


class SignedAmount(Struct, frozen=True):
    """Money, in minor units."""

    amount: Annotated[int, Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
    currency: Currency


class LineBody(Struct, frozen=True):
    """`base`: price x quantity as ordered, less the discounts allocated to it and tax included in the price.
    `current_quantity`: units still in the order, where that is known. `carries_base` false: a gift card or a tip."""

    line_id: ExternalId
    quantity: Count
    base: Amount
    product_external_id: ExternalId | None = None
    sku_external_id: ExternalId | None = None
    current_quantity: Count | None = None
    carries_base: bool = True


class RefundLineBody(Struct, frozen=True):
    """`subtotal` includes `tax` where the order's prices include tax."""

    line_id: ExternalId
    quantity: Count
    subtotal: Amount
    tax: Amount | None = None


class RefundTransactionBody(Struct, frozen=True):
    """`amount` 0: what goes back onto a gift card, which is no cash. `amount_only` of a refund counts unless all of
    its transactions failed."""

    transaction_id: ExternalId
    amount: Amount
    status: TransactionStatus


class RefundBody(Struct, frozen=True):
    """`amount_only`: money given back without lines, tax left out."""

    refund_id: ExternalId
    processed_at: Moment
    lines: list[RefundLineBody] = []
    amount_only: Amount | None = None
    transactions: list[RefundTransactionBody] = []


class CouponBody(Struct, frozen=True):
    code: ShortText
    discount: Amount | None = None


class KeysBody(Struct, frozen=True):
    """What creators are found by. Of `customer_email` only a keyed hash is kept."""

    click_ids: References = []
    visitor_ids: References = []
    coupons: Annotated[list[CouponBody], Meta(max_length=100)] = []
    customer_email: Annotated[str, Meta(max_length=320)] | None = None


class OrderBody(Struct, frozen=True):
    """An order as its shop has it now. `total_price` is all of it, tax, shipping and tips included."""

    external_id: ExternalId
    currency: Currency
    placed_at: Moment
    updated_at: Moment
    status: FinancialStatus
    lines: list[LineBody]
    total_price: Amount
    number: ShortText | None = None
    cancelled: bool = False
    test: bool = False
    taxes_included: bool = False
    total_outstanding: SignedAmount | None = None
    payment_fee: Amount | None = None
    keys: KeysBody = KeysBody()
    refunds: list[RefundBody] = []


class BulkBody(Struct, frozen=True):
    store_id: StoreId
    orders: Annotated[list[OrderBody], Meta(max_length=MOST_ORDERS)]


class _Cut(Struct, frozen=True):
    """A BulkBody whose orders are not read yet."""

    store_id: StoreId
    orders: list[msgspec.Raw]


_cutter = msgspec.json.Decoder(_Cut)
_reader = msgspec.json.Decoder(OrderBody)
_writer = msgspec.json.Encoder()


def cut(body: bytes) -> tuple[str, list[msgspec.Raw]]:
    """The store's id and each order's JSON. Raises UnreadableBody, or InvalidInput naming the field."""
    try:
        whole = _cutter.decode(body)
    except msgspec.ValidationError as error:
        detail, field = _where(error)
        raise InvalidInput(f"{field}: {detail}" if field else detail, field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"the body is not JSON: {error}"
        raise UnreadableBody(msg) from None
    except RecursionError:
        msg = "the body is nested too deeply"
        raise InvalidInput(msg) from None
    if not 1 <= len(whole.orders) <= MOST_ORDERS:
        msg = f"orders must hold 1 to {MOST_ORDERS} orders, not {len(whole.orders)}"
        raise InvalidInput(msg, field="orders")
    _check_printable(whole.store_id, "store_id")
    return whole.store_id, whole.orders


def read_order(raw: msgspec.Raw) -> OrderBody:
    """Raises InvalidInput; its `field` is a path inside the order."""
    try:
        return _reader.decode(raw)
    except msgspec.ValidationError as error:
        detail, field = _where(error)
        raise InvalidInput(detail, field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"not JSON: {error}"
        raise InvalidInput(msg) from None
    except RecursionError:
        msg = "the order is nested too deeply"
        raise InvalidInput(msg) from None


def snapshot_of(order: OrderBody, *, customer_ref: str | None) -> OrderSnapshot:
    """The canonical snapshot. Its digest covers what was understood, not how it was written, so that the same content
    is the same delivery. Raises InvalidInput; its `field` is a path inside the order."""
    money = _MoneyOf(order.currency)
    lines = tuple(_line(line, money, f"lines[{at}]") for at, line in enumerate(order.lines))
    _check_unique((line.line_id for line in lines), "lines", "line_id")
    _check_unique((refund.refund_id for refund in order.refunds), "refunds", "refund_id")
    if sum(line.base for line in lines) > MAX_AMOUNT:
        _refuse("the lines together are absurdly large: more than 10^15 minor units", "lines")
    outstanding = order.total_outstanding
    return OrderSnapshot(
        external_id=_check_printable(order.external_id, "external_id"),
        number=order.external_id if order.number is None else _check_printable(order.number, "number"),
        currency=order.currency,
        placed_at=_moment(order.placed_at, "placed_at"),
        updated_at=_moment(order.updated_at, "updated_at"),
        status=order.status,
        cancelled=order.cancelled,
        test=order.test,
        taxes_included=order.taxes_included,
        lines=lines,
        total_price=money.minor(order.total_price, "total_price"),
        total_outstanding=0 if outstanding is None else money.minor(outstanding, "total_outstanding"),
        keys=_keys(order.keys, money, customer_ref),
        refunds=tuple(_refund(refund, money, f"refunds[{at}]") for at, refund in enumerate(order.refunds)),
        digest=_digest(order),
        payment_fee=None if order.payment_fee is None else money.minor(order.payment_fee, "payment_fee"),
    )


class _MoneyOf:
    """Reads money, which must all be in the order's currency."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._exponent = currency_exponent(currency)

    def minor(self, amount: Amount | SignedAmount, path: str) -> int:
        if amount.currency != self._currency:
            _refuse(f"must be in the order's currency {self._currency}", f"{path}.currency")
        return amount.amount

    def major(self, amount: Amount | None, path: str) -> Decimal:
        """Exact; zero where there is none."""
        return Decimal(0) if amount is None else Decimal(self.minor(amount, path)).scaleb(-self._exponent)


def _line(line: LineBody, money: _MoneyOf, path: str) -> OrderLine:
    base = money.minor(line.base, f"{path}.base")
    if base and not line.carries_base:
        _refuse("must be 0 on a line that carries no base", f"{path}.base.amount")
    for name in ("product_external_id", "sku_external_id"):
        if (value := getattr(line, name)) is not None:
            _check_printable(value, f"{path}.{name}")
    return OrderLine(
        line_id=_check_printable(line.line_id, f"{path}.line_id"),
        quantity=line.quantity,
        base=base,
        product_external_id=line.product_external_id,
        sku_external_id=line.sku_external_id,
        current_quantity=line.current_quantity,
        carries_base=line.carries_base,
    )


def _keys(keys: KeysBody, money: _MoneyOf, customer_ref: str | None) -> OrderKeys:
    return OrderKeys(
        click_ids=tuple(dict.fromkeys(keys.click_ids)),
        visitor_ids=tuple(dict.fromkeys(keys.visitor_ids)),
        coupons=tuple(
            CouponUse(
                code=_check_printable(coupon.code, f"keys.coupons[{at}].code"),
                discount=0
                if coupon.discount is None
                else money.minor(coupon.discount, f"keys.coupons[{at}].discount"),
                ordinal=at,
            )
            for at, coupon in enumerate(keys.coupons)
        ),
        customer_ref=customer_ref,
    )


def _refund(refund: RefundBody, money: _MoneyOf, path: str) -> Refund:
    _check_unique((each.transaction_id for each in refund.transactions), f"{path}.transactions", "transaction_id")
    return Refund(
        refund_id=_check_printable(refund.refund_id, f"{path}.refund_id"),
        processed_at=_moment(refund.processed_at, f"{path}.processed_at"),
        lines=tuple(
            RefundLine(
                line_id=_check_printable(line.line_id, f"{path}.lines[{at}].line_id"),
                quantity=line.quantity,
                subtotal=money.major(line.subtotal, f"{path}.lines[{at}].subtotal"),
                tax=money.major(line.tax, f"{path}.lines[{at}].tax"),
            )
            for at, line in enumerate(refund.lines)
        ),
        amount_only=money.major(refund.amount_only, f"{path}.amount_only"),
        transactions=tuple(
            RefundTransaction(
                transaction_id=_check_printable(each.transaction_id, f"{path}.transactions[{at}].transaction_id"),
                amount=money.major(each.amount, f"{path}.transactions[{at}].amount"),
                status=each.status,
            )
            for at, each in enumerate(refund.transactions)
        ),
        detail=len(refund.lines) + (refund.amount_only is not None),
        digest=_digest(refund),
    )


def _moment(value: datetime, path: str) -> datetime:
    if value.year not in _YEARS:
        _refuse("is not a time at which anything was sold", path)
    return value.astimezone(UTC)


def _check_printable(text: str, path: str) -> str:
    """Control characters and lone surrogates could not be kept."""
    if not text.isprintable() and any(_unkeepable(character) for character in text):
        _refuse("must not hold control characters or half a surrogate pair", path)
    return text


def _unkeepable(character: str) -> bool:
    return character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff"


def _check_unique(ids: Iterable[str], path: str, name: str) -> None:
    seen: set[str] = set()
    for at, id_ in enumerate(ids):
        if id_ in seen:
            _refuse("occurs twice", f"{path}[{at}].{name}")
        seen.add(id_)


def _digest(content: Any) -> str:
    return hashlib.sha256(_writer.encode(content)).hexdigest()


def _refuse(detail: str, field: str) -> NoReturn:
    raise InvalidInput(detail, field=field)


def _where(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """The decoder's complaint and the path it names."""
    found = _AT.fullmatch(str(error))
    if found is None:
        return str(error), None
    return found["detail"], found["path"] or None
