"""Shopify's webhooks: is a delivery Shopify's, and what does it say in canonical form.

Bodies are REST-shaped orders and refunds. Rules: semantics section 2; facts: shopify.dev, webhook delivery and REST
order and refund resources. Amounts are shop money, from the `_set` twin where there is one: the plain field of a
refund line is a binary float on Shopify's side. Header totals and lines of real orders do not always add up, so they
are never compared.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from urllib.parse import parse_qsl

from colink.adapters.stores.reading import Reader, decode_object, shown
from colink.adapters.stores.shopify_amounts import Amounts, currency_of, shop_money_of
from colink.adapters.stores.shopify_facts import dispute, is_of_gift_card, transaction, transaction_status
from colink.adapters.stores.shopify_plain import plain_order
from colink.application.deliveries import Ignored, Translated, WebhookHeaders
from colink.application.record_order import StandaloneRefund
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.customers import customer_ref_of
from colink.domain.errors import InvalidInput
from colink.domain.money import MAX_AMOUNT, minor_units
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
)

CLICK_KEY = "colink_ref"
VISITOR_KEY = "colink_vid"
_REFERENCE = re.compile(r"[A-Za-z0-9._~-]{1,128}")  # what our ids look like; a shopper can write anything there
_MAX_REFERENCES = 20
_ZERO = Decimal(0)
_ORDER_TOPICS = frozenset({"orders/create", "orders/paid", "orders/updated", "orders/cancelled"})


class ShopifyConnector:
    """Implements application.deliveries.StoreConnector. `pepper` keys the hashes of buyers' e-mail addresses."""

    headers = WebhookHeaders(
        signature="x-shopify-hmac-sha256",
        topic="x-shopify-topic",
        delivery_id="x-shopify-webhook-id",
        kept=(
            "x-shopify-topic",
            "x-shopify-webhook-id",
            "x-shopify-event-id",
            "x-shopify-shop-domain",
            "x-shopify-api-version",
            "x-shopify-triggered-at",
            "x-shopify-hmac-sha256",
            "content-type",
        ),
    )

    def __init__(self, *, pepper: bytes) -> None:
        self._pepper = pepper
        self._topics: Mapping[str, Callable[[Reader, bytes], Translated]] = {
            **dict.fromkeys(_ORDER_TOPICS, self._order),
            "refunds/create": _standalone_refund,
            "orders/edited": _edit,
            "order_transactions/create": transaction,
            "disputes/create": dispute,
            "disputes/update": dispute,
        }

    def verify(self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
        """Whether one of `secrets` signed exactly these bytes: base64 HMAC-SHA256. An empty body is never Shopify's.
        `headers` have lower-case names. Several secrets: the old one signs for an hour after a rotation."""
        claimed = headers.get(self.headers.signature, "").encode("utf-8", "replace")
        matches = [
            hmac.compare_digest(base64.b64encode(hmac.digest(secret.encode(), body, "sha256")), claimed)
            for secret in secrets
            if secret
        ]
        return bool(body) and any(matches)

    def translate(self, topic: str, body: bytes) -> Translated:
        """What a verified delivery says. Raises InvalidInput naming the field, UnreadableBody where it is no JSON."""
        if topic.lower() in _ORDER_TOPICS:
            plain = plain_order(body, pepper=self._pepper, references=_our_ids)
            if plain is not None:
                return plain
        reader = decode_object(body)
        if not topic:
            msg = "the delivery does not say its topic"
            raise InvalidInput(msg, field=self.headers.topic)
        read = self._topics.get(topic.lower())
        if read is None:
            return Ignored(reason=f"topic {shown(topic)} is not used")
        try:
            with localcontext(prec=60):  # wide enough that no sum or product of amounts is rounded
                return read(reader, body)
        except RecursionError:
            msg = "the body is nested too deeply"
            raise InvalidInput(msg) from None

    def _order(self, order: Reader, body: bytes) -> OrderSnapshot:
        currency = currency_of(order, "currency")
        amounts = Amounts(currency)
        taxes_included = order.flag("taxes_included")
        readers = order.objects("line_items", required=True)
        lines = tuple(_line(reader, amounts, currency, taxes_included=taxes_included) for reader in readers)
        _check_lines(order, readers, lines)
        external_id = order.id("id")
        return OrderSnapshot(
            external_id=external_id,
            number=order.text_or_none("name") or order.id_or_none("order_number") or external_id,
            currency=currency,
            placed_at=order.time("created_at"),
            updated_at=order.time("updated_at"),
            status=_financial_status(order),
            cancelled=order.time_or_none("cancelled_at") is not None,
            test=order.flag("test"),
            taxes_included=taxes_included,
            lines=lines,
            total_price=minor_units(amounts.of(order, "total_price"), currency),
            total_outstanding=minor_units(amounts.signed(order, "total_outstanding", default=_ZERO), currency),
            keys=OrderKeys(
                click_ids=_references(order, CLICK_KEY),
                visitor_ids=_references(order, VISITOR_KEY),
                coupons=_coupons(order, amounts, currency),
                customer_ref=customer_ref_of(_email(order), pepper=self._pepper),
            ),
            refunds=tuple(_refund(reader) for reader in order.objects("refunds")),
            digest=hashlib.sha256(body).hexdigest(),
        )


def _financial_status(order: Reader) -> FinancialStatus:
    status = order.text("financial_status")
    try:
        return FinancialStatus(status)
    except ValueError:
        order.fail(
            "financial_status", f"unknown status {shown(status)}: expected one of {', '.join(FinancialStatus)}"
        )


def _line(line: Reader, amounts: Amounts, currency: str, *, taxes_included: bool) -> OrderLine:
    quantity = line.count("quantity")
    price = amounts.of(line, "price")
    discounts = sum((amounts.of(part, "amount") for part in line.objects("discount_allocations")), _ZERO)
    taxes = sum((amounts.of(part, "price") for part in line.objects("tax_lines")), _ZERO)
    exact = price * quantity - discounts - (taxes if taxes_included else _ZERO)
    if exact < 0:
        line.fail("discount_allocations", "discounts and included taxes are more than price times quantity")
    base = 0 if _carries_no_base(line) else minor_units(exact, currency)
    if base > MAX_AMOUNT:
        line.fail("price", "price times quantity is absurdly large: more than 10^15 minor units")
    return OrderLine(
        line_id=line.id("id"),
        quantity=quantity,
        base=base,
        product_external_id=line.id_or_none("product_id"),
        sku_external_id=line.id_or_none("variant_id"),
        current_quantity=line.count_or_none("current_quantity"),
        carries_base=not _carries_no_base(line),
    )


def _carries_no_base(line: Reader) -> bool:
    """Gift cards are money sold for money; a tip is a line of its own with an object `tip`."""
    return line.flag("gift_card") or line.object_or_none("tip") is not None


def _check_lines(order: Reader, readers: Sequence[Reader], lines: Sequence[OrderLine]) -> None:
    seen: set[str] = set()
    for reader, line in zip(readers, lines, strict=True):
        if line.line_id in seen:
            reader.fail("id", f"line {line.line_id} occurs twice")
        seen.add(line.line_id)
    if sum(line.base for line in lines) > MAX_AMOUNT:
        order.fail("line_items", "the lines together are absurdly large: more than 10^15 minor units")


def _references(order: Reader, name: str) -> tuple[str, ...]:
    """Our ids in `note_attributes` and in the query of `landing_site`, each once; others are passed over."""
    pairs = [
        (name, attribute.loose_text_or_none("value"))
        for attribute in order.objects("note_attributes")
        if attribute.loose_text_or_none("name") == name
    ]
    return _our_ids(pairs, order.loose_text_or_none("landing_site") or "", name)


def _our_ids(attributes: Sequence[tuple[str | None, str | None]], landing_site: str, name: str) -> tuple[str, ...]:
    found = [value or "" for key, value in attributes if key == name]
    if name in landing_site:
        query = landing_site.partition("?")[2].partition("#")[0]
        found += [value for key, value in parse_qsl(query) if key == name]
    return tuple(dict.fromkeys(value for value in found if _REFERENCE.fullmatch(value)))[:_MAX_REFERENCES]


def _coupons(order: Reader, amounts: Amounts, currency: str) -> tuple[CouponUse, ...]:
    """Discount codes in payload order. A discount without a code was given by hand."""
    uses = []
    for ordinal, discount in enumerate(order.objects("discount_codes")):
        code = discount.text_or_none("code")
        amount = minor_units(amounts.of(discount, "amount", default=_ZERO), currency)
        if code:
            uses.append(CouponUse(code=code, discount=amount, ordinal=ordinal))
    return tuple(uses)


def _email(order: Reader) -> str | None:
    customer = order.object_or_none("customer")
    addresses = [
        None if customer is None else customer.loose_text_or_none("email"),
        order.loose_text_or_none("email"),
        order.loose_text_or_none("contact_email"),
    ]
    return next((address for address in addresses if address), None)


def _standalone_refund(refund: Reader, body: bytes) -> StandaloneRefund:
    return StandaloneRefund(
        order_external_id=refund.id("order_id"),
        refund=_refund(refund),
        body_digest=hashlib.sha256(body).hexdigest(),
    )


def _edit(_edit: Reader, _body: bytes) -> Ignored:
    return Ignored(reason="an edit carries only the differences; orders/updated brings the money")


def _refund(refund: Reader) -> Refund:
    """One refund. The same content gives the same refund, alone or inside an order: only so can deliveries be merged
    in any order."""
    amounts = Amounts(_refund_currency(refund))
    lines = refund.objects("refund_line_items")
    adjustments = refund.objects("order_adjustments")
    shipping = refund.objects("refund_shipping_lines")
    transactions = (_transaction(reader, amounts) for reader in refund.objects("transactions"))
    return Refund(
        refund_id=refund.id("id"),
        processed_at=refund.time_or_none("processed_at") or refund.time("created_at"),
        lines=tuple(_refund_line(line, amounts) for line in lines),
        amount_only=sum((_amount_only(adjustment, amounts) for adjustment in adjustments), _ZERO),
        transactions=tuple(transaction for transaction in transactions if transaction is not None),
        detail=len(lines) + len(adjustments) + len(shipping),
        digest=_canonical_digest(refund),
        currency=amounts.currency,
    )


def _refund_line(line: Reader, amounts: Amounts) -> RefundLine:
    return RefundLine(
        line_id=line.id("line_item_id"),
        quantity=line.count("quantity"),
        subtotal=amounts.of(line, "subtotal"),
        tax=amounts.of(line, "total_tax", default=_ZERO),
    )


def _amount_only(adjustment: Reader, amounts: Amounts) -> Decimal:
    """A negative `refund_discrepancy` is money given back without lines, its `tax_amount` left out. A positive one
    and shipping touch no line."""
    if adjustment.loose_text_or_none("kind") != "refund_discrepancy":
        return _ZERO
    return max(-amounts.signed(adjustment, "amount"), _ZERO)


def _transaction(transaction: Reader, amounts: Amounts) -> RefundTransaction | None:
    """Money on its way back; None for other kinds. What goes back onto a gift card is no cash, as paying with it was
    none; whether it failed counts all the same. Without a `_set` twin Shopify tells the amount in the currency of the
    payment, which the transaction then carries."""
    if transaction.loose_text_or_none("kind") != "refund":
        return None
    told = transaction.has("currency") and not transaction.has("amount_set")
    currency = currency_of(transaction, "currency") if told else None
    amount = amounts.of(transaction, "amount")
    return RefundTransaction(
        transaction_id=transaction.id("id"),
        amount=_ZERO if is_of_gift_card(transaction) else amount,
        status=transaction_status(transaction),
        currency=currency,
    )


def _refund_currency(refund: Reader) -> str | None:
    """The shop's currency, as far as a refund on its own tells it. A payment may be in another."""
    told = [
        *((line, "subtotal_set") for line in refund.objects("refund_line_items")),
        *((adjustment, "amount_set") for adjustment in refund.objects("order_adjustments")),
        *((line, "subtotal_amount_set") for line in refund.objects("refund_shipping_lines")),
        (refund, "total_duties_set"),
    ]
    for reader, key in told:
        shop_money = shop_money_of(reader, key)
        if shop_money is not None and shop_money.has("currency_code"):
            return currency_of(shop_money, "currency_code")
    return None


def _canonical_digest(refund: Reader) -> str:
    """The same for the same content, whatever the order of keys and white space."""
    text = json.dumps(refund.raw(), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
