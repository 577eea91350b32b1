"""Facts about an order that are told beside its snapshots and refunds, and what they say together. Semantics 2, 5.

Disputes of the buyer, payments by gift card, and fees that a provider's statement shows. Each is kept as it was told;
the join of two collections is their union, so it is commutative, associative and idempotent. What the facts of one
dispute or transaction amount to follows from a stated order of their versions, never from which came first.

Nothing here knows the order: amounts are compared with it in `refunds.py` and `revenue.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from colink.domain.money import minor_units
from colink.domain.snapshots import TransactionStatus
from colink.domain.value import value

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_TRANSACTION_RANK = {status: rank for rank, status in enumerate(TransactionStatus)}


class DisputeKind(StrEnum):
    """In order of rank: an inquiry may turn into a chargeback, never back."""

    INQUIRY = "inquiry"
    CHARGEBACK = "chargeback"


class DisputeStatus(StrEnum):
    """In order of rank: of two tellings of one dispute and kind, the later in this list is the newer."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    PREVENTED = "prevented"
    CHARGE_REFUNDED = "charge_refunded"
    ACCEPTED = "accepted"
    LOST = "lost"
    WON = "won"


_KIND_RANK = {kind: rank for rank, kind in enumerate(DisputeKind)}
_STATUS_RANK = {status: rank for rank, status in enumerate(DisputeStatus)}
_OPEN = frozenset({DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW})
_GIVEN_UP = frozenset({DisputeStatus.ACCEPTED, DisputeStatus.LOST})


@value
class Dispute:
    """A dispute as one delivery tells it. It may come before its order, so amounts are major units.

    withdrawn_at: when the provider took the disputed money back, None while it has not; closed_at: when the dispute
    ended; fee: what the provider charges for it, None where the delivery does not tell; currency: where it is told.
    """

    dispute_id: str
    kind: DisputeKind
    status: DisputeStatus
    amount: Decimal
    initiated_at: datetime
    withdrawn_at: datetime | None = None
    closed_at: datetime | None = None
    fee: Decimal | None = None
    currency: str | None = None


@value
class Tender:
    """A payment with a gift card, which is no money: the card was, when it was sold. Major units, above zero."""

    transaction_id: str
    amount: Decimal
    status: TransactionStatus
    processed_at: datetime
    currency: str | None = None


class FeeKind(StrEnum):
    PAYMENT = "payment"
    DISPUTE = "dispute"


@value
class StatedFee:
    """A fee of one order as a provider's statement shows it, in minor units; below zero: given back. `reference`
    names the statement and its line: of each, one fact. `dispute_id`: the dispute that a fee of that kind is for,
    where the statement names it."""

    reference: str
    kind: FeeKind
    amount: int
    currency: str
    at: datetime
    dispute_id: str | None = None


def name_no_dispute(fees: list[dict[str, Any]]) -> None:
    """Of stored fees from when statements could not name the dispute."""
    for fee in fees:
        fee["dispute_id"] = None


@value
class OrderFacts:
    """All that was told, each thing once, in a stable order."""

    disputes: tuple[Dispute, ...] = ()
    tenders: tuple[Tender, ...] = ()
    fees: tuple[StatedFee, ...] = ()


NO_FACTS = OrderFacts()


def join_facts(known: OrderFacts, told: OrderFacts) -> OrderFacts:
    """The union; `known` itself where nothing new is told."""
    if told is known or told == NO_FACTS:
        return known
    joined = OrderFacts(
        disputes=tuple(sorted({*known.disputes, *told.disputes}, key=_dispute_version)),
        tenders=tuple(sorted({*known.tenders, *told.tenders}, key=_tender_version)),
        fees=tuple(sorted({*known.fees, *told.fees}, key=_fee_version)),
    )
    return known if joined == known else joined


def _dispute_version(dispute: Dispute) -> tuple[object, ...]:
    """The order in which one dispute is told; of what differs in nothing that tells when, the larger is the newer."""
    return (
        dispute.dispute_id,
        _KIND_RANK[dispute.kind],
        _STATUS_RANK[dispute.status],
        dispute.closed_at or _LONG_AGO,
        dispute.withdrawn_at or _LONG_AGO,
        dispute.initiated_at,
        dispute.amount,
        dispute.fee is not None,
        dispute.fee or Decimal(0),
        dispute.currency or "",
    )


def _tender_version(tender: Tender) -> tuple[object, ...]:
    """As of a refund's transaction: an amount in the shop's own money (no currency told) beats one in another."""
    status, currency = _TRANSACTION_RANK[tender.status], tender.currency
    return (tender.transaction_id, status, currency is None, tender.amount, currency or "", tender.processed_at)


def _fee_version(fee: StatedFee) -> tuple[object, ...]:
    return (fee.reference, fee.kind, fee.at, fee.amount, fee.currency, fee.dispute_id or "")


class Stage(StrEnum):
    """What a dispute means for the money of its order."""

    HOLDS = "holds"
    """Open, the money still with us: an inquiry, or a chargeback before the withdrawal."""
    COUNTS = "counts"
    """Withdrawn, and open or lost: one more refund."""
    OVER = "over"


@value
class DisputeState:
    """A dispute as it stood at one time. since: when the funds were withdrawn, or when it was opened."""

    dispute_id: str
    kind: DisputeKind
    status: DisputeStatus
    stage: Stage
    amount: Decimal
    opened_at: datetime
    since: datetime
    fee: Decimal | None
    currency: str | None


