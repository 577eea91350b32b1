"""Orders: the aggregate. It receives deliveries, is attributed, split and cleared. Semantics sections 2 to 6.

    receive_snapshot / _refund / _facts -> the merge (merge.py)
    attribute                           -> who is credited (attribution.py)
    what people decide about it         -> order_decisions.py, by the rules of order_holds.py
    resplit                             -> the money (revenue.py), and the journals that lead to it (postings.py)
    clear / settle / take_back          -> what came due, what the seller paid of it, what of that was returned

Every method records an event only when something changed, so the same delivery again leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Event
from colink.domain.attribution import Attribution
from colink.domain.basis import Basis, clears_by_time, may_clear, pin_terms
from colink.domain.claims import clear_claim, next_clearing, no_more_than_owed
from colink.domain.errors import InvalidInput
from colink.domain.facts import OrderFacts, latest_time
from colink.domain.merge import MergedOrder, merge_facts, merge_refund, merge_snapshot, same_money
from colink.domain.order_decisions import (
    NO_DECISIONS,
    NOTHING_SUSPENDED,
    Decisions,
    OrderSettled,
    OrderSettlementTakenBack,
    OverSettled,
    SetByHand,
    Suspended,
    suspended_after,
)
from colink.domain.order_deliveries import (
    OrderFactsParked,
    OrderFactsRecorded,
    OrderPlaced,
    OrderRefundParked,
    OrderRefundRecorded,
    OrderUpdated,
)
from colink.domain.organizations import Platform, Settlement
from colink.domain.postings import Draft, OrderAccounts, clearing_journal, journals_between
from colink.domain.revenue import split_order
from colink.domain.snapshots import OrderSnapshot, Refund
from colink.domain.split import ChangeTimes, Claim, CountedIn, PinnedTerms, Split
from colink.domain.terms import Terms
from colink.domain.value import replace, value


@dataclass(frozen=True, kw_only=True)
class OrderAttributed(Event):
    TOPIC: ClassVar[str] = "order.attributed"
    attribution: Attribution

    def apply(self, aggregate: Order) -> None:
        aggregate.attribution = self.attribution
        aggregate.split_from = None


@dataclass(frozen=True, kw_only=True)
class OrderSplit(Event):
    """The order's money changed, or when it is due, or the terms: the whole new split. The split before is what was
    posted."""

    TOPIC: ClassVar[str] = "order.split"
    class_version: ClassVar[int] = 6
    omitted_ending: ClassVar[str] = ',"waits_for_seller":false,"held_lines":[]}}'
    terms: PinnedTerms
    split: Split

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["split"]["dispute_fee"] = 0  # disputes were not known yet

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        """No rule had tiers, nor counted by the day or month."""
        state["split"] |= {"revenues": [], "periods": []}

    @staticmethod
    def upcast_v3_v4(state: dict[str, Any]) -> None:
        """Nobody said which lines were held: all of them counted."""
        state["split"]["held_lines"] = None

    @staticmethod
    def upcast_v4_v5(state: dict[str, Any]) -> None:
        """Cuts came through to orders that were placed before them and split after them."""
        state["terms"]["keeps_rates"] = False

    @staticmethod
    def upcast_v5_v6(state: dict[str, Any]) -> None:
        """Whether it waited for its seller's money was not asked: it counted by the day and month before he paid."""
        state["split"]["waits_for_seller"] = None

    def apply(self, aggregate: Order) -> None:
        before, times = aggregate.split, None if clears_by_time(self.terms) else aggregate.change_times()
        aggregate.terms, aggregate.split, aggregate.split_from = self.terms, self.split, aggregate.merged
        aggregate.keeps_rates = self.terms.keeps_rates
        if self.split.periods:
            aggregate.counted_in = tuple(dict.fromkeys((*aggregate.counted_in, *self.split.counts_in)))
        if before is not None:
            aggregate.suspended = suspended_after(aggregate.suspended, before.claims, self.split.claims)
        if times is not None:
            aggregate.note_settlement(at=max(times.sale, times.refund))


