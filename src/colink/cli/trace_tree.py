"""A trace as a tree for people, and as a document for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.markup import escape
from rich.tree import Tree

from colink.cli.amounts import money_text
from colink.domain.ledger import JournalPosted
from colink.domain.money import Money
from colink.projections.audit.trace import Trace, TracedDelivery, TracedEvent
from colink.projections.entries import Entry
from colink.projections.payouts import STATUS_AFTER, FiledPayout


def trace_tree(found: Trace) -> Tree:
    """Deliveries, then events with the entries they made, then payouts."""
    root = Tree(f"[bold]{found.kind} {escape(found.subject)}[/]")
    if found.orders and found.orders != [found.subject]:
        _branch(root, "orders", len(found.orders)).add(escape(", ".join(found.orders)))
    if found.deliveries:
        deliveries = _branch(root, "deliveries", len(found.deliveries))
        for delivery in found.deliveries:
            deliveries.add(_delivery_line(delivery))
    entries: dict[int, list[Entry]] = {}
    for entry in found.entries:
        entries.setdefault(entry.position, []).append(entry)
    events = _branch(root, "events", len(found.events))
    for event in found.events:
        node = events.add(_event_line(event))
        for entry in entries.pop(event.position, ()):
            node.add(_entry_line(entry))
    for position, rest in entries.items():
        node = root.add(f"position {position}")
        for entry in rest:
            node.add(_entry_line(entry))
    if found.payouts or found.followed:
        payouts = _branch(root, "payouts", len(found.payouts))
        for payout in found.payouts:
            payouts.add(_payout_line(payout, _why(payout, found.events)))
        if not found.payouts:
            payouts.add(f"none of {'what is shown' if found.cut_off else 'this money'} is in a payout")
    if found.cut_off:
        root.add("[yellow]there is more than is shown[/]: trace a single entry or order of it")
    return root


def _branch(root: Tree, name: str, count: int) -> Tree:
    return root.add(f"[bold]{name}[/] ({count})")


def _delivery_line(delivery: TracedDelivery) -> str:
    where = f" -> position {delivery.position}" if delivery.position is not None else ""
    return escape(
        f"{_time(delivery.received_at)} {delivery.topic} {delivery.status}, {delivery.source} "
        f"{delivery.delivery_id}{where}"
    )


def _event_line(event: TracedEvent) -> str:
    text = f"{event.topic} {event.stream_id} v{event.version}, {_time(event.recorded_at)}, by {event.actor}"
    if event.topic == JournalPosted.TOPIC:
        text += f" ({_kind(event)})"
    return f"[cyan]{event.position}[/] {escape(text)}"


def _kind(event: TracedEvent) -> str:
    payload = _payload(event)
    return str(payload.get("kind", "?")) if isinstance(payload, Mapping) else "?"


def _entry_line(entry: Entry) -> str:
    line = f", line {entry.line_id}" if entry.line_id else ""
    return escape(
        f"{money_text(entry.amount, entry.currency)} {entry.account} {entry.purpose}{line}  {_entry_id(entry)}"
    )


def _payout_line(payout: FiledPayout, why: str | None) -> str:
    amount = money_text(payout.amount, payout.currency)
    because = f": {why}" if why else ""
    return f"[bold]{payout.status}[/] {escape(f'{amount} to {payout.payee_id}, {payout.payout_id}{because}')}"


def _why(payout: FiledPayout, events: Sequence[TracedEvent]) -> str | None:
    """Why it is what it is - what the provider or a person said - where the events that are shown tell it."""
    own = [event for event in events if event.stream_id == payout.payout_id]
    if not own or STATUS_AFTER.get(own[-1].topic) != payout.status:
        return None
    payload = _payload(own[-1])
    said = [payload.get(name) for name in ("failure_code", "reason")] if isinstance(payload, Mapping) else []
    return next((str(each) for each in said if each), None)


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def _entry_id(entry: Entry) -> str:
    return f"ent_{entry.position}.{entry.ordinal}"


def _payload(event: TracedEvent) -> Any:
    """As JSON; the stored text where it is none, since a damaged log has to be looked at too."""
    try:
        return msgspec.json.decode(event.payload)
    except msgspec.DecodeError:
        return event.payload


def trace_document(found: Trace) -> dict[str, object]:
    """As the API names things: entries with id and signed amount, payouts with money."""
    return {
        "subject": found.subject,
        "kind": found.kind,
        "orders": found.orders,
        "deliveries": [msgspec.to_builtins(delivery) for delivery in found.deliveries],
        "events": [msgspec.to_builtins(event) | {"payload": _payload(event)} for event in found.events],
        "entries": [{"id": _entry_id(entry)} | msgspec.to_builtins(entry) for entry in found.entries],
        "payouts": [
            {
                "id": payout.payout_id,
                "payee_id": payout.payee_id,
                "status": payout.status,
                "amount": Money(payout.amount, payout.currency),
            }
            for payout in found.payouts
        ],
        "cut_off": found.cut_off,
    }
