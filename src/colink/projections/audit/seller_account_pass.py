"""The accounts of sellers, for the pass `receivables`: each event follows from the one before it and from what it
says happened, and every posting to a receivable that is no order's own is on the account, once.

So the balance of a receivable is the credit of its account less what is unsettled of its orders: allocations are what
the orders say was settled of them, and all else that was posted is named by an event of the account. An account of
before adopts what was posted before it knew of charges; until then that waits, and is said to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, PassResult
from colink.domain.ledger import seller_receivable
from colink.domain.seller_accounts import (
    SellerAccountAdopted,
    SellerAccountAllocated,
    SellerAccountBooked,
    SellerAccountCredited,
    SellerAccountDetails,
    SellerAccountInvoiced,
    SellerAccountOpened,
    adopted,
    allocated,
    beside_orders,
    booked,
    credited,
    seller_account_id,
)
from colink.domain.seller_billing import payment_journal_id
from colink.domain.true_up_journals import TrueUpEvent
from colink.domain.true_ups import TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.seller_billing import CHARGES

AccountEvent = (
    SellerAccountOpened
    | SellerAccountCredited
    | SellerAccountAdopted
    | SellerAccountBooked
    | SellerAccountAllocated
    | SellerAccountInvoiced
)
_OF_ACCOUNT: tuple[type[Event], ...] = (
    SellerAccountOpened,
    SellerAccountCredited,
    SellerAccountAdopted,
    SellerAccountBooked,
    SellerAccountAllocated,
    SellerAccountInvoiced,
)
ACCOUNT_TOPICS = frozenset(event.TOPIC for event in _OF_ACCOUNT)
_BEGINNINGS = [SellerAccountOpened.TOPIC, SellerAccountAdopted.TOPIC]
_TRUE_UPS = frozenset(event.TOPIC for event in (TrueUpCounted, TrueUpRecounted, TrueUpCleared, TrueUpReleased))


def billed(from_position: int, to_position: int) -> int:
    """What an invoice and its account say of each other, as one number that is never zero."""
    return to_position - from_position + 1


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
        derived: SellerAccountDetails | None = None
        if now.since is not None:
            self._part.up_to_date.add(id_)
        if isinstance(event, SellerAccountOpened):
            derived = SellerAccountDetails(
                id=seller_account_id(now.organization_id, now.currency),
                organization_id=now.organization_id,
                currency=now.currency,
                since=None if now.since is None else 0,
            )
        elif before is not None:
            derived = self._derived(window, position, event, before)
        wrong = self._refused(event, before)
        if wrong is None and now != derived:
            wrong = f"{id_} is not what follows from what it was and from what happened to it"
        if wrong is not None:
            self._result.find(Kind.DERIVED_DIFFERENTLY, position, id_, wrong, recorded=now, derived=derived)

    def _derived(
        self, window: Window, position: int, event: AccountEvent, before: SellerAccountDetails
    ) -> SellerAccountDetails:
        """The account after the event; what others must say of it is carried out."""
        now, id_, match = event.details, event.originator_id, self._part.match
        match event:
            case SellerAccountCredited():
                match((event.payment_id, id_), -event.amount, position)
                match((payment_journal_id(event.payment_id), id_), -event.amount, position)
                return credited(before, event.amount)
            case SellerAccountAdopted():
                amounts = _charges(window, before, to_position=event.position)
                for journal_id, amount in amounts:
                    match((journal_id, id_), -amount, position)
                return adopted(before, sum([amount for _, amount in amounts]), position=event.position)
            case SellerAccountBooked():
                if event.journal_id is not None:
                    match((event.journal_id, id_), -event.amount, position)
                match((event.cause_id, id_, "held"), -event.held, position)
                return booked(before, event.amount if event.journal_id else 0, held=event.held)
            case SellerAccountAllocated():
                for each in event.allocations:
                    match((id_, str(now.allocations), each.order_id), -each.amount, position)
                return allocated(before, event.allocations, credited_to=now.credited_to, settled_to=now.settled_to)
            case SellerAccountInvoiced():
                match((event.invoice_id, id_), -billed(before.invoiced_to, now.invoiced_to), position)
                return replace(before, invoiced_to=now.invoiced_to)
        return before

    def _refused(self, event: AccountEvent, before: SellerAccountDetails | None) -> str | None:
        """What the account should not have taken over."""
        now, id_ = event.details, event.originator_id
        if before is None:
            return None
        match event:
            case SellerAccountAllocated():
                if now.credit < 0 and any(each.amount > 0 for each in event.allocations):
                    return f"{id_} settled orders with {-now.credit} more than was paid"
                if now.credited_to < before.credited_to or now.settled_to < before.settled_to:
                    return f"{id_} went back in the log"
            case SellerAccountAdopted() if before.since is not None:
                return f"{id_} adopted twice what was charged before"
            case SellerAccountBooked() if before.since is None:
                return f"{id_} has not adopted what was charged before"
            case _:
                pass
        return None

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

    def _known_since(self, window: Window, account_id: str) -> int | None:
        if account_id not in self._since:
            rows = window.reader.stored("stream_id = %s AND topic = ANY(%s)", account_id, _BEGINNINGS)
            found = [window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload) for row in rows]
            details = [event.details for event in found if isinstance(event, AccountEvent)]
            self._since[account_id] = details[-1].since if details else None
        return self._since[account_id]


def _charges(window: Window, account: SellerAccountDetails, *, to_position: int) -> list[tuple[str, int]]:
    """What was posted beside orders and payments, by journal. Of the entries, which the pass `entries` compares with
    the journals."""
    rows = window.reader.rows(
        f"SELECT journal_id, sum(amount)::bigint FROM colink.entries WHERE account = %s AND currency = %s"
        f" AND position <= %s AND {CHARGES} GROUP BY journal_id ORDER BY journal_id",
        seller_receivable(account.organization_id),
        account.currency,
        to_position,
    )
    return [(journal_id, amount) for journal_id, amount in rows]


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
