"""The accounts of sellers, for the pass `receivables`: each event follows from the one before it and from what it
says happened, and every posting to a receivable that is no order's own is on the account, once.

So the balance of a receivable is the credit of its account less what is unsettled of its orders: allocations are what
the orders say was settled of them, and all else that was posted is named by an event of the account. An account of
before adopts what was posted before it knew of charges; until then that waits, and is said to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, PassResult
from colink.domain.audit.seller_accounts import AccountEvent, derived_again, opened_again, refused, said_of_others
from colink.domain.ledger import seller_receivable
from colink.domain.seller_account_events import (
    SellerAccountAdopted,
    SellerAccountDetails,
    SellerAccountOpened,
    SellerAccountTakenBack,
)
from colink.domain.seller_accounts import beside_orders, seller_account_id
from colink.domain.true_up_journals import TrueUpEvent
from colink.domain.true_ups import WORKER, TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.seller_billing import CHARGES, RETURNABLE

ACCOUNT_TOPICS = frozenset(event.TOPIC for event in get_args(AccountEvent))
_BEGINNINGS = [SellerAccountOpened.TOPIC, SellerAccountAdopted.TOPIC]
_TRUE_UPS = frozenset(event.TOPIC for event in (TrueUpCounted, TrueUpRecounted, TrueUpCleared, TrueUpReleased))


class SellerAccountCheck:
    """Carries out what two events say each, where only one of them was seen, and whose accounts are up to date."""

    def __init__(self, part: Part, result: PassResult) -> None:
        self._part = part
        self._result = result
        self._since: dict[str, int | None] = {}

    def check(self, window: Window) -> None:
        accounts: dict[str, SellerAccountDetails | None] = {}
        for position, event in window.events(window.rows, ACCOUNT_TOPICS, self._result):
            if isinstance(event, AccountEvent):
                id_ = event.originator_id
                if id_ not in accounts:
                    accounts[id_] = _newest(window.earlier_events(id_))
                self._check(window, position, event, accounts[id_])
                accounts[id_] = event.details
        for position, journal_id, _, journal in window.journals:
            if journal.order_id is None:
                for place, amount in beside_orders(journal.postings).items():
                    self._part.match((journal_id, seller_account_id(*place)), amount, position)
        for stream_id, rows in window.streams.items():
            if rows[0].topic in _TRUE_UPS:
                events = window.events(rows, _TRUE_UPS, self._result)
                self._follow_true_up(window, window.earlier_events(stream_id), events)

    def _check(self, window: Window, position: int, event: AccountEvent, before: SellerAccountDetails | None) -> None:
        self._result.checked += 1
        now, id_ = event.details, event.originator_id
        if now.since is not None:
            self._part.up_to_date.add(id_)
        derived: SellerAccountDetails | None = None
        wrong: str | None = None
        if isinstance(event, SellerAccountOpened):
            derived = opened_again(now)
        elif before is not None:
            charges = _charges(window, before, event) if isinstance(event, SellerAccountAdopted) else ()
            derived, wrong = derived_again(before, event, charges=charges), refused(before, event)
            if isinstance(event, SellerAccountAdopted) and event.amount != sum([amount for _, amount in charges]):
                wrong = wrong or "says another sum than was charged before"
            if isinstance(event, SellerAccountTakenBack):
                wrong = wrong or _left_behind(window, position, event)
            for names, amount in said_of_others(before, event, charges=charges):
                self._part.match(names, -amount, position)
        if wrong is None and now != derived:
            wrong = "is not what follows from what it was and from what happened to it"
        if wrong is not None:
            message = f"{id_} {wrong}"
            self._result.find(Kind.DERIVED_DIFFERENTLY, position, id_, message, recorded=now, derived=derived)

    def _follow_true_up(
        self, window: Window, earlier: Sequence[tuple[int, Event]], events: Sequence[tuple[int, Event]]
    ) -> None:
        """What of a true-up waits for the seller's money is in the account, if it was counted since the account knows
        of true-ups."""
        seen = 0
        for _, event in earlier:
            seen = event.position if isinstance(event, TrueUpCounted | TrueUpRecounted) else seen
        for position, event in events:
            if not isinstance(event, TrueUpEvent) or isinstance(event, TrueUpCleared):
                continue
            before, seen = seen, seen if isinstance(event, TrueUpReleased) else event.position
            account_id = seller_account_id(event.organization_id, event.currency)
            since = self._known_since(window, account_id) if event.before.held or event.count.held else None
            if since is not None:
                held = event.count.held if seen >= since else 0
                held -= event.before.held if before >= since else 0
                self._part.match((event.originator_id, account_id, "held"), held, position)
                if position > since and isinstance(event, TrueUpReleased) and event.by == WORKER:
                    names = (event.originator_id, account_id)
                    self._part.match((*names, "covered"), event.before.held - event.count.held, position)
                    self._part.match((*names, "uncounted"), event.before.held if before < since else 0, position)

    def _known_since(self, window: Window, account_id: str) -> int | None:
        if account_id not in self._since:
            rows = window.reader.stored("stream_id = %s AND topic = ANY(%s)", account_id, _BEGINNINGS)
            found = [window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload) for row in rows]
            details = [event.details for event in found if isinstance(event, AccountEvent)]
            self._since[account_id] = details[-1].since if details else None
        return self._since[account_id]


def _charges(window: Window, account: SellerAccountDetails, event: SellerAccountAdopted) -> list[tuple[str, int]]:
    """What was posted beside orders and payments up to where it says, by journal. Of the entries, which the pass
    `entries` compares with the journals."""
    rows = window.reader.rows(
        "SELECT journal_id, sum(amount)::bigint FROM colink.entries WHERE account = %s AND currency = %s"
        f" AND position <= %s AND {CHARGES} GROUP BY journal_id ORDER BY journal_id",
        seller_receivable(account.organization_id),
        account.currency,
        event.position,
    )
    return [(journal_id, amount) for journal_id, amount in rows]


def _left_behind(window: Window, position: int, event: SellerAccountTakenBack) -> str | None:
    """What is wrong, if anything: what is taken back is found again behind the position that the account went back
    to, and where nothing else is to be taken back, nothing else is."""
    account = event.details
    rows = window.reader.rows(
        RETURNABLE, account.currency, position, position, position, account.organization_id, list[str]()
    )
    taken = {each.order_id: -each.amount for each in event.allocations}
    if any(first <= account.settled_to for order_id, first, _ in rows if order_id in taken):
        return "would not find again what it took back"
    if event.exhausted and any(taken.get(order_id, 0) < returnable for order_id, _, returnable in rows):
        return "did not take back all that had not cleared"
    return None


def _newest(events: Sequence[tuple[int, Event]]) -> SellerAccountDetails | None:
    found = [event.details for _, event in events if isinstance(event, AccountEvent)]
    return found[-1] if found else None


def find_unmatched(part: Part, result: PassResult, *, whole_log: bool) -> None:
    """What only one of two events says. At the ends of a range the other one may lie outside; journals of accounts
    that are not up to date wait for these to adopt them."""
    if not whole_log:
        if part.unmatched:
            result.leaves_out(f"{len(part.unmatched)} events name what lies outside the range")
        return
    waiting = 0
    for pair, (difference, position) in sorted(part.unmatched.items(), key=lambda item: item[1][1]):
        if len(pair) == 2 and pair[0].startswith("jrn_") and pair[1] not in part.up_to_date:
            waiting += 1
            continue
        result.find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            pair[0],
            f"the two events of {' and '.join(pair)} do not say the same",
            recorded=difference,
            derived=0,
        )
    if waiting:
        result.leaves_out(f"{waiting} journals wait for the accounts of their sellers to be brought up to date")
