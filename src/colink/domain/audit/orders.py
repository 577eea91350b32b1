"""One order derived again from its events: attribution, split, clearing and the journals that must have followed.

The replay trusts nothing an event says about a decision: it makes the decision again from the recorded inputs (the
deliveries merged so far, the touches a decision looked at, the terms known at the pinned position) and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from colink.domain.aggregates import Event
from colink.domain.attribution import rederive
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.ledger import JournalPosted
from colink.domain.orders import Order, OrderAttributed, OrderCleared, OrderSplit
from colink.domain.postings import Draft, clearing_journal, journals_between
from colink.domain.revenue import clear_claim, clears_by_time, next_clearing
from colink.domain.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedJournal:
    """A journal that follows from the order event at `position`."""

    journal_id: str
    position: int
    draft: Draft


@dataclass(kw_only=True)
class _Command:
    """Order events that one append recorded, as far as they caused journals: named by the last one's version."""

    version: int
    position: int
    decided_at: datetime
    drafts: list[tuple[int, Draft]]


class OrderReplay:
    """Feed it the events of one stream in order; it writes what it finds into the results."""

    def __init__(
        self, terms_of: Callable[[str], Terms], results: Mapping[Pass, PassResult], *, in_range: Callable[[int], bool]
    ) -> None:
        self._terms_of = terms_of
        self._results = results
        self._in_range = in_range
        self._order: Order | None = None
        self._commands: list[_Command] = []

    def feed(self, position: int, event: Event) -> None:
        """Raises whatever an event that fits no order deserves."""
        order = self._order
        if order is not None:
            match event:
                case OrderAttributed():
                    self._check_attribution(position, order, event)
                case OrderSplit():
                    self._check_split(position, order, event)
                case OrderCleared():
                    self._check_clearing(position, order, event)
                case _:
                    pass
        self._order = event.mutate(order)

    def journals(self) -> list[ExpectedJournal]:
        """All journals that must have followed from the events fed so far."""
        order_id = self._order.id if self._order is not None else ""
        return [
            ExpectedJournal(journal_id=f"jrn_{order_id}.{command.version}.{number}", position=position, draft=draft)
            for command in self._commands
            for number, (position, draft) in enumerate(command.drafts)
        ]

    def _check_attribution(self, position: int, order: Order, event: OrderAttributed) -> None:
        if not self._in_range(position):
            return
        result = self._results[Pass.ATTRIBUTIONS]
        result.checked += 1
        recorded = event.attribution
        terms = self._terms_of(order.organization_id)
        again = rederive(recorded, store=terms.stores[order.store_id], terms=terms)
        # The keys and the time must be those of the deliveries, not whatever the decision says they were.
        again = replace(again, keys=order.merged.keys, placed_at=order.merged.placed_at or again.placed_at)
        if recorded != again:
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                order.id,
                f"the attribution of {order.id} does not follow from its evidence",
                **_differing(recorded, again),
            )

    def _check_split(self, position: int, order: Order, event: OrderSplit) -> None:
        result = self._results[Pass.SPLITS]
        pinned_at = order.pinned_position()
        terms = self._terms_of(order.organization_id)
        terms = terms.known_at(terms.position if pinned_at is None else pinned_at)
        if self._in_range(position):
            result.checked += 1
            for what, recorded, derived in (
                ("terms", event.terms, order.pinned_terms(terms)),
                ("split", event.split, order.next_split(terms)),
            ):
                if recorded != derived:
                    result.find(
                        Kind.DERIVED_DIFFERENTLY,
                        position,
                        order.id,
                        f"not the {what} of {order.id} that follow from its deliveries and the terms it pinned",
                        **_differing(recorded, derived),
                    )
        drafts = journals_between(
            order.split, event.split, accounts=order.accounts(event.terms), times=order.change_times()
        )
        self._commands.append(
            _Command(
                version=event.originator_version,
                position=position,
                decided_at=event.timestamp,
                drafts=[(position, draft) for draft in drafts],
            )
        )

    def _check_clearing(self, position: int, order: Order, event: OrderCleared) -> None:
        split, terms = order.split, order.terms
        result = self._results[Pass.CLEARINGS]
        if split is None or terms is None:
            result.find(Kind.DERIVED_DIFFERENTLY, position, order.id, f"{order.id} was cleared before it was split")
            return
        claims = tuple(clear_claim(claim, at=event.due_at) for claim in split.claims)
        if self._in_range(position):
            result.checked += 1
            derived = replace(
                event,
                due_at=split.clears_at or event.due_at,
                claims=claims,
                clears_at=next_clearing(claims, clears=clears_by_time(terms)),
            )
            if event != derived or event.due_at > event.timestamp:
                result.find(
                    Kind.DERIVED_DIFFERENTLY,
                    position,
                    order.id,
                    f"the clearing of {order.id} does not follow from what was due then",
                    **_differing(event, derived),
                )
        draft = clearing_journal(
            split.claims, event.claims, currency=split.currency, accounts=order.accounts(terms), due_at=event.due_at
        )
        last = self._commands[-1] if self._commands else None
        together = (
            last is not None
            and last.version == event.originator_version - 1
            and last.decided_at == event.timestamp
            and all(kept.kind == draft.kind for _, kept in last.drafts)
        )
        if together and last is not None:
            last.version = event.originator_version
            last.drafts.append((position, draft))
        else:
            self._commands.append(
                _Command(
                    version=event.originator_version,
                    position=position,
                    decided_at=event.timestamp,
                    drafts=[(position, draft)],
                )
            )


def journal_matches(draft: Draft, journal: JournalPosted) -> bool:
    """Whether a journal posts what the draft says."""
    return (journal.kind, journal.effective_at, journal.postings) == (draft.kind, draft.effective_at, draft.postings)


def _differing(recorded: object, derived: object) -> dict[str, object]:
    """The fields that differ, on both sides."""
    if derived is None:
        return {"recorded": recorded, "derived": None}
    names = [name for name in vars(recorded) if getattr(recorded, name) != getattr(derived, name, None)]
    return {
        "recorded": {name: getattr(recorded, name) for name in names},
        "derived": {name: getattr(derived, name, None) for name in names},
    }