@dataclass(frozen=True, kw_only=True)
class OrderCleared(Event):
    """What came due at `due_at` became available; `claims` are all claims afterwards."""

    TOPIC: ClassVar[str] = "order.cleared"
    due_at: datetime
    claims: tuple[Claim, ...]
    clears_at: datetime | None

    def apply(self, aggregate: Order) -> None:
        aggregate.has_cleared = True
        if aggregate.split is not None:
            aggregate.split = replace(aggregate.split, claims=self.claims, clears_at=self.clears_at)


@value
class Clearing:
    """What comes due at one time: the claims afterwards, the next time after it, and the journal that moves it."""

    due_at: datetime
    claims: tuple[Claim, ...]
    clears_at: datetime | None
    draft: Draft


@dataclass
class Order(Aggregate):
    """One order of one store. merged: what was delivered; split: what is posted (None: nothing yet); terms: those it
    was first split by.

    split_from: the deliveries that the split follows from, None where it was attributed anew or decided about since.
    suspended: what holds took of K. counted_in: the days and months that it counts in, or counted in once.
    settled_at: since when the seller, where he has to pay first, owes nothing of it.

    Effective times come from told_at and refunds_told_at: what the last delivery says of its own time (of facts: the
    latest of theirs), and the latest processing time of the refunds it brought (None: it says none).
    """

    TOPIC: ClassVar[str] = "order"

    organization_id: str
    store_id: str
    platform: Platform
    external_id: str
    merged: MergedOrder = field(default=MergedOrder(), init=False)
    attribution: Attribution | None = field(default=None, init=False)
    terms: PinnedTerms | None = field(default=None, init=False)
    split: Split | None = field(default=None, init=False)
    split_from: MergedOrder | None = field(default=None, init=False)
    has_cleared: bool = field(default=False, init=False)
    told_at: datetime | None = field(default=None, init=False)
    refunds_told_at: datetime | None = field(default=None, init=False)
    decisions: Decisions = field(default=NO_DECISIONS, init=False)
    set_by_hand: SetByHand | None = field(default=None, init=False)
    suspended: Suspended = field(default=NOTHING_SUSPENDED, init=False)
    counted_in: tuple[CountedIn, ...] = field(default=(), init=False)
    settled_at: datetime | None = field(default=None, init=False)
    keeps_rates: bool = field(default=True, init=False)

    @classmethod
    def place(
        cls,
        snapshot: OrderSnapshot,
        *,
        order_id: str,
        organization_id: str,
        store_id: str,
        platform: Platform,
        at: datetime,
    ) -> Order:
        return cls._create(
            OrderPlaced,
            id=order_id,
            timestamp=at,
            organization_id=organization_id,
            store_id=store_id,
            platform=platform,
            external_id=snapshot.external_id,
            snapshot=snapshot,
        )

    @classmethod
    def park_refund(
        cls,
        refund: Refund,
        *,
        order_id: str,
        organization_id: str,
        store_id: str,
        platform: Platform,
        external_id: str,
        at: datetime,
        body_digest: str | None = None,
    ) -> Order:
        return cls._create(
            OrderRefundParked,
            id=order_id,
            timestamp=at,
            organization_id=organization_id,
            store_id=store_id,
            platform=platform,
            external_id=external_id,
            refund=refund,
            body_digest=body_digest,
        )

    @classmethod
    def park_facts(
        cls,
        facts: OrderFacts,
        *,
        order_id: str,
        organization_id: str,
        store_id: str,
        platform: Platform,
        external_id: str,
        at: datetime,
        body_digest: str | None = None,
    ) -> Order:
        return cls._create(
            OrderFactsParked,
            id=order_id,
            timestamp=at,
            organization_id=organization_id,
            store_id=store_id,
            platform=platform,
            external_id=external_id,
            facts=facts,
            body_digest=body_digest,
        )

    def receive_snapshot(self, snapshot: OrderSnapshot, *, at: datetime) -> None:
        self._check_currency_stays(snapshot)
        if merge_snapshot(self.merged, snapshot) is not self.merged:
            self.trigger_event(OrderUpdated, snapshot=snapshot, timestamp=at)

    def receive_refund(self, refund: Refund, *, at: datetime, body_digest: str | None = None) -> None:
        if merge_refund(self.merged, refund) is not self.merged:
            self.trigger_event(OrderRefundRecorded, refund=refund, body_digest=body_digest, timestamp=at)

    def receive_facts(self, facts: OrderFacts, *, at: datetime, body_digest: str | None = None) -> None:
        if merge_facts(self.merged, facts) is not self.merged:
            self.trigger_event(OrderFactsRecorded, facts=facts, body_digest=body_digest, timestamp=at)

    def learn(self, facts: OrderFacts) -> None:
        """Take over facts (called by the events that tell them)."""
        self.told_at, self.refunds_told_at = latest_time(facts, before=self.merged.facts), None
        self.merged = merge_facts(self.merged, facts)

    def needs_attribution(self) -> bool:
        """Whether to decide (again): a first snapshot came, or before anything cleared one brought a new key or an
        earlier time of the order."""
        if self.merged.newest is None:
            return False
        if self.attribution is None:
            return True
        if self.has_cleared or self.set_by_hand is not None:
            return False
        return self.merged.keys != self.attribution.keys or self.merged.placed_at != self.attribution.placed_at

    def attribute(self, attribution: Attribution, *, at: datetime) -> None:
        self.trigger_event(OrderAttributed, attribution=attribution, timestamp=at)

    def resplit(self, terms: Terms, *, at: datetime) -> list[Draft]:
        """Recompute the money and record it where it changed; returns the journals that must be posted with it.

        `terms` are those known at the position the order has pinned, or today's where it has none.
        """
        basis = self._basis(terms)
        if basis is None or (self.split_from is not None and same_money(self.split_from, self.merged)):
            return []
        times = self.change_times()
        split = split_order(self.merged, basis, before=self.split, times=times)
        if split is None or self._stands(basis.pinned, split):
            return []
        drafts = journals_between(self.split, split, accounts=self.accounts(basis.pinned), times=times)
        self.trigger_event(OrderSplit, terms=basis.pinned, split=split, timestamp=at)
        return drafts

    def _stands(self, pinned: PinnedTerms, split: Split) -> bool:
        """Whether this was recorded last. The terms may change alone, where an order that comes to nothing is
        credited to another campaign: a period that it counts in is held as long as that says."""
        return self.split is not None and self.terms == pinned and self.split.says_the_same_as(split)

    def next_split(self, terms: Terms) -> Split | None:
        """The split that the deliveries so far amount to; None while nothing is paid or decided. Pure: an auditor
        derives each recorded split again with it."""
        basis = self._basis(terms)
        return split_order(self.merged, basis, before=self.split, times=self.change_times()) if basis else None

    def _basis(self, terms: Terms) -> Basis | None:
        """What to split by, None while nothing is paid or decided."""
        placed_at = self.merged.placed_at
        if self.merged.paid_at is None or self.attribution is None or placed_at is None:
            return None
        return Basis(
            organization_id=self.organization_id,
            store_id=self.store_id,
            placed_at=placed_at,
            attribution=self.attribution,
            pinned=self.pinned_terms(terms),
            terms=terms,
            revenues=self.split.revenues if self.split else (),
            decisions=self.decisions,
            suspended=self.suspended,
        )

    def pinned_terms(self, terms: Terms) -> PinnedTerms:
        if self.attribution is None:
            msg = "an order is attributed before it is split"
            raise ValueError(msg)
        return pin_terms(terms, store_id=self.store_id, attribution=self.attribution, keeps_rates=self.keeps_rates)

    def change_times(self) -> ChangeTimes:
        """Effective times of what the last delivery changed: of the first sale `paid_at`, of later changes the
        delivery's own time; of refunds the latest processing time newly told, else the delivery's."""
        paid_at = self.merged.paid_at
        if paid_at is None:
            msg = "nothing was paid yet"
            raise ValueError(msg)
        told_at = max(paid_at, self.told_at or paid_at)
        refunds_told_at = self.refunds_told_at
        if self.split is None and (self.merged.refunds or self.merged.facts.disputes):
            told = [refund.processed_at for refund in self.merged.refunds.values()]
            disputed_at = latest_time(OrderFacts(disputes=self.merged.facts.disputes))
            refunds_told_at = max(told if disputed_at is None else [*told, disputed_at])
        refunded_at = max(paid_at, refunds_told_at) if refunds_told_at else told_at
        if refunded_at < told_at and self.merged.everything_reversed:
            refunded_at = told_at
        return ChangeTimes(sale=paid_at if self.split is None else told_at, refund=refunded_at)

    def accounts(self, pinned: PinnedTerms) -> OrderAccounts:
        return OrderAccounts(
            organization_id=self.organization_id,
            store_id=self.store_id,
            platform=self.platform,
            settlement=pinned.settlement,
        )

    def next_clearing(self, *, as_before: bool = False) -> Clearing | None:
        """What comes due next, and the journal that moves it; None where nothing ever does. Pure. `as_before`: as
        older programs recorded it, who let a line that went and came back be paid for by what took its place."""
        if self.split is None or self.terms is None or self.split.clears_at is None:
            return None
        due_at = self.split.clears_at
        claims = tuple(clear_claim(claim, at=due_at) for claim in self.split.claims)
        if not as_before and not clears_by_time(self.terms):
            claims = no_more_than_owed(claims)
        moved = [
            after.since
            for before, after in zip(self.split.claims, claims, strict=True)
            if after.available > before.available and after.since is not None
        ]
        return Clearing(
            due_at=due_at,
            claims=claims,
            clears_at=next_clearing(claims, clears=True),
            draft=clearing_journal(
                self.split.claims,
                claims,
                currency=self.split.currency,
                accounts=self.accounts(self.terms),
                effective_at=max([due_at, *moved, *([self.settled_at] if self.settled_at else [])]),
            ),
        )

    def clear(self, *, at: datetime) -> Draft | None:
        """Clear what comes due next, if it is due by `at`; returns the journal that must be posted with it."""
        clearing = self.next_clearing()
        if clearing is None or clearing.due_at > at:
            return None
        self.trigger_event(
            OrderCleared,
            due_at=clearing.due_at,
            claims=clearing.claims,
            clears_at=clearing.clears_at,
            timestamp=at,
        )
        return clearing.draft

    @property
    def receivable(self) -> int:
        """What its seller, who collects the money himself, owes for it in all; 0 where we collect it."""
        if self.split is None or self.terms is None or self.terms.settlement is Settlement.PLATFORM_COLLECTED:
            return 0
        return self.split.receivable

    @property
    def unsettled(self) -> int:
        """What of the receivable is not paid yet; below zero where more was paid than is owed since a refund."""
        return self.receivable - self.decisions.settled

    def settle(self, amount: int, *, account_id: str, number: int, at: datetime, as_before: bool = False) -> None:
        """Take over that the seller paid `amount` of it, or is given back all that was paid too much (below zero).
        Raises OverSettled for more than is owed, or for giving back anything else. `as_before`: as older programs
        recorded it."""
        unsettled = self.unsettled
        if self.split is None or self.terms is None or not (0 < amount <= unsettled or amount == unsettled < 0):
            msg = f"{unsettled} is owed for {self.id} (minor units): {amount} of it cannot be settled"
            raise OverSettled(msg)
        settled, claims = self.decisions.settled + amount, self.split.claims
        clears = may_clear(self.terms, self.split, settled=settled)
        forfeits = None if as_before else amount < 0 and not clears_by_time(self.terms)
        if forfeits:  # the money that it cleared with is for others now
            claims = no_more_than_owed(claims)
        self.trigger_event(
            OrderSettled,
            account_id=account_id,
            number=number,
            amount=amount,
            settled=settled,
            claims=claims,
            clears_at=next_clearing(claims, clears=clears),
            forfeits_cleared=forfeits,
            timestamp=at,
        )
        self._note_waiting(waits=not clears, at=at)

    @property
    def returnable(self) -> int:
        """What may be taken back of what was paid for it, where the payment is returned: as long as something of it
        has still to clear, all but what has. What has cleared stays, and so does what paid for it."""
        claims = self.split.claims if self.split is not None else ()
        if not any(claim.pending > 0 for claim in claims):
            return 0
        return max(self.decisions.settled - sum([max(claim.available, 0) for claim in claims]), 0)

    def take_back(self, amount: int, *, account_id: str, number: int, at: datetime, as_before: bool = False) -> None:
        """Take over that `amount` of what was paid for it was returned: what is left clears only once that is paid
        again, unless creators are paid in advance. Raises OverSettled for more than may be taken back. `as_before`:
        as older programs recorded it, who took back all of an order of which something had still to clear."""
        most = self.decisions.settled if as_before else self.returnable
        if self.split is None or self.terms is None or not 0 < amount <= most:
            msg = f"{most} of {self.id} may be taken back (minor units), not {amount}"
            raise OverSettled(msg)
        settled = self.decisions.settled - amount
        clears = may_clear(self.terms, self.split, settled=settled)
        self.trigger_event(
            OrderSettlementTakenBack,
            account_id=account_id,
            number=number,
            amount=amount,
            settled=settled,
            claims=self.split.claims,
            clears_at=next_clearing(self.split.claims, clears=clears),
            forfeits_suspended=None if as_before else not clears and bool(self.suspended.cleared),
            timestamp=at,
        )
        self._note_waiting(waits=not clears, at=at)

    def _note_waiting(self, *, waits: bool, at: datetime) -> None:
        """Say in the split whether it counts by the day and month from now on: no money of its own moves."""
        split, terms = self.split, self.terms
        if split is None or terms is None or not split.periods:
            return
        if split.waits_for_seller is (not waits):  # None: it was never said, and is no change by itself
            self.trigger_event(OrderSplit, terms=terms, split=replace(split, waits_for_seller=waits), timestamp=at)

    def note_decision(self, decisions: Decisions, *, at: datetime) -> None:
        """People decided something, at that time (called by the events)."""
        self.decisions, self.split_from = decisions, None
        self.told_at, self.refunds_told_at = at, None

    def note_settlement(self, *, at: datetime) -> None:
        """Something was paid of the receivable, or it changed (called by the events)."""
        if self.terms is None or clears_by_time(self.terms):
            return
        if self.unsettled > 0:
            self.settled_at = None
        elif self.settled_at is None:
            self.settled_at = at

    def _check_currency_stays(self, snapshot: OrderSnapshot) -> None:
        known = self.merged.newest
        if known is not None and known.currency != snapshot.currency:
            msg = f"the order is in {known.currency}; a delivery in {snapshot.currency} cannot be about it"
            raise InvalidInput(msg, field="currency")

    def note_times(self, *, updated_at: datetime | None, refunds_before: Mapping[str, Refund]) -> None:
        """Remember when the news of the last delivery happened (called by the events)."""
        self.told_at = updated_at
        self.refunds_told_at = None
        if self.merged.refunds is not refunds_before:
            processed = [
                refund.processed_at
                for refund_id, refund in self.merged.refunds.items()
                if refunds_before.get(refund_id) != refund
            ]
            self.refunds_told_at = max(processed, default=None)
