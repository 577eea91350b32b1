"""Inline rows: what is written in the same transaction as the events, so that you read what you wrote.

Rows come only from pure projectors registered by event class; the committer runs `project` on every event it appends
and no way of saving goes around it. Each read model's module registers its projectors with `@projects(EventClass)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from colink.domain.aggregates import Event
from colink.domain.ledger import Posting


class JournalRow(NamedTuple):
    """A journal: each posting is a ledger entry, numbered from 0, and the balance rows follow from them."""

    journal_id: str
    kind: str
    organization_id: str | None
    order_id: str | None
    payout_id: str | None
    effective_at: datetime
    postings: Sequence[Posting]
    occurred_at: datetime | None = None


class OrderRow(NamedTuple):
    """What changed of an order's row; None means unchanged. `creator_id` "" clears it; `clears_at` is taken over
    exactly when `claims` (JSON text of `Claim`s) is given."""

    order_id: str
    organization_id: str | None = None
    store_id: str | None = None
    external_id: str | None = None
    placed_at: datetime | None = None
    creator_id: str | None = None
    claims: str | None = None
    clears_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """The newest details of something configured: `kind` and `id` name it, `key` is unique within the kind where it
    has one, `body` is the JSON text of the details class, `part_of_terms` whether the organisation's terms moved.
    Rows are kept per version (an order reads the version it pinned); the highest is the current one."""

    kind: str
    id: str
    version: int
    body: str
    organization_id: str | None = None
    key: str | None = None
    part_of_terms: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutRow:
    """The state of a payout after an event. `stretches` is the JSON text of the `Stretch`es it was reserved with;
    `tax` what is withheld of the amount."""

    payout_id: str
    payee_id: str
    currency: str
    amount: int
    status: str
    stretches: str
    tax: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchRow:
    """A touch, found by its id and its visitor. `body` is the JSON text of TouchDetails."""

    touch_id: str
    kind: str
    visitor_id: str | None
    link_id: str | None
    campaign_id: str | None
    creator_id: str
    network_hash: str | None
    occurred_at: datetime
    body: str


Row = JournalRow | OrderRow | DocumentRow | PayoutRow | TouchRow
Projector = Callable[[Any], Sequence[Row]]
E_ = TypeVar("E_", bound=Event)

_projectors: dict[type[Event], list[Projector]] = {}


def projects(event_class: type[E_]) -> Callable[[Callable[[E_], Sequence[Row]]], Callable[[E_], Sequence[Row]]]:
    """Register a pure projector for one event class."""

    def register(projector: Callable[[E_], Sequence[Row]]) -> Callable[[E_], Sequence[Row]]:
        _projectors.setdefault(event_class, []).append(projector)
        return projector

    return register


def project(event: Event) -> list[Row]:
    """All inline rows of one event; none for events nobody reads inline."""
    return [row for projector in _projectors.get(type(event), ()) for row in projector(event)]
