"""What a Shopify body says, as plain dictionaries; and the merge of everything an order's store ever said.

The merge keeps all snapshots and all refunds. What was known at a time is a part of them, so money and due times are
functions of the set that arrived. Semantics section 2.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from colink.simulation.model.amounts import fine, minor, seconds

Facts = dict[str, Any]

_RANK = ("pending", "authorized", "expired", "partially_paid", "paid", "partially_refunded", "refunded", "voided")
_DISPUTE_KINDS = ("inquiry", "chargeback")
_DISPUTE_STATUSES = ("needs_response", "under_review", "prevented", "charge_refunded", "accepted", "lost", "won")
_OPEN_DISPUTES = _DISPUTE_STATUSES[:2]
_TRANSACTION_RANK = {"pending": 0, "success": 1, "failure": 2, "error": 2}


def read_order(body: bytes) -> Facts:
    """A snapshot: amounts in minor units, times in seconds."""
    told = json.loads(body)
    currency = told["currency"]
    status = told["financial_status"]
    settled = fine(told.get("total_outstanding")) == 0
    updated_at = seconds(told["updated_at"])
    refunds = [read_refund(refund, currency) for refund in told.get("refunds", ())]
    return {
        "version": (updated_at, _RANK.index(status), len(refunds), hashlib.sha256(body).hexdigest()),
        "id": str(told["id"]),
        "currency": currency,
        "placed_at": seconds(told["created_at"]),
        "updated_at": updated_at,
        "status": status,
        "gone": told.get("cancelled_at") is not None or status in {"voided", "expired"},
        "paid_in_full": status == "paid" or (status in {"partially_refunded", "refunded"} and settled),
        "test": bool(told.get("test")),
        "taxes_included": bool(told.get("taxes_included")),
        "total": minor(fine(told["total_price"]), currency),
        "lines": sorted(
            (_line(line, currency, bool(told.get("taxes_included"))) for line in told["line_items"]), key=_by_id
        ),
        "refunds": refunds,
        "clicks": [pair["value"] for pair in told["note_attributes"] if pair["name"] == "colink_ref"],
        "visitors": [pair["value"] for pair in told["note_attributes"] if pair["name"] == "colink_vid"],
        "coupons": [
            (code["code"].lower(), minor(fine(code["amount"]), currency), place)
            for place, code in enumerate(told["discount_codes"])
        ],
        "email": told["email"].strip().lower(),
    }


def _line(line: Facts, currency: str, taxes_included: bool) -> Facts:  # noqa: FBT001 - as told
    exact = fine(line["price"]) * line["quantity"] - sum(
        fine(each["amount"]) for each in line["discount_allocations"]
    )
    if taxes_included:
        exact -= sum(fine(each["price"]) for each in line["tax_lines"])
    no_base = line.get("gift_card") or line.get("tip") is not None
    return {
        "id": str(line["id"]),
        "base": 0 if no_base else minor(exact, currency),
        "no_base": bool(no_base),
        "quantity": line["quantity"],
        "current": line.get("current_quantity"),
        "product": None if line.get("product_id") is None else str(line["product_id"]),
        "variant": None if line.get("variant_id") is None else str(line["variant_id"]),
    }


def _by_id(line: Facts) -> tuple[int, int, str]:
    return (0, int(line["id"]), "") if line["id"].isdigit() else (1, 0, line["id"])


def read_refund(told: Facts, currency: str) -> Facts:
    discrepancies = [each for each in told["order_adjustments"] if each["kind"] == "refund_discrepancy"]
    return {
        "id": str(told["id"]),
        "at": seconds(told["processed_at"]),
        "lines": [
            (
                str(line["line_item_id"]),
                line["quantity"],
                minor(fine(line["subtotal"]), currency),
                minor(fine(line["total_tax"]), currency),
            )
            for line in told["refund_line_items"]
        ],
        "amount_only": sum(max(-minor(fine(each["amount"]), currency), 0) for each in discrepancies),
        "detail": len(told["refund_line_items"])
        + len(told["order_adjustments"])
        + len(told["refund_shipping_lines"]),
        "transactions": {
            str(each["id"]): (each["status"], _cash(each, currency))
            for each in told["transactions"]
            if each["kind"] == "refund"
        },
    }


def _cash(transaction: Facts, currency: str) -> int:
    """A gift card is filled with none; whether that failed is told all the same."""
    return 0 if transaction.get("gateway") == "gift_card" else minor(fine(transaction["amount"]), currency)


def read_dispute(told: Facts, currency: str) -> Facts:
    """Shopify takes the money of a chargeback when it is opened; an inquiry takes none."""
    at = seconds(told["initiated_at"])
    closed = told["finalized_on"]
    return {
        "id": str(told["id"]),
        "version": (_DISPUTE_KINDS.index(told["type"]), _DISPUTE_STATUSES.index(told["status"])),
        "status": told["status"],
        "amount": minor(fine(told["amount"]), currency),
        "at": at,
        "withdrawn": at if told["type"] == "chargeback" else None,
        "closed": None if closed is None else seconds(closed),
    }


class Told:
    """Everything that has arrived about one order."""

    def __init__(self) -> None:
        self.snapshots: dict[tuple[Any, ...], Facts] = {}
        self.refunds: dict[str, Facts] = {}
        self.disputes: list[Facts] = []
        self.tenders: dict[str, tuple[str, int]] = {}
        self.stated: list[tuple[str, int, int]] = []

    def take_snapshot(self, snapshot: Facts) -> None:
        self.snapshots[snapshot["version"]] = snapshot
        for refund in snapshot["refunds"]:
            self.take_refund(refund)

    def take_refund(self, refund: Facts) -> None:
        """Of two contents the one with more parts; the earliest time; transactions united, each as far as it got."""
        known = self.refunds.get(refund["id"])
        if known is None:
            self.refunds[refund["id"]] = refund
            return
        fuller = refund if refund["detail"] > known["detail"] else known
        transactions = dict(known["transactions"])
        for id_, told in refund["transactions"].items():
            before = transactions.get(id_)
            if before is None or _TRANSACTION_RANK[told[0]] > _TRANSACTION_RANK[before[0]]:
                transactions[id_] = told
        at = min(known["at"], refund["at"])
        self.refunds[refund["id"]] = fuller | {"at": at, "transactions": transactions}

    def take_tender(self, id_: str, status: str, amount: int) -> None:
        """A payment by gift card, as far as it got."""
        before = self.tenders.get(id_)
        if before is None or _TRANSACTION_RANK[status] > _TRANSACTION_RANK[before[0]]:
            self.tenders[id_] = (status, amount)

    def take_stated_fee(self, kind: str, amount: int, at: int) -> None:
        """A fee of the order, `payment` or `dispute`, as a statement of that time shows it."""
        self.stated.append((kind, amount, at))

    def stated_at(self, kind: str, moment: int) -> int | None:
        """The fees of a kind that statements had shown by then; None where none had."""
        fees = [amount for told, amount, at in self.stated if told == kind and at <= moment]
        return sum(fees) if fees else None

    @property
    def gift_cards(self) -> int:
        return sum(amount for status, amount in self.tenders.values() if status == "success")

    def dispute_at(self, moment: int) -> tuple[str, int]:
        """Where the order's dispute stood: `none`, `holds`, `counts` or `over`; and its amount."""
        if not self.disputes or moment < (opened := min(each["at"] for each in self.disputes)):
            return "none", 0
        newest = max(self.disputes, key=lambda each: each["version"])
        withdrawn = min((each["withdrawn"] for each in self.disputes if each["withdrawn"] is not None), default=None)
        taken = withdrawn is not None and moment >= withdrawn
        if newest["status"] not in _OPEN_DISPUTES and moment >= max(newest["closed"], withdrawn or opened):
            lost = withdrawn is not None and newest["status"] in {"lost", "accepted"}
            return ("counts" if lost else "over"), newest["amount"]
        return ("counts" if taken else "holds"), newest["amount"]

    @property
    def in_order(self) -> list[Facts]:
        return [self.snapshots[version] for version in sorted(self.snapshots)]

    @property
    def paid_at(self) -> int | None:
        return min((each["updated_at"] for each in self.snapshots.values() if each["paid_in_full"]), default=None)

    def moments(self) -> list[int]:
        """The times from payment on at which something may have changed, had all been told when it happened."""
        paid_at = self.paid_at
        if paid_at is None:
            return []
        times = {each["updated_at"] for each in self.snapshots.values()}
        times |= {each["at"] for each in self.refunds.values()}
        times |= {at for _, _, at in self.stated}
        for each in self.disputes:
            times |= {each["at"], each["closed"] or each["at"]}
        return sorted({max(time, paid_at) for time in times})

    def known_at(self, moment: int) -> tuple[list[Facts], list[Facts]]:
        """Snapshots in the order of their versions, and refunds in the order in which they count."""
        snapshots = [each for each in self.in_order if each["updated_at"] <= moment]
        refunds = [each for each in self.refunds.values() if each["at"] <= moment]
        return snapshots, sorted(refunds, key=lambda each: (each["at"], int(each["id"])))
