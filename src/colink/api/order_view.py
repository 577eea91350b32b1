"""How an order is shown: whole to those who see the seller's numbers, and to a creator only their own part.

Everything comes from the order folded from its stream, so it is what the log says. Amounts are money; the four parts
are net of refunds, and zero while the order is not split (nothing was paid in full yet).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colink.application.decide_orders import shown_holds
from colink.domain.attribution import Attribution, Candidate
from colink.domain.facts import DisputeState, disputes_now, gift_card_tender
from colink.domain.ids import product_id, sku_id
from colink.domain.money import Money, minor_units
from colink.domain.orders import Order
from colink.domain.organizations import Settlement
from colink.domain.snapshots import OrderSnapshot
from colink.domain.split import LineSplit

Shape = dict[str, Any]


def order_view(order: Order, *, whole: bool = True) -> Shape | None:
    """The order as its seller sees it, or, `whole`, with the touches that turned out to be other sellers' business;
    None while only refunds of it were told."""
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
        "paid_by_gift_card": Money(gift_card_tender(order.merged.facts, currency), currency),
        "dispute_fee": Money(split.dispute_fee if split else 0, currency),
        "disputes": [_dispute(dispute, currency) for dispute in disputes_now(order.merged.facts)],
        "lines": [_line(line, currency) for line in split.lines if line.line_id is not None]
        if split
        else [
            # What is left of a line belongs to the seller only once it was paid.
            _line(line, currency) | {"seller_take": Money(0, currency)}
            for line in _unsplit_lines(order, newest)
        ],
        "attribution": _attribution(order.attribution, _shown(order.attribution, whole=whole))
        if order.attribution
        else None,
        "split": _split(split.lines if split else (), currency),
        "discrepancies": list(split.discrepancies) if split else [],
        "receivable": _receivable(order, currency),
        "holds": shown_holds(order),
        "set_by_hand": _set_by_hand(order),
    }


def order_view_for_creator(order: Order, creator_id: str) -> Shape | None:
    """What the credited creator sees: which lines earned what commission and why, no number of the seller's and no
    other creator's. None for an order that is not theirs."""
    newest, attribution, split = order.merged.newest, order.attribution, order.split
    if newest is None or attribution is None or attribution.creator_id != creator_id:
        return None
    own = [candidate for candidate in attribution.candidates if candidate.creator_id == creator_id]
    lines = split.lines if split else _unsplit_lines(order, newest)
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
            if line.line_id is not None
        ],
        "attribution": _attribution(attribution, own),
        "split": {"creator_commission": Money(sum(line.net_commission for line in lines), newest.currency)},
    }


def _receivable(order: Order, currency: str) -> Shape | None:
    """What a seller who collects the money himself owes for the order, and has paid; None where we collect it."""
    if order.terms is None or order.terms.settlement is Settlement.PLATFORM_COLLECTED:
        return None
    return {"owed": Money(order.receivable, currency), "settled": Money(order.decisions.settled, currency)}


def _set_by_hand(order: Order) -> Shape | None:
    """Who set by hand who is credited, why, and who was before; None where touches and coupons decided."""
    by_hand = order.set_by_hand
    if by_hand is None:
        return None
    former = by_hand.former
    return {
        "by": by_hand.by,
        "at": by_hand.at,
        "reason": by_hand.reason,
        "former": {
            "outcome": former.outcome,
            "creator_id": former.creator_id,
            "campaign_id": former.campaign_id,
            "link_id": former.link_id,
        },
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


def _dispute(dispute: DisputeState, currency: str) -> Shape:
    """`stage`: whether it holds the order's money, counts as a refund, or is over."""
    told_in = dispute.currency or currency
    return {
        "dispute_id": dispute.dispute_id,
        "kind": dispute.kind,
        "status": dispute.status,
        "stage": dispute.stage,
        "amount": Money(minor_units(dispute.amount, told_in), told_in),
        "fee": None if dispute.fee is None else Money(minor_units(dispute.fee, told_in), told_in),
        "since": dispute.since,
    }


def _unsplit_lines(order: Order, newest: OrderSnapshot) -> list[LineSplit]:
    """The lines of an order that was not paid yet: nothing of them belongs to anybody."""
    return [
        LineSplit(
            line_id=line.line_id,
            product_id=product_id(order.store_id, line.product_external_id) if line.product_external_id else None,
            sku_id=sku_id(order.store_id, line.sku_external_id) if line.sku_external_id else None,
            quantity=line.quantity,
            base=line.base,
            platform_fee=0,
            commission=0,
            payment_fee=0,
            rule=None,
        )
        for line in newest.lines
    ]


def _split(lines: Sequence[LineSplit], currency: str) -> Shape:
    """The four parts, which sum to the subtotal less what was refunded."""
    return {
        "platform_fee": Money(sum(line.net_platform_fee for line in lines), currency),
        "creator_commission": Money(sum(line.net_commission for line in lines), currency),
        "payment_fee": Money(sum(line.payment_fee for line in lines), currency),
        "seller_take": Money(sum(line.seller_take for line in lines), currency),
    }


def _shown(attribution: Attribution, *, whole: bool) -> Sequence[Candidate]:
    if whole:
        return attribution.candidates
    return [candidate for candidate in attribution.candidates if not candidate.is_foreign]


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
