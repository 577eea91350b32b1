"""Record what a provider settled: its journal, and the fee of each order its statement names, in one append."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from colink.application.configure.checks import check_range, check_text
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.record_order import StandaloneFacts, order_events, receive
from colink.application.representations import shown
from colink.domain.aggregates import Event
from colink.domain.errors import Conflict, InvalidInput
from colink.domain.facts import FeeKind, OrderFacts, StatedFee
from colink.domain.ids import order_id
from colink.domain.money import MAX_AMOUNT, currency_exponent
from colink.domain.orders import Order
from colink.domain.organizations import Settlement, StoreDetails
from colink.domain.settlements import (
    SettledFee,
    SettlementDetails,
    SettlementRecorded,
    StoreSettlement,
    check_gives_back_no_more_than_was_taken,
    facts_of,
    journal_of,
    settlement_id,
)

MOST_FEES = 500
_HOLDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # part of an account's name


@dataclass(frozen=True, kw_only=True)
class RecordSettlement(Request):
    """The same reference of a store is one settlement: the same again changes nothing, another one is a Conflict.
    Amounts are minor units; no fee of an order may come to less than nothing, nor payment fees of single orders to
    more than a `fee` above zero. `received_by`: who holds the money now, the store's platform where nobody is named.
    """

    store: StoreDetails
    reference: str
    currency: str
    gross: int
    fee: int
    settled_at: datetime
    received_by: str | None = None
    fees: tuple[SettledFee, ...] = ()

    @property
    def id(self) -> str:
        return settlement_id(self.store.id, self.reference)

    def needs(self) -> Needs:
        orders = dict.fromkeys(order_id(self.store.id, fee.order_external_id) for fee in self.fees)
        return Needs(streams=(self.id, *orders), terms_of=self.store.organization_id)

    def decide(self, facts: Facts) -> Decision:
        details = self._checked(facts.now)
        known = facts.aggregate(StoreSettlement, self.id)
        if known is not None and known.details != details:
            msg = (
                f"{known.id} is recorded already, and it says something else: look at it, and give what is new a"
                " reference of its own"
            )
            raise Conflict(msg, field="reference")
        events: list[Event] = []
        if known is None:
            recorded = StoreSettlement.record(details, at=facts.now).new_events()
            events += recorded
            events += [
                event
                for each in recorded
                if isinstance(each, SettlementRecorded)
                for event in journal_of(each).new_events()
            ]
            self._check_fees_are_of_the_whole()
            check_gives_back_no_more_than_was_taken(details, self._stated_before(facts))
            for external_id, stated in facts_of(details).items():
                events += self._tell(external_id, stated, facts)
        return Decision(answer=shown(details), events=events, organization_id=self.store.organization_id)

    def _tell(self, external_id: str, stated: OrderFacts, facts: Facts) -> list[Event]:
        """The events of one order. One that is split already goes on by the terms it pinned; another is not paid, and
        waits."""
        news = StandaloneFacts(order_external_id=external_id, facts=stated)
        known = facts.aggregate(Order, order_id(self.store.id, external_id))
        order = receive(news, known, store=self.store, at=facts.now)
        today = facts.terms()
        drafts = order.resplit(today.known_at(order.terms.position), at=facts.now) if order.terms else []
        return order_events(order, drafts, at=facts.now)

    def _checked(self, now: datetime) -> SettlementDetails:
        store = self.store
        if store.settlement is not Settlement.PLATFORM_COLLECTED:
            msg = f"the money of a {store.settlement} store is never settled to us"
            raise InvalidInput(msg, field="store_id")
        received_by = self.received_by or store.platform.value
        if not _HOLDER.fullmatch(received_by):
            msg = "received_by must be a name of small letters, digits, - and _, such as maybank"
            raise InvalidInput(msg, field="received_by")
        if self.settled_at > now:
            msg = "settled_at lies in the future"
            raise InvalidInput(msg, field="settled_at")
        currency_exponent(self.currency)
        check_range(self.gross, field="gross", least=-MAX_AMOUNT, most=MAX_AMOUNT)
        check_range(self.fee, field="fee", least=-MAX_AMOUNT, most=MAX_AMOUNT)
        if self.gross == self.fee == 0:
            msg = "a settlement of nothing moves nothing"
            raise InvalidInput(msg, field="gross")
        return SettlementDetails(
            id=self.id,
            organization_id=store.organization_id,
            store_id=store.id,
            platform=store.platform,
            reference=check_text(self.reference, field="reference"),
            received_by=received_by,
            currency=self.currency,
            gross=self.gross,
            fee=self.fee,
            settled_at=self.settled_at,
            fees=self._checked_fees(),
        )

    def _check_fees_are_of_the_whole(self) -> None:
        """Of a fee that was kept, payment fees of single orders are parts: with what is given back (below zero) they
        come to no more. They may come to less: others are not named. A fee of disputes is none of it: it came off
        `gross`, as the order's own posting says. What was given back as a whole says nothing of its parts."""
        named = sum(each.amount for each in self.fees if each.kind is FeeKind.PAYMENT)
        if 0 < self.fee < named:
            msg = (
                f"the payment fees of single orders come to {named} {self.currency} (minor units), more than the fee "
                f"of the settlement, {self.fee}: name what was given back, too (below zero), or correct an amount"
            )
            raise InvalidInput(msg, field="fees")

    def _stated_before(self, facts: Facts) -> dict[str, tuple[StatedFee, ...]]:
        """What statements showed until now of each order that is named."""
        orders = {
            fee.order_external_id: facts.aggregate(Order, order_id(self.store.id, fee.order_external_id))
            for fee in self.fees
        }
        return {external_id: order.merged.facts.fees for external_id, order in orders.items() if order is not None}

    def _checked_fees(self) -> tuple[SettledFee, ...]:
        if len(self.fees) > MOST_FEES:
            msg = f"a settlement names at most {MOST_FEES} fees of orders"
            raise InvalidInput(msg, field="fees")
        seen: set[tuple[str, str, str | None]] = set()
        for number, fee in enumerate(self.fees):
            check_text(fee.order_external_id, field=f"fees.{number}.order_external_id", longest=64)
            check_range(fee.amount, field=f"fees.{number}.amount", least=-MAX_AMOUNT, most=MAX_AMOUNT)
            if fee.dispute_id is not None:
                check_text(fee.dispute_id, field=f"fees.{number}.dispute_id", longest=64)
                if fee.kind is not FeeKind.DISPUTE:
                    msg = "only a fee of kind dispute is for a dispute"
                    raise InvalidInput(msg, field=f"fees.{number}.dispute_id")
            key = (fee.order_external_id, fee.kind.value, fee.dispute_id)
            if key in seen:
                msg = f"order {fee.order_external_id} has such a {fee.kind} fee already: add them up"
                raise InvalidInput(msg, field=f"fees.{number}.order_external_id")
            seen.add(key)
        return self.fees
