"""From two splits to journals: target minus posted, one journal per component of the order (semantics section 6).

Components are posted in the order sale, refund, cash, dispute fee, hold. A payee's leg is divided into `pending` and
`available` by walking the claim (N, K) through the components, so that available always holds min(N, K).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from colink.domain import ledger
from colink.domain.claims import cash_claims, changes, refund_claims, sale_claims
from colink.domain.ledger import JournalKind, Posting, Purpose
from colink.domain.organizations import Settlement
from colink.domain.split import ChangeTimes, Claim, ClaimKey, Split
from colink.domain.value import value

Leg = tuple[str, str | None, Purpose]  # (account, line id, purpose)


@value
class OrderAccounts:
    """Whose money an order's is: what its account names are made of."""

    organization_id: str
    store_id: str
    platform: str
    settlement: Settlement


@value
class Draft:
    """A journal to be posted."""

    kind: JournalKind
    effective_at: datetime
    postings: tuple[Posting, ...]


def journals_between(
    before: Split | None, after: Split, *, accounts: OrderAccounts, times: ChangeTimes
) -> list[Draft]:
    """The journals that lead from one split to the next; none for a component where nothing changed."""
    walk = _ClaimWalk(before)
    drafts: list[Draft] = []
    for kind, legs_of, claims_of, effective_at in (
        (JournalKind.SALE, _sale_legs, sale_claims, times.sale),
        (JournalKind.REFUND, _refund_legs, refund_claims, times.refund),
        (JournalKind.CASH_REFUND, _cash_legs, cash_claims, times.refund),
        (JournalKind.DISPUTE_FEE, _dispute_fee_legs, _no_claims, times.refund),
    ):
        if _unchanged(kind, before, after):
            continue
        organization_id, settlement = accounts.organization_id, accounts.settlement
        legs, claims = legs_of(after, accounts), claims_of(after, organization_id, settlement=settlement)
        old_claims: dict[ClaimKey, int] = {}
        if before:
            legs = _difference(legs_of(before, accounts), legs)
            old_claims = claims_of(before, organization_id, settlement=settlement)
        for key, difference in changes(old_claims, claims):
            walk.change_net(key, difference, legs, purpose=_purpose_of(key, accounts, kind))
        _append(drafts, kind, effective_at, legs, after.currency)
    legs = {}
    walk.change_cleared(after.claims, legs, accounts)
    _append(drafts, JournalKind.HOLD, max(times.sale, times.refund), legs, after.currency)
    return drafts


def _unchanged(kind: JournalKind, before: Split | None, after: Split) -> bool:
    """Whether a glance tells that a component has nothing to post."""
    if kind is JournalKind.REFUND:
        return not after.reversed_base and (before is None or not before.reversed_base)
    if kind is JournalKind.CASH_REFUND:
        return after.cash_refunded == (before.cash_refunded if before else 0)
    if kind is JournalKind.DISPUTE_FEE:
        return after.dispute_fee == (before.dispute_fee if before else 0)
    return before is not None and _sold(before) == _sold(after)


def _sold(split: Split) -> tuple[object, ...]:
    """All that the sale's journal follows from."""
    lines = [(each.line_id, each.base, each.platform_fee, each.commission, each.payment_fee) for each in split.lines]
    return split.creator_id, split.collected, lines


def clearing_journal(
    before: Sequence[Claim], after: Sequence[Claim], *, currency: str, accounts: OrderAccounts, effective_at: datetime
) -> Draft:
    """Pending to available, per line and payee, for what a clearing moved."""
    legs: dict[Leg, int] = {}
    for was, claim in zip(before, after, strict=True):
        _move_to_available((claim.line_id, claim.payee_id), claim.available - was.available, legs, accounts)
    drafts: list[Draft] = []
    _append(drafts, JournalKind.CLEARING, effective_at, legs, currency)
    return drafts[0]


class _ClaimWalk:
    """The claims (N, K) between two splits, component by component: N moves first, K last."""

    def __init__(self, before: Split | None) -> None:
        claims = before.claims if before else ()
        self._claims = {(claim.line_id, claim.payee_id): (claim.net, claim.cleared) for claim in claims}

    def change_net(self, key: ClaimKey, difference: int, legs: dict[Leg, int], *, purpose: Purpose) -> None:
        line_id, payee_id = key
        net, cleared = self._claims.get(key, (0, 0))
        after = net + difference
        to_available = (after if after < cleared else cleared) - (net if net < cleared else cleared)
        self._claims[key] = (after, cleared)
        if to_available:
            legs[ledger.payee_available(payee_id), line_id, purpose] = to_available
        legs[ledger.payee_pending(payee_id), line_id, purpose] = difference - to_available

    def change_cleared(self, after: Sequence[Claim], legs: dict[Leg, int], accounts: OrderAccounts) -> None:
        for claim in after:
            key = (claim.line_id, claim.payee_id)
            if key in self._claims:
                _move_to_available(key, claim.available - min(self._claims[key]), legs, accounts)


