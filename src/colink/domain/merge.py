"""The merge: an order's state is the join of everything ever delivered about it. Semantics section 2.

`merge_snapshot`, `merge_refund` and `merge_facts` are commutative, associative and idempotent: each field of
`MergedOrder` is a union. So any order and number of the same deliveries ends in the same state, and the money
(`refunds.py`, `revenue.py`), with the times at which it comes due, is a pure function of that state.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from colink.domain.attribution import OrderKeys, merge_keys
from colink.domain.facts import (
    NO_FACTS,
    DisputeState,
    OrderFacts,
    Stage,
    StatedFee,
    dispute_steps,
    gift_card_tender,
    join_facts,
)
from colink.domain.snapshots import FinancialStatus, OrderSnapshot, Refund, RefundTransaction, TransactionStatus
from colink.domain.value import replace, value

_STATUS_RANK = {status: rank for rank, status in enumerate(FinancialStatus)}
_TRANSACTION_RANK = {status: rank for rank, status in enumerate(TransactionStatus)}
_NO_LONGER_OWED = frozenset({FinancialStatus.PARTIALLY_REFUNDED, FinancialStatus.REFUNDED})
_AS_GOOD_AS_CANCELLED = frozenset({FinancialStatus.VOIDED, FinancialStatus.EXPIRED})


@value
class MergedOrder:
    """snapshots: each one delivered, oldest first; keys: the union; refunds: by id; facts: what is told beside them.
    All else follows from these."""

    snapshots: tuple[OrderSnapshot, ...] = ()
    keys: OrderKeys = field(default_factory=OrderKeys)
    refunds: Mapping[str, Refund] = field(default_factory=dict)
    facts: OrderFacts = NO_FACTS

    @property
    def newest(self) -> OrderSnapshot | None:
        """Gives status and cancellation."""
        return self.snapshots[-1] if self.snapshots else None

    @property
    def placed_at(self) -> datetime | None:
        """The smallest time told."""
        return min([snapshot.placed_at for snapshot in self.snapshots], default=None)

    @property
    def paid_at(self) -> datetime | None:
        """The smallest time of a snapshot that implies full payment."""
        return next((snapshot.updated_at for snapshot in self.snapshots if implies_full_payment(snapshot)), None)

    @property
    def cancelled(self) -> bool:
        """The newest snapshot is cancelled, voided or expired."""
        return bool(self.snapshots) and is_cancelled(self.snapshots[-1])

    @property
    def everything_reversed(self) -> bool:
        """Cancelled, or the money-carrying snapshot says refunded: all remaining bases are reversed."""
        if self.cancelled:
            return True
        money = next((snapshot for snapshot in reversed(self.snapshots) if implies_full_payment(snapshot)), None)
        return money is not None and money.status is FinancialStatus.REFUNDED


def implies_full_payment(snapshot: OrderSnapshot) -> bool:
    """Whether money accrues from this snapshot. Test orders never accrue."""
    if snapshot.test:
        return False
    if snapshot.status is FinancialStatus.PAID:
        return True
    return snapshot.status in _NO_LONGER_OWED and snapshot.total_outstanding <= 0


def is_cancelled(snapshot: OrderSnapshot) -> bool:
    """Cancelled, or as good as that: voided or expired."""
    return snapshot.cancelled or snapshot.status in _AS_GOOD_AS_CANCELLED


def snapshot_version(snapshot: OrderSnapshot) -> tuple[datetime, int, int, str]:
    """The order of snapshots: the greater is the newer."""
    return (snapshot.updated_at, _STATUS_RANK[snapshot.status], len(snapshot.refunds), snapshot.digest)


def merge_snapshot(state: MergedOrder, snapshot: OrderSnapshot) -> MergedOrder:
    """`state` itself where the snapshot tells nothing new."""
    refunds = state.refunds
    if snapshot.refunds:
        refunds = dict(refunds)
        for refund in snapshot.refunds:
            _add_refund(refunds, refund)
    snapshots, version = state.snapshots, snapshot_version(snapshot)
    place = bisect_left(snapshots, version, key=snapshot_version)
    if place == len(snapshots) or snapshot_version(snapshots[place]) != version:
        snapshots = (*snapshots[:place], snapshot, *snapshots[place:])
    keys = merge_keys(state.keys, snapshot.keys)
    merged = MergedOrder(snapshots=snapshots, keys=keys, refunds=refunds, facts=state.facts)
    return state if merged == state else merged


def merge_refund(state: MergedOrder, refund: Refund) -> MergedOrder:
    """`state` itself where the refund tells nothing new."""
    refunds = dict(state.refunds)
    _add_refund(refunds, refund)
    return state if refunds == state.refunds else replace(state, refunds=refunds)


def merge_facts(state: MergedOrder, facts: OrderFacts) -> MergedOrder:
    """`state` itself where the facts tell nothing new."""
    joined = join_facts(state.facts, facts)
    return state if joined is state.facts else replace(state, facts=joined)


_NO_DISPUTES: Mapping[str, DisputeState] = {}


class Known(NamedTuple):
    """What was known of a paid order at one time: all that its money follows from.

    money: the newest snapshot that implies full payment; it gives the lines. collected: the largest total price of
    any such snapshot less what gift cards paid, in minor units. everything_reversed: all remaining bases are, as it
    was cancelled or refunded. disputes: by id, as they stood. fees: those that statements showed.
    """

    at: datetime
    money: OrderSnapshot
    collected: int
    everything_reversed: bool
    refunds: Mapping[str, Refund]
    disputes: Mapping[str, DisputeState] = _NO_DISPUTES
    fees: tuple[StatedFee, ...] = ()

    @property
    def held_by_dispute(self) -> bool:
        """A dispute is open and has taken no money yet: it may take all of it."""
        return any(dispute.stage is Stage.HOLDS for dispute in self.disputes.values())

    def says_the_same_as(self, other: Known) -> bool:
        mine, others = self.money, other.money
        return (
            self.collected == other.collected
            and self.everything_reversed == other.everything_reversed
            and mine.taxes_included == others.taxes_included
            and mine.payment_fee == others.payment_fee
            and mine.lines == others.lines
            and self.refunds == other.refunds
            and self.disputes == other.disputes
            and self.fees == other.fees
        )


def history(order: MergedOrder) -> list[Known]:
    """What was known of a paid order, time by time, had everything been delivered when it happened; oldest first.

    It does not depend on when or in which order it was delivered. One state a time: what platforms tell of one second
    happened together. A refund happened no later than a snapshot that lists it; what a gift card paid was no money
    from the first. Times before the first payment are left out, as are those that say the same of the money as the
    one before.
    """
    states: list[Known] = []
    money: OrderSnapshot | None = None
    collected, cancelled = 0, False
    refunds: Mapping[str, Refund] = {}
    disputes = _NO_DISPUTES
    fees: tuple[StatedFee, ...] = ()
    news = _news(order)
    for number, (at, told) in enumerate(news, 1):
        if isinstance(told, OrderSnapshot):
            cancelled = is_cancelled(told)
            if implies_full_payment(told):
                money, collected = told, max(collected, told.total_price)
        elif isinstance(told, Refund):
            refunds = {**refunds, told.refund_id: told}
        elif isinstance(told, DisputeState):
            disputes = {**disputes, told.dispute_id: told}
        else:
            fees = (*fees, told)
        if money is None or (number < len(news) and news[number][0] == at):
            continue
        paid_in_money = collected
        if order.facts.tenders:
            paid_in_money = max(collected - gift_card_tender(order.facts, money.currency), 0)
        reversed_ = cancelled or money.status is FinancialStatus.REFUNDED
        state = Known(at, money, paid_in_money, reversed_, refunds, disputes, fees)
        if not states or not state.says_the_same_as(states[-1]):
            states.append(state)
    return states


def same_money(a: MergedOrder, b: MergedOrder) -> bool:
    """Whether two states of an order tell the same of its money, at the same times: most updates of a shop do."""
    if a is b:
        return True
    before, after = history(a), history(b)
    return (
        a.placed_at == b.placed_at
        and a.facts.tenders == b.facts.tenders
        and len(before) == len(after)
        and all(x.at == y.at and x.says_the_same_as(y) for x, y in zip(before, after, strict=True))
    )


_News = OrderSnapshot | Refund | DisputeState | StatedFee


def _news(order: MergedOrder) -> list[tuple[datetime, _News]]:
    """All that was told, with the time at which it happened, oldest first; of one time, snapshots before refunds
    before facts."""
    news: list[tuple[datetime, _News]] = [(each.updated_at, each) for each in order.snapshots]
    if order.refunds:
        listed: dict[str, datetime] = {}
        for snapshot in order.snapshots:
            for refund in snapshot.refunds:
                listed.setdefault(refund.refund_id, snapshot.updated_at)
        for refund_id, refund in order.refunds.items():
            news.append((min(refund.processed_at, listed.get(refund_id, refund.processed_at)), refund))
    if order.facts is not NO_FACTS:
        news += dispute_steps(order.facts.disputes)
        news += [(fee.at, fee) for fee in order.facts.fees]
    if len(news) > len(order.snapshots):
        news.sort(key=itemgetter(0))
    return news


def _add_refund(refunds: dict[str, Refund], refund: Refund) -> None:
    # Joined with itself where it is new: a body may name a transaction twice, or in any order.
    known = refunds.get(refund.refund_id)
    if known is None or known != refund:
        refunds[refund.refund_id] = _join_refunds(known or refund, refund)


def _join_refunds(a: Refund, b: Refund) -> Refund:
    """Content of the fuller one, the smallest time, the union of the transactions."""
    fuller = max(a, b, key=lambda refund: (refund.detail, refund.digest))
    transactions: dict[str, RefundTransaction] = {}
    for transaction in (*a.transactions, *b.transactions):
        known = transactions.get(transaction.transaction_id)
        if known is None or _transaction_version(transaction) > _transaction_version(known):
            transactions[transaction.transaction_id] = transaction
    return replace(
        fuller,
        processed_at=min(a.processed_at, b.processed_at),
        transactions=tuple(transactions[id_] for id_ in sorted(transactions)),
    )


def _transaction_version(transaction: RefundTransaction) -> tuple[int, bool, Decimal, str]:
    """An amount in the shop's own money (no currency told) beats one in another."""
    currency = transaction.currency
    return (_TRANSACTION_RANK[transaction.status], currency is None, transaction.amount, currency or "")
