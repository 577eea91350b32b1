"""The pass `derivation`: the journals of the log are exactly those that other events lead to. None stands by itself:
whatever it says it is, each follows from an order, a payout, a payment, a true-up, a settlement or a booking.

A journal is appended with the event that leads to it, so nearly all are matched inside one window. What the edge of a
window cuts off is looked up by id; journals that no event of the part led to are carried out of it, and are findings
in the end where no other part explains them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.periods import PeriodBook
from colink.domain.audit.report import Kind, Pass, first_difference
from colink.domain.ledger import JournalPosted, Posting
from colink.projections.audit.journals import JournalRead, journal_of, matches, read_journal
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.engine import Connection

_Posted = tuple[int, JournalRead]
_OF_ORDER = re.compile(r"(.+)\.([0-9]{1,9})\.[0-9]+")


class DerivationCheck:
    """The checks of orders and payouts say what they expect of a window before this one looks at it."""

    def __init__(self, part: Part, periods: PeriodBook) -> None:
        self._part = part
        self._periods = periods
        self._result = part.results[Pass.DERIVATION]
        self._expected: list[ExpectedJournal] = []

    def expect(self, journals: Sequence[ExpectedJournal]) -> None:
        self._expected += journals

    def check(self, window: Window) -> None:
        expected, self._expected = self._expected, []
        posted: dict[str, _Posted] = {}
        for position, journal_id, version, journal in window.journals:
            name = journal_id if version == 1 else f"{journal_id} {version}"  # a journal is one event
            posted[name] = (position, journal)
            self._part.unexplained[name] = position
        elsewhere = [each.journal_id for each in expected if each.journal_id not in posted]
        if elsewhere:
            posted |= self._outside(window, elsewhere)
            self._part.explained.update(elsewhere)
        for each in expected:
            self._part.unexplained.pop(each.journal_id, None)
            self._compare(each, posted.get(each.journal_id))

    def _compare(self, expected: ExpectedJournal, posted: _Posted | None) -> None:
        result = self._result
        result.checked += 1
        if posted is None:
            result.find(
                Kind.MISSING,
                expected.position,
                expected.journal_id,
                f"the journal {expected.journal_id} that follows from event {expected.position} was not posted",
                derived=expected.draft,
            )
            return
        position, journal = posted
        draft = expected.draft
        effective_at, occurred_at = self._periods.times(draft.effective_at, position)
        if not matches(draft, journal, effective_at=effective_at, occurred_at=occurred_at):
            recorded = msgspec.convert(journal.postings, tuple[Posting, ...], from_attributes=True)
            a, b = first_difference(recorded, draft.postings) or (journal.effective_at, draft)
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                expected.journal_id,
                f"the journal {expected.journal_id} does not follow from event {expected.position}",
                recorded=a,
                derived=b,
            )
        beside = (journal.cause_id, journal.corrects, journal.reason)
        if expected.beside is not None and beside != expected.beside:
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                expected.journal_id,
                f"the journal {expected.journal_id} does not say why it was posted as event {expected.position} does",
                recorded=beside,
                derived=expected.beside,
            )

    def _outside(self, window: Window, journal_ids: list[str]) -> dict[str, _Posted]:
        posted: dict[str, _Posted] = {}
        for row in window.reader.stored("stream_id = ANY(%s) AND version = 1", journal_ids):
            journal = read_journal(row.schema_version, row.payload)
            if journal is None:
                event = window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload)
                journal = journal_of(event) if isinstance(event, JournalPosted) else None
            if journal is not None:
                posted[row.stream_id] = (row.position, journal)
        return posted


async def first_leading_event(conn: Connection, part: Part, *, before: int) -> int | None:
    """The first position below `before` of an event that an unexplained journal may follow from: a range that begins
    between an event and its journals. None where there is none."""
    led = [_led_by(journal_id) for journal_id in part.unexplained.keys() - part.explained]
    cursor = await conn.execute(
        "SELECT min(e.position) FROM unnest(%s::text[], %s::integer[]) AS led (stream_id, version)"
        " CROSS JOIN LATERAL (SELECT max(position) AS position FROM colink.events e WHERE e.stream_id = led.stream_id"
        " AND e.version = coalesce(led.version, e.version) AND e.position < %s) e",
        ([stream_id for stream_id, _ in led], [version for _, version in led], before),
    )
    [(position,)] = await cursor.fetchall()
    return None if position is None else int(position)


def _led_by(journal_id: str) -> tuple[str, int | None]:
    """The stream a journal is named after and, where it names one, the version: `jrn_ord_sto_1.4507.3.0` after the
    third event of an order, `jrn_pyt_1.paid` after a step of a payout."""
    name = journal_id.removeprefix("jrn_")
    match = _OF_ORDER.fullmatch(name)
    return (match[1], int(match[2])) if match else (name.rpartition(".")[0], None)


def find_unexplained(part: Part) -> None:
    """What is left in the end: journals that nothing in the log led to."""
    for journal_id, position in sorted(part.unexplained.items(), key=lambda item: item[1]):
        if journal_id not in part.explained:
            part.results[Pass.DERIVATION].find(
                Kind.EXTRA,
                position,
                f"{position}",
                f"the journal at {position} follows from no event",
            )
