"""The two logs and their append functions: how a batch of prepared commands becomes the parameters of one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from colink.adapters.postgres.columns import (
    Table,
    deliveries_table,
    documents_table,
    events_table,
    firsts_table,
    guard_tables,
    keys_table,
    orders_table,
    payouts_table,
    private_table,
    rows_by_class,
    streams_table,
    touches_table,
)
from colink.adapters.postgres.entry_columns import Entries
from colink.adapters.postgres.prepared import Prepared
from colink.application.ports import FirstOfItsPlace
from colink.projections import documents, entries, orders, payouts, touches
from colink.projections.inline import TouchRow

INLINE = (documents, entries, orders, payouts, touches)
"""Every read model with inline rows. Importing them registers their projectors: whoever appends has them all."""


COMMERCE_APPEND = (
    "select command, reason, base, at from colink.append_commerce(%b::timestamptz, %b::integer[], %b::text[], "
    "%b::text[], %b::text[], %b::text[], %b::bytea[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], "
    "%b::text[], %b::text[], %b::text[])"
)
TRACKING_APPEND = (
    "select command, reason, base, at from colink.append_tracking(%b::timestamptz, %b::integer[], %b::text[], "
    "%b::text[], %b::text[], %b::text[])"
)


def commerce_parameters(batch: Sequence[Prepared], now: datetime) -> list[object]:
    """The parameters of COMMERCE_APPEND for a batch; commands are known by their ordinal, counted from 0.

    Raises InvalidInput, naming the column, when a text holds NUL or one of the two delimiters.
    """
    rows = rows_by_class(batch)
    entries = Entries(rows)
    tables: list[Table | Entries] = [
        events_table(batch),
        streams_table(batch),
        keys_table(batch),
        deliveries_table(batch),
        *guard_tables(batch),
        entries,
        entries.balances(),
        documents_table(rows),
        orders_table(rows),
        payouts_table(rows),
        private_table(batch),
    ]
    bodies = [prepared.delivery.body for prepared in batch if prepared.delivery]
    delimited: list[object] = [table.delimited() for table in tables]
    delimited.insert(4, bodies)
    return [now, [len(table) for table in tables], *delimited]


def tracking_parameters(batch: Sequence[Prepared], now: datetime) -> list[object]:
    """The same for TRACKING_APPEND. Only events and touches can be recorded there."""
    for prepared in batch:
        foreign = any(not isinstance(row, TouchRow) for rows in prepared.rows for row in rows)
        foreign = foreign or not all(isinstance(guard, FirstOfItsPlace) for guard in prepared.guards)
        if foreign or prepared.idempotency or prepared.delivery or prepared.private:
            msg = "the tracking log records events and touches only"
            raise ValueError(msg)
    tables = (events_table(batch), streams_table(batch), touches_table(rows_by_class(batch)), firsts_table(batch))
    return [now, [len(table) for table in tables], *(table.delimited() for table in tables)]


@dataclass(frozen=True, slots=True)
class Log:
    """One of the two logs: where its events are and how they are appended. `channel`: of its NOTIFY, where it has
    one. `journals`: whether there are any in it."""

    name: str
    events_table: str
    head_table: str
    append: str
    parameters: Callable[[Sequence[Prepared], datetime], list[object]]
    channel: str | None = None
    journals: bool = False


COMMERCE = Log(
    "commerce",
    "colink.events",
    "colink.log_head",
    COMMERCE_APPEND,
    commerce_parameters,
    channel="colink_commerce",
    journals=True,
)
TRACKING = Log("tracking", "colink.tracking_events", "colink.tracking_head", TRACKING_APPEND, tracking_parameters)
