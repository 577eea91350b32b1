"""Bugs, planted one at a time, for the simulator to find: `python -m tests.simulation.planted NAME --seeds 50`.

A bug is a patch of the code of this process for as long as it is planted. Each breaks one sentence of the semantics
and leaves double entry, the log and most days in order, as bugs in this trade do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import msgspec

from colink.adapters.postgres.people import PostgresPeople
from colink.adapters.stores import shopify
from colink.application import payouts, tiers
from colink.application.payout_jobs import PayoutDesk
from colink.application.record_order import RecordOrder
from colink.domain import attribution, claims, ledger, money, payout_journals, postings, revenue, true_up_counts
from colink.domain import true_ups as true_up_aggregate
from colink.domain.audit import true_ups as true_up_audit
from colink.domain.local_time import period_bounds
from colink.domain.payouts import PayoutSubmitted
from colink.domain.seller_accounts import SellerAccount
from colink.projections import true_ups
from colink.simulation.seeds import Outcome, ground, simulate

STEPS = 300


@contextmanager
def double_payout_on_retry() -> Iterator[None]:
    """A payout whose outcome is not known is handed in again under a new key, without looking for the first try."""
    ask = PayoutDesk._ask

    async def careless(self: PayoutDesk, instruction: Any, *, began: bool, status: str) -> Any:
        if status == "submitted" and not began:
            instruction = replace(instruction, reference=f"{instruction.reference}0")
            began = True
        return await ask(self, instruction, began=began, status=status)

    with patch.object(PayoutDesk, "_ask", careless):
        yield


@contextmanager
def refund_not_cumulative() -> Iterator[None]:
    """What each refund reverses of a line's amounts is rounded by itself, so the parts do not sum to the whole."""
    of = revenue._Amounts.of

    def refund_by_refund(self: Any, known: Any) -> Any:
        split = of(self, known)
        before = {line.line_id: line for line in getattr(self, "_before", ())}
        self._before = [_after(before.get(line.line_id), line) for line in split.lines]
        return replace(split, lines=tuple(self._before))

    def _after(was: Any, line: Any) -> Any:
        if was is None or (was.base, was.commission) != (line.base, line.commission) or not line.base:
            return line
        refunded = line.reversed_base - was.reversed_base
        commission = was.reversed_commission + money.round_half_even(line.commission * refunded, line.base)
        fee = was.reversed_platform_fee + money.round_half_even(line.platform_fee * refunded, line.base)
        kept = line.reversed_platform_fee == 0
        return replace(line, reversed_commission=commission, reversed_platform_fee=0 if kept else fee)

    with patch.object(revenue._Amounts, "of", refund_by_refund):
        yield


def hold_ignored() -> AbstractContextManager[object]:
    """What is owed to the buyer clears like everything else."""
    return patch.object(claims, "owed_to_buyer", lambda *_, **__: 0)


@contextmanager
def window_at_arrival() -> Iterator[None]:
    """Touches are judged by when the webhook came and not by when the order was placed."""
    attribute, inside = RecordOrder._attribute, attribution._inside_window
    arrived: list[datetime] = []

    def attribute_now(self: RecordOrder, order: Any, facts: Any, terms: Any) -> None:
        arrived[:] = [facts.now]
        attribute(self, order, facts, terms)
        arrived.clear()

    def inside_now(occurred_at: datetime, placed_at: datetime, *, hours: int) -> bool:
        return inside(occurred_at, arrived[0] if arrived else placed_at, hours=hours)

    with (
        patch.object(RecordOrder, "_attribute", attribute_now),
        patch.object(attribution, "_inside_window", inside_now),
    ):
        yield


@contextmanager
def debit_aged_like_credit() -> Iterator[None]:
    """A refund lowers what is pending, although the money has cleared: it can still be paid out."""
    change_net = postings._ClaimWalk.change_net

    def aged(self: Any, key: Any, difference: int, legs: dict[Any, int], *, purpose: Any) -> None:
        if difference >= 0:
            change_net(self, key, difference, legs, purpose=purpose)
            return
        net, cleared = self._claims.get(key, (0, 0))
        self._claims[key] = (net + difference, cleared)
        legs[ledger.payee_pending(key[1]), key[0], purpose] = difference

    with patch.object(postings._ClaimWalk, "change_net", aged):
        yield


def refund_after_the_count_unnoticed() -> AbstractContextManager[object]:
    """A refund of an order whose month was counted is no reason to count it again, so it releases no cap."""
    addition = true_ups._addition

    def gross(split: Any, rule_id: str) -> str:
        lines = [msgspec.structs.replace(line, reversed_base=0, reversed_commission=0) for line in split.lines]
        return addition(msgspec.structs.replace(split, lines=lines), rule_id)

    return patch.object(true_ups, "_addition", gross)


