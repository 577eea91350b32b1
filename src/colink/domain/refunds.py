"""Refunds: which part of each line is reversed, recomputed from all refunds every time. Semantics section 2.

Order of reversal: units that left without a refund line; then, refund by refund in order of (processed_at, id), each
refund's own lines, what exceeds a line spilling to the other lines of that refund; then one pool of all that is left
over and of the money given back without lines, over the remaining bases; then each dispute that has taken money.
Nothing here is booked: the caller posts target minus posted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from colink.domain.facts import DisputeState, Stage
from colink.domain.merge import Known
from colink.domain.money import allocate, minor_units, round_half_even
from colink.domain.snapshots import OrderLine, Refund, TransactionStatus


class Reversal(NamedTuple):
    """`by_line`: reversed base of each line, in the order of the lines given (minor units). `cash`: money that really
    went back, to the buyer or his bank. `discrepancies`: what fits no line; it moves no money."""

    by_line: Sequence[int]
    cash: int
    discrepancies: Sequence[str]


def in_line_order(lines: Sequence[OrderLine]) -> list[OrderLine]:
    """By external id, numerically when digits (semantics section 1)."""
    return sorted(lines, key=lambda line: _line_rank(line.line_id))


def _line_rank(line_id: str) -> tuple[bool, int, str]:
    digits = line_id.isascii() and line_id.isdigit()
    return (not digits, int(line_id) if digits else 0, line_id)


def reverse(known: Known, lines: Sequence[OrderLine]) -> Reversal:
    """The reversal of a paid order's `lines` (in line order)."""
    currency, taxes_included = known.money.currency, known.money.taxes_included
    discrepancies: list[str] = []
    refunds = _in_currency(currency, known.refunds.values(), discrepancies) if known.refunds else []
    cash = sum([_cash_of(refund, currency, discrepancies) for refund in refunds])
    disputed = _disputed(currency, known.disputes.values(), discrepancies) if known.disputes else []
    all_cash = cash + sum(disputed)
    if known.everything_reversed:
        return Reversal([line.base for line in lines], all_cash, discrepancies)

    remaining = {line.line_id: line.base for line in lines}
    for line in lines:
        if line.current_quantity is not None and line.current_quantity < line.quantity:
            remaining[line.line_id] -= _share_of_removed_units(line, line.current_quantity, refunds)
    pool = 0
    if refunds:
        without_base = frozenset(line.line_id for line in lines if not line.carries_base)
        for refund in refunds:
            pool += _reverse_own_lines(
                refund,
                remaining,
                discrepancies,
                without_base=without_base,
                currency=currency,
                taxes_included=taxes_included,
            )
            if _amount_only_counts(refund):
                pool += minor_units(refund.amount_only, currency)
    if all_cash > known.collected:
        discrepancies.append(f"more money went back than was collected: {all_cash} of {known.collected}")
    if pool:  # bases and refunds are never below zero
        possible = min(pool, sum(remaining.values()))
        if pool > possible:
            discrepancies.append(f"refunds exceed what was left of the order by {pool - possible}")
        for line, part in zip(lines, allocate(possible, [remaining[line.line_id] for line in lines]), strict=True):
            remaining[line.line_id] -= part
    if disputed:
        _reverse_disputed(disputed, remaining, left_of_cash=known.collected - cash)
    return Reversal([line.base - remaining[line.line_id] for line in lines], all_cash, discrepancies)


def cash_by_refund(currency: str, refunds: Iterable[Refund]) -> dict[str, int]:
    """What each refund really gave back, in minor units of the order's currency."""
    return {refund.refund_id: _cash_of(refund, currency, []) for refund in _in_currency(currency, refunds, [])}


def _in_currency(currency: str, refunds: Iterable[Refund], discrepancies: list[str]) -> list[Refund]:
    """Those in the order's own currency, in order of (processed_at, id)."""
    ours = []
    for refund in sorted(refunds, key=lambda refund: (refund.processed_at, refund.refund_id)):
        if refund.currency is not None and refund.currency != currency:
            discrepancies.append(f"refund {refund.refund_id} is in {refund.currency}, the order in {currency}")
        else:
            ours.append(refund)
    return ours


