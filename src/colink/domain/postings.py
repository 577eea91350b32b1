"""From two splits to journals: target minus posted, one journal per component of the order (semantics section 6).

Components are posted in the order sale, refund, cash, hold. A payee's leg is divided into `pending` and `available`
by walking the claim (N, K) through the components, so that available always holds min(N, K).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from colink.domain import ledger
from colink.domain.ledger import JournalKind, Posting, Purpose
from colink.domain.organizations import Settlement
from colink.domain.revenue import ClaimKey, cash_claims, changes, refund_claims, sale_claims
from colink.domain.split import ChangeTimes, Claim, Split

Leg = tuple[str, str | None, Purpose]  # (account, line id, purpose)


@dataclass(frozen=True, kw_only=True)
class OrderAccounts:
    """Whose money an order's is: what its account names are made of."""

    organization_id: str
    store_id: str
    platform: str
    settlement: Settlement


@dataclass(frozen=True, kw_only=True)
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
    held_at = max(times.sale, times.refund)
    drafts: list[Draft] = []
    for kind, legs_of, claims_of, effective_at in (
        (JournalKind.SALE, _sale_legs, sale_claims, times.sale),
        (JournalKind.REFUND, _refund_legs, refund_claims, times.refund),
        (JournalKind.CASH_REFUND, _cash_legs, cash_claims, times.refund),
    ):
        old_legs = legs_of(before, accounts) if before else {}
        legs = _difference(old_legs, legs_of(after, accounts))
        settlement = accounts.settlement
        old_claims = claims_of(before, accounts.organization_id, settlement=settlement) if before else {}
        new_claims = claims_of(after, accounts.organization_id, settlement=settlement)
        for key, difference in changes(old_claims, new_claims):
            walk.change_net(key, difference, legs, purpose=_purpose_of(key, accounts, kind))
        _append(drafts, kind, effective_at, legs, after.currency)
    legs = defaultdict(int)
    walk.change_cleared(after.claims, legs, accounts)
    _append(drafts, JournalKind.HOLD, held_at, legs, after.currency)
    return drafts


def clearing_journal(
    before: Sequence[Claim], after: Sequence[Claim], *, currency: str, accounts: OrderAccounts, effective_at: datetime
) -> Draft:
    """Pending to available, per line and payee, for what a clearing moved."""
    legs: dict[Leg, int] = defaultdict(int)
    known = {(claim.line_id, claim.payee_id): claim for claim in before}
    for claim in after:
        key = (claim.line_id, claim.payee_id)
        _move_to_available(key, claim.available - known[key].available, legs, accounts)
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
        self._claims[key] = (net + difference, cleared)
        to_available = min(net + difference, cleared) - min(net, cleared)
        legs[ledger.payee_available(payee_id), line_id, purpose] += to_available
        legs[ledger.payee_pending(payee_id), line_id, purpose] += difference - to_available

    def change_cleared(self, after: Sequence[Claim], legs: dict[Leg, int], accounts: OrderAccounts) -> None:
        for claim in after:
            key = (claim.line_id, claim.payee_id)
            if key in self._claims:
                _move_to_available(key, claim.available - min(self._claims[key]), legs, accounts)


def _move_to_available(key: ClaimKey, amount: int, legs: dict[Leg, int], accounts: OrderAccounts) -> None:
    line_id, payee_id = key
    purpose = _purpose_of(key, accounts, JournalKind.CLEARING)
    legs[ledger.payee_available(payee_id), line_id, purpose] += amount
    legs[ledger.payee_pending(payee_id), line_id, purpose] -= amount


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
    for line in split.lines:
        legs[ledger.PLATFORM_REVENUE, line.line_id, Purpose.PLATFORM_FEE] += line.platform_fee
        if collected_by_us:
            fees = ledger.processor_fees(accounts.platform)
            legs[fees, line.line_id, Purpose.PAYMENT_FEE] += line.payment_fee
        else:
            receivable = ledger.seller_receivable(accounts.organization_id)
            legs[receivable, line.line_id, Purpose.RECEIVABLE] -= line.platform_fee + line.commission
    if collected_by_us:
        legs[ledger.store_clearing(accounts.store_id), None, Purpose.COLLECTED] -= split.collected
    return legs


def _refund_legs(split: Split, accounts: OrderAccounts) -> dict[Leg, int]:
    legs: dict[Leg, int] = defaultdict(int)
    for line in split.lines:
        legs[ledger.PLATFORM_REVENUE, line.line_id, Purpose.PLATFORM_FEE] -= line.reversed_platform_fee
        if accounts.settlement is Settlement.SELLER_COLLECTED:
            receivable = ledger.seller_receivable(accounts.organization_id)
            legs[receivable, line.line_id, Purpose.RECEIVABLE] += (
                line.reversed_platform_fee + line.reversed_commission
            )
    return legs


def _cash_legs(split: Split, accounts: OrderAccounts) -> dict[Leg, int]:
    if accounts.settlement is Settlement.SELLER_COLLECTED:
        return {}
    return {(ledger.store_clearing(accounts.store_id), None, Purpose.CASH): split.cash_refunded}


def _difference(before: dict[Leg, int], after: dict[Leg, int]) -> dict[Leg, int]:
    legs: dict[Leg, int] = defaultdict(int)
    for leg in (*before, *(leg for leg in after if leg not in before)):
        legs[leg] = after.get(leg, 0) - before.get(leg, 0)
    return legs


def _append(
    drafts: list[Draft], kind: JournalKind, effective_at: datetime, legs: dict[Leg, int], currency: str
) -> None:
    postings = tuple(
        Posting(account=account, amount=amount, currency=currency, purpose=purpose, line_id=line_id)
        for (account, line_id, purpose), amount in legs.items()
        if amount
    )
    if postings:
        drafts.append(Draft(kind=kind, effective_at=effective_at, postings=postings))