def _move_to_available(key: ClaimKey, amount: int, legs: dict[Leg, int], accounts: OrderAccounts) -> None:
    if amount:
        line_id, payee_id = key
        purpose = _purpose_of(key, accounts, JournalKind.CLEARING)
        legs[ledger.payee_available(payee_id), line_id, purpose] = amount
        legs[ledger.payee_pending(payee_id), line_id, purpose] = -amount


def _purpose_of(key: ClaimKey, accounts: OrderAccounts, kind: JournalKind) -> Purpose:
    line_id, payee_id = key
    if payee_id != accounts.organization_id:
        return Purpose.COMMISSION
    if kind is JournalKind.CASH_REFUND:
        return Purpose.CASH
    return Purpose.PASS_THROUGH if line_id is None else Purpose.SELLER_TAKE


def _sale_legs(split: Split, accounts: OrderAccounts) -> dict[Leg, int]:
    """What the sale posts to accounts that are no payee's."""
    legs: dict[Leg, int] = defaultdict(int)
    collected_by_us = accounts.settlement is Settlement.PLATFORM_COLLECTED
    fees, receivable = ledger.processor_fees(accounts.platform), ledger.seller_receivable(accounts.organization_id)
    for line in split.lines:
        legs[ledger.PLATFORM_REVENUE, line.line_id, Purpose.PLATFORM_FEE] += line.platform_fee
        if collected_by_us:
            legs[fees, line.line_id, Purpose.PAYMENT_FEE] += line.payment_fee
        else:
            legs[receivable, line.line_id, Purpose.RECEIVABLE] -= line.platform_fee + line.commission
    if collected_by_us:
        legs[ledger.store_clearing(accounts.store_id), None, Purpose.COLLECTED] -= split.collected
    return legs


def _refund_legs(split: Split, accounts: OrderAccounts) -> dict[Leg, int]:
    legs: dict[Leg, int] = defaultdict(int)
    receivable = ledger.seller_receivable(accounts.organization_id)
    for line in split.lines:
        legs[ledger.PLATFORM_REVENUE, line.line_id, Purpose.PLATFORM_FEE] -= line.reversed_platform_fee
        if accounts.settlement is Settlement.SELLER_COLLECTED:
            legs[receivable, line.line_id, Purpose.RECEIVABLE] += (
                line.reversed_platform_fee + line.reversed_commission
            )
    return legs


def _cash_legs(split: Split, accounts: OrderAccounts) -> dict[Leg, int]:
    if accounts.settlement is Settlement.SELLER_COLLECTED or not split.cash_refunded:
        return {}
    return {(ledger.store_clearing(accounts.store_id), None, Purpose.CASH): split.cash_refunded}


def _dispute_fee_legs(split: Split, accounts: OrderAccounts) -> dict[Leg, int]:
    """Straight from what the seller has available: no claim of the order pays for it."""
    return {
        (ledger.payee_available(accounts.organization_id), None, Purpose.DISPUTE_FEE): -split.dispute_fee,
        (ledger.store_clearing(accounts.store_id), None, Purpose.DISPUTE_FEE): split.dispute_fee,
    }


def _no_claims(*_split: object, **_settlement: object) -> dict[ClaimKey, int]:
    """Of a component that raises and lowers no claim."""
    return {}


def _difference(before: dict[Leg, int], after: dict[Leg, int]) -> dict[Leg, int]:
    return {leg: after.get(leg, 0) - before.get(leg, 0) for leg in {**before, **after}}


def _append(
    drafts: list[Draft], kind: JournalKind, effective_at: datetime, legs: dict[Leg, int], currency: str
) -> None:
    postings = [
        Posting(account=account, amount=amount, currency=currency, purpose=purpose, line_id=line_id)
        for (account, line_id, purpose), amount in legs.items()
        if amount
    ]
    if postings:
        drafts.append(Draft(kind=kind, effective_at=effective_at, postings=tuple(postings)))