def dispute_steps(disputes: Sequence[Dispute]) -> list[tuple[datetime, DisputeState]]:
    """What the tellings of one or more disputes (in their stable order) say together: each step of each dispute with
    the time it was taken. The newest telling gives kind, status, amount and end; the times of opening and withdrawal
    are the smallest told; the fee is that of the newest which tells one."""
    steps: list[tuple[datetime, DisputeState]] = []
    for told in _by_dispute(disputes).values():
        newest = told[-1]
        opened_at = min([each.initiated_at for each in told])
        withdrawn_at = min([each.withdrawn_at for each in told if each.withdrawn_at is not None], default=None)
        fee = next((each.fee for each in reversed(told) if each.fee is not None), None)

        def state(
            stage: Stage,
            status: DisputeStatus,
            since: datetime,
            *,
            newest: Dispute = newest,
            opened_at: datetime = opened_at,
            fee: Decimal | None = fee,
        ) -> DisputeState:
            return DisputeState(
                dispute_id=newest.dispute_id,
                kind=newest.kind,
                status=status,
                stage=stage,
                amount=newest.amount,
                opened_at=opened_at,
                since=since,
                fee=fee,
                currency=newest.currency,
            )

        still_open = newest.status in _OPEN
        while_open = newest.status if still_open else DisputeStatus.NEEDS_RESPONSE
        if withdrawn_at is None or withdrawn_at > opened_at:
            steps.append((opened_at, state(Stage.HOLDS, while_open, opened_at)))
        if withdrawn_at is not None:
            steps.append((withdrawn_at, state(Stage.COUNTS, while_open, withdrawn_at)))
        if not still_open:
            last_at, last = steps[-1]
            lost = withdrawn_at is not None and newest.status in _GIVEN_UP
            ended_at = max(last_at, newest.closed_at or last_at)
            steps.append((ended_at, state(Stage.COUNTS if lost else Stage.OVER, newest.status, last.since)))
    return steps


def disputes_now(facts: OrderFacts) -> list[DisputeState]:
    """Each dispute as it stands after all that was told."""
    return list({state.dispute_id: state for _, state in dispute_steps(facts.disputes)}.values())


def _by_dispute(disputes: Sequence[Dispute]) -> Mapping[str, list[Dispute]]:
    told: dict[str, list[Dispute]] = defaultdict(list)
    for dispute in disputes:
        told[dispute.dispute_id].append(dispute)
    return told


def gift_card_tender(facts: OrderFacts, currency: str) -> int:
    """Minor units that gift cards paid; what is told in another currency has no exact amount in ours."""
    newest = {tender.transaction_id: tender for tender in facts.tenders}
    return sum(
        [
            minor_units(tender.amount, currency)
            for tender in newest.values()
            if tender.status is TransactionStatus.SUCCESS and tender.currency in (None, currency)
        ]
    )


def unbooked(facts: OrderFacts, currency: str) -> list[str]:
    """What was told in another currency than the order's and so has no exact amount in it; it moves no money."""
    foreign = [
        f"gift-card payment {each.transaction_id} is in {each.currency}"
        for each in facts.tenders
        if each.currency not in (None, currency)
    ]
    foreign += [
        f"the {each.kind} fee of {each.reference} is in {each.currency}"
        for each in facts.fees
        if each.currency != currency
    ]
    return [f"{each}, the order in {currency}" for each in dict.fromkeys(foreign)]


def stated_fee(fees: Iterable[StatedFee], kind: FeeKind, currency: str) -> int | None:
    """The fees of a kind that statements show, together; None where none does."""
    stated = [fee.amount for fee in fees if fee.kind is kind and fee.currency == currency]
    return sum(stated) if stated else None


def stated_by_dispute(fees: Iterable[StatedFee], kind: FeeKind, currency: str) -> dict[str | None, int]:
    """The fees of a kind that statements show, by the dispute they name; None: those that name none."""
    sums: dict[str | None, int] = defaultdict(int)
    for fee in fees:
        if fee.kind is kind and fee.currency == currency:
            sums[fee.dispute_id] += fee.amount
    return sums


def dispute_fees(fees: Iterable[StatedFee], disputes: Iterable[DisputeState], currency: str) -> int:
    """What an order's disputes cost: what statements show, and the fees that disputes tell of themselves and no
    statement tells of. A fee that names its dispute stands for that one's; one that names none for those that were
    opened by its time, at least for the first of the order (decision 20)."""
    stated = [fee for fee in fees if fee.kind is FeeKind.DISPUTE and fee.currency == currency]
    named = {fee.dispute_id for fee in stated}
    # What gives a fee back tells of no dispute beyond those whose fee was taken.
    reach = max([fee.at for fee in stated if fee.dispute_id is None and fee.amount >= 0], default=None)
    by_opening = sorted(disputes, key=lambda each: (each.opened_at, each.dispute_id))
    others = [
        each
        for number, each in enumerate(by_opening)
        if each.dispute_id not in named and (reach is None or (each.opened_at > reach and number > 0))
    ]
    told = [each.fee for each in others if each.fee is not None and each.currency in (None, currency)]
    return sum([fee.amount for fee in stated]) + sum([minor_units(fee, currency) for fee in told])


def latest_time(facts: OrderFacts, *, before: OrderFacts = NO_FACTS) -> datetime | None:
    """When the newest of the facts happened that `before` does not know; None where there are none."""
    times = [fee.at for fee in facts.fees if fee not in before.fees]
    times += [tender.processed_at for tender in facts.tenders if tender not in before.tenders]
    times += [
        max(dispute.initiated_at, dispute.withdrawn_at or _LONG_AGO, dispute.closed_at or _LONG_AGO)
        for dispute in facts.disputes
        if dispute not in before.disputes
    ]
    return max(times, default=None)
