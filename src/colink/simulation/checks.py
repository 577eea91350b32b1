"""What is compared after every batch: each step's entries with the model's, all balances, positions, reservations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from colink.adapters.postgres.pool import AsyncPool
from colink.domain.ids import order_id
from colink.domain.orders import Order
from colink.simulation.model.balances import Change
from colink.simulation.model.books import Books

_ENTRIES = """
    select position, account, currency, amount from colink.entries where position > %s order by position, ordinal
"""
_EVENTS = (
    "select count(*), coalesce(min(position), 0), coalesce(max(position), 0) from colink.events where position > %s"
)
_BALANCES = "select account, currency, amount from colink.balances where amount <> 0"
_PAYOUTS = "select payout_id, payee_id, currency, amount, tax, status, stretches from colink.payouts"
_OF_ORDERS = """
    select order_id, account, currency, sum(amount)::bigint
      from colink.entries where order_id is not null group by 1, 2, 3
"""
_RELEASED = frozenset({"rejected", "cancelled", "failed", "returned"})


class Differs(Exception):
    """The service is not where the model says it is."""


@dataclass(kw_only=True)
class Step:
    """Something that was done, with what the model expects of it. `position`: of the last event it wrote."""

    number: int
    what: str
    expected: Change
    position: int | None


class Watch:
    """Follows one database from batch to batch."""

    def __init__(self) -> None:
        self.position = 0
        self.folded: dict[tuple[str, str], int] = defaultdict(int)

    async def compare(self, pool: AsyncPool, steps: Sequence[Step], books: Books) -> None:
        """Raises Differs. `steps` are all that was done since the last call."""
        async with pool.connection() as connection:
            entries = await (await connection.execute(_ENTRIES, (self.position,))).fetchall()
            counted = await (await connection.execute(_EVENTS, (self.position,))).fetchone()
            stored = await (await connection.execute(_BALANCES)).fetchall()
        if counted is None or (
            counted[0] and (counted[1], counted[2]) != (self.position + 1, self.position + counted[0])
        ):
            msg = f"positions after {self.position} have gaps: {counted}"
            raise Differs(msg)
        self._each_step(entries, steps)
        self.position += counted[0]
        self._balances({(account, currency): amount for account, currency, amount in stored}, books.balances.amounts)

    def _each_step(self, entries: Sequence[Sequence[Any]], steps: Sequence[Step]) -> None:
        """Entries stand in the order of positions; a step's are those up to its last position."""
        written: dict[int, Step] = {}
        for step in steps:
            if step.position is not None and step.position > self.position:
                written.setdefault(step.position, step)
        ends = sorted(written)
        found: dict[int, Change] = {end: {} for end in ends}
        at = 0
        for position, account, currency, amount in entries:
            while at < len(ends) and ends[at] < position:
                at += 1
            if at == len(ends):
                msg = f"position {position} was written by no step"
                raise Differs(msg)
            change = found[ends[at]]
            change[account, currency] = change.get((account, currency), 0) + amount
            self.folded[account, currency] += amount
        actual = {written[end].number: found[end] for end in ends}
        for step in steps:
            self._one_step(step, actual.get(step.number, {}))

    def _one_step(self, step: Step, actual: Change) -> None:
        actual = {key: amount for key, amount in actual.items() if amount}
        expected = {key: amount for key, amount in step.expected.items() if amount}
        if actual != expected:
            msg = f"{step.what} moved {_shown(actual, expected)}"
            raise Differs(msg)
        sums: dict[str, int] = defaultdict(int)
        for (_, currency), amount in actual.items():
            sums[currency] += amount
        if any(sums.values()):
            msg = f"{step.what} does not sum to zero: {dict(sums)}"
            raise Differs(msg)

    def _balances(self, stored: Change, predicted: Change) -> None:
        folded = {key: amount for key, amount in self.folded.items() if amount}
        if stored != folded:
            msg = f"the stored balances are not the sum of the entries: {_shown(stored, folded)}"
            raise Differs(msg)
        predicted = {key: amount for key, amount in predicted.items() if amount}
        if stored != predicted:
            msg = f"balances are {_shown(stored, predicted)}"
            raise Differs(msg)


