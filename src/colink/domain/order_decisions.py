"""What people decide about an order, beside what its store tells of it. Semantics sections 2, 3, 4 and 6.

    hold / release     -> what of it may not clear, and what may again
    reattribute        -> who is credited, set by hand while nothing of it has cleared
    settle / take back -> what its seller has paid of it (seller_collected stores, `seller_accounts.py`)

Each is an event of the order's stream with its actor and reason. Its effect on the money is read by `claims.py` and
`revenue.py` from `Decisions`; this module moves no money itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from colink.domain.aggregates import Event
from colink.domain.attribution import Attribution, Outcome
from colink.domain.errors import Conflict
from colink.domain.merge import history
from colink.domain.refunds import cash_by_refund
from colink.domain.split import Claim, ClaimKey
from colink.domain.value import replace, value

if TYPE_CHECKING:
    from colink.domain.orders import Order


class NothingHeld(Conflict):
    slug, title = "nothing-held", "Nothing is held that could be released"


class OrderHasCleared(Conflict):
    slug, title = "order-has-cleared", "Something of the order has cleared: who is credited stays"


class OverSettled(Conflict):
    slug, title = "over-settled", "More would be settled of an order than its seller owes for it, or taken back"


class HoldKind(StrEnum):
    """Why something of an order may not clear, where people can end it."""

    REVIEW = "review"  # finance held it, say for fraud
    OWN_LINK = "own_link"  # a creator bought through their own link
    OWED_TO_BUYER = "owed_to_buyer"  # of the pass-through what the buyer has not got back


@value
class Hold:
    """A review by finance: what it covers may not clear. `payee_id` None: of all payees; `line_id` None: of all lines
    and the pass-through."""

    payee_id: str | None
    line_id: str | None
    reason: str
    by: str
    since: datetime

    def covers(self, key: ClaimKey) -> bool:
        line_id, payee_id = key
        return self.payee_id in (None, payee_id) and self.line_id in (None, line_id)

    def is_of(self, *, payee_id: str | None, line_id: str | None) -> bool:
        return (self.payee_id, self.line_id) == (payee_id, line_id)


@value
class SetByHand:
    """Who is credited was set by hand. `former`: what touches and coupons had decided."""

    former: Attribution
    reason: str
    by: str
    at: datetime


@value
class Released:
    """The last release of money owed to the buyer. `amount`: all that was owed when it was released, at `at` (no
    earlier than what was known of the order by then); `cash`: what each refund known then had given back."""

    amount: int
    at: datetime
    cash: Mapping[str, int]

    def left(self, cash: Mapping[str, int]) -> int:
        """What it still covers once refunds have given back so much. Money that goes back for a refund known then is
        the money that was released, whenever it is told; of a refund not known then nothing was released."""
        since = [max(cash.get(refund_id, 0) - before, 0) for refund_id, before in self.cash.items()]
        return max(self.amount - sum(since), 0)


@value
class Decisions:
    """All that was decided about an order so far. Amounts in minor units of its currency.

    own_link_of: the creator whose own purchase was released. release: the last one of money owed to the buyer;
    released: by those that an older program recorded, for ever. settled: what the seller has paid of the receivable.
    """

    holds: tuple[Hold, ...] = ()
    own_link_of: str | None = None
    release: Released | None = None
    released: int = 0
    settled: int = 0

    def hold(self, key: ClaimKey) -> bool:
        """Whether a review covers the claim."""
        return any(hold.covers(key) for hold in self.holds)


NO_DECISIONS = Decisions()


@dataclass(frozen=True, kw_only=True)
class OrderDecided(Event):
    """What every decision about an order says."""

    by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class OrderHeld(OrderDecided):
    """Finance reviews the order, or what one payee or one line has of it."""

    TOPIC: ClassVar[str] = "order.held"
    payee_id: str | None
    line_id: str | None

    def apply(self, aggregate: Order) -> None:
        hold = Hold(
            payee_id=self.payee_id, line_id=self.line_id, reason=self.reason, by=self.by, since=self.timestamp
        )
        decisions = aggregate.decisions
        aggregate.note_decision(replace(decisions, holds=(*decisions.holds, hold)), at=self.timestamp)


@dataclass(frozen=True, kw_only=True)
class OrderReleased(OrderDecided):
    """A hold ended. `payee_id` and `line_id` are those of the review; of an own link `payee_id` is the creator.
    `amount`: what was held of the pass-through as the buyer was owed it, 0 for other kinds; `owed`: all that he was
    owed, with what was released before. None for other kinds, and where an older program recorded it."""

    TOPIC: ClassVar[str] = "order.released"
    class_version: ClassVar[int] = 2
    omitted_when_none: ClassVar[tuple[str, ...]] = ("owed",)
    kind: HoldKind
    payee_id: str | None
    line_id: str | None
    amount: int
    owed: int | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """What was owed in all was not recorded: None, and its amount counts for ever, as it did."""

    def apply(self, aggregate: Order) -> None:
        decisions = aggregate.decisions
        match self.kind:
            case HoldKind.REVIEW:
                kept = tuple(
                    hold for hold in decisions.holds if not hold.is_of(payee_id=self.payee_id, line_id=self.line_id)
                )
                after = replace(decisions, holds=kept)
            case HoldKind.OWN_LINK:
                after = replace(decisions, own_link_of=self.payee_id)
            case HoldKind.OWED_TO_BUYER if self.owed is not None:
                release = released_of(aggregate, self.owed, at=self.timestamp)
                after = replace(decisions, release=release, released=0)
            case HoldKind.OWED_TO_BUYER:
                after = replace(decisions, released=decisions.released + self.amount)
        aggregate.note_decision(after, at=self.timestamp)


@dataclass(frozen=True, kw_only=True)
class OrderReattributed(OrderDecided):
    """Finance says who is credited; no later delivery overturns it. `former_creator_id`: who was before."""

    TOPIC: ClassVar[str] = "order.reattributed"
    creator_id: str | None
    campaign_id: str | None
    former_creator_id: str | None

    def apply(self, aggregate: Order) -> None:
        attribution, by_hand = aggregate.attribution, aggregate.set_by_hand
        if attribution is None:
            msg = "an order is attributed before it is attributed anew"
            raise ValueError(msg)
        former = attribution if by_hand is None else by_hand.former
        aggregate.set_by_hand = SetByHand(former=former, reason=self.reason, by=self.by, at=self.timestamp)
        aggregate.attribution = attributed_by_hand(former, creator_id=self.creator_id, campaign_id=self.campaign_id)
        aggregate.note_decision(aggregate.decisions, at=self.timestamp)


@dataclass(frozen=True, kw_only=True)
class OrderSettled(Event):
    """The seller's account `account_id` paid `amount` of the order's receivable in its `number`th allocation, or took
    back what was paid too much (below zero). `settled`: paid in all; `claims` and `clears_at` as in OrderCleared.
    `forfeits_cleared`: what had cleared and is not owed any more has to be paid for, and to clear, if it is owed
    again."""

    TOPIC: ClassVar[str] = "order.settled"
    class_version: ClassVar[int] = 2
    account_id: str
    number: int
    amount: int
    settled: int
    claims: tuple[Claim, ...]
    clears_at: datetime | None
    forfeits_cleared: bool | None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """What had cleared once was available again when it was owed again, paid for or not."""
        state["forfeits_cleared"] = None

    def apply(self, aggregate: Order) -> None:
        aggregate.decisions = replace(aggregate.decisions, settled=self.settled)
        if aggregate.split is not None:
            aggregate.split = replace(aggregate.split, claims=self.claims, clears_at=self.clears_at)
        if self.forfeits_cleared:
            aggregate.suspended = aggregate.suspended.limited(self.claims)
        aggregate.note_settlement(at=self.timestamp)


@dataclass(frozen=True, kw_only=True)
class OrderSettlementTakenBack(Event):
    """What the seller had paid of it was returned: the account took back `amount` in its `number`th allocation.
    `forfeits_suspended`: what holds took of K waits for the seller's money as the rest does, and is not given back
    when they end; None: of before, when all that was settled was taken back. Other fields as in OrderSettled."""

    TOPIC: ClassVar[str] = "order.settlement_taken_back"
    class_version: ClassVar[int] = 2
    account_id: str
    number: int
    amount: int
    settled: int
    claims: tuple[Claim, ...]
    clears_at: datetime | None
    forfeits_suspended: bool | None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """The end of a hold gave back what had cleared, paid for or not."""
        state["forfeits_suspended"] = None

    def apply(self, aggregate: Order) -> None:
        aggregate.decisions = replace(aggregate.decisions, settled=self.settled)
        if aggregate.split is not None:
            aggregate.split = replace(aggregate.split, clears_at=self.clears_at)
        if self.forfeits_suspended:
            aggregate.suspended = NOTHING_SUSPENDED
        aggregate.note_settlement(at=self.timestamp)


def released_of(order: Order, owed: int, *, at: datetime) -> Released:
    """What a release of all that is owed covers, on the order as it is known."""
    known = history(order.merged)[-1]
    return Released(
        amount=owed, at=max(at, known.at), cash=cash_by_refund(known.money.currency, known.refunds.values())
    )


def attributed_by_hand(former: Attribution, *, creator_id: str | None, campaign_id: str | None) -> Attribution:
    """The attribution that names this creator, on the evidence that was looked at: no touch or coupon decided, so
    the outcome is `none`. A creator whose own purchase it is, as far as the evidence tells, is on hold."""
    buyer = former.keys.customer_ref
    return replace(
        former,
        outcome=Outcome.NONE,
        creator_id=creator_id,
        campaign_id=campaign_id if creator_id is not None else None,
        link_id=None,
        touch_id=None,
        touched_at=None,
        own_link=buyer is not None
        and any(
            candidate.creator_id == creator_id and candidate.creator_customer_ref == buyer
            for candidate in former.candidates
        ),
    )


@value
class Suspended:
    """What holds took of K, by claim: their end gives it back."""

    cleared: Mapping[ClaimKey, int] = field(default_factory=dict)

    def of(self, claim: Claim) -> int:
        return self.cleared.get((claim.line_id, claim.payee_id), 0)

    def limited(self, claims: tuple[Claim, ...]) -> Suspended:
        """No more than what is owed."""
        left = {key: min(self.of(claim), max(claim.net - claim.cleared, 0)) for key, claim in _by_key(claims).items()}
        return Suspended(cleared={key: amount for key, amount in left.items() if amount})


def _by_key(claims: tuple[Claim, ...]) -> dict[ClaimKey, Claim]:
    return {(claim.line_id, claim.payee_id): claim for claim in claims}


NOTHING_SUSPENDED = Suspended()


def suspended_after(before: Suspended, known: tuple[Claim, ...], claims: tuple[Claim, ...]) -> Suspended:
    """What holds have taken of K once the claims changed. Of a claim that is held whole, all that it had."""
    held = [claim for claim in claims if claim.held >= claim.net > 0]
    if not held:
        return NOTHING_SUSPENDED
    had = {(claim.line_id, claim.payee_id): claim.cleared + before.of(claim) for claim in known}
    taken = {
        key: had[key] - claim.cleared
        for claim in held
        if had.get(key := (claim.line_id, claim.payee_id), 0) > claim.cleared
    }
    return Suspended(cleared=taken) if taken else NOTHING_SUSPENDED
