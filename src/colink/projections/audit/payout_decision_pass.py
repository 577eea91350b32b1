"""Payouts decided again, for the pass `payouts`: each step follows from the one before, from the account as it was,
and from what is said of it; each repeats what was requested.

The accounts of the payees of a window are looked up by key; there are few versions of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from colink.domain.audit.payouts import KnownAccount, decided_again
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.payout_accounts import PayoutAccountRegistered, PayoutAccountReplaced, payout_account_id
from colink.domain.payouts import PayoutChanged, PayoutEvent, PayoutRequested
from colink.projections.audit.part import Part
from colink.projections.audit.payout_passes import PAYOUT_TOPICS
from colink.projections.audit.reading import Window


class PayoutDecisionCheck:
    """What became of payouts, step by step."""

    def __init__(self, part: Part) -> None:
        self._result = part.results[Pass.PAYOUTS]

    def check(self, window: Window) -> None:
        payouts: list[tuple[int, list[tuple[int, PayoutEvent]]]] = []
        for stream_id, rows in window.streams.items():
            if rows[0].topic not in PAYOUT_TOPICS:
                continue
            unread = PassResult(audit_pass=Pass.PAYOUTS)  # PayoutCheck finds those that cannot be read
            found = [*window.earlier_events(stream_id), *window.events(rows, PAYOUT_TOPICS, unread)]
            events = [(at, each) for at, each in found if isinstance(each, PayoutRequested | PayoutChanged)]
            if events and isinstance(events[0][1], PayoutRequested) and not unread.findings:
                payouts.append((rows[0].position, events))
        accounts = accounts_in(
            window,
            {payout_account_id(event.payee_id, event.currency) for _, events in payouts for _, event in events},
        )
        for since, events in payouts:
            known = accounts[_account_of(events)]
            for difference in decided_again(events, known):
                if difference.position >= since:
                    self._result.find(
                        Kind.DERIVED_DIFFERENTLY,
                        difference.position,
                        difference.event.originator_id,
                        f"{difference.event.TOPIC} at {difference.position} {difference.says}",
                        recorded=difference.event,
                        derived=difference.derived,
                    )


def _account_of(events: Iterable[tuple[int, PayoutEvent]]) -> str:
    """By what most of the events say."""
    named = [payout_account_id(event.payee_id, event.currency) for _, event in events]
    return max(named, key=named.count)


def accounts_in(window: Window, ids: set[str]) -> dict[str, list[KnownAccount]]:
    """All versions of these accounts up to the end of the window, in order."""
    accounts: dict[str, list[KnownAccount]] = defaultdict(list)
    if not ids:
        return accounts
    for row in window.reader.stored("stream_id = ANY(%s) AND position <= %s", sorted(ids), window.last):
        with suppress(Exception):  # one that cannot be read is found by the pass over documents
            event = window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload)
            if isinstance(event, PayoutAccountRegistered | PayoutAccountReplaced):
                known = KnownAccount(position=row.position, details=event.details, set_by=event.set_by)
                accounts[row.stream_id].append(known)
    return accounts
