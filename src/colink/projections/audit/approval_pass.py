"""Approvals of payouts, for the pass `payouts`: nobody approved alone, and the money goes where the payee's account
said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from colink.domain.audit.payouts import KnownAccount
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.payouts import PayoutApproved, PayoutRequested
from colink.projections.audit.part import Part
from colink.projections.audit.payout_decision_pass import accounts_in
from colink.projections.audit.payout_passes import PAYOUT_TOPICS
from colink.projections.audit.reading import Window


class ApprovalCheck:
    """Who approved a payout, and to which account."""

    def __init__(self, part: Part) -> None:
        self._result = part.results[Pass.PAYOUTS]

    def check(self, window: Window) -> None:
        approvals: list[tuple[int, PayoutRequested, PayoutApproved]] = []
        for stream_id, rows in window.streams.items():
            if not any(row.topic == PayoutApproved.TOPIC for row in rows):
                continue
            unread = PassResult(audit_pass=Pass.PAYOUTS)  # PayoutCheck finds those that cannot be read
            events = [*window.earlier_events(stream_id), *window.events(rows, PAYOUT_TOPICS, unread)]
            if not events or not isinstance(first := events[0][1], PayoutRequested):
                continue  # a stream without its beginning is found by the pass `order`
            approvals += [
                (position, first, event)
                for position, event in events
                if isinstance(event, PayoutApproved) and position >= rows[0].position
            ]
        accounts = accounts_in(window, {event.account.id for _, _, event in approvals})
        for position, first, event in approvals:
            self._check_approval(position, first, event, accounts)

    def _check_approval(
        self,
        position: int,
        first: PayoutRequested,
        event: PayoutApproved,
        accounts: Mapping[str, Sequence[KnownAccount]],
    ) -> None:
        account = event.account
        known = [each for each in accounts[account.id] if each.position < position]
        copied = next((each for each in known if each.details == account), None)
        self._result.checked += 1
        if copied is None or (account.payee_id, account.currency) != (first.payee_id, first.currency):
            self._find(position, event, "goes to what was never the payee's account", known)
        elif event.approved_by == first.requested_by:
            self._find(position, event, f"was approved by {event.approved_by}, who had requested it", known)
        elif event.approved_by == copied.set_by:
            self._find(position, event, f"was approved by {event.approved_by}, who had set its account", known)

    def _find(self, position: int, event: PayoutApproved, what: str, known: Sequence[KnownAccount]) -> None:
        self._result.find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            event.originator_id,
            f"{event.originator_id} {what}",
            recorded=event.account,
            derived=known[-1].details if known else None,
        )
