"""The verification of one segment of the log: every check that was asked for, window after window.

Runs in a process of its own for each segment of a long log, else in a thread. A check that fails for a reason of its
own (a lost table, say) makes its passes incomplete; the others go on.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from colink.domain.audit.balances import BalanceKey
from colink.domain.audit.periods import PeriodBook
from colink.domain.audit.report import Pass
from colink.domain.audit.terms import TermsBook
from colink.projections.audit.account_pass import AccountCheck
from colink.projections.audit.approval_pass import ApprovalCheck
from colink.projections.audit.author_pass import AuthorCheck
from colink.projections.audit.booking_pass import BookingCheck
from colink.projections.audit.chain_pass import ChainCheck
from colink.projections.audit.clock_pass import ClockCheck
from colink.projections.audit.commission_pass import TrueUpCheck
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.document_pass import DocumentCheck
from colink.projections.audit.inbox_pass import InboxCheck
from colink.projections.audit.key_pass import KeyCheck
from colink.projections.audit.ledger_passes import EntryCheck, JournalCheck
from colink.projections.audit.log_passes import PositionCheck, StreamCheck
from colink.projections.audit.moment_pass import FollowedSums, MomentCheck
from colink.projections.audit.order_passes import OrderCheck, OrderRowCheck
from colink.projections.audit.part import Part, new_part
from colink.projections.audit.payout_decision_pass import PayoutDecisionCheck
from colink.projections.audit.payout_passes import PayoutCheck
from colink.projections.audit.personal_pass import Personal, PersonalCheck
from colink.projections.audit.reading import Source, WindowCheck, WindowReader
from colink.projections.audit.receivable_pass import SellerCheck
from colink.projections.audit.report_pass import Followed, ReportCheck
from colink.projections.audit.settlement_pass import SettlementCheck
from colink.projections.audit.touch_pass import TouchCheck, Tracked
from colink.projections.audit.withholding_pass import TaxCheck

DECISIONS = frozenset({Pass.ATTRIBUTION, Pass.COMMISSION, Pass.SPLIT, Pass.REFUNDS, Pass.CLEARING, Pass.DERIVATION})
OF_SEGMENTS = frozenset(Pass) - {Pass.SEAL, Pass.TRACKING}
"""Passes that look at the events themselves, a segment after the other; the others compare tables."""
_WINDOWS_A_COLLECTION = 16


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all segments of a run share. `first` to `last` is verified; `sealed` is where the seals end; `book` holds
    the terms up to `last` and `periods` what was closed; `whole_log`: whether there is nothing else, so that rows as
    they are now can be compared; `reports`: the projections that are read, and `sums` that of balances; `tracked`:
    which part of the tracking log is kept."""

    source: Source
    first: int
    last: int
    sealed: int
    origin: str
    book: TermsBook
    periods: PeriodBook
    whole_log: bool
    reports: Sequence[Followed]
    sums: FollowedSums | None
    tracked: Tracked
    personal: Personal
    events_a_window: int


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Positions `first` to `last`, and what is verified of them; nothing: only what later ones need to know of them
    is read, for the passes it is `needed_by`. `lines`: how long the payees' lines of cleared credits are before it,
    where that is known."""

    first: int
    last: int
    passes: frozenset[Pass]
    needed_by: frozenset[Pass] = frozenset()
    lines: dict[BalanceKey, int] | None = None


def verify_segment(setting: Setting, segment: Segment) -> Part:
    part = new_part(segment.passes)
    checks = _checks(setting, segment, part)
    reader = WindowReader(setting.source)
    try:
        windows = reader.windows(segment.first, segment.last, until=setting.last, size=setting.events_a_window)
        for count, window in enumerate(windows, start=1):
            for number, (check, passes) in list(checks.items()):
                try:
                    check.check(window)
                except Exception as error:  # noqa: BLE001 - whatever stops a check makes its passes incomplete
                    stopped = passes & (segment.passes | segment.needed_by)
                    part.could_not_run(stopped, f"{type(error).__name__}: {error}")
                    del checks[number]
                    if isinstance(error, psycopg.Error):
                        reader.begin_again()
            if count % _WINDOWS_A_COLLECTION == 0 and not gc.isenabled():
                gc.collect()
    finally:
        reader.close()
    return part


def _checks(setting: Setting, segment: Segment, part: Part) -> dict[int, tuple[WindowCheck, frozenset[Pass]]]:
    """In the order in which they look at a window, numbered."""
    asked = segment.passes
    derivation = DerivationCheck(part, setting.periods) if Pass.DERIVATION in asked else None
    money = frozenset({Pass.JOURNALS, Pass.ACCOUNTS, Pass.ENTRIES, Pass.BALANCES, Pass.PAYOUTS})
    offered: list[tuple[frozenset[Pass], Callable[[], WindowCheck]]] = [
        (frozenset({Pass.ORDER}), lambda: PositionCheck(part, first=segment.first, end=segment.last)),
        (frozenset({Pass.CHAIN}), lambda: ChainCheck(part, sealed=setting.sealed, origin=setting.origin)),
        (frozenset({Pass.ORDER}), lambda: StreamCheck(part)),
        (frozenset({Pass.ORDER}), lambda: AuthorCheck(part)),
        (frozenset({Pass.ENTRIES}), lambda: EntryCheck(part, lines=segment.lines)),
        (DECISIONS, lambda: OrderCheck(part, setting.book, derivation)),
        (frozenset({Pass.ATTRIBUTION}), lambda: TouchCheck(part, setting.tracked)),
        (frozenset({Pass.CLEARING}), lambda: ClockCheck(part)),
        (frozenset({Pass.ORDER_ROWS}), lambda: OrderRowCheck(part)),
        (frozenset({Pass.DOCUMENTS, Pass.TERMS_HEADS}), lambda: DocumentCheck(part)),
        (frozenset({Pass.INBOX}), lambda: InboxCheck(part, setting.personal)),
        (frozenset({Pass.PERSONAL}), lambda: PersonalCheck(part, setting.personal)),
        (frozenset({Pass.IDEMPOTENCY}), lambda: KeyCheck(part)),
    ]
    checks = [(make(), passes) for passes, make in offered if passes & asked]
    if Pass.PROJECTIONS in asked:
        checks += [(ReportCheck(part, each), frozenset({Pass.PROJECTIONS})) for each in setting.reports]
        if setting.sums is not None:
            moments = MomentCheck(part, setting.sums, first=segment.first, last=segment.last)
            checks.append((moments, frozenset({Pass.PROJECTIONS})))
    if not asked or asked & money:
        checks.append((JournalCheck(part, setting.periods), money))
    if not asked or Pass.ACCOUNTS in asked:
        checks.append((AccountCheck(part), frozenset({Pass.ACCOUNTS})))
    if not asked or asked & {Pass.PAYOUTS, Pass.DERIVATION}:
        rows = Pass.PAYOUTS in asked and setting.whole_log
        checks.append((PayoutCheck(part, derivation, rows=rows), frozenset({Pass.PAYOUTS, Pass.DERIVATION})))
    if Pass.PAYOUTS in asked:
        checks.append((TaxCheck(part), frozenset({Pass.PAYOUTS})))
        checks.append((PayoutDecisionCheck(part), frozenset({Pass.PAYOUTS})))
        checks.append((ApprovalCheck(part), frozenset({Pass.PAYOUTS})))
    if asked & {Pass.RECEIVABLES, Pass.DERIVATION}:
        checks.append((SellerCheck(part, derivation), frozenset({Pass.RECEIVABLES, Pass.DERIVATION})))
    if not asked or asked & {Pass.COMMISSION, Pass.DERIVATION}:
        checks.append((TrueUpCheck(part, derivation), frozenset({Pass.COMMISSION, Pass.DERIVATION})))
    if derivation is not None:
        checks.append((SettlementCheck(part, derivation), frozenset({Pass.DERIVATION})))
        checks.append((BookingCheck(part, derivation), frozenset({Pass.DERIVATION})))
        checks.append((derivation, frozenset({Pass.DERIVATION})))
    return dict(enumerate(checks))
