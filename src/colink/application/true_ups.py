"""Count and clear true-ups: what the orders of a day or month come to together (domain.true_ups).

The worker counts a period when it has ended, and again when its orders changed. An order that is to clear before the
worker came counts its period in its own append: what an order's commission is measured against stands before it
clears. An order whose seller had to pay first is in the period since he did, so it has it counted again; so has one
that was refunded, before what he paid for it settles others. And before
anything of a true-up clears, it is counted again where its orders changed and the worker has not noticed yet: what is
paid on an order that was held a moment ago would have to be taken back. Two that count at once write the same stream,
so one of them counts again and finds nothing to do.

What a true-up charges a seller who collects the money himself, or takes off, is on his account in the same append.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colink.application.configure.checks import check_text
from colink.application.ports import Decision, Facts, MoreNeeded, Needs, PeriodQuery, Request, SeenPeriod
from colink.application.seller_accounts import SellerAccounts, needs_of_accounts
from colink.domain.aggregates import Event
from colink.domain.basis import clears_by_time
from colink.domain.errors import NotFound
from colink.domain.local_time import period_bounds
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.split import CountedIn
from colink.domain.true_up_counts import TRUE_UP_ID, PeriodKey, held_and_due
from colink.domain.true_up_journals import TrueUpEvent, journals_of
from colink.domain.true_ups import WORKER, TrueUp, TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased


@dataclass(frozen=True, kw_only=True)
class CountTrueUp(Request):
    """Counts a period that has ended, unless it was counted since `changed_position`; that is no error."""

    key: PeriodKey
    changed_position: int

    def needs(self) -> Needs:
        return Needs(streams=(self.key.id,), terms_of=self.key.organization_id)

    def decide(self, facts: Facts) -> Decision:
        known = facts.aggregate(TrueUp, self.key.id)
        events: list[Event] = []
        ended = period_bounds(self.key.period, facts.terms().organization.timezone)[1] <= facts.now
        if ended and (known is None or known.position < self.changed_position):
            accounts = SellerAccounts(facts)
            events = [*count_period(facts, self.key, known, accounts), *accounts.new_events()]
        return Decision(answer={"id": self.key.id}, events=events, organization_id=self.key.organization_id)


@dataclass(frozen=True, kw_only=True)
class ClearTrueUp(Request):
    """Clears everything of a true-up that is due by the clock, as its orders are now; nothing due is no error."""

    true_up_id: str

    def needs(self) -> Needs:
        return Needs(streams=(self.true_up_id,))

    def decide(self, facts: Facts) -> Decision:
        true_up = facts.aggregate(TrueUp, self.true_up_id)
        if true_up is None:
            msg = f"no true-up {self.true_up_id}"
            raise NotFound(msg)
        counted_to, accounts = true_up.position, SellerAccounts(facts)
        if true_up.is_due(at=facts.now):
            _bring_up_to_date(facts, true_up)
        while true_up.clear(at=facts.now):
            pass
        events = _with_journals(true_up, accounts, position=counted_to)
        return Decision(
            answer={"id": self.true_up_id},
            events=[*events, *accounts.new_events()],
            organization_id=true_up.organization_id,
        )


@dataclass(frozen=True, kw_only=True)
class ReleaseTrueUp(Request):
    """Finance lets clear what a true-up owes a creator although the seller collects the money: it has paid. Raises
    NotFound, Conflict where nothing is held."""

    true_up_id: str
    reason: str

    def needs(self) -> Needs:
        return Needs(streams=(self.true_up_id,))

    def decide(self, facts: Facts) -> Decision:
        true_up = facts.aggregate(TrueUp, self.true_up_id) if self.true_up_id.startswith(f"{TRUE_UP_ID}_") else None
        if true_up is None:
            msg = "there is no such true-up"
            raise NotFound(msg)
        true_up.release(by=self.caller.actor, reason=check_text(self.reason, field="reason"), at=facts.now)
        accounts = SellerAccounts(facts)
        events = _with_journals(true_up, accounts, position=true_up.position)
        return Decision(
            answer={
                "id": true_up.id,
                "rule_id": true_up.rule_id,
                "creator_id": true_up.creator_id,
                "period": true_up.period,
                "amount": Money(true_up.standing.amount, true_up.currency),
                "clears_at": true_up.standing.clears_at,
            },
            events=[*events, *accounts.new_events()],
            organization_id=true_up.organization_id,
        )


@dataclass(frozen=True, kw_only=True)
class ReleaseCovered(Request):
    """Let clear what true-ups owe creators, is due, and the seller's account has covered; the first of `true_up_ids`
    first. Released and cleared at once: a payment that is returned finds nothing in between. Nothing is no error."""

    organization_id: str
    currency: str
    true_up_ids: tuple[str, ...]

    def needs(self) -> Needs:
        needs = Needs(streams=self.true_up_ids, terms_of=self.organization_id)
        return needs.joined(needs_of_accounts([(self.organization_id, self.currency)]))

    def decide(self, facts: Facts) -> Decision:
        accounts = SellerAccounts(facts)
        account = accounts.account(self.organization_id, self.currency)
        events: list[Event] = []
        for true_up in self._due(facts):
            counted_to = true_up.position
            _bring_up_to_date(facts, true_up)
            events += _with_journals(true_up, accounts, position=counted_to)
            counted = true_up.position >= (account.details.since or 0)
            may = account.details.coverable(uncounted=0 if counted else true_up.standing.held)
            amount = min(held_and_due(true_up.standing, at=facts.now), may)
            if amount <= 0:
                continue
            reason = "the seller's account has covered it"
            true_up.release(by=WORKER, reason=reason, amount=amount, at=facts.now)
            while true_up.clear(at=facts.now):
                pass
            events += _with_journals(true_up, accounts, position=true_up.position)
        return Decision(
            answer={"account_id": account.id},
            events=[*events, *accounts.new_events()],
            organization_id=self.organization_id,
        )

    def _due(self, facts: Facts) -> list[TrueUp]:
        """Those that wait for nothing but the money, with their orders read. Raises MoreNeeded for all at once."""
        known = filter(None, (facts.aggregate(TrueUp, true_up_id) for true_up_id in self.true_up_ids))
        due = [true_up for true_up in known if held_and_due(true_up.standing, at=facts.now)]
        queries = tuple(_query(facts, true_up.key) for true_up in due)
        if not set(queries) <= set(facts.needs.periods_of):
            raise MoreNeeded(Needs(periods_of=queries))
        return due


def count_period(facts: Facts, key: PeriodKey, known: TrueUp | None, accounts: SellerAccounts) -> list[Event]:
    """The events of a count; what it charges is on `accounts`. The stream is one that the command writes. Raises
    MoreNeeded for the orders and the account."""
    seen, terms = _seen(facts, key), facts.terms()
    timezone = terms.organization.timezone
    counted_to = known.position if known else 0
    if known is None:
        known = TrueUp.count(
            key, seen.orders, rule=terms.rule, position=seen.position, timezone=timezone, at=facts.now
        )
    else:
        known.recount(seen.orders, rule=terms.rule, position=seen.position, timezone=timezone, at=facts.now)
    return _with_journals(known, accounts, position=counted_to)


def _query(facts: Facts, key: PeriodKey) -> PeriodQuery:
    """For the orders of a period. Raises MoreNeeded."""
    if facts.needs.terms_of is None:
        raise MoreNeeded(Needs(terms_of=key.organization_id))
    since, until = period_bounds(key.period, facts.terms().organization.timezone)
    return PeriodQuery(organization_id=key.organization_id, creator_id=key.creator_id, since=since, until=until)


def _seen(facts: Facts, key: PeriodKey) -> SeenPeriod:
    """The orders of a period. Raises MoreNeeded."""
    query = _query(facts, key)
    if query not in facts.needs.periods_of:
        raise MoreNeeded(Needs(periods_of=(query,)))
    return facts.period(query)


def _bring_up_to_date(facts: Facts, true_up: TrueUp) -> None:
    """Count again where the orders come to something else by now. Raises MoreNeeded."""
    if not _stands(facts, true_up):
        seen, terms = _seen(facts, true_up.key), facts.terms()
        timezone = terms.organization.timezone
        true_up.recount(seen.orders, rule=terms.rule, position=seen.position, timezone=timezone, at=facts.now)


def _stands(facts: Facts, true_up: TrueUp) -> bool:
    """Whether the orders still come to what was counted. Raises MoreNeeded."""
    seen, terms = _seen(facts, true_up.key), facts.terms()
    asked = true_up.id, true_up.version
    if asked not in seen.stands:
        timezone = terms.organization.timezone
        seen.stands[asked] = true_up.stands(seen.orders, rule=terms.rule, timezone=timezone)
    return seen.stands[asked]


def count_ended(facts: Facts, orders: Sequence[Order], accounts: SellerAccounts) -> list[Event]:
    """The counts of those periods of orders that have ended, those that they have left included, where the worker has
    not been there yet: the first ones, and new ones where a seller has to pay first, and what was counted is not what
    his orders come to by now. What they charge is on `accounts`. Raises MoreNeeded."""
    events: list[Event] = []
    ended = {
        _key(order, each): order for order in orders for each in order.counted_in if each.period.ends_at <= facts.now
    }
    for key, order in ended.items():
        if key.id not in facts.needs.reads:
            raise MoreNeeded(Needs(reads=(key.id,), terms_of=order.organization_id))
        known = facts.aggregate(TrueUp, key.id)
        by_time = order.terms is None or clears_by_time(order.terms)
        if known is None or not (by_time or _stands(facts, known)):
            if key.id not in facts.needs.streams:
                raise MoreNeeded(Needs(streams=(key.id,)), for_all=True)
            events += count_period(facts, key, known, accounts)
    return events


def has_cleared_together(facts: Facts, order: Order) -> bool:
    """Whether its creator has the money of a day or month that it counts in: then it is credited to nobody else, as
    if something of its own had cleared. Raises MoreNeeded."""
    counts_in = order.split.counts_in if order.split is not None else ()
    ids = tuple(_key(order, each).id for each in counts_in)
    if not set(ids) <= set(facts.needs.streams):
        raise MoreNeeded(Needs(streams=ids))  # what clears meanwhile waits
    known = filter(None, (facts.aggregate(TrueUp, id_) for id_ in ids))
    return any(true_up.has_cleared for true_up in known)


def _key(order: Order, counted: CountedIn) -> PeriodKey:
    return PeriodKey(
        organization_id=order.organization_id,
        rule_id=counted.period.rule_id,
        creator_id=counted.creator_id,
        currency=counted.currency,
        period=counted.period.period,
    )


def _with_journals(true_up: TrueUp, accounts: SellerAccounts, *, position: int) -> list[Event]:
    """Its new events, each followed by the journal that it leads to; what they change of the seller's account is on
    `accounts`. `position`: up to which it had counted before them."""
    events: list[Event] = []
    for event in true_up.new_events():
        events.append(event)
        if isinstance(event, TrueUpEvent):
            journals = [posted for journal in journals_of(event) for posted in journal.new_events()]
            events += journals
            counted_to = event.position if isinstance(event, TrueUpCounted | TrueUpRecounted) else position
            _book(event, accounts, journals, before=position, after=counted_to)
            position = counted_to
    return events


def _book(
    event: TrueUpEvent, accounts: SellerAccounts, journals: Sequence[Event], *, before: int, after: int
) -> None:
    """Take over what a step charges the seller or takes off, and what of it waits for his money. `before`, `after`:
    up to where it had counted: what was held of a count from before the account knew of true-ups is not in it."""
    amount, held = event.before.receivable - event.count.receivable, (event.before.held, event.count.held)
    if isinstance(event, TrueUpCleared) or not (amount or any(held)):
        return
    account = accounts.account(event.organization_id, event.currency)
    since = account.details.since or 0
    if isinstance(event, TrueUpReleased) and event.by == WORKER:
        uncounted = held[0] if before < since else 0
        account.cover(event.originator_id, held[0] - held[1], uncounted=uncounted, at=event.timestamp)
        return
    more = (held[1] if after >= since else 0) - (held[0] if before >= since else 0)
    if amount or more:
        account.book(
            amount,
            journal_id=journals[0].originator_id if amount else None,
            cause_id=event.originator_id,
            held=more,
            at=event.timestamp,
        )
