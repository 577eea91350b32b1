"""The whole check of semantics section 9, in one snapshot: the log once, by segments, then what only all of it can be
compared with.

    terms (one scan) -> segments, in parallel -> parts, joined in order -> balances, rows that nothing explains, seals

Responsible for the order of things and for the report; each pass has a module of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from psycopg import Error
from psycopg.conninfo import make_conninfo

from colink.domain.audit import terms as audit_terms
from colink.domain.audit.periods import PeriodBook
from colink.domain.audit.report import Kind, Pass, PassResult, Report, Status
from colink.domain.audit.terms import TermsBook
from colink.domain.errors import InvalidInput
from colink.domain.periods import BOOKS_ID, PeriodClosed
from colink.domain.sealing.encoding import origin_of
from colink.projections.audit.account_pass import find_drawn_too_much, find_overdrawn
from colink.projections.audit.chain_pass import check_seals_outside, last_seal
from colink.projections.audit.commission_pass import check_counts
from colink.projections.audit.derivation import find_unexplained, first_leading_event
from colink.projections.audit.document_pass import check_other_documents, check_terms_heads
from colink.projections.audit.inbox_pass import check_named
from colink.projections.audit.ledger_passes import check_balances, check_entries_outside, check_open_from
from colink.projections.audit.log_passes import LogRange, check_references, find_beyond, find_irregular
from colink.projections.audit.moment_pass import FollowedSums, check_moments, followed_sums
from colink.projections.audit.order_passes import check_extra_orders
from colink.projections.audit.part import Part, new_part, says_the_same
from colink.projections.audit.payout_passes import check_extra_payouts, check_held, find_reserved_too_much
from colink.projections.audit.personal_pass import Personal, check_silent_bodies, erasures
from colink.projections.audit.private_pass import PrivateValuesCheck, check_installation
from colink.projections.audit.processes import usable_processes, verify_segments
from colink.projections.audit.reading import EVENTS_A_WINDOW, PATIENT, Source
from colink.projections.audit.report_pass import Followed, check_sums, followed_reports
from colink.projections.audit.rows import each_row
from colink.projections.audit.seals_pass import Outside, SealsCheck
from colink.projections.audit.segment import DECISIONS, OF_SEGMENTS, Segment, Setting
from colink.projections.audit.seller_account_pass import find_unmatched
from colink.projections.audit.touch_pass import Tracked, tracked
from colink.projections.audit.tracking_pass import check_tracking
from colink.projections.audit.version_pass import VersionsCheck
from colink.projections.engine import Connection, Decoder, Log, head

Progress = Callable[[str, int, int], None]
"""Called with what is being verified, how much of it is done, and how much there is."""

_SMALLEST_SEGMENT, _LARGEST_SEGMENT = 8 * EVENTS_A_WINDOW, 32 * EVENTS_A_WINDOW
_SEGMENTS_A_PROCESS = 8
_OF_WHOLE_LOG = frozenset(
    {Pass.BALANCES, Pass.ORDER_ROWS, Pass.DOCUMENTS, Pass.TERMS_HEADS, Pass.TRACKING, Pass.PROJECTIONS, Pass.SEAL}
)
_NEED_HISTORY = frozenset({Pass.ACCOUNTS, Pass.ENTRIES, Pass.PAYOUTS})
_JUDGED_BY_CLOSINGS = DECISIONS | {Pass.JOURNALS, Pass.ENTRIES, Pass.BALANCES, Pass.PAYOUTS, Pass.RECEIVABLES}
_OF_TRACKING = frozenset({Pass.ATTRIBUTION, Pass.TRACKING, Pass.PROJECTIONS})


def _no_progress(what: str, done: int, total: int) -> None:
    """Nobody is watching."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How a run is cut: processes at once, events a segment (None: as fits the length of the log), and a window."""

    processes: int = 0
    events_a_segment: int | None = None
    events_a_window: int = EVENTS_A_WINDOW

    def segment_size(self, events: int) -> int:
        if self.events_a_segment is not None:
            return self.events_a_segment
        share = events // (_SEGMENTS_A_PROCESS * self.at_once) + 1
        windows = -(-min(max(share, _SMALLEST_SEGMENT), _LARGEST_SEGMENT) // self.events_a_window)
        return windows * self.events_a_window

    @property
    def at_once(self) -> int:
        return self.processes or usable_processes()


async def verify(
    conn: Connection,
    decode: Decoder,
    *,
    from_position: int = 1,
    to_position: int | None = None,
    only: Collection[Pass] = tuple(Pass),
    outside: Outside = Outside(),  # noqa: B008 - it is frozen
    progress: Progress = _no_progress,
    effort: Effort = Effort(),
) -> Report:
    """Verify positions `from_position` to `to_position` (the head, where None) of the commerce log, by the passes of
    `only`. `conn` is in no transaction; everything is read in its one read-only snapshot, by connections of their own
    too, so writers need not stop. `outside`: what the log is compared with that is kept elsewhere.

    A pass that fails for a reason of its own (a lost table, say), or for one of what it builds on, is reported as
    incomplete and the others go on.
    Raises InvalidInput for a range that is none.
    """
    if from_position < 1 or (to_position is not None and to_position < from_position):
        msg = f"positions {from_position} to {to_position} are no range"
        raise InvalidInput(msg, field="from")
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await conn.execute(PATIENT)
        if _OF_TRACKING.intersection(only):
            await _keep_months(conn)
        try:
            async with conn.transaction():
                end = await head(conn, Log.COMMERCE)
        except Error as error:
            return _not_run(frozenset(only), from_position, f"{type(error).__name__}: {error}")
        last = end if to_position is None else min(to_position, end)
        log = LogRange(table="colink.events", head_table="colink.log_head", first=from_position, last=last, head=end)
        run = _Run(conn, decode, log, only=frozenset(only), outside=outside, progress=progress, effort=effort)
        total = await run.verify()
    return Report(
        from_position=from_position,
        to_position=last,
        head=end,
        passes=tuple(total.results.values()),
        unsealed=total.unsealed,
    )


def _not_run(only: Collection[Pass], from_position: int, reason: str) -> Report:
    """Nobody knows where the log ends."""
    part = new_part(only)
    part.could_not_run(only, reason)
    return Report(from_position=from_position, to_position=0, head=0, passes=tuple(part.results.values()))


async def _keep_months(conn: Connection) -> None:
    """Let no month leave the tracking log from here on. For a transaction that has no snapshot yet: a month that left
    between the snapshot and its reading would be neither in the log nor among the archived, and be called missing."""
    with suppress(Error):  # a table that cannot be locked cannot be read: its pass says so
        async with conn.transaction():
            await conn.execute("LOCK TABLE colink.tracking_events, colink.touches IN ACCESS SHARE MODE")


class _Run:
    """One verification."""

    def __init__(
        self,
        conn: Connection,
        decode: Decoder,
        log: LogRange,
        *,
        only: frozenset[Pass],
        outside: Outside,
        progress: Progress,
        effort: Effort,
    ) -> None:
        self._conn, self._decode = conn, decode
        self._log, self._outside, self._progress, self._effort = log, outside, progress, effort
        self._whole_log = log.first == 1 and log.last == log.head
        self._left_out = frozenset() if self._whole_log else only & _OF_WHOLE_LOG
        self._asked = only - self._left_out
        self._total = new_part(only)
        self._sealed, self._origin = 0, ""
        self._reports: list[Followed] = []
        self._sums: FollowedSums | None = None
        self._tracked = Tracked()
        self._personal = Personal(keys=outside.person_keys, erasures={})
        self._periods = PeriodBook()
        self._book = TermsBook()

    async def verify(self) -> Part:
        for audit_pass in self._left_out:
            self._total.results[audit_pass].needs_whole_log()
        await self._prepare({Pass.CHAIN, Pass.SEAL}, self._find_seals)
        await self._check(Pass.PROJECTIONS, self._find_reports)
        await self._prepare({Pass.INBOX, Pass.PERSONAL}, self._find_erasures)
        await self._prepare(_JUDGED_BY_CLOSINGS, self._read_closings)
        await self._prepare(DECISIONS, self._read_terms)
        await self._prepare({Pass.ATTRIBUTION}, self._find_tracked)
        setting = await self._setting()
        await self._prepare(OF_SEGMENTS, lambda: self._read_log(setting))
        await self._compare_with_all()
        await self._check(Pass.COMMISSION, lambda: self._check_counts(setting.book))
        await self._check(Pass.DERIVATION, lambda: self._explain_by_what_was_before(setting))
        await self._check(Pass.DERIVATION, self._find_unexplained)
        if total_unsealed := self._total.unsealed * (Pass.CHAIN in self._asked):
            self._total.results[Pass.CHAIN].leaves_out(f"{total_unsealed:,} events are not sealed yet")
        if undigested := self._total.bodies_without_digest * (Pass.INBOX in self._asked):
            self._total.results[Pass.INBOX].leaves_out(f"of {undigested:,} bodies no event names the digest")
        return self._total

    async def _setting(self) -> Setting:
        conn = self._conn
        snapshot = await (await conn.execute("SELECT pg_export_snapshot()")).fetchone()
        dsn = make_conninfo(conn.info.dsn, **({"password": conn.info.password} if conn.info.password else {}))
        return Setting(
            source=Source(dsn=dsn, snapshot=snapshot[0] if snapshot else "", decode=self._decode),
            first=self._log.first,
            last=self._log.last,
            sealed=self._sealed,
            origin=self._origin,
            book=self._book,
            periods=self._periods,
            whole_log=self._whole_log,
            reports=self._reports,
            sums=self._sums,
            tracked=self._tracked,
            personal=self._personal,
            events_a_window=self._effort.events_a_window,
        )

    async def _find_seals(self) -> None:
        self._sealed = await last_seal(self._conn)
        cursor = await self._conn.execute("SELECT value FROM colink.installation WHERE name = 'log_id'")
        row = await cursor.fetchone()
        self._origin = origin_of(row[0] if row else "")

    async def _find_erasures(self) -> None:
        self._personal = Personal(keys=self._outside.person_keys, erasures=await erasures(self._conn))

    async def _find_reports(self) -> None:
        await VersionsCheck(self._conn, self._total.results[Pass.PROJECTIONS]).check()
        self._reports = await followed_reports(self._conn)
        self._sums = await followed_sums(self._conn)

    async def _find_tracked(self) -> None:
        self._tracked = await tracked(self._conn)

    async def _read_closings(self) -> None:
        """What was closed of the ledger, which every journal is judged by. There are a dozen a year."""
        rows = each_row(
            self._conn,
            "SELECT position, stream_id, version, topic, payload FROM colink.events"
            " WHERE stream_id = %s AND topic = %s AND position <= %s ORDER BY position",
            (BOOKS_ID, PeriodClosed.TOPIC, self._log.last),
        )
        async for position, stream_id, version, topic, payload in rows:
            with suppress(Exception):  # one that cannot be read is found by the pass over documents
                self._periods.add(position, self._decode(stream_id, version, topic, payload))

    async def _read_terms(self) -> None:
        """The configuration that orders are judged by, which is small."""
        result = self._total.results.get(Pass.ATTRIBUTION) or PassResult(audit_pass=Pass.ATTRIBUTION)
        rows = each_row(
            self._conn,
            "SELECT position, stream_id, version, topic, payload FROM colink.events"
            " WHERE topic = ANY(%s) AND position <= %s ORDER BY position",
            (list(audit_terms.TOPICS), self._log.last),
        )
        async for position, stream_id, version, topic, payload in rows:
            try:
                self._book.add(position, self._decode(stream_id, version, topic, payload))
            except Exception as error:  # noqa: BLE001 - whatever a damaged event provokes is what there is to report
                result.find(
                    Kind.UNREADABLE, position, stream_id, f"event {version} of {stream_id} is unreadable: {error}"
                )

    async def _read_log(self, setting: Setting) -> None:
        for part in await self._parts(setting):
            self._total.join(part)

    async def _parts(self, setting: Setting) -> list[Part]:
        """In the order of the log; what they assume of each other holds."""
        segments = self._segments()
        done = 0

        def finished(segment: Segment) -> None:
            nonlocal done
            done += segment.last - segment.first + 1
            self._progress("log", done, self._log.last)

        verify_all = partial(verify_segments, setting, processes=self._effort.at_once, finished=finished)
        parts = await verify_all(segments)
        results = [part.results[Pass.ENTRIES] for part in parts if Pass.ENTRIES in part.results]
        if any(result.status is Status.INCOMPLETE for result in results) or Pass.ENTRIES not in self._asked:
            return parts
        before = new_part(())
        for number, (segment, part) in enumerate(zip(segments, parts, strict=True)):
            lines = before.lines()
            if not says_the_same(part.assumed_lines, lines):
                again = replace(segment, passes=frozenset({Pass.ENTRIES}), lines=lines)
                [corrected] = await verify_all([again])
                parts[number] = replace(part, results={**part.results, **corrected.results})
            before.balances.join(part.balances.balances)
        return parts

    def _segments(self) -> list[Segment]:
        first, last = self._log.first, self._log.last
        segments = []
        # What was posted before the range is only read where something in the range builds on it.
        if first > 1 and self._asked & _NEED_HISTORY:
            needed_by = self._asked & _NEED_HISTORY
            segments += [replace(each, needed_by=needed_by) for each in self._cut(1, first - 1, frozenset())]
        segments += self._cut(first, last, self._asked)
        if segments:
            segments[0] = replace(segments[0], lines={})
        return segments

    def _cut(self, first: int, last: int, passes: frozenset[Pass]) -> list[Segment]:
        size = self._effort.segment_size(last - first + 1)
        return [
            Segment(first=start, last=min(start + size - 1, last), passes=passes)
            for start in range(first, last + 1, size)
        ]

    async def _compare_with_all(self) -> None:
        conn, log, total = self._conn, self._log, self._total
        result = total.results.__getitem__
        whole = self._whole_log
        await self._check(Pass.ORDER, lambda: find_beyond(conn, result(Pass.ORDER), log))
        if total.irregular_streams:
            await self._check(
                Pass.ORDER, lambda: find_irregular(conn, result(Pass.ORDER), log, total.irregular_streams)
            )
        await self._check(
            Pass.CHAIN, lambda: check_seals_outside(conn, result(Pass.CHAIN), head=log.head, whole_log=whole)
        )
        await self._check(
            Pass.SEAL,
            lambda: SealsCheck(conn, result(Pass.SEAL), origin=self._origin, outside=self._outside).check(),
        )
        await self._check(
            Pass.ENTRIES, lambda: check_entries_outside(conn, result(Pass.ENTRIES), head=log.head, whole_log=whole)
        )
        await self._check(Pass.ACCOUNTS, self._check_accounts)
        await self._check(Pass.BALANCES, lambda: check_balances(conn, result(Pass.BALANCES), total.balances))
        await self._check(Pass.RECEIVABLES, self._check_receivables)
        await self._check(Pass.PAYOUTS, self._check_payouts)
        if whole:
            await self._check(Pass.ORDER_ROWS, lambda: check_extra_orders(conn, result(Pass.ORDER_ROWS)))
        if whole:
            await self._check(Pass.JOURNALS, lambda: check_open_from(conn, result(Pass.JOURNALS), self._periods))
        await self._check(Pass.DOCUMENTS, lambda: check_other_documents(conn, result(Pass.DOCUMENTS), self._decode))
        await self._check(
            Pass.TERMS_HEADS, lambda: check_terms_heads(conn, result(Pass.TERMS_HEADS), total.terms_heads)
        )
        await self._check(
            Pass.INBOX,
            lambda: check_named(conn, result(Pass.INBOX), first=log.first, last=log.last, whole_log=whole),
        )
        if whole:
            await self._check(Pass.PERSONAL, self._check_personal)
        await self._check(Pass.TRACKING, lambda: check_tracking(conn, result(Pass.TRACKING), self._decode))
        await self._check(Pass.PROJECTIONS, self._check_projections)
        await self._check(
            Pass.IDEMPOTENCY,
            lambda: check_references(conn, result(Pass.IDEMPOTENCY), log, named_from=total.keys_named_from),
        )

    async def _explain_by_what_was_before(self, setting: Setting) -> None:
        """A range may begin between an event and the journals that follow from it: those are derived from it too."""
        log, total = self._log, self._total
        start = await first_leading_event(self._conn, total, before=log.first)
        if start is not None:
            led = Segment(first=start, last=log.first - 1, passes=frozenset({Pass.DERIVATION}))
            [part] = await verify_segments(setting, [led], processes=1, finished=lambda _: None)
            total.results[Pass.DERIVATION].add(part.results[Pass.DERIVATION])
            total.explained |= part.explained

    async def _find_unexplained(self) -> None:
        if self._complete(Pass.DERIVATION, Pass.SPLIT):
            find_unexplained(self._total)

    async def _check_projections(self) -> None:
        result = self._total.results[Pass.PROJECTIONS]
        await check_sums(self._conn, result, self._reports, self._total, self._decode)
        await check_moments(self._conn, result, self._sums, self._total)

    async def _check_personal(self) -> None:
        conn, result, personal = self._conn, self._total.results[Pass.PERSONAL], self._personal
        await check_silent_bodies(conn, result, personal)
        pepper = await check_installation(conn, result, personal)
        await PrivateValuesCheck(conn, result, personal, pepper=self._outside.pepper or pepper).check(self._decode)

    async def _check_accounts(self) -> None:
        await find_overdrawn(self._conn, self._total, last=self._log.last)
        find_drawn_too_much(self._total, first=self._log.first)

    async def _check_receivables(self) -> None:
        find_unmatched(self._total, self._total.results[Pass.RECEIVABLES], whole_log=self._whole_log)

    async def _check_counts(self, book: TermsBook) -> None:
        result, log = self._total.results[Pass.COMMISSION], self._log
        await check_counts(self._conn, result, self._decode, book, first=log.first, last=log.last)

    async def _check_payouts(self) -> None:
        result = self._total.results[Pass.PAYOUTS]
        check_held(result, self._total.held, self._total.balances)
        find_reserved_too_much(self._total, first=self._log.first)
        if self._whole_log:
            await check_extra_payouts(self._conn, result)

    def _complete(self, *passes: Pass) -> bool:
        results = [self._total.results[audit_pass] for audit_pass in passes if audit_pass in self._total.results]
        return all(result.status is not Status.INCOMPLETE for result in results)

    async def _prepare(self, passes: Collection[Pass], step: Callable[[], Awaitable[None]]) -> None:
        """Read what several passes build on. Where that fails they are incomplete, and looked at no further."""
        needing = self._asked & frozenset(passes)
        if not needing:
            return
        try:
            async with self._conn.transaction():
                await step()
        except Exception as error:  # noqa: BLE001 - whatever stops passes makes them incomplete, which is a result
            self._total.could_not_run(needing, f"{type(error).__name__}: {error}")
            self._asked -= needing

    async def _check(self, audit_pass: Pass, check: Callable[[], Awaitable[None]]) -> None:
        """Run the last part of a pass, where it was asked for; not where some of the log is missing, from which
        anything might follow."""
        if audit_pass not in self._asked or not self._complete(audit_pass):
            return
        self._progress(audit_pass.value, 0, 1)
        try:
            async with self._conn.transaction():
                await check()
        except Exception as error:  # noqa: BLE001 - whatever stops a pass makes it incomplete, which is a result
            self._total.results[audit_pass].could_not_run(f"{type(error).__name__}: {error}")