def _shown(actual: Change, expected: Change) -> str:
    """Where two changes differ, account by account."""
    return "; ".join(
        f"{account} {currency}: {actual.get((account, currency), 0)}, expected {expected.get((account, currency), 0)}"
        for account, currency in sorted(actual.keys() | expected.keys())
        if actual.get((account, currency), 0) != expected.get((account, currency), 0)
    )


async def compare_payouts(pool: AsyncPool, books: Books, paid: Mapping[str, Sequence[int]]) -> None:
    """Statuses, amount and net, and money that is promised: never twice, never more than cleared. `paid`: what the
    provider paid of each payout, each time. Raises Differs."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_PAYOUTS)).fetchall()
    statuses = {payout_id: (status, amount, amount - tax) for payout_id, _, _, amount, tax, status, _ in rows}
    expected = {
        id_: (payout["status"], payout["amount"], books.payouts.net(id_))
        for id_, payout in books.payouts.by_id.items()
    }
    if statuses != expected:
        wrong = {id_: (statuses.get(id_), expected.get(id_)) for id_ in statuses.keys() | expected.keys()}
        msg = f"payouts (is, expected): { {id_: pair for id_, pair in wrong.items() if pair[0] != pair[1]} }"
        raise Differs(msg)
    taken: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for _, payee, currency, _, _, status, stretches in rows:
        if status not in _RELEASED:
            taken[payee, currency] += [(part["start"], part["end"]) for part in _decoded(stretches)]
    for payee, parts in taken.items():
        parts.sort()
        if any(later[0] < earlier[1] for earlier, later in pairwise(parts)):
            msg = f"money of {payee} is promised twice: {parts}"
            raise Differs(msg)
    wrong_money = {id_: amounts for id_, amounts in paid.items() if amounts not in ([], [books.payouts.net(id_)])}
    if wrong_money:
        msg = f"paid at the provider more than once, or another amount than the payee gets: {wrong_money}"
        raise Differs(msg)


def _decoded(stretches: str) -> Sequence[Mapping[str, int]]:
    return [
        part if isinstance(part, dict) else {"start": part[0], "end": part[1]}
        for part in msgspec.json.decode(stretches)
    ]


async def orders_that_differ(pool: AsyncPool, books: Books) -> str:
    """The orders whose entries are not what the model posted, for people who look for the reason."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_OF_ORDERS)).fetchall()
    found: dict[str, Change] = defaultdict(dict)
    for order, account, currency, amount in rows:
        found[order][account, currency] = amount
    predicted = {order_id(*key): order.posted for key, order in books.orders.items()}
    wrong = [
        f"{id_}: {shown}"
        for id_ in sorted(found.keys() | predicted.keys())
        if (shown := _shown(found.get(id_, {}), predicted.get(id_, {})))
    ]
    return "; ".join(wrong[:3]) or "no order differs"


def compare_order(order: Order | None, money: Mapping[str, Any] | None, what: str) -> None:
    """The split of an order, line by line. Raises Differs."""
    split = order.split if order is not None else None
    if money is None or split is None:
        if (money is None) != (split is None):
            msg = f"{what}: split {split}, expected {money}"
            raise Differs(msg)
        return
    lines = {
        line.line_id: (
            line.base,
            line.reversed_base,
            line.net_platform_fee,
            line.net_commission,
            line.payment_fee,
            line.seller_take,
        )
        for line in split.lines
        if line.line_id is not None
    }
    actual = (lines, split.collected, split.cash_refunded)
    expected = (money["lines"], money["collected"], money["cash"])
    if actual != expected:
        msg = f"{what} is {actual}, expected {expected}"
        raise Differs(msg)