def tiers_by_the_running_month() -> AbstractContextManager[object]:
    """Tiers look at what was sold up to the moment at which they are decided, and not up to the month's start."""
    query = tiers.revenue_query

    def up_to_now(key: Any, timezone: str) -> Any:
        return replace(query(key, timezone), until=period_bounds(key.month, timezone)[1])

    return patch.object(tiers, "revenue_query", up_to_now)


@contextmanager
def tax_withheld_on_each_attempt() -> Iterator[None]:
    """A payout that failed for a passing reason is handed in again, and its tax withheld again."""
    journals_of = payout_journals.journals_of

    def again(event: Any) -> Any:
        if isinstance(event, PayoutSubmitted) and event.tax is not None and event.attempt > 1:
            kind, transit = ledger.JournalKind.TAX_WITHHELD, ledger.payee_in_transit(event.payee_id)
            withheld, step = ledger.tax_withheld(event.tax.authority), f"withheld {event.attempt}"
            return [payout_journals._moved(event, kind, step, transit, withheld, amount=event.tax.amount)]
        return journals_of(event)

    with patch.object(payouts, "journals_of", again):
        yield


def bounced_payment_leaves_orders_settled() -> AbstractContextManager[object]:
    """The money is gone, and what it had settled clears all the same."""

    def keep(self: SellerAccount, *_: Any, **__: Any) -> None:
        self.details = replace(self.details, returned=0)

    return patch.object(SellerAccount, "take_back", keep)


@contextmanager
def cap_credit_before_the_seller_paid() -> Iterator[None]:
    """A cap takes off what a seller has not paid yet; its credit settles other orders."""
    counted_again = true_up_counts.counted_again

    def all_count(before: Any, key: Any, orders: Sequence[Any], **how: Any) -> Any:
        counting = [replace(each, split=replace(each.split, waits_for_seller=False)) for each in orders]
        return counted_again(before, key, counting, **how)

    with (
        patch.object(true_up_aggregate, "counted_again", all_count),
        patch.object(true_up_audit, "counted_again", all_count),
    ):
        yield


@contextmanager
def erasure_forgets_an_order() -> Iterator[None]:
    """Of a buyer's orders one keeps its keys."""
    owners_of = PostgresPeople.owners_of

    async def all_but_one(self: PostgresPeople, customer_ref: str) -> Sequence[str]:
        owners = await owners_of(self, customer_ref)
        return owners[:-1] if len(owners) > 1 else owners

    with patch.object(PostgresPeople, "owners_of", all_but_one):
        yield


def gift_card_refund_forgets_that_it_failed() -> AbstractContextManager[object]:
    """Of a refund the connector reads only what went back in cash: what failed to fill a gift card is never known."""
    read = shopify._transaction

    def in_cash(reader: Any, amounts: Any) -> Any:
        transaction = read(reader, amounts)
        return transaction if transaction is not None and transaction.amount else None

    return patch.object(shopify, "_transaction", in_cash)


BUGS: Mapping[str, Callable[[], AbstractContextManager[object]]] = MappingProxyType(
    {
        "double-payout-on-retry": double_payout_on_retry,
        "refund-not-cumulative": refund_not_cumulative,
        "hold-ignored": hold_ignored,
        "window-at-arrival": window_at_arrival,
        "debit-aged-like-credit": debit_aged_like_credit,
        "refund-after-the-count-unnoticed": refund_after_the_count_unnoticed,
        "tiers-by-the-running-month": tiers_by_the_running_month,
        "tax-withheld-on-each-attempt": tax_withheld_on_each_attempt,
        "bounced-payment-leaves-orders-settled": bounced_payment_leaves_orders_settled,
        "cap-credit-before-the-seller-paid": cap_credit_before_the_seller_paid,
        "erasure-forgets-an-order": erasure_forgets_an_order,
        "gift-card-refund-forgets-that-it-failed": gift_card_refund_forgets_that_it_failed,
    }
)


def first_found(name: str, *, seeds: int, steps: int) -> Outcome | None:
    """The first seed from 1 on that finds the bug."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colink-planted-")))
        folder.chmod(0o711)  # the server's user passes through, where this runs as root
        place = stack.enter_context(ground(folder))
        stack.enter_context(BUGS[name]())
        outcomes = (simulate(place, seed=seed, steps=steps) for seed in range(1, seeds + 1))
        return next((outcome for outcome in outcomes if outcome.failure is not None), None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted", description=__doc__)
    parser.add_argument("name", choices=sorted(BUGS))
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    found = first_found(options.name, seeds=options.seeds, steps=options.steps)
    if found is None:
        print(f"{options.name}: not found by {options.seeds} seeds")
        sys.exit(1)
    print(f"{options.name}: found by seed {found.seed} at step {found.failed_at}\n{found.failure}")


if __name__ == "__main__":
    main()
