"""Deliveries as Shopify would send them: order and refund bodies with the fields a shop really sends, and signed.

For the demo, load and tests. It makes bodies; it does not read them, and knows nothing of what CoLink does with them.
Amounts are decimal texts or Decimals in major units of the shop's currency.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

API_VERSION = "2026-10"
Amount = str | int | Decimal


@dataclass(frozen=True, kw_only=True)
class Item:
    """A line of an order. `discount`: what codes take off the whole line; `tax`: of the whole line."""

    line_id: int
    title: str
    price: Amount
    quantity: int = 1
    product_id: int | None = None
    variant_id: int | None = None
    sku: str | None = None
    discount: Amount = 0
    tax: Amount = 0
    current_quantity: int | None = None
    gift_card: bool = False
    tip: bool = False

    @property
    def total(self) -> Decimal:
        """What the buyer pays for the line, before tax that is not included."""
        return Decimal(self.price) * self.quantity - Decimal(self.discount)


@dataclass(frozen=True, kw_only=True)
class RefundedItem:
    """Units of a line that were given back. `subtotal` and `tax` default to their share of the line, in cents."""

    item: Item
    quantity: int = 1
    subtotal: Amount | None = None
    tax: Amount | None = None


@dataclass(frozen=True, kw_only=True)
class SignedDelivery:
    """What goes over the wire."""

    headers: Mapping[str, str]
    body: bytes


def order_body(
    *,
    order_id: int,
    number: int,
    currency: str,
    placed_at: datetime,
    items: Sequence[Item],
    updated_at: datetime | None = None,
    status: str = "paid",
    cancelled_at: datetime | None = None,
    taxes_included: bool = False,
    shipping: Amount = 0,
    total_price: Amount | None = None,
    total_outstanding: Amount = 0,
    code: str | None = None,
    click_id: str | None = None,
    visitor_id: str | None = None,
    landing_site: str | None = "/",
    email: str | None = None,
    refunds: Sequence[Mapping[str, Any]] = (),
    test: bool = False,
) -> dict[str, Any]:
    """An order as `orders/create`, `orders/paid`, `orders/updated` and `orders/cancelled` carry it. `total_price`
    defaults to lines, tax that is not included, and shipping; `code` is the discount code behind the discounts."""
    subtotal = sum((item.total for item in items), Decimal(0))
    discounts = sum((Decimal(item.discount) for item in items), Decimal(0))
    tax = sum((Decimal(item.tax) for item in items), Decimal(0))
    total = subtotal + Decimal(shipping) + (0 if taxes_included else tax) if total_price is None else total_price
    attributes = {"colink_ref": click_id, "colink_vid": visitor_id}
    body: dict[str, Any] = {
        "id": order_id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order_id}",
        "app_id": 580111,
        "buyer_accepts_marketing": False,
        "cancel_reason": None if cancelled_at is None else "customer",
        "cancelled_at": _time(cancelled_at),
        "cart_token": _token(order_id, "cart"),
        "checkout_token": _token(order_id, "checkout"),
        "client_details": {"accept_language": "en-MY", "browser_ip": None, "session_hash": None, "user_agent": None},
        "closed_at": None,
        "confirmed": True,
        "contact_email": email,
        "created_at": _time(placed_at),
        "currency": currency,
        "customer_locale": "en-MY",
        "discount_applications": [_discount_application(code, discounts)] if code else [],
        "discount_codes": [{"code": code, "amount": _text(discounts), "type": "fixed_amount"}] if code else [],
        "email": email or "",
        "estimated_taxes": False,
        "financial_status": status,
        "fulfillment_status": None,
        "fulfillments": [],
        "landing_site": landing_site,
        "line_items": [_line_item(item, currency) for item in items],
        "name": f"#{number}",
        "note": None,
        "note_attributes": [{"name": name, "value": value} for name, value in attributes.items() if value],
        "number": number - 1000,
        "order_number": number,
        "payment_gateway_names": ["shopify_payments"],
        "payment_terms": None,
        "phone": None,
        "presentment_currency": currency,
        "processed_at": _time(placed_at),
        "referring_site": None,
        "refunds": [dict(refund) for refund in refunds],
        "shipping_lines": [_shipping_line(order_id, shipping, currency)] if Decimal(shipping) else [],
        "source_name": "web",
        "tags": "",
        "tax_exempt": False,
        "taxes_included": taxes_included,
        "test": test,
        "token": _token(order_id, "order"),
        "total_outstanding": _text(total_outstanding),
        "total_weight": 0,
        "updated_at": _time(updated_at or placed_at),
    }
    body |= _with_twin("subtotal_price", subtotal, currency)
    body |= _with_twin("current_subtotal_price", subtotal, currency)
    body |= _with_twin("total_discounts", discounts, currency)
    body |= _with_twin("total_line_items_price", subtotal + discounts, currency)
    body |= _with_twin("total_price", total, currency)
    body |= _with_twin("current_total_price", total, currency)
    body |= _with_twin("total_tax", tax, currency)
    body["total_shipping_price_set"] = _money_set(shipping, currency)
    body["customer"] = None if email is None else _customer(order_id, email, currency)
    return body


def refund_body(
    *,
    refund_id: int,
    order_id: int,
    currency: str,
    processed_at: datetime,
    items: Sequence[RefundedItem] = (),
    amount_only: Amount = 0,
    shipping: Amount = 0,
    paid_back: Amount | None = None,
    transaction_status: str = "success",
) -> dict[str, Any]:
    """A refund as `refunds/create` and `refunds[]` of an order carry it.

    `amount_only`: given back without lines (a negative `refund_discrepancy`). `paid_back`: amount of the transaction,
    by default all of it; 0: no transaction.
    """
    lines = [_refund_line_item(refund_id, index, refunded, currency) for index, refunded in enumerate(items)]
    adjustments = []
    if Decimal(amount_only):
        adjustments.append(_adjustment(refund_id, 1, "refund_discrepancy", -Decimal(amount_only), currency))
    if Decimal(shipping):
        adjustments.append(_adjustment(refund_id, 2, "shipping_refund", -Decimal(shipping), currency))
    if paid_back is None:
        of_lines = sum((Decimal(line["subtotal"]) + Decimal(line["total_tax"]) for line in lines), Decimal(0))
        paid_back = of_lines + Decimal(amount_only) + Decimal(shipping)
    return {
        "id": refund_id,
        "admin_graphql_api_id": f"gid://shopify/Refund/{refund_id}",
        "order_id": order_id,
        "created_at": _time(processed_at),
        "processed_at": _time(processed_at),
        "note": None,
        "user_id": None,
        "restock": True,
        "duties": [],
        "total_duties_set": _money_set(0, currency),
        "additional_fees": [],
        "return": None,
        "order_adjustments": adjustments,
        "refund_line_items": lines,
        "refund_shipping_lines": [],
        "transactions": [
            _transaction(
                refund_id,
                order_id,
                amount=paid_back,
                status=transaction_status,
                currency=currency,
                at=processed_at,
            )
        ]
        if Decimal(paid_back)
        else [],
    }


def signed_delivery(
    topic: str,
    body: Mapping[str, Any] | bytes,
    *,
    secret: str,
    webhook_id: str,
    shop_domain: str,
    triggered_at: datetime,
) -> SignedDelivery:
    """The headers and bytes of one delivery; a retry is the same again, `webhook_id` included."""
    raw = body if isinstance(body, bytes) else encoded(body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Shopify-Captain-Hook",
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": shop_domain,
        "X-Shopify-API-Version": API_VERSION,
        "X-Shopify-Webhook-Id": webhook_id,
        "X-Shopify-Event-Id": _token(0, webhook_id),
        "X-Shopify-Triggered-At": _time(triggered_at) or "",
        "X-Shopify-Hmac-Sha256": signature(raw, secret),
    }
    return SignedDelivery(headers=headers, body=raw)


def encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def signature(raw: bytes, secret: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), raw, "sha256")).decode()


def _line_item(item: Item, currency: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": item.line_id,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{item.line_id}",
        "attributed_staffs": [],
        "current_quantity": item.quantity if item.current_quantity is None else item.current_quantity,
        "discount_allocations": [],
        "duties": [],
        "fulfillable_quantity": item.quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": None,
        "gift_card": item.gift_card,
        "grams": 200,
        "name": item.title,
        "product_exists": item.product_id is not None,
        "product_id": item.product_id,
        "properties": [],
        "quantity": item.quantity,
        "requires_shipping": not (item.gift_card or item.tip),
        "sku": item.sku,
        "tax_lines": [],
        "taxable": bool(Decimal(item.tax)),
        "title": item.title,
        "variant_id": item.variant_id,
        "variant_title": None,
        "vendor": None,
    }
    line |= _with_twin("price", item.price, currency)
    line |= _with_twin("total_discount", 0, currency)
    if item.tip:
        line["tip"] = {"payment_gateway": None, "payment_method": None}
    if Decimal(item.discount):
        line["discount_allocations"] = [
            {"discount_application_index": 0, **_with_twin("amount", item.discount, currency)}
        ]
    if Decimal(item.tax):
        line["tax_lines"] = [
            {"channel_liable": False, "rate": 0.06, "title": "SST", **_with_twin("price", item.tax, currency)}
        ]
    return line


def _refund_line_item(refund_id: int, index: int, refunded: RefundedItem, currency: str) -> dict[str, Any]:
    item = refunded.item
    share = Decimal(refunded.quantity) / item.quantity
    subtotal = round(item.total * share, 2) if refunded.subtotal is None else refunded.subtotal
    tax = round(Decimal(item.tax) * share, 2) if refunded.tax is None else refunded.tax
    return {
        "id": refund_id * 100 + index,
        "line_item_id": item.line_id,
        "location_id": None,
        "quantity": refunded.quantity,
        "restock_type": "return",
        # JSON numbers, as Shopify sends them: only the twins are exact.
        "subtotal": float(_text(subtotal)),
        "subtotal_set": _money_set(subtotal, currency),
        "total_tax": float(_text(tax)),
        "total_tax_set": _money_set(tax, currency),
        "line_item": _line_item(item, currency),
    }


def _adjustment(refund_id: int, index: int, kind: str, amount: Decimal, currency: str) -> dict[str, Any]:
    return {
        "id": refund_id * 10 + index,
        "refund_id": refund_id,
        "kind": kind,
        "reason": kind.replace("_", " ").capitalize(),
        **_with_twin("amount", amount, currency),
        **_with_twin("tax_amount", 0, currency),
    }


def _transaction(
    refund_id: int, order_id: int, *, amount: Amount, status: str, currency: str, at: datetime
) -> dict[str, Any]:
    return {
        "id": refund_id * 10,
        "admin_graphql_api_id": f"gid://shopify/OrderTransaction/{refund_id * 10}",
        "order_id": order_id,
        "parent_id": order_id * 10,
        "kind": "refund",
        "status": status,
        "gateway": "shopify_payments",
        "amount": _text(amount),
        "currency": currency,
        "created_at": _time(at),
        "processed_at": _time(at),
        "message": None,
        "error_code": None if status in {"success", "pending"} else "processing_error",
        "source_name": "web",
        "receipt": {},
        "test": False,
    }


def _shipping_line(order_id: int, price: Amount, currency: str) -> dict[str, Any]:
    return {
        "id": order_id * 10 + 1,
        "code": "Standard",
        "title": "Standard",
        "source": "shopify",
        "is_removed": False,
        "tax_lines": [],
        "discount_allocations": [],
        **_with_twin("price", price, currency),
        **_with_twin("discounted_price", price, currency),
    }


def _discount_application(code: str, amount: Decimal) -> dict[str, Any]:
    return {
        "allocation_method": "across",
        "code": code,
        "target_selection": "all",
        "target_type": "line_item",
        "type": "discount_code",
        "value": _text(amount),
        "value_type": "fixed_amount",
    }


def _customer(order_id: int, email: str, currency: str) -> dict[str, Any]:
    number = int(hashlib.sha256(email.encode()).hexdigest()[:12], 16)
    return {"id": number, "email": email, "verified_email": True, "currency": currency, "last_order_id": order_id}


def _with_twin(key: str, amount: Amount, currency: str) -> dict[str, Any]:
    return {key: _text(amount), f"{key}_set": _money_set(amount, currency)}


def _money_set(amount: Amount, currency: str) -> dict[str, Any]:
    money = {"amount": _text(amount), "currency_code": currency}
    return {"shop_money": money, "presentment_money": money}


def _text(amount: Amount) -> str:
    """Shopify writes two decimals, more where the amount has more."""
    exact = Decimal(amount)
    rounded = exact.quantize(Decimal("0.01"))
    return str(rounded if rounded == exact else exact.quantize(Decimal("0.0001")))


def _time(time: datetime | None) -> str | None:
    return None if time is None else (time - timedelta(microseconds=time.microsecond)).isoformat()


def _token(number: int, what: str) -> str:
    return hashlib.sha256(f"{what}:{number}".encode()).hexdigest()[:32]
