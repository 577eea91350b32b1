"""What a shop tells of one order over its life, as Shopify bodies: late payment, edits, refunds of every kind.

A `Sale` knows nothing of CoLink; each thing that happens to it gives the deliveries that Shopify would send.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

Facts = dict[str, Any]

_DECIMALS = {"JPY": 0, "MYR": 2, "KWD": 3}
_PRICES = (0, 1, 7, 999, 19_566, 19_567)
_SHIPPING = (0, 0, 500, 1_294)
_UNPAID = frozenset({"pending", "authorized", "partially_paid", "voided", "expired"})


@dataclass(frozen=True, kw_only=True)
class Told:
    """One delivery: the same `webhook_id` is the same delivery."""

    store: Facts
    topic: str
    body: bytes
    webhook_id: str
    order: int


class Sale:
    """One order of a store. `keys`: what the checkout knew of the buyer: click, visitor, code, email."""

    def __init__(self, random: Random, store: Facts, number: int, at: int, keys: Facts) -> None:
        self.random = random
        self.store = store
        self.number = number
        self.placed_at = self.now = at
        self.keys = keys
        self.codes: dict[str, int] = {keys["code"]: 100} if keys.get("code") else {}
        self.taxes_included = random.random() < 0.4
        self.shipping = random.choice(_SHIPPING)
        self.test = random.random() < 0.02
        self.status = "pending"
        self.cancelled_at: int | None = None
        self.refunds: dict[int, Facts] = {}
        self.lines: dict[int, Facts] = {}
        self.disputed: Facts | None = None
        self.gift_card: Facts | None = None
        self._told = 0
        for line_id in sorted(random.sample(range(1, 150), random.choice([0, 1, 1, 2, 2, 3, 5]))):
            self.lines[line_id] = self._line(line_id)

    def _line(self, line_id: int) -> Facts:
        random = self.random
        price, quantity = random.choice([*_PRICES, random.randint(1, 90_000)]), random.randint(1, 3)
        product = random.choice([*self.store["products"], None])
        discount = random.choice([0, 0, price * quantity // 10, price * quantity])
        net = price * quantity - discount
        return {
            "id": line_id,
            "price": price,
            "quantity": quantity,
            "current": random.choice([None, quantity]),
            "discount": discount,
            "finer": random.choice(["", "", "", "25", "5"]) if discount and self.store["currency"] == "MYR" else "",
            "tax": net * 6 // 106 if self.taxes_included else net * 6 // 100,
            "product": product["id"] if product else None,
            "variant": random.choice(product["variants"]) if product else None,
            "gift_card": random.random() < 0.04,
            "tip": random.random() < 0.04,
        }

    def happen(self, at: int) -> list[Told]:
        """Something that fits where the order is; `at` in seconds."""
        self.now = at
        random = self.random
        if self.status in _UNPAID:
            return self._paying()
        what = random.choices(
            [
                self.edit,
                self.refund,
                self.settle,
                self.bring_key,
                self.enter_coupon,
                self.cancel,
                self.owe_again,
                self.retell,
                self.dispute,
            ],
            weights=[3, 6, 3, 1, 1, 1, 1, 2, 2],
        )[0]
        return what()

    def happen_late(self, at: int) -> list[Told]:
        """Money comes, goes back, or another creator turns up."""
        self.now = at
        if self.status in _UNPAID:
            return self._paying()
        return self.random.choice([self.refund, self.enter_coupon])()

    def place(self) -> list[Told]:
        told = self._placed()
        if self.random.random() < 0.06:
            told += [
                self._pay_by_card(status)
                for status in self.random.choice([["success"], ["pending", "success"], ["failure"]])
            ]
        return told

    def _placed(self) -> list[Told]:
        if self.random.random() < 0.65:
            self.status = "paid"
            topics = self.random.choice([["orders/create"], ["orders/paid"], ["orders/create", "orders/paid"]])
            return [self.tell(topic) for topic in topics]
        self.status = self.random.choice(["pending", "authorized", "partially_paid"])
        return [self.tell("orders/create")]

    def dispute(self) -> list[Told]:
        """The buyer asks the bank; an inquiry may become a chargeback; in the end it is won, lost or called off."""
        random, before = self.random, self.disputed
        if before is None:
            total = max(self._total(), 1)
            self.disputed = {
                "id": self.number * 7,
                "order_id": self.number,
                "type": random.choice(["inquiry", "chargeback", "chargeback"]),
                "amount": self._text(random.choice([total, total, max(total // 2, 1), 1])),
                "currency": self.store["currency"],
                "status": "needs_response",
                "initiated_at": _time(self.now),
                "finalized_on": None,
            }
            return [self._delivery("disputes/create", msgspec.json.encode(self.disputed))]
        if before["finalized_on"] is not None:
            return self.retell()
        turns = before["type"] == "inquiry" and random.random() < 0.5
        if turns:
            self.disputed = before | {
                "type": "chargeback",
                "status": "needs_response",
                "initiated_at": _time(self.now),
            }
        elif before["status"] == "needs_response" and random.random() < 0.4:
            self.disputed = before | {"status": "under_review"}
        else:
            ended = random.choice(["won", "won", "lost", "accepted", "charge_refunded", "prevented"])
            self.disputed = before | {"status": ended, "finalized_on": _time(self.now)}
        return [self._delivery("disputes/update", msgspec.json.encode(self.disputed))]

    def _pay_by_card(self, status: str) -> Told:
        """A part of it is paid with a gift card."""
        if self.gift_card is None:
            amount = self.random.choice([1, 500, max(self._total() // 2, 1)])
            self.gift_card = {
                "id": self.number * 9,
                "order_id": self.number,
                "kind": "sale",
                "gateway": "gift_card",
                "amount": self._text(amount),
                "currency": self.store["currency"],
                "created_at": _time(self.now),
                "processed_at": _time(self.now),
            }
        return self._delivery("order_transactions/create", msgspec.json.encode(self.gift_card | {"status": status}))

    def _paying(self) -> list[Told]:
        draw = self.random.random()
        if draw < 0.08:
            self.status = self.random.choice(["voided", "expired"])
            return [self.tell("orders/updated")]
        if draw < 0.2:
            return self.edit()
        self.status = "paid"
        return [self.tell("orders/paid")]

    def edit(self) -> list[Told]:
        random = self.random
        kind = random.randrange(4)
        if kind == 0 or not self.lines:
            line_id = random.randint(1, 150)
            self.lines.setdefault(line_id, self._line(line_id))
        elif kind == 1:
            del self.lines[random.choice(list(self.lines))]
        else:
            line = self.lines[random.choice(list(self.lines))]
            line["current"] = random.randint(0, line["quantity"])
        told = [self.tell("orders/updated")]
        if random.random() < 0.3:
            body = {"order_edit": {"id": self.now, "order_id": self.number, "line_items": {"additions": []}}}
            told.append(self._delivery("orders/edited", msgspec.json.encode(body)))
        return told

    def refund(self) -> list[Told]:
        random = self.random
        refund_id = self.number * 100 + len(self.refunds)
        chosen = random.sample(list(self.lines), random.randint(0, min(2, len(self.lines))))
        lines = [self._refunded(line_id) for line_id in chosen]
        if random.random() < 0.05:
            lines.append({"line_item_id": 999_999, "quantity": 1, "subtotal": "1", "total_tax": "0"})
        adjustments, paid_back = [], sum(line.pop("paid_back", 0) for line in lines)
        if random.random() < 0.35:
            amount = random.choice([1, 150, 4_000, random.randint(1, 30_000)])
            adjustments.append({"kind": "refund_discrepancy", "amount": self._text(-amount)})
            paid_back += amount
        if random.random() < 0.15:
            adjustments.append({"kind": "refund_discrepancy", "amount": self._text(random.randint(1, 200))})
        if self.shipping and random.random() < 0.3:
            adjustments.append({"kind": "shipping_refund", "amount": self._text(-self.shipping)})
            paid_back += self.shipping
        status = random.choice(["success", "success", "success", "pending", "failure"])
        self.refunds[refund_id] = {
            "id": refund_id,
            "order_id": self.number,
            "created_at": _time(self.now),
            "processed_at": _time(self.now),
            "order_adjustments": adjustments,
            "refund_line_items": lines,
            "refund_shipping_lines": [],
            "transactions": self._transactions(refund_id, paid_back, status),
        }
        told = []
        if random.random() < 0.8:
            told.append(self._delivery("refunds/create", msgspec.json.encode(self.refunds[refund_id])))
        if random.random() < 0.7:
            gone = random.random() < 0.1
            self.status = "refunded" if gone else "partially_refunded"
            told.append(self.tell("orders/updated"))
        if lines and random.random() < 0.1:
            shorter = self.refunds[refund_id] | {
                "refund_line_items": lines[1:],
                "processed_at": _time(self.now - random.choice([0, 300, 9_000])),
            }
            told.append(self._delivery("refunds/create", msgspec.json.encode(shorter)))
        return told

    def _refunded(self, line_id: int) -> Facts:
        random, line = self.random, self.lines[line_id]
        units = random.randint(1, line["quantity"])
        net = line["price"] * line["quantity"] - line["discount"]
        subtotal, tax = net * units // line["quantity"], line["tax"] * units // line["quantity"]
        if random.random() < 0.2:
            subtotal = max(subtotal + random.choice([-1, 1, 700]), tax)
        if random.random() < 0.1:
            units = 0
        return {
            "line_item_id": line_id,
            "quantity": units,
            "subtotal": self._text(subtotal),
            "total_tax": self._text(tax),
            "paid_back": subtotal + (0 if self.taxes_included else tax),
        }

    def _transactions(self, refund_id: int, amount: int, status: str) -> list[Facts]:
        if amount <= 0 or self.random.random() < 0.15:
            return []
        draw = self.random.random()
        parts = [amount]
        if amount > 1 and draw < 0.2:
            parts = [amount // 3 + 1, amount - amount // 3 - 1]
        elif draw > 0.98:
            parts = [amount, 0]
        return [
            self._paid_back(refund_id * 10 + n, part, status if n == 0 else self.random.choice([status, "success"]))
            for n, part in enumerate(parts)
            if part or n
        ]

    def _paid_back(self, id_: int, amount: int, status: str) -> Facts:
        """By the buyer's bank, or onto a gift card, which may be blocked."""
        transaction: Facts = {
            "id": id_,
            "kind": "refund",
            "status": status,
            "amount": self._text(amount),
            "currency": self.store["currency"],
        }
        if self.random.random() < 0.25:
            transaction |= {"gateway": "gift_card", "status": self.random.choice([status, "pending", "failure"])}
        return transaction

    def settle(self) -> list[Told]:
        """Transactions that were pending end, well or badly; one that succeeded may fail later."""
        for refund_id, refund in self.refunds.items():
            transactions = [self._ended(each) for each in refund["transactions"]]
            self.refunds[refund_id] = refund | {"transactions": transactions}
        return [self.tell("orders/updated")]

    def _ended(self, transaction: Facts) -> Facts:
        ended = self.random.choice(["success", "success", "failure", "error"])
        fails_late = transaction["status"] == "success" and self.random.random() < 0.1 and ended == "failure"
        return transaction | {"status": ended} if transaction["status"] == "pending" or fails_late else transaction

    def bring_key(self) -> list[Told]:
        """One that the shop had not told yet."""
        self.keys = self.keys | {"shown": True}
        return [self.tell("orders/updated")]

    def enter_coupon(self) -> list[Told]:
        """A coupon that gives more than the one that was entered before."""
        if self.keys["later_code"]:
            self.codes = {self.keys["later_code"]: 200} | self.codes
        return self.bring_key()

    def cancel(self) -> list[Told]:
        self.cancelled_at = self.cancelled_at or self.now
        if self.random.random() < 0.5:
            self.status = "refunded"
        return [self.tell("orders/cancelled")]

    def owe_again(self) -> list[Told]:
        before, self.status = self.status, "partially_paid"
        told = [self.tell("orders/updated", outstanding=700)]
        self.status = before
        return told

    def retell(self) -> list[Told]:
        return [self.tell("orders/updated")]

    def poll(self, at: int) -> Told:
        """What asking the shop now would give: the order as it is."""
        return self.tell("orders/updated", polled_at=at)

    def tell(self, topic: str, *, outstanding: int = 0, polled_at: int | None = None) -> Told:
        keys = self.keys if self.keys.get("shown") else {}
        lines = list(self.lines.values())
        attributes = {"colink_ref": keys.get("click"), "colink_vid": keys.get("visitor")}
        codes = self.codes if keys else {}
        body = {
            "id": self.number,
            "name": f"#{self.number}",
            "currency": self.store["currency"],
            "created_at": _time(self.placed_at),
            "updated_at": _time(self.now),
            "financial_status": self.status,
            "cancelled_at": None if self.cancelled_at is None else _time(self.cancelled_at),
            "test": self.test,
            "taxes_included": self.taxes_included,
            "total_price": self._text(self._total()),
            "total_outstanding": self._text(outstanding),
            "landing_site": "/",
            "email": self.keys.get("email") or "",
            "note_attributes": [{"name": name, "value": value} for name, value in attributes.items() if value],
            "discount_codes": [{"code": code, "amount": self._text(amount)} for code, amount in codes.items()],
            "line_items": [self._line_item(line) for line in lines],
            "refunds": list(self.refunds.values()) if polled_at or self.random.random() < 0.7 else [],
        }
        prefix = "poll" if polled_at else "hook"
        return self._delivery(topic, msgspec.json.encode(body), prefix=prefix)

    def _total(self) -> int:
        total: int = self.shipping + sum(
            line["price"] * line["quantity"] - line["discount"] + (0 if self.taxes_included else line["tax"])
            for line in self.lines.values()
        )
        return total

    def _line_item(self, line: Facts) -> Facts:
        discount = self._text(line["discount"])
        item: Facts = {
            "id": line["id"],
            "quantity": line["quantity"],
            "price": self._text(line["price"]),
            "product_id": line["product"],
            "variant_id": line["variant"],
            "gift_card": line["gift_card"],
            "discount_allocations": [{"amount": discount}] if line["discount"] else [],
            "tax_lines": [{"price": self._text(line["tax"])}] if line["tax"] else [],
        }
        if line["finer"] and line["discount"] < line["price"] * line["quantity"] - line["tax"]:
            item["discount_allocations"] = [{"amount": f"{discount}{line['finer']}"}]
        if line["current"] is not None:
            item["current_quantity"] = line["current"]
        if line["tip"]:
            item["tip"] = {}
        return item

    def _delivery(self, topic: str, body: bytes, *, prefix: str = "hook") -> Told:
        self._told += 1
        webhook_id = f"{prefix}-{self.store['id']}-{self.number}-{self._told}"
        return Told(store=self.store, topic=topic, body=body, webhook_id=webhook_id, order=self.number)

    def _text(self, minor: int) -> str:
        """Minor units as a platform writes them."""
        decimals = _DECIMALS[self.store["currency"]]
        sign, digits = "-" if minor < 0 else "", str(abs(minor)).rjust(decimals + 1, "0")
        return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
