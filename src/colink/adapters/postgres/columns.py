"""The tables of an append as delimited columns: one text a column, the format of migrations/sql/0001_append.sql.

One function a table, from a batch of commands. Events are known by their ordinal in the batch, counted from 1, and
commands by theirs, counted from 0. Nothing here talks to the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from colink.adapters.postgres.mapper import encode
from colink.adapters.postgres.prepared import Prepared
from colink.application.ports import BalanceUnchanged, TermsUnchanged
from colink.domain.errors import InvalidInput
from colink.projections.inline import DocumentRow, EntryRow, OrderRow, PayoutRow, Row, TouchRow

SEPARATOR, NULL = "\x1f", "\x1e"

Value = str | int | None


@dataclass
class Table:
    """Rows on their way into delimited columns."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]] = field(default_factory=list)

    def delimited(self) -> list[str]:
        """One text a column. Raises InvalidInput, naming the column, for a value that would break the format."""
        if not self.rows:
            return [""] * len(self.columns)
        texts = []
        for name, column in zip(self.columns, zip(*self.rows, strict=True), strict=True):
            values = [NULL if value is None else value if type(value) is str else str(value) for value in column]
            text = SEPARATOR.join(values) + SEPARATOR
            if text.count(SEPARATOR) != len(column) or text.count(NULL) != column.count(None) or "\0" in text:
                msg = f"{name} holds a control character that cannot be stored (NUL, U+001E or U+001F)"
                raise InvalidInput(msg, field=name)
            texts.append(text)
        return texts


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _flag(value: bool) -> str:  # noqa: FBT001 - a value to be written, not a switch
    return "t" if value else "f"


def _numbered(batch: Sequence[Prepared]) -> Iterable[tuple[int, Row]]:
    """Every inline row with the ordinal of its event in the batch, counted from 1."""
    ordinal = 0
    for prepared in batch:
        for rows in prepared.rows:
            ordinal += 1
            for row in rows:
                yield ordinal, row


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
        caller = prepared.caller
        for event in prepared.events:
            stored = event.stored
            table.rows.append(
                (
                    command,
                    str(stored.originator_id),
                    stored.originator_version,
                    stored.topic,
                    event.schema_version,
                    stored.state.decode(),
                    prepared.organization_id,
                    caller.actor,
                    caller.correlation_id,
                    caller.causation_id,
                )
            )
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
                    _text(delivery.received_at),
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
    return terms, balances


@dataclass(slots=True)
class _Change:
    """What a batch adds to one balance."""

    amount: int = 0
    debits: int = 0
    credits: int = 0
    credited: int = 0
    entries: int = 0
    last_event: int = 0


def is_cleared_credit(row: EntryRow) -> bool:
    """Whether an entry lengthens its payee's line of cleared credits (domain.payouts)."""
    return (
        row.amount > 0
        and row.payout_id is None
        and row.account.startswith("payee:")
        and row.account.endswith(":available")
    )


def entry_tables(batch: Sequence[Prepared]) -> tuple[Table, Table]:
    table = Table(
        "entries",
        (
            "event",
            "ordinal",
            "journal_id",
            "kind",
            "account",
            "payee_id",
            "purpose",
            "amount",
            "currency",
            "organization_id",
            "order_id",
            "line_id",
            "payout_id",
            "effective_at",
            "credited",
        ),
    )
    changes: dict[tuple[str, str], _Change] = {}
    for event, row in _numbered(batch):
        if not isinstance(row, EntryRow):
            continue
        change = changes.setdefault((row.account, row.currency), _Change())
        change.amount += row.amount
        change.debits += min(row.amount, 0)
        change.credits += max(row.amount, 0)
        change.entries += 1
        change.last_event = event
        cleared = is_cleared_credit(row)
        if cleared:
            change.credited += row.amount
        table.rows.append(
            (
                event,
                row.ordinal,
                row.journal_id,
                row.kind,
                row.account,
                row.payee_id,
                row.purpose,
                row.amount,
                row.currency,
                row.organization_id,
                row.order_id,
                row.line_id,
                row.payout_id,
                _text(row.effective_at),
                change.credited if cleared else None,
            )
        )
    balances = Table(
        "balances", ("account", "currency", "amount", "debits", "credits", "credited", "version", "event")
    )
    for (account, currency), change in sorted(changes.items()):
        balances.rows.append(
            (
                account,
                currency,
                change.amount,
                change.debits,
                change.credits,
                change.credited,
                change.entries,
                change.last_event,
            )
        )
    return table, balances


def documents_table(batch: Sequence[Prepared]) -> Table:
    table = Table(
        "documents",
        ("event", "kind", "id", "version", "key", "organization_id", "part_of_terms", "current", "body"),
    )
    rows = [(event, row) for event, row in _numbered(batch) if isinstance(row, DocumentRow)]
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


def orders_table(batch: Sequence[Prepared]) -> Table:
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
    merged: dict[str, tuple[int, int, OrderRow]] = {}
    for event, row in _numbered(batch):
        if isinstance(row, OrderRow):
            first, _, before = merged.get(row.order_id, (event, event, row))
            merged[row.order_id] = (first, event, _merge_orders(before, row))
    for first, event, row in merged.values():
        table.rows.append(
            (
                first,
                event,
                row.order_id,
                row.organization_id,
                row.store_id,
                row.external_id,
                _text(row.placed_at),
                row.creator_id,
                row.claims,
                _text(row.clears_at),
            )
        )
    return table


def _merge_orders(before: OrderRow, after: OrderRow) -> OrderRow:
    return OrderRow(
        order_id=after.order_id,
        organization_id=before.organization_id if after.organization_id is None else after.organization_id,
        store_id=before.store_id if after.store_id is None else after.store_id,
        external_id=before.external_id if after.external_id is None else after.external_id,
        placed_at=before.placed_at if after.placed_at is None else after.placed_at,
        creator_id=before.creator_id if after.creator_id is None else after.creator_id,
        claims=before.claims if after.claims is None else after.claims,
        clears_at=before.clears_at if after.claims is None else after.clears_at,
    )


def payouts_table(batch: Sequence[Prepared]) -> Table:
    table = Table(
        "payouts",
        ("first_event", "event", "payout_id", "payee_id", "currency", "amount", "status", "stretches"),
    )
    newest: dict[str, tuple[int, int, PayoutRow]] = {}
    for event, row in _numbered(batch):
        if isinstance(row, PayoutRow):
            first = newest[row.payout_id][0] if row.payout_id in newest else event
            newest[row.payout_id] = (first, event, row)
    for first, event, row in newest.values():
        table.rows.append(
            (first, event, row.payout_id, row.payee_id, row.currency, row.amount, row.status, row.stretches)
        )
    return table


def private_table(batch: Sequence[Prepared]) -> Table:
    table = Table("private", ("owner_id", "name", "value"))
    newest = {(value.owner_id, value.name): value.value for prepared in batch for value in prepared.private}
    table.rows.extend((owner, name, value) for (owner, name), value in newest.items())
    return table


def touches_table(batch: Sequence[Prepared]) -> Table:
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
    for event, row in _numbered(batch):
        if isinstance(row, TouchRow):
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
                    _text(row.occurred_at),
                    row.body,
                )
            )
    return table