def _disputed(currency: str, disputes: Iterable[DisputeState], discrepancies: list[str]) -> list[int]:
    """What each dispute that counts has taken, in minor units, in order of (withdrawal, id)."""
    amounts = []
    for dispute in sorted(disputes, key=lambda dispute: (dispute.since, dispute.dispute_id)):
        if dispute.stage is not Stage.COUNTS:
            continue
        if dispute.currency not in (None, currency):
            discrepancies.append(f"dispute {dispute.dispute_id} is in {dispute.currency}, the order in {currency}")
        else:
            amounts.append(minor_units(dispute.amount, currency))
    return amounts


def _reverse_disputed(amounts: Iterable[int], remaining: dict[str, int], *, left_of_cash: int) -> None:
    """Take off `remaining` (in line order), dispute by dispute, the share of it that each has taken of the cash that
    is left; all of it where no cash is."""
    for amount in amounts:
        left = list(remaining.values())
        share = sum(left)
        if left_of_cash > 0:
            share = min(round_half_even(amount * share, left_of_cash), share)
        for line_id, part in zip(remaining, allocate(share, left), strict=True):
            remaining[line_id] -= part
        left_of_cash -= amount


def _share_of_removed_units(line: OrderLine, current_quantity: int, refunds: Sequence[Refund]) -> int:
    """Units that left the order without a refund line reverse their share of the line."""
    if line.quantity == 0:
        return 0
    refunded = sum(part.quantity for refund in refunds for part in refund.lines if part.line_id == line.line_id)
    removed = min(max(line.quantity - current_quantity - refunded, 0), line.quantity)
    return round_half_even(line.base * removed, line.quantity)


def _reverse_own_lines(
    refund: Refund,
    remaining: dict[str, int],
    discrepancies: list[str],
    *,
    without_base: frozenset[str],
    currency: str,
    taxes_included: bool,
) -> int:
    """Take the refund's lines off `remaining`; returns what found no room in any of them."""
    asked: dict[str, Decimal] = defaultdict(Decimal)
    for part in refund.lines:
        if part.line_id in without_base:
            continue  # money for a gift card or a tip goes back, but no base does
        asked[part.line_id] += part.subtotal - (part.tax if taxes_included else 0)
    excess = 0
    own_lines = []
    for line_id in sorted(asked, key=_line_rank):
        if line_id not in remaining:
            discrepancies.append(f"refund {refund.refund_id} names line {line_id}, which the order does not have")
            continue
        own_lines.append(line_id)
        amount = max(minor_units(asked[line_id], currency), 0)
        taken = min(amount, remaining[line_id])
        remaining[line_id] -= taken
        excess += amount - taken
    for line_id in own_lines:
        taken = min(excess, remaining[line_id])
        remaining[line_id] -= taken
        excess -= taken
    return excess


def _cash_of(refund: Refund, currency: str, discrepancies: list[str]) -> int:
    """Only transactions that succeeded moved money; what moved in another currency has no exact amount in ours."""
    cash = 0
    for transaction in refund.transactions:
        if transaction.status is not TransactionStatus.SUCCESS or not transaction.amount:
            continue
        if transaction.currency not in (None, currency):
            discrepancies.append(
                f"transaction {transaction.transaction_id} gave back {transaction.amount} {transaction.currency}, "
                f"the order is in {currency}: its cash is not booked"
            )
            continue
        cash += minor_units(transaction.amount, currency)
    return cash


def _amount_only_counts(refund: Refund) -> bool:
    """Unless the refund has transactions, by gift card or not, and all of them failed."""
    return not refund.transactions or any(
        transaction.status is not TransactionStatus.FAILURE for transaction in refund.transactions
    )
