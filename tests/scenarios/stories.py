"""Random order stories: what a shop may send about one order, in the order it happened. One seed, one story.

A story has late payment, equal timestamps, edits that add and remove lines, line, amount-only and shipping refunds,
refund transactions that fail or succeed later, prices with tax and without, late keys, cancels, disputes that are
opened, escalate and end either way, payments by gift card, and fees that statements correct.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from colink.application.record_order import News, StandaloneFacts, StandaloneRefund
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.facts import (
    Dispute,
    DisputeKind,
    DisputeStatus,
    FeeKind,
    OrderFacts,
    StatedFee,
    Tender,
)
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    OrderSnapshot,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)

PLACED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Story:
    """`deliveries` in the order they happened. `code` is the coupon they may carry."""

    seed: int
    deliveries: tuple[News, ...]


def story(seed: int, *, external_id: str = "1001", code: str = "AINA10") -> Story:
    random = Random(seed)
    teller = _Teller(random, external_id=external_id, code=code)
    teller.happen()
    return Story(seed=seed, deliveries=tuple(teller.deliveries))


def renamed(news: News, external_id: str) -> News:
    """The same delivery about another order."""
    if isinstance(news, OrderSnapshot):
        return replace(news, external_id=external_id)
    return replace(news, order_external_id=external_id)


def shuffled(deliveries: Sequence[News], random: Random) -> list[News]:
    """Another order of the same deliveries, some of them twice."""
    twice = [*deliveries, *random.sample(list(deliveries), random.randint(0, len(deliveries)))]
    random.shuffle(twice)
    return twice


class _Teller:
    def __init__(self, random: Random, *, external_id: str, code: str) -> None:
        self.random = random
        self.external_id = external_id
        self.code = code
        self.now = PLACED_AT
        self.deliveries: list[News] = []
        self.taxes_included = random.random() < 0.4
        self.shipping = random.choice([0, 500, 1294])
        self.lines = {str(number): self.new_line(str(number)) for number in self.line_ids(random.randint(0, 4))}
        self.refunds: dict[str, Refund] = {}
        self.keys = OrderKeys()
        self.cancelled = False
        self.disputes: dict[str, Dispute] = {}
        self.fees = 0

    def line_ids(self, count: int) -> list[int]:
        return sorted(self.random.sample(range(1, 120), count))

    def new_line(self, line_id: str) -> OrderLine:
        quantity = self.random.randint(1, 3)
        return OrderLine(
            line_id=line_id,
            quantity=quantity,
            current_quantity=self.random.choice([None, quantity]),
            base=self.random.choice([0, 1, 7, 999, 19566, 19567, self.random.randint(1, 90_000)]),
            product_external_id=self.random.choice(["p1", "p2", None]),
            sku_external_id=self.random.choice(["v1", "v2", None]),
        )

    def happen(self) -> None:
        random = self.random
        if random.random() < 0.5:
            self.tell(random.choice([FinancialStatus.PENDING, FinancialStatus.AUTHORIZED]))
        if random.random() < 0.2:
            self.tell(FinancialStatus.PARTIALLY_PAID)
        if random.random() < 0.3:
            self.edit()
        if random.random() < 0.1:
            self.tell(random.choice([FinancialStatus.VOIDED, FinancialStatus.EXPIRED]))
        if random.random() < 0.15:
            self.pay_by_gift_card()
        self.tell(FinancialStatus.PAID)
        for _ in range(random.randint(0, 4)):
            random.choice(
                [
                    self.edit,
                    self.refund,
                    self.refund,
                    self.bring_key,
                    self.settle_transactions,
                    self.dispute,
                    self.dispute,
                    self.state_fee,
                ]
            )()
        if random.random() < 0.25:
            self.cancelled = True
            self.tell(random.choice([FinancialStatus.PAID, FinancialStatus.REFUNDED]))
        if random.random() < 0.3:
            self.tell(FinancialStatus.PARTIALLY_PAID)

    def wait(self) -> None:
        self.now += timedelta(minutes=self.random.choice([0, 0, 1, 90, 3000]))

    def tell(self, status: FinancialStatus) -> None:
        self.wait()
        total = sum(line.base for line in self.lines.values()) + self.shipping
        content = (status, self.now, sorted(self.lines), total, sorted(self.refunds), self.random.random())
        self.deliveries.append(
            OrderSnapshot(
                external_id=self.external_id,
                number=f"#{self.external_id}",
                currency="MYR",
                placed_at=PLACED_AT,
                updated_at=self.now,
                status=status,
                cancelled=self.cancelled,
                test=False,
                taxes_included=self.taxes_included,
                lines=tuple(self.lines.values()),
                total_price=total,
                total_outstanding=0,
                keys=self.keys,
                refunds=tuple(self.refunds.values()) if self.random.random() < 0.6 else (),
                digest=hashlib.sha256(repr(content).encode()).hexdigest(),
            )
        )

    def edit(self) -> None:
        """Add a line, take one away, or take units out of one."""
        random = self.random
        kind = random.randrange(3)
        if kind == 0 or not self.lines:
            (number,) = self.line_ids(1)
            self.lines.setdefault(str(number), self.new_line(str(number)))
        elif kind == 1:
            self.lines.pop(random.choice(list(self.lines)))
        else:
            line_id = random.choice(list(self.lines))
            line = self.lines[line_id]
            self.lines[line_id] = replace(line, current_quantity=random.randint(0, line.quantity))
        self.tell(FinancialStatus.PAID)

    def bring_key(self) -> None:
        self.keys = OrderKeys(coupons=(CouponUse(code=self.code, discount=100, ordinal=0),))
        self.tell(FinancialStatus.PAID)

    def refund(self) -> None:
        random = self.random
        self.wait()
        names = random.sample(list(self.lines), random.randint(0, len(self.lines)))
        if random.random() < 0.1:
            names.append("99999")  # a line the order does not have
        lines = tuple(
            RefundLine(
                line_id=name,
                quantity=random.randint(0, 2),
                subtotal=Decimal(random.randint(0, self.lines[name].base + 2 if name in self.lines else 500)) / 100,
                tax=Decimal(random.choice([0, 0, 5])) / 100,
            )
            for name in names
        )
        status = random.choice(list(TransactionStatus))
        amount_only = Decimal(random.choice([0, 0, 150, 4000])) / 100
        shipping_parts = random.choice([0, 1])
        refund = Refund(
            refund_id=str(500 + len(self.refunds)),
            processed_at=self.now,
            lines=lines,
            amount_only=amount_only,
            transactions=self.transactions(status, sum((line.subtotal for line in lines), amount_only)),
            detail=len(lines) + shipping_parts,
            digest=hashlib.sha256(repr((names, self.now, random.random())).encode()).hexdigest(),
            currency=random.choice(["MYR", None]),
        )
        self.refunds[refund.refund_id] = refund
        if random.random() < 0.7:
            self.deliveries.append(StandaloneRefund(order_external_id=self.external_id, refund=refund))
        if lines and random.random() < 0.3:
            self.retell_shorter(refund)
        if random.random() < 0.7:
            self.tell(FinancialStatus.PARTIALLY_REFUNDED)
        if random.random() < 0.5:
            self.settle_transactions()

    def retell_shorter(self, refund: Refund) -> None:
        """Another content of the same refund, with a line less and an earlier time: the fuller one must win."""
        shorter = replace(
            refund,
            lines=refund.lines[1:],
            detail=refund.detail - 1,
            processed_at=refund.processed_at - timedelta(minutes=self.random.choice([0, 5, 200])),
            digest=hashlib.sha256(f"{refund.digest}shorter".encode()).hexdigest(),
        )
        self.deliveries.append(StandaloneRefund(order_external_id=self.external_id, refund=shorter))

    def transactions(self, status: TransactionStatus, amount: Decimal) -> tuple[RefundTransaction, ...]:
        if amount == 0 or self.random.random() < 0.2:
            return ()
        return (RefundTransaction(transaction_id=f"t{len(self.refunds)}", amount=amount, status=status),)

    def settle_transactions(self) -> None:
        """A pending transaction of a refund ends, well or badly, and is told with the next delivery."""
        ended = self.random.choice([TransactionStatus.SUCCESS, TransactionStatus.FAILURE])
        for refund_id, refund in list(self.refunds.items()):
            transactions = tuple(
                replace(transaction, status=ended) if transaction.status is TransactionStatus.PENDING else transaction
                for transaction in refund.transactions
            )
            if transactions != refund.transactions:
                digest = hashlib.sha256(f"{refund.digest}{ended}".encode()).hexdigest()
                settled = replace(refund, transactions=transactions, digest=digest)
                self.refunds[refund_id] = settled
                self.deliveries.append(StandaloneRefund(order_external_id=self.external_id, refund=settled))

    def tell_facts(self, facts: OrderFacts) -> None:
        self.deliveries.append(StandaloneFacts(order_external_id=self.external_id, facts=facts))

    def pay_by_gift_card(self) -> None:
        """An authorization that may fail, told more than once."""
        amount = Decimal(self.random.choice([0, 1, 700, 20_000])) / 100
        last = self.random.choice([TransactionStatus.SUCCESS, TransactionStatus.SUCCESS, TransactionStatus.FAILURE])
        for status in (TransactionStatus.PENDING, last):
            tender = Tender(transaction_id="card", amount=amount, status=status, processed_at=self.now)
            self.tell_facts(OrderFacts(tenders=(tender,)))

    def dispute(self) -> None:
        """Open a dispute, or bring the one that is there further: an inquiry escalates, a chargeback ends."""
        random = self.random
        self.wait()
        if not self.disputes or random.random() < 0.15:
            total = sum(line.base for line in self.lines.values()) + self.shipping
            inquiry = random.random() < 0.5
            told = Dispute(
                dispute_id=f"d{len(self.disputes)}",
                kind=DisputeKind.INQUIRY if inquiry else DisputeKind.CHARGEBACK,
                status=DisputeStatus.NEEDS_RESPONSE,
                amount=Decimal(random.choice([total, total, 1, random.randint(0, total + 5)])) / 100,
                initiated_at=self.now,
                withdrawn_at=None if inquiry else self.now,
                fee=random.choice([None, Decimal(15)]),
                currency=random.choice(["MYR", None]),
            )
        else:
            told = self.disputes[random.choice(list(self.disputes))]
            if told.kind is DisputeKind.INQUIRY and random.random() < 0.5:
                told = replace(told, kind=DisputeKind.CHARGEBACK, withdrawn_at=self.now)
            else:
                ends = [status for status in DisputeStatus if status is not DisputeStatus.NEEDS_RESPONSE]
                told = replace(told, status=random.choice(ends), closed_at=self.now)
        self.disputes[told.dispute_id] = told
        self.tell_facts(OrderFacts(disputes=(told,)))

    def state_fee(self) -> None:
        """A statement shows what the provider kept."""
        self.wait()
        self.fees += 1
        kind, amount = self.random.choice([(FeeKind.PAYMENT, 31), (FeeKind.PAYMENT, 2000), (FeeKind.DISPUTE, 1500)])
        fee = StatedFee(reference=f"stl_{self.fees}", kind=kind, amount=amount, currency="MYR", at=self.now)
        self.tell_facts(OrderFacts(fees=(fee,)))
