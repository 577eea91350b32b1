"""The order of decisions inside a batch: what one is guarded by is not changed before it by another."""

from __future__ import annotations

from typing import TypeVar

from colink.adapters.postgres.prepared import Prepared
from colink.application.ports import BalanceUnchanged, TermsUnchanged

T = TypeVar("T")


def arranged(decided: list[tuple[T, Prepared]]) -> tuple[list[tuple[T, Prepared]], list[T]]:
    """Order a batch so that what a command is guarded by is not changed before it; returns the batch, and the
    commands for which no order exists (they decide again, after the batch)."""

    guards = [guard for _, prepared in decided for guard in prepared.guards]
    if not any(isinstance(guard, BalanceUnchanged) for guard in guards) and not any(
        prepared.terms_moved() or prepared.closes_a_period() for _, prepared in decided
    ):
        return decided, []  # as nearly always: nothing in it can make a guard stale

    def rank(item: tuple[T, Prepared]) -> int:
        if item[1].closes_a_period():
            return 4  # the journals of its batch were decided before it
        if item[1].terms_moved():
            return 3
        guards = item[1].guards
        if any(isinstance(guard, BalanceUnchanged) for guard in guards):
            return 0
        return 1 if any(isinstance(guard, TermsUnchanged) for guard in guards) else 2

    batch: list[tuple[T, Prepared]] = []
    again: list[T] = []
    accounts: set[tuple[str, str]] = set()
    terms: set[str] = set()
    for pending, prepared in sorted(decided, key=rank):
        stale = any(
            (isinstance(guard, BalanceUnchanged) and (guard.account, guard.currency) in accounts)
            or (isinstance(guard, TermsUnchanged) and guard.organization_id in terms)
            for guard in prepared.guards
        )
        if stale:
            again.append(pending)
            continue
        batch.append((pending, prepared))
        accounts |= prepared.accounts()
        terms |= prepared.terms_moved()
    return batch, again
