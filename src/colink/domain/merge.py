"""The merge: an order's state is the join of everything ever delivered about it. Semantics section 2.

`merge_snapshot` and `merge_refund` are commutative, associative and idempotent: each field of `MergedOrder` is a
union. So any order and number of the same deliveries ends in the same state, and the money (`refunds.py`,
`revenue.py`), with the times at which it comes due, is a pure function of that state.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from colink.domain.attribution import OrderKeys, merge_keys
from colink.domain.snapshots import FinancialStatus, OrderSnapshot, Refund, RefundTransaction, TransactionStatus

_STATUS_RANK = {status: rank for rank, status in enumerate(FinancialStatus)}
_TRANSACTION_RANK = {status: rank for rank, status in enumerate(TransactionStatus)}
_NO_LONGER_OWED = frozenset({FinancialStatus.PARTIALLY_REFUNDED, FinancialStatus.REFUNDED})
_AS_GOOD_AS_CANCELLED = frozenset({FinancialStatus.VOIDED, FinancialStatus.EXPIRED})


@dataclass(frozen=True, kw_only=True)
class MergedOrder:
    """snapshots: each one delivered, oldest first; keys: the union; refunds: by id. All else follows from these."""

    snapshots: tuple[OrderSnapshot, ...] = ()
    keys: OrderKeys = field(default_factory=OrderKeys)
    refunds: Mapping[str, Refund] = field(default_factory=dict)

    @property
    def newest(self) -> OrderSnapshot | None:
        """Gives status and cancellation."""
        return self.snapshots[-1] if self.snapshots else None

    @cached_property
    def money(self) -> OrderSnapshot | None:
        """The newest snapshot that implies full payment; it gives the lines."""
        return next((snapshot for snapshot in reversed(self.snapshots) if implies_full_payment(snapshot)), None)

    @property
    def placed_at(self) -> datetime | None:
        """The smallest time told."""
        return min((snapshot.placed_at for snapshot in self.snapshots), default=None)

    @cached_property
    def paid_at(self) -> datetime | None:
        """The smallest time of a snapshot that implies full payment."""
        return next((snapshot.updated_at for snapshot in self.snapshots if implies_full_payment(snapshot)), None)

    @cached_property
    def collected(self) -> int:
        """The largest total price of any fully paid snapshot, in minor units."""
        return max((each.total_price for each in self.snapshots if implies_full_payment(each)), default=0)

    @property
    def cancelled(self) -> bool:
        """The newest snapshot is cancelled, voided or expired."""
        newest = self.newest
        return newest is not None and (newest.cancelled or newest.status in _AS_GOOD_AS_CANCELLED)

    @property
    def everything_reversed(self) -> bool:
        """Cancelled, or the money-carrying snapshot says refunded: all remaining bases are reversed."""
        return self.cancelled or (self.money is not None and self.money.status is FinancialStatus.REFUNDED)


def implies_full_payment(snapshot: OrderSnapshot) -> bool:
    """Whether money accrues from this snapshot. Test orders never accrue."""
    if snapshot.test:
        return False
    if snapshot.status is FinancialStatus.PAID:
        return True
    return snapshot.status in _NO_LONGER_OWED and snapshot.total_outstanding <= 0


def snapshot_version(snapshot: OrderSnapshot) -> tuple[datetime, int, int, str]:
    """The order of snapshots: the greater is the newer."""
    return (snapshot.updated_at, _STATUS_RANK[snapshot.status], len(snapshot.refunds), snapshot.digest)


def merge_snapshot(state: MergedOrder, snapshot: OrderSnapshot) -> MergedOrder:
    refunds = dict(state.refunds)
    for refund in snapshot.refunds:
        _add_refund(refunds, refund)
    versions = [snapshot_version(known) for known in state.snapshots]
    version = snapshot_version(snapshot)
    place = bisect_left(versions, version)
    snapshots = state.snapshots
    if place == len(versions) or versions[place] != version:
        snapshots = (*snapshots[:place], snapshot, *snapshots[place:])
    return MergedOrder(snapshots=snapshots, keys=merge_keys(state.keys, snapshot.keys), refunds=refunds)


def merge_refund(state: MergedOrder, refund: Refund) -> MergedOrder:
    refunds = dict(state.refunds)
    _add_refund(refunds, refund)
    return replace(state, refunds=refunds)


def history(order: MergedOrder) -> list[tuple[datetime, MergedOrder]]:
    """What was known of a paid order, time by time, had everything been delivered when it happened; oldest first.

    It does not depend on when or in which order it was delivered. One state a time: what platforms tell of one second
    happened together. A refund happened no later than a snapshot that lists it. Times before the first payment are
    left out, as are snapshots that say the same of the money as the one before.
    """
    listed: dict[str, datetime] = {}
    for snapshot in order.snapshots:
        for refund in snapshot.refunds:
            listed.setdefault(refund.refund_id, snapshot.updated_at)
    told: list[tuple[datetime, OrderSnapshot | Refund]] = [
        *((snapshot.updated_at, snapshot) for snapshot in order.snapshots),
        *(
            (min(refund.processed_at, listed.get(refund_id, refund.processed_at)), refund)
            for refund_id, refund in order.refunds.items()
        ),
    ]
    told.sort(key=lambda news: news[0])  # stable: snapshots keep their order
    state = MergedOrder(keys=order.keys)
    states: list[tuple[datetime, MergedOrder]] = []
    for at, news in told:
        if isinstance(news, Refund):
            state = replace(state, refunds={**state.refunds, news.refund_id: news})
        else:
            state = replace(state, snapshots=(*state.snapshots, news))
        if states and states[-1][0] == at:
            states.pop()
        if state.money is not None and not (states and _same_money(states[-1][1], state)):
            states.append((at, state))
    return states


def _same_money(before: MergedOrder, after: MergedOrder) -> bool:
    def of(order: MergedOrder) -> tuple[object, ...]:
        money = order.money
        content = (money.lines, money.taxes_included, money.payment_fee) if money else ()
        return (content, order.collected, order.everything_reversed, order.refunds)

    return of(before) == of(after)


def _add_refund(refunds: dict[str, Refund], refund: Refund) -> None:
    # Joined with itself where it is new: a body may name a transaction twice, or in any order.
    refunds[refund.refund_id] = _join_refunds(refunds.get(refund.refund_id, refund), refund)


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
