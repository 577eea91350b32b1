"""One command's decision as it will be stored: its events, their inline rows, and what is checked before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eventsourcing.persistence import StoredEvent

from colink.application.ports import Caller, Delivery, Guard, Idempotency, PrivateValue
from colink.projections.documents import CLOSED_PERIODS
from colink.projections.inline import DocumentRow, JournalRow, Row


class StampedEvent(NamedTuple):
    """An event as it will be stored: `payload` is its JSON text, `schema_version` the shape that has."""

    stream_id: str
    version: int
    topic: str
    payload: str
    schema_version: int = 1

    @classmethod
    def of(cls, stored: StoredEvent, schema_version: int = 1) -> StampedEvent:
        """An event of the library."""
        return cls(
            str(stored.originator_id), stored.originator_version, stored.topic, stored.state.decode(), schema_version
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One command's decision, ready to be appended. `rows[i]` are the inline rows of `events[i]`."""

    events: Sequence[StampedEvent]
    rows: Sequence[Sequence[Row]]
    caller: Caller
    answer: str
    organization_id: str | None = None
    idempotency: Idempotency | None = None
    delivery: Delivery | None = None
    guards: Sequence[Guard] = ()
    private: Sequence[PrivateValue] = ()

    @property
    def first_versions(self) -> dict[str, int]:
        """Every stream written, with the version of its first event."""
        versions: dict[str, int] = {}
        for event in self.events:
            versions.setdefault(event.stream_id, event.version)
        return versions

    def accounts(self) -> set[tuple[str, str]]:
        """(account, currency) of every posting."""
        return {
            (posting.account, posting.currency)
            for rows in self.rows
            for row in rows
            if isinstance(row, JournalRow)
            for posting in row.postings
        }

    def closes_a_period(self) -> bool:
        return any(isinstance(row, DocumentRow) and row.kind == CLOSED_PERIODS for rows in self.rows for row in rows)

    def terms_moved(self) -> set[str]:
        """Organisations whose terms change."""
        return {
            row.organization_id or ""
            for rows in self.rows
            for row in rows
            if isinstance(row, DocumentRow) and row.part_of_terms
        }
