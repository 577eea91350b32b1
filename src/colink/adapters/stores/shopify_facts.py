"""Shopify's deliveries about an order that are no order and no refund: disputes and transactions.

Facts: shopify.dev, REST dispute and transaction resources. A dispute tells no time of its own change, so its versions
are ordered by what they say (`domain/facts.py`). Of an inquiry Shopify takes no money; that of a chargeback it
withdraws when it is opened. Neither body tells the fee: a statement does. Of transactions only payments by gift card
bring news; what else was paid or given back is told by the order and its refunds.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

from colink.adapters.stores.reading import Reader, shown
from colink.adapters.stores.shopify_amounts import Amounts, currency_of
from colink.application.deliveries import Ignored, Translated
from colink.application.record_order import StandaloneFacts
from colink.domain.facts import Dispute, DisputeKind, DisputeStatus, OrderFacts, Tender
from colink.domain.snapshots import TransactionStatus

E = TypeVar("E", DisputeKind, DisputeStatus)

_TRANSACTION_STATUS = {
    "pending": TransactionStatus.PENDING,
    "awaiting_response": TransactionStatus.PENDING,
    "unknown": TransactionStatus.PENDING,
    "success": TransactionStatus.SUCCESS,
    "failure": TransactionStatus.FAILURE,
    "error": TransactionStatus.FAILURE,
}
_PAYMENTS = frozenset({"sale", "capture"})


def dispute(body: Reader, raw: bytes) -> Translated:
    """Topics `disputes/create` and `disputes/update`."""
    order_id = body.id_or_none("order_id")
    if order_id is None:
        return Ignored(reason="the dispute is about no order")
    currency = currency_of(body, "currency")
    kind = _one_of(body, "type", DisputeKind)
    initiated_at = body.time("initiated_at")
    told = Dispute(
        dispute_id=body.id("id"),
        kind=kind,
        status=_one_of(body, "status", DisputeStatus),
        amount=Amounts(currency).of(body, "amount"),
        initiated_at=initiated_at,
        withdrawn_at=initiated_at if kind is DisputeKind.CHARGEBACK else None,
        closed_at=body.time_or_none("finalized_on", or_day=True),
        currency=currency,
    )
    return _told(order_id, OrderFacts(disputes=(told,)), raw)


def transaction(body: Reader, raw: bytes) -> Translated:
    """Topic `order_transactions/create`. Without a `_set` twin the amount is in the currency of the payment."""
    if body.flag("test"):
        return Ignored(reason="a test transaction")
    if not is_of_gift_card(body) or body.loose_text_or_none("kind") not in _PAYMENTS:
        return Ignored(reason="orders and refunds tell of this transaction; it is no payment by gift card")
    told = Tender(
        transaction_id=body.id("id"),
        amount=Amounts(None).of(body, "amount"),
        status=transaction_status(body),
        processed_at=body.time_or_none("processed_at") or body.time("created_at"),
        currency=currency_of(body, "currency") if body.has("currency") and not body.has("amount_set") else None,
    )
    return _told(body.id("order_id"), OrderFacts(tenders=(told,)), raw)


def _told(order_id: str, facts: OrderFacts, raw: bytes) -> StandaloneFacts:
    digest = hashlib.sha256(raw).hexdigest()
    return StandaloneFacts(order_external_id=order_id, facts=facts, body_digest=digest)


def is_of_gift_card(body: Reader) -> bool:
    return body.loose_text_or_none("gateway") == "gift_card"


def transaction_status(body: Reader) -> TransactionStatus:
    word = body.text("status")
    status = _TRANSACTION_STATUS.get(word)
    if status is None:
        body.fail("status", f"unknown status {shown(word)}: expected one of {', '.join(_TRANSACTION_STATUS)}")
    return status


def _one_of(body: Reader, key: str, words: type[E]) -> E:
    word = body.text(key)
    try:
        return words(word)
    except ValueError:
        body.fail(key, f"unknown {key} {shown(word)}: expected one of {', '.join(words)}")
