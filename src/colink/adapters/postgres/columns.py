"""The tables of an append as delimited columns: one text a column, the format of migrations/sql/0001_append.sql.

One function a table, from a batch of commands. Events are known by their ordinal in the batch, counted from 1, and
commands by theirs, counted from 0. Nothing here talks to the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from colink.adapters.postgres.mapper import encode
from colink.adapters.postgres.prepared import Prepared
from colink.application.ports import BalanceUnchanged, FirstOfItsPlace, TermsUnchanged
from colink.domain.errors import InvalidInput
from colink.projections.inline import DocumentRow, OrderRow, PayoutRow, TouchRow

SEPARATOR, NULL = "\x1f", "\x1e"

Value = str | int | None


@dataclass
class Table:
    """Rows on their way into delimited columns."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def delimited(self) -> list[str]:
        """One text a column. Raises InvalidInput, naming the column, for a value that would break the format."""
        if not self.rows:
            return [""] * len(self.columns)
        columns = zip(*self.rows, strict=True)
        return [delimited(name, column) for name, column in zip(self.columns, columns, strict=True)]


def delimited(name: str, column: Sequence[Value]) -> str:
    """The text of one column. Raises InvalidInput, naming it, for a value that would break the format."""
    try:
        text = SEPARATOR.join(column) + SEPARATOR  # type: ignore[arg-type]  # most columns are texts throughout
        nulls = 0
    except TypeError:
        values = [NULL if value is None else value if isinstance(value, str) else str(value) for value in column]
        text = SEPARATOR.join(values) + SEPARATOR
        nulls = column.count(None)
    if text.count(SEPARATOR) != len(column) or text.count(NULL) != nulls or "\0" in text:
        msg = f"{name} holds a control character that cannot be stored (NUL, U+001E or U+001F)"
        raise InvalidInput(msg, field=name)
    return text


def text_of(moment: datetime | None) -> str | None:
    """As PostgreSQL reads it."""
    return moment.isoformat() if moment else None


def _flag(value: bool) -> str:  # noqa: FBT001 - a value to be written, not a switch
    return "t" if value else "f"


RowsByClass = Mapping[type[Any], Sequence[tuple[int, Any]]]
"""Inline rows by their class, each with the ordinal of its event in the batch."""


def rows_by_class(batch: Sequence[Prepared]) -> RowsByClass:
    found: dict[type[Any], list[tuple[int, Any]]] = defaultdict(list)
    ordinal = 0
    for prepared in batch:
        for rows in prepared.rows:
            ordinal += 1
            for row in rows:
                found[type(row)].append((ordinal, row))
    return found


def _last_events(batch: Sequence[Prepared]) -> list[int | None]:
    """Per command the ordinal of its last event, None where it has none."""
    ordinals: list[int | None] = []
    count = 0
    for prepared in batch:
        count += len(prepared.events)
        ordinals.append(count if prepared.events else None)
    return ordinals


def events_table(batch: Sequence[Prepared]) -> Table:
    table = Table(
        "events",
        (
            "command",
            "stream_id",
            "version",
            "topic",
            "schema_version",
            "payload",
            "organization_id",
            "actor",
            "correlation_id",
            "causation_id",
        ),
    )
    for command, prepared in enumerate(batch):
        caller, organization_id = prepared.caller, prepared.organization_id
        by = (organization_id, caller.actor, caller.correlation_id, caller.causation_id)
        table.rows += [
            (str(command), stream_id, str(version), topic, str(schema_version), payload, *by)
            for stream_id, version, topic, payload, schema_version in prepared.events
        ]
    return table


def streams_table(batch: Sequence[Prepared]) -> Table:
    table = Table("streams", ("command", "stream_id", "version"))
    for command, prepared in enumerate(batch):
        table.rows.extend((command, stream, version) for stream, version in prepared.first_versions.items())
    return table


def keys_table(batch: Sequence[Prepared]) -> Table:
    table = Table("keys", ("command", "scope", "idempotency_key", "request_digest", "answer", "event"))
    last = _last_events(batch)
    for command, prepared in enumerate(batch):
        key = prepared.idempotency
        if key:
            table.rows.append((command, key.scope, key.key, key.request_digest, prepared.answer, last[command]))
    return table


def deliveries_table(batch: Sequence[Prepared]) -> Table:
    table = Table(
        "deliveries",
        (
            "command",
            "source",
            "delivery_id",
            "topic",
            "headers",
            "received_at",
            "status",
            "problem",
            "answer",
            "order_id",
            "event",
            "replay",
        ),
    )
    last = _last_events(batch)
    for command, prepared in enumerate(batch):
        delivery = prepared.delivery
        if delivery:
            table.rows.append(
                (
                    command,
                    delivery.source,
                    delivery.delivery_id,
                    delivery.topic,
                    encode(delivery.headers),
                    text_of(delivery.received_at),
                    str(delivery.status),
                    encode(delivery.problem) if delivery.problem is not None else None,
                    prepared.answer,
                    delivery.order_id,
                    last[command],
                    _flag(delivery.replay),
                )
            )
    return table


