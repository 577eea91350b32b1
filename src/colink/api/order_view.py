"""How an order is shown: whole to those who see the seller's numbers, and to a creator only their own part.

Everything comes from the order folded from its stream, so it is what the log says. Amounts are money; the four parts
are net of refunds, and null while the order is not split (nothing was paid in full yet).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colink.domain.attribution import Attribution, Candidate
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.snapshots import OrderLine, OrderSnapshot
from colink.domain.split import LineSplit, Split

Shape = dict[str, Any]


def order_view(order: Order) -> Shape | None:
    """The order as its seller sees it; None while only refunds of it were told."""
    newest = order.merged.newest
    if newest is None:
        return None
    split = order.split
    currency = newest.currency
    return _head(order, newest) | {
        "subtotal": Money(split.subtotal if split else sum(line.base for line in newest.lines), currency),
        "refunded": Money(split.reversed_base if split else 0, currency),
        "collected": Money(split.collected if split else 0, currency),
        "cash_refunded": Money(split.cash_refunded if split else 0, currency),
        "lines": [_line(line, currency) for line in split.lines if line.line_id is not None]
        if split
        else [_unsplit_line(line, currency) for line in newest.lines],
        "attribution": _attribution(order.attribution, order.attribution.candidates) if order.attribution else None,
        "split": _split(split) if split else None,
        "discrepancies": list(split.discrepancies) if split else [],
    }


def order_view_for_creator(order: Order, creator_id: str) -> Shape | None:
    """What the credited creator sees: which lines earned what commission and why, no number of the seller's and no
    other creator's. None for an order that is not theirs."""
    newest, attribution, split = order.merged.newest, order.attribution, order.split
    if newest is None or attribution is None or attribution.creator_id != creator_id:
        return None
    own = [candidate for candidate in attribution.candidates if candidate.creator_id == creator_id]
    lines = [line for line in split.lines if line.line_id is not None] if split else []
    return _head(order, newest) | {
        "lines": [
            {
                "line_id": line.line_id,
                "product_id": line.product_id,
                "sku_id": line.sku_id,
                "quantity": line.quantity,
                "rule": line.rule,
                "creator_commission": Money(line.net_commission, newest.currency),
            }
            for line in lines
        ],
        "attribution": _attribution(attribution, own),
        "split": {"creator_commission": Money(sum(line.net_commission for line in split.lines), split.currency)}
        if split
        else None,
    }


def _head(order: Order, newest: OrderSnapshot) -> Shape:
    return {
        "id": order.id,
        "organization_id": order.organization_id,
        "store_id": order.store_id,
        "external_id": order.external_id,
        "number": newest.number,
        "status": newest.status,
        "cancelled": order.merged.cancelled,
        "currency": newest.currency,
        "placed_at": order.merged.placed_at,
        "paid_at": order.merged.paid_at,
    }


def _line(line: LineSplit, currency: str) -> Shape:
    return {
        "line_id": line.line_id,
        "product_id": line.product_id,
        "sku_id": line.sku_id,
        "quantity": line.quantity,
        "subtotal": Money(line.base, currency),
        "refunded": Money(line.reversed_base, currency),
        "rule": line.rule,
        "platform_fee": Money(line.net_platform_fee, currency),
        "creator_commission": Money(line.net_commission, currency),
        "payment_fee": Money(line.payment_fee, currency),
        "seller_take": Money(line.seller_take, currency),
    }


def _unsplit_line(line: OrderLine, currency: str) -> Shape:
    return {
        "line_id": line.line_id,
        "product_id": None,
        "sku_id": None,
        "quantity": line.quantity,
        "subtotal": Money(line.base, currency),
        "refunded": Money(0, currency),
        "rule": None,
        "platform_fee": None,
        "creator_commission": None,
        "payment_fee": None,
        "seller_take": None,
    }


def _split(split: Split) -> Shape:
    """The four parts, which sum to the subtotal less what was refunded."""
    return {
        "platform_fee": Money(sum(line.net_platform_fee for line in split.lines), split.currency),
        "creator_commission": Money(sum(line.net_commission for line in split.lines), split.currency),
        "payment_fee": Money(sum(line.payment_fee for line in split.lines), split.currency),
        "seller_take": Money(sum(line.seller_take for line in split.lines), split.currency),
    }


def _attribution(attribution: Attribution, candidates: Sequence[Candidate]) -> Shape:
    return {
        "outcome": attribution.outcome,
        "creator_id": attribution.creator_id,
        "campaign_id": attribution.campaign_id,
        "link_id": attribution.link_id,
        "touch_id": attribution.touch_id,
        "touched_at": attribution.touched_at,
        "own_link": attribution.own_link,
        "candidates": [
            {
                "kind": candidate.kind,
                "creator_id": candidate.creator_id,
                "occurred_at": candidate.occurred_at,
                "accepted": candidate.accepted,
                "reason": candidate.reason,
                "touch_id": candidate.touch_id,
                "link_id": candidate.link_id,
                "coupon_id": candidate.coupon_id,
                "campaign_id": candidate.campaign_id,
            }
            for candidate in candidates
        ],
    }
