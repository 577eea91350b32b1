"""The merge: an order's state is the join of everything ever delivered about it. Semantics section 2.

`merge_snapshot` and `merge_refund` are commutative, associative and idempotent: each field of `MergedOrder` is a
maximum, minimum or union of its own. So any order and number of the same deliveries ends in the same state, and the
money (`refunds.py`, `revenue.py`) is a pure function of that state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from colink.domain.attribution import OrderKeys, merge_keys
from colink.domain.snapshots import FinancialStatus, OrderSnapshot, Refund, RefundTransaction, TransactionStatus

_STATUS_RANK = {status: rank for rank, status in enumerate(FinancialStatus)}
_TRANSACTION_RANK = {status: rank for rank, status in enumerate(TransactionStatus)}
_NO_LONGER_OWED = frozenset({FinancialStatus.PARTIALLY_REFUNDED, FinancialStatus.REFUNDED})
_AS_GOOD_AS_CANCELLED = frozenset({FinancialStatus.VOIDED, FinancialStatus.EXPIRED})


@dataclass(frozen=True, slots=True)
class Reached:
    """An amount (minor units) that a fully paid snapshot told, and the earliest time one told as much."""

    at: datetime
    amount: int


@dataclass(frozen=True, kw_only=True)
class MergedOrder:
    """newest: gives status and cancellation; money: the newest snapshot that implies full payment, gives the lines;
    placed_at: the smallest told; keys: the union; refunds: by id.

    totals and bases: how the total price, and each line's base, rose over the fully paid snapshots. What was there
    from the first payment is due a holding period after it, what came later a period after it came.
    """

    newest: OrderSnapshot | None = None
    money: OrderSnapshot | None = None
    placed_at: datetime | None = None
    totals: tuple[Reached, ...] = ()
    bases: Mapping[str, tuple[Reached, ...]] = field(default_factory=dict)
    keys: OrderKeys = field(default_factory=OrderKeys)
    refunds: Mapping[str, Refund] = field(default_factory=dict)

    @property
    def paid_at(self) -> datetime | None:
        """The smallest time of a snapshot that implies full payment."""
        return self.totals[0].at if self.totals else None

    @property
    def collected(self) -> int:
        """The largest total price of any fully paid snapshot."""
        return self.totals[-1].amount if self.totals else 0

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
    merged = replace(
        state,
        newest=_newer(state.newest, snapshot),
        placed_at=_earlier(state.placed_at, snapshot.placed_at),
        keys=merge_keys(state.keys, snapshot.keys),
        refunds=refunds,
    )
    if not implies_full_payment(snapshot):
        return merged
    bases = dict(state.bases)
    for line in snapshot.lines:
        bases[line.line_id] = _reach(bases.get(line.line_id, ()), snapshot.updated_at, line.base)
    return replace(
        merged,
        money=_newer(state.money, snapshot),
        totals=_reach(state.totals, snapshot.updated_at, snapshot.total_price),
        bases=bases,
    )


def merge_refund(state: MergedOrder, refund: Refund) -> MergedOrder:
    refunds = dict(state.refunds)
    _add_refund(refunds, refund)
    return replace(state, refunds=refunds)


def _newer(known: OrderSnapshot | None, incoming: OrderSnapshot) -> OrderSnapshot:
    if known is None or snapshot_version(incoming) > snapshot_version(known):
        return incoming
    return known


def _earlier(known: datetime | None, incoming: datetime) -> datetime:
    return incoming if known is None else min(known, incoming)


def _reach(steps: tuple[Reached, ...], at: datetime, amount: int) -> tuple[Reached, ...]:
    """The steps with one more; what another one tops no later is left out, so times and amounts both rise."""
    kept: list[Reached] = []
    for step in sorted((*steps, Reached(at, amount)), key=lambda step: (step.at, -step.amount)):
        if not kept or step.amount > kept[-1].amount:
            kept.append(step)
    return tuple(kept)


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


def _transaction_version(transaction: RefundTransaction) -> tuple[int, Decimal]:
    return (_TRANSACTION_RANK[transaction.status], transaction.amount)
