"""Settlements: a provider pays out what a store collected, and says what it kept. Semantics section 6.

A settlement of K with the real fee y moves K out of the store's clearing account: K - y to the provider's cash, y off
the payment fees that were withheld. What its statement says of single orders becomes a fact of each (`facts.py`), so
that the order posts the difference to the fee that was known until then. Both follow from the event alone.

Nobody gives back a fee that no statement took: the command asks before it records, and an auditor asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created
from colink.domain.errors import InvalidInput
from colink.domain.facts import FeeKind, OrderFacts, StatedFee, name_no_dispute, stated_by_dispute
from colink.domain.ids import natural_id
from colink.domain.ledger import (
    Journal,
    JournalKind,
    Posting,
    Purpose,
    processor_cash,
    processor_fees,
    store_clearing,
)
from colink.domain.organizations import Platform

SETTLEMENT_ID = "stl"  # the prefix of their ids


@dataclass(frozen=True, kw_only=True)
class SettledFee:
    """A fee of one order as the statement shows it, in minor units; below zero: given back. `dispute_id`: the
    platform's id of the dispute that a fee of that kind is for, where the statement names it."""

    order_external_id: str
    kind: FeeKind
    amount: int
    dispute_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class SettlementDetails:
    """`reference`: the provider's own, unique in its store. `gross` is K, `fee` y, in minor units; K is below zero
    where more went back to buyers than came in. `received_by`: the provider or bank that holds the money now. `fees`:
    those of single orders, as far as they are told; at most one of a kind and dispute for each."""

    id: str
    organization_id: str
    store_id: str
    platform: Platform
    reference: str
    received_by: str
    currency: str
    gross: int
    fee: int
    settled_at: datetime
    fees: tuple[SettledFee, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SettlementRecorded(Created):
    TOPIC: ClassVar[str] = "settlement.recorded"
    class_version: ClassVar[int] = 2
    details: SettlementDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        name_no_dispute(state["details"]["fees"])


class StoreSettlement(Aggregate):
    """One settlement, recorded once."""

    TOPIC: ClassVar[str] = "settlement"
    details: SettlementDetails

    @classmethod
    def record(cls, details: SettlementDetails, *, at: datetime) -> StoreSettlement:
        return cls._create(SettlementRecorded, id=details.id, timestamp=at, details=details)


def settlement_id(store_id: str, reference: str) -> str:
    """The same reference twice is one settlement."""
    return natural_id(SETTLEMENT_ID, store_id, reference)


def check_gives_back_no_more_than_was_taken(
    settlement: SettlementDetails, stated: Mapping[str, Iterable[StatedFee]]
) -> None:
    """A fee below zero gives back what statements before it took of that order (`stated`, by the platform's id of
    it); where it names a dispute, what they took for it or named none for. More would be money from nowhere, in the
    seller's hands without a second person (a dispute's at once). Raises InvalidInput naming the fee."""
    shown: dict[tuple[str, FeeKind], dict[str | None, int]] = {}
    for number, fee in enumerate(settlement.fees):
        if fee.amount >= 0:
            continue
        of_order = (fee.order_external_id, fee.kind)
        if of_order not in shown:
            known = stated.get(fee.order_external_id, ())
            shown[of_order] = stated_by_dispute(known, fee.kind, settlement.currency)
        taken = shown[of_order]
        left = sum(taken.values())
        if fee.dispute_id is not None:
            # What more was given back of other disputes than was taken for them came from what named none.
            unnamed = sum(amount for id_, amount in taken.items() if id_ is None or amount < 0)
            left = min(left, max(taken.get(fee.dispute_id, 0), 0) + unnamed)
        if left + fee.amount < 0:
            of_what = "" if fee.dispute_id is None else f" and dispute {fee.dispute_id}"
            msg = (
                f"statements show {max(left, 0)} {settlement.currency} (minor units) of {fee.kind} fees of order "
                f"{fee.order_external_id}{of_what}: {-fee.amount} of it cannot be given back. Record the "
                "settlement that took it first; of a fee that no statement showed, state what is left of it"
            )
            raise InvalidInput(msg, field=f"fees.{number}.amount")
        taken[fee.dispute_id] = taken.get(fee.dispute_id, 0) + fee.amount


def facts_of(settlement: SettlementDetails) -> Mapping[str, OrderFacts]:
    """What the statement says of each order, by the platform's id of it."""
    facts: dict[str, OrderFacts] = {}
    for fee in settlement.fees:
        stated = StatedFee(
            reference=settlement.id,
            kind=fee.kind,
            amount=fee.amount,
            currency=settlement.currency,
            at=settlement.settled_at,
            dispute_id=fee.dispute_id,
        )
        known = facts.get(fee.order_external_id, OrderFacts())
        facts[fee.order_external_id] = OrderFacts(fees=(*known.fees, stated))
    return facts


def journal_of(event: SettlementRecorded) -> Journal:
    details = event.details
    legs = (
        (processor_cash(details.received_by), details.fee - details.gross, Purpose.SETTLEMENT),
        (processor_fees(details.platform), -details.fee, Purpose.PAYMENT_FEE),
        (store_clearing(details.store_id), details.gross, Purpose.SETTLEMENT),
    )
    return Journal.post(
        journal_id=f"jrn_{details.id}.settled",
        kind=JournalKind.SETTLEMENT,
        effective_at=details.settled_at,
        postings=tuple(
            Posting(account=account, amount=amount, currency=details.currency, purpose=purpose)
            for account, amount, purpose in legs
            if amount
        ),
        at=event.timestamp,
        organization_id=details.organization_id,
        cause_id=details.id,
    )
