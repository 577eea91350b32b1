"""The real commands on a log in memory, one after the other: for properties that want thousands of them.

What a committer does for them is done plainly: streams are folded anew, documents are those of the newest events,
what a payee has is the fold of all journals. Not here: what runs at once (tests/adapters/postgres, tests/torture),
guards, tracking, and what is counted over many orders (tiers, true-ups).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any, TypeVar

from colink.application.ports import Decision, MoreNeeded, Needs, Request
from colink.domain.aggregates import Event
from colink.domain.audit.balances import BalanceBook
from colink.domain.ledger import JournalPosted, payee_available
from colink.domain.payout_funds import Funds, Stretch
from colink.domain.payouts import RELEASED, PayoutChanged, PayoutRequested
from colink.domain.terms import Terms

A = TypeVar("A")
D = TypeVar("D")


class MemoryLog:
    """`documents`: what was configured otherwise than by commands. `now` is the clock."""

    def __init__(self, terms: Terms, *, now: datetime, documents: list[Any]) -> None:
        self.terms, self.now = terms, now
        self.journals: list[JournalPosted] = []
        self.payouts: dict[str, PayoutRequested | PayoutChanged] = {}
        self.book = BalanceBook()
        self._streams: dict[str, list[Event]] = defaultdict(list)
        self._documents = {(type(each), each.id): (each, 1) for each in documents}

    def submit(self, command: Request) -> Decision:
        """Decide and record. Raises what the command raises, and nothing is recorded then."""
        needs = command.needs()
        while True:
            try:
                decision = command.decide(_Facts(self, needs))
            except MoreNeeded as more:
                needs = needs.joined(more.needs)
            else:
                for event in decision.events:
                    self._record(event)
                return decision

    def fold(self, stream_id: str) -> Any:
        state = None
        for event in self._streams.get(stream_id, ()):
            state = event.mutate(state)
        return state

    def document(self, type_: type[Any], id_: str) -> tuple[Any, int] | None:
        return self._documents.get((type_, id_))

    def balance(self, account: str, currency: str) -> int:
        balance = self.book.balances.get((account, currency))
        return balance.amount if balance else 0

    def funds(self, payee_id: str, currency: str) -> Funds:
        balance = self.book.balances.get((payee_available(payee_id), currency))
        return Funds(
            payee_id=payee_id,
            currency=currency,
            balance=balance.amount if balance else 0,
            version=balance.entries if balance else 0,
            credited=balance.credited if balance else 0,
            taken=tuple(self.held(payee_id, currency)),
        )

    def held(self, payee_id: str, currency: str) -> list[Stretch]:
        """Of the payee's line of cleared credits, what payouts hold or have paid."""
        held = [
            stretch
            for payout in self.payouts.values()
            if (payout.payee_id, payout.currency) == (payee_id, currency) and payout.status not in RELEASED
            for stretch in payout.stretches
        ]
        return sorted(held, key=lambda stretch: stretch.start)

    def _record(self, event: Event) -> None:
        stream = self._streams[event.originator_id]
        assert event.originator_version == len(stream) + 1, "the stream moved meanwhile"
        stream.append(event)
        details = getattr(event, "details", None)
        if details is not None:
            self._documents[type(details), details.id] = (details, event.originator_version)
        if isinstance(event, PayoutRequested | PayoutChanged):
            self.payouts[event.originator_id] = event
        if isinstance(event, JournalPosted):
            assert all(each.originator_id != event.originator_id for each in self.journals)
            self.journals.append(event)
            self.book.add(len(self.journals), event.postings, of_payout=event.payout_id is not None)


class _Facts:
    """What one command is given; what it must not ask here is not there."""

    def __init__(self, log: MemoryLog, needs: Needs) -> None:
        self._log, self.needs, self.now = log, needs, log.now
        self.open_from = None

    def aggregate(self, type_: type[A], stream_id: str) -> A | None:
        assert stream_id in {*self.needs.streams, *self.needs.reads}, f"{stream_id} was not asked for"
        state = self._log.fold(stream_id)
        assert state is None or isinstance(state, type_)
        return state

    def document(self, type_: type[D], id_: str) -> D | None:
        found = self.versioned(type_, id_)
        return None if found is None else found[0]

    def versioned(self, type_: type[D], id_: str) -> tuple[D, int] | None:
        assert (type_, id_) in self.needs.documents, f"{type_.__name__} {id_} was not asked for"
        return self._log.document(type_, id_)

    def terms(self) -> Terms:
        return self._log.terms

    def touches(self) -> tuple[()]:
        return ()

    def tracking_position(self) -> int:
        return 0

    def funds(self, payee_id: str, currency: str) -> Funds:
        assert (payee_id, currency) in self.needs.funds_of
        return self._log.funds(payee_id, currency)