def guard_tables(batch: Sequence[Prepared]) -> tuple[Table, Table]:
    terms = Table("terms_guards", ("command", "organization_id", "position"))
    balances = Table("balance_guards", ("command", "account", "currency", "version"))
    for command, prepared in enumerate(batch):
        for guard in prepared.guards:
            match guard:
                case TermsUnchanged():
                    terms.rows.append((command, guard.organization_id, guard.position))
                case BalanceUnchanged():
                    balances.rows.append((command, guard.account, guard.currency, guard.version))
                case FirstOfItsPlace():
                    msg = "touches are recorded in the tracking log"
                    raise ValueError(msg)
    return terms, balances


def firsts_table(batch: Sequence[Prepared]) -> Table:
    """Touches that are the first of their place: a row for each hash that would find another."""
    table = Table("firsts", ("command", "network_hash", "since", "kind", "creator_id", "link_id", "campaign_id"))
    for command, prepared in enumerate(batch):
        for guard in prepared.guards:
            if isinstance(guard, FirstOfItsPlace):
                query = guard.query
                table.rows.extend(
                    (
                        command,
                        network_hash,
                        text_of(query.since),
                        query.kind,
                        query.creator_id,
                        query.link_id,
                        query.campaign_id,
                    )
                    for network_hash in query.network_hashes
                )
    return table


def documents_table(found: RowsByClass) -> Table:
    table = Table(
        "documents",
        ("event", "kind", "id", "version", "key", "organization_id", "part_of_terms", "current", "body"),
    )
    rows: Sequence[tuple[int, DocumentRow]] = found.get(DocumentRow, ())
    newest: dict[tuple[str, str], int] = {}
    for _, row in rows:
        newest[row.kind, row.id] = max(row.version, newest.get((row.kind, row.id), row.version))
    for event, row in rows:
        table.rows.append(
            (
                event,
                row.kind,
                row.id,
                row.version,
                row.key,
                row.organization_id,
                _flag(row.part_of_terms),
                _flag(row.version == newest[row.kind, row.id]),
                row.body,
            )
        )
    return table


def orders_table(found: RowsByClass) -> Table:
    """One row an order: what its events changed, the later over the earlier."""
    table = Table(
        "orders",
        (
            "first_event",
            "event",
            "order_id",
            "organization_id",
            "store_id",
            "external_id",
            "placed_at",
            "creator_id",
            "claims",
            "clears_at",
        ),
    )
    merged: dict[str, list[Any]] = {}
    rows: Sequence[tuple[int, OrderRow]] = found.get(OrderRow, ())
    for event, row in rows:
        changed = (row.organization_id, row.store_id, row.external_id, row.placed_at, row.creator_id, row.claims)
        known = merged.get(row.order_id)
        if known is None:
            merged[row.order_id] = [event, event, row.order_id, *changed, row.clears_at]
            continue
        known[1] = event
        for column, value in enumerate(changed, start=3):
            if value is not None:
                known[column] = value
        if row.claims is not None:
            known[9] = row.clears_at
    for known in merged.values():
        known[6], known[9] = text_of(known[6]), text_of(known[9])
        table.rows.append(tuple(known))
    return table


def payouts_table(found: RowsByClass) -> Table:
    table = Table(
        "payouts",
        ("first_event", "event", "payout_id", "payee_id", "currency", "amount", "status", "stretches", "tax"),
    )
    newest: dict[str, tuple[int, int, PayoutRow]] = {}
    rows: Sequence[tuple[int, PayoutRow]] = found.get(PayoutRow, ())
    for event, row in rows:
        first = newest[row.payout_id][0] if row.payout_id in newest else event
        newest[row.payout_id] = (first, event, row)
    for first, event, row in newest.values():
        table.rows.append(
            (first, event, row.payout_id, row.payee_id, row.currency, row.amount, row.status, row.stretches, row.tax)
        )
    return table


def private_table(batch: Sequence[Prepared]) -> Table:
    table = Table("private", ("owner_id", "name", "value"))
    newest = {(value.owner_id, value.name): value.value for prepared in batch for value in prepared.private}
    table.rows.extend((owner, name, value) for (owner, name), value in newest.items())
    for prepared in batch:
        if prepared.delivery is not None and prepared.delivery.key is not None:
            key = prepared.delivery.key
            table.rows.append((key.owner_id, key.name, key.value))
    return table


def touches_table(found: RowsByClass) -> Table:
    table = Table(
        "touches",
        (
            "event",
            "touch_id",
            "kind",
            "visitor_id",
            "link_id",
            "campaign_id",
            "creator_id",
            "network_hash",
            "occurred_at",
            "body",
        ),
    )
    rows: Sequence[tuple[int, TouchRow]] = found.get(TouchRow, ())
    for event, row in rows:
        table.rows.append(
            (
                event,
                row.touch_id,
                row.kind,
                row.visitor_id,
                row.link_id,
                row.campaign_id,
                row.creator_id,
                row.network_hash,
                text_of(row.occurred_at),
                row.body,
            )
        )
    return table
