"""The pass over payouts: their rows are what their events say; no two hold the same money, none more than there was,
nor more than was available when it was reserved: debts that were not netted yet stand against it.

Their journals are compared by the pass `derivation`. Memory holds the stretches of the payouts that hold any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from colink.domain.aggregates import Event
from colink.domain.audit.balances import BalanceBook, overlaps
from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.ledger import JournalKind, JournalPosted, payee_available
from colink.domain.payout_funds import Stretch
from colink.domain.payout_journals import journals_of
from colink.domain.payouts import RELEASED, PayoutChanged, PayoutRequested, PayoutStatus
from colink.domain.postings import Draft
from colink.projections import payouts  # noqa: F401 - it registers the projectors used below
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Held, Part
from colink.projections.audit.reading import Window
from colink.projections.audit.rows import compare_rows, find_extra_rows
from colink.projections.engine import Connection
from colink.projections.inline import PayoutRow, project

PAYOUT_TOPICS = frozenset({PayoutRequested.TOPIC, *(event.TOPIC for event in PayoutChanged.__subclasses__())})


@dataclass(slots=True, kw_only=True)
class _PayoutState:
    """What a payout's row must say. Fields are the columns of colink.payouts."""

    payout_id: str
    payee_id: str
    currency: str
    amount: int
    status: str
    stretches: str
    tax: int
    created_position: int
    position: int


class PayoutCheck:
    """Carries out what payouts hold; `derivation` is told the journals that must follow; `rows`: whether the rows of
    payouts are compared too."""

    def __init__(self, part: Part, derivation: DerivationCheck | None, *, rows: bool) -> None:
        self._part = part
        self._result = part.results.get(Pass.PAYOUTS) or PassResult(audit_pass=Pass.PAYOUTS)
        self._derivation = derivation
        self._rows = rows

    def check(self, window: Window) -> None:
        states: dict[str, _PayoutState] = {}
        for stream_id, rows in window.streams.items():
            if rows[0].topic not in PAYOUT_TOPICS:
                continue
            events = window.events(rows, PAYOUT_TOPICS, self._result)
            if self._derivation is not None:
                for position, event in events:
                    self._derivation.expect(_journals(position, event))
            if stream_id not in window.later:
                self._close(window.earlier_events(stream_id) + events, states)
        if self._rows:
            compare_rows(window.reader, self._result, "payouts", "payout_id", states)

    def _close(self, events: Sequence[tuple[int, Event]], states: dict[str, _PayoutState]) -> None:
        """Take the state of a payout whose last event lies in the window."""
        state: _PayoutState | None = None
        for position, event in events:
            for row in project(event):
                if isinstance(row, PayoutRow):
                    state = _payout_state(row, created_position=events[0][0], position=position)
        last = events[-1][1] if events else None
        if state is None or not isinstance(last, PayoutRequested | PayoutChanged):
            return
        states[state.payout_id] = state
        if PayoutStatus(state.status) not in RELEASED:
            self._part.held += [
                Held(
                    payee_id=last.payee_id,
                    currency=last.currency,
                    stretch=stretch,
                    payout_id=state.payout_id,
                    position=state.created_position,
                )
                for stretch in last.stretches
            ]


def _journals(position: int, event: Event) -> list[ExpectedJournal]:
    if not isinstance(event, PayoutRequested | PayoutChanged):
        return []
    posted = [journal.collect_events()[0] for journal in journals_of(event)]
    return [
        ExpectedJournal(
            journal_id=journal.originator_id,
            position=position,
            draft=Draft(kind=journal.kind, effective_at=journal.effective_at, postings=journal.postings),
        )
        for journal in posted
        if isinstance(journal, JournalPosted)
    ]


def _payout_state(row: PayoutRow, *, created_position: int, position: int) -> _PayoutState:
    return _PayoutState(
        payout_id=row.payout_id,
        payee_id=row.payee_id,
        currency=row.currency,
        amount=row.amount,
        status=row.status,
        stretches=row.stretches,
        tax=row.tax,
        created_position=created_position,
        position=position,
    )


def check_held(result: PassResult, held: Sequence[Held], balances: BalanceBook) -> None:
    """No two payouts hold the same money, and none reaches beyond its payee's line of cleared credits."""
    positions = {each.payout_id: each.position for each in held}
    by_payee: dict[tuple[str, str], list[tuple[Stretch, str]]] = defaultdict(list)
    for each in held:
        by_payee[each.payee_id, each.currency].append((each.stretch, each.payout_id))
    for (payee_id, currency), stretches in by_payee.items():
        for pair in overlaps(stretches):
            earlier, later = sorted(pair, key=lambda payout_id: positions[payout_id])
            result.find(
                Kind.OVERLAP,
                positions[later],
                later,
                f"{later} reserves money of {payee_id} in {currency} that {earlier} holds",
            )
        balance = balances.balances.get((payee_available(payee_id), currency))
        credited = balance.credited if balance else 0
        for stretch, payout_id in stretches:
            if stretch.end > credited:
                result.find(
                    Kind.OVERDRAWN,
                    positions[payout_id],
                    payout_id,
                    f"{payout_id} takes more of {payee_id} than was ever cleared in {currency}",
                    recorded=stretch.end,
                    derived=credited,
                )


def find_reserved_too_much(part: Part, *, first: int) -> None:
    """No reservation from position `first` on leaves its payee below zero. What is reserved is decided on the balance
    just before it, and commits only while that is the last one (`BalanceUnchanged`), whatever commits beside it."""
    result = part.results[Pass.PAYOUTS]
    for each in part.drawn:
        if each.kind is JournalKind.PAYOUT_RESERVED and each.position >= first and each.after < 0:
            result.find(
                Kind.OVERDRAWN,
                each.position,
                each.name,
                f"{each.name} reserves more than was available on {each.account} in {each.currency}",
                recorded=each.after,
                derived="not below 0",
            )


async def check_extra_payouts(conn: Connection, result: PassResult) -> None:
    await find_extra_rows(conn, result, "payouts", "payout_id", PAYOUT_TOPICS)
