"""The tax of payouts, decided again by the settings in the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from colink.domain.aggregates import Event
from colink.domain.payouts import AUTOMATIC, PayoutApproved, PayoutChanged, PayoutRequested, PayoutSubmitted
from colink.domain.withholding import WithheldTax, WithholdingDetails, tax_of

Settings = Sequence[tuple[int, WithholdingDetails]]
"""All versions for a payee and currency with their positions, in order."""
Step = tuple[int, PayoutChanged, tuple[WithheldTax | None, ...]]
"""Position, event, and what its tax may be."""


def tax_steps(events: Sequence[tuple[int, Event]], settings: Settings) -> Iterator[Step]:
    """The steps of one payout, from its request on. An approval before the first attempt decides the tax, an attempt
    withholds it, everything else repeats it."""
    tax: WithheldTax | None = None
    attempted = False
    before = 0
    for position, event in events:
        if isinstance(event, PayoutChanged):
            if isinstance(event, PayoutApproved) and not attempted:
                possible = _decided(event, position, before, settings)
            elif isinstance(event, PayoutSubmitted):
                attempted = True
                possible = (replace(tax, withheld=True) if tax else None,)
            else:
                possible = (tax,)
            yield position, event, possible
            tax = event.tax
        before = position


def begins(events: Sequence[tuple[int, Event]]) -> bool:
    """Whether the first of a payout's events is its request."""
    return bool(events) and isinstance(events[0][1], PayoutRequested)


def _decided(event: PayoutApproved, position: int, before: int, settings: Settings) -> tuple[WithheldTax | None, ...]:
    """By every setting that may have been read: the one that stood at the step before, which was read too, and those
    made until the approval. One that is approved with its request may have read anything older."""
    since = 0 if event.approved_by == AUTOMATIC else before
    known = [details for made, details in settings if made < position]
    seen = [details for made, details in settings if made < since]
    candidates: list[WithholdingDetails | None] = [*known[max(len(seen) - 1, 0) :]]
    if not seen:
        candidates.append(None)
    return tuple(tax_of(event.amount, each) for each in reversed(candidates))
