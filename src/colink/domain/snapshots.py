"""The canonical order snapshot and refund: what connectors produce and all the rest of the house knows.

Semantics section 2."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from colink.domain.attribution import OrderKeys
from colink.domain.value import value


class FinancialStatus(StrEnum):
    """In order of rank: of two snapshots of the same moment, the later in this list is the newer."""

    __hash__ = str.__hash__  # that of an enum is computed in Python

    PENDING = "pending"
    AUTHORIZED = "authorized"
    EXPIRED = "expired"
    PARTIALLY_PAID = "partially_paid"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    VOIDED = "voided"


class TransactionStatus(StrEnum):
    """Of a refund's money movement. Platform words that mean the same (`error`) are translated by the connector."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@value
class OrderLine:
    """`base` is minor units, as ordered: price x quantity - discounts - tax included; 0 for gift cards and tips.

    carries_base: false for gift cards and tips: what is refunded of them touches no line.

    `current_quantity`: units still in the order; None where the platform does not say.
    """

    line_id: str
    quantity: int
    base: int
    product_external_id: str | None = None
    sku_external_id: str | None = None
    current_quantity: int | None = None
    carries_base: bool = True


@value
class RefundLine:
    """Major units, exact; `subtotal` includes `tax` where the order's prices include tax."""

    line_id: str
    quantity: int
    subtotal: Decimal
    tax: Decimal


@value
class RefundTransaction:
    """Money given back to the buyer (kind refund only). Cash in major units: zero of what goes back onto a gift card.
    `currency` where the body tells it: that of a buyer who paid in another currency than the shop's."""

    transaction_id: str
    amount: Decimal
    status: TransactionStatus
    currency: str | None = None


@value
class Refund:
    """One refund as one delivery tells it. It may arrive before its order, so amounts are major units.

    amount_only: money given back without lines (above or equal zero, tax left out); detail: number of lines and
    adjustments, shipping included (of two contents of a refund the one with more counts); digest: SHA-256 hex of its
    canonical content; currency: ISO code where the body tells it.
    """

    refund_id: str
    processed_at: datetime
    lines: tuple[RefundLine, ...]
    amount_only: Decimal
    transactions: tuple[RefundTransaction, ...]
    detail: int
    digest: str
    currency: str | None = None


@value
class OrderSnapshot:
    """One delivery about an order, in canonical form; everything behind the connectors knows only this.

    Amounts are minor units of `currency`. `total_price` is the full total (tax, shipping and tips included);
    `payment_fee` None: the platform does not tell. `digest`: SHA-256 hex of the body. `cancelled`: the platform's
    own flag.
    """

    external_id: str
    number: str
    currency: str
    placed_at: datetime
    updated_at: datetime
    status: FinancialStatus
    cancelled: bool
    test: bool
    taxes_included: bool
    lines: tuple[OrderLine, ...]
    total_price: int
    total_outstanding: int
    keys: OrderKeys
    refunds: tuple[Refund, ...]
    digest: str
    payment_fee: int | None = None
