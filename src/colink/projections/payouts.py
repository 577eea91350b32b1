"""The state of each payout, and which stretches of a payee's cleared credits live and paid payouts hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.domain.payout_funds import Stretch
from colink.domain.payouts import (
    RELEASED,
    PayoutApproved,
    PayoutAttemptFailed,
    PayoutCancelled,
    PayoutChanged,
    PayoutFailed,
    PayoutHeld,
    PayoutHoldLifted,
    PayoutInTransit,
    PayoutPaid,
    PayoutRejected,
    PayoutRequested,
    PayoutReturned,
    PayoutStatus,
    PayoutSubmitted,
)
from colink.projections.conditions import Where
from colink.projections.inline import PayoutRow, projects

HOLDING = tuple(sorted(str(status) for status in PayoutStatus if status not in RELEASED))
"""States in which a payout holds its stretches."""


def payout_row(event: Any) -> Sequence[PayoutRow]:
    """Of a PayoutRequested or PayoutChanged: each repeats what the row needs."""
    return [
        PayoutRow(
            payout_id=event.originator_id,
            payee_id=event.payee_id,
            currency=event.currency,
            amount=event.amount,
            status=str(event.status),
            stretches=msgspec.json.encode(event.stretches).decode(),
            tax=event.tax.amount if isinstance(event, PayoutChanged) and event.tax is not None else 0,
        )
    ]


_EVENTS = (
    PayoutRequested,
    PayoutApproved,
    PayoutHeld,
    PayoutHoldLifted,
    PayoutRejected,
    PayoutCancelled,
    PayoutSubmitted,
    PayoutAttemptFailed,
    PayoutInTransit,
    PayoutPaid,
    PayoutFailed,
    PayoutReturned,
)
for _event_class in _EVENTS:
    projects(_event_class)(payout_row)

STATUS_AFTER: Mapping[str, PayoutStatus] = {event.TOPIC: event.status for event in _EVENTS}
"""What a payout is after an event of a topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledPayout:
    """A payout's row; `tax` is withheld of the amount;
    `stretches_json` is the JSON text of the stretches it was reserved with."""

    payout_id: str
    payee_id: str
    currency: str
    amount: int
    tax: int
    status: str
    stretches_json: str
    created_position: int
    position: int

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        return decode_stretches(self.stretches_json)


def decode_stretches(text: str) -> tuple[Stretch, ...]:
    return msgspec.json.decode(text, type=tuple[Stretch, ...])


_SELECT = (
    "select payout_id, payee_id, currency, amount, tax, status, stretches as stretches_json, created_position, "
    "position from colink.payouts"
)


async def payout_by_id(connection: AsyncConnection[TupleRow], payout_id: str) -> FiledPayout | None:
    async with connection.cursor(row_factory=class_row(FiledPayout)) as cursor:
        await cursor.execute(f"{_SELECT} where payout_id = %s", (payout_id,))
        return await cursor.fetchone()


async def list_payouts(
    connection: AsyncConnection[TupleRow],
    *,
    payee_id: str | None = None,
    currency: str | None = None,
    status: Sequence[str] | None = None,
    changed_after: int | None = None,
    after: int | None = None,
    limit: int = 100,
) -> list[FiledPayout]:
    """Payouts that fit everything given, oldest first; `after` is the `created_position` of the last one seen,
    `changed_after` a position of the log behind which something became of them."""
    where = Where()
    where.equals(payee_id=payee_id, currency=currency)
    if status is not None:
        where.add("status = any(%(status)s)", status=[str(word) for word in status])
    if changed_after is not None:
        where.add("position > %(changed_after)s", changed_after=changed_after)
    if after is not None:
        where.add("created_position > %(after)s", after=after)
    async with connection.cursor(row_factory=class_row(FiledPayout)) as cursor:
        await cursor.execute(
            f"{_SELECT}{where} order by created_position limit %(limit)s", where.values | {"limit": limit}
        )
        return await cursor.fetchall()
