"""What the verification of one part of the log says: the findings of its passes, and what only the parts together can
be compared with. Parts are joined in the order of the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from colink.domain.audit.balances import Balance, BalanceBook, BalanceKey, Course
from colink.domain.audit.report import Pass, PassResult
from colink.domain.ledger import JournalKind
from colink.domain.payout_funds import Stretch
from colink.projections.credited_orders import Credit
from colink.projections.leaderboard import Score

ScoreKey = tuple[str, str, str, str, str]
"""As the leaderboard names a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A stretch of a payee's cleared credits that a payout, requested at `position`, holds."""

    payee_id: str
    currency: str
    stretch: Stretch
    payout_id: str
    position: int


class Drawn(NamedTuple):
    """An account that a booking or a payout draws no more of than there is, and its balance right after the journal
    at `position` that draws on it: minor units, signed (credit > 0), counted from the beginning of the part. `name`:
    of the payout, else of the journal."""

    position: int
    kind: JournalKind
    name: str
    account: str
    currency: str
    after: int


@dataclass(kw_only=True)
class Part:
    """`results`: of the passes that were asked for.

    balances: what the part posted
    courses: of the accounts that may not be below zero
    drawn: by bookings and payouts, in the order of the log
    assumed_lines: by account and currency, the length of a payee's line of cleared credits before the part, as its
        first entry says; the journals before it must say the same
    unexplained: journals, with their positions, that no event of the part led to
    explained: journals outside the part's windows that events of the part led to
    irregular_streams: those whose versions do not follow each other
    terms_heads: where each organisation's terms last moved
    held: what payouts hold in the end
    unmatched: of what sellers paid, settled and were billed, which two events say each: the difference between them
        and the position of the first
    up_to_date: accounts of sellers that have what was charged beside orders
    sales, scores: what orders add to reports: orders, revenue, commission and the last position, by whom they are
        credited to; and points with the last position, by board
    moves, shared_sums: how many moves of balances the part has, and the sums of the blocks of positions that it
        shares with its neighbours, by block
    keys_named_from: the first event that names the idempotency key of its command
    unsealed: events behind the last seal
    bodies_without_digest: deliveries whose bytes no event names the digest of
    """

    results: dict[Pass, PassResult]
    balances: BalanceBook = field(default_factory=BalanceBook)
    courses: dict[BalanceKey, Course] = field(default_factory=dict)
    drawn: list[Drawn] = field(default_factory=list)
    assumed_lines: dict[BalanceKey, int] = field(default_factory=dict)
    unexplained: dict[str, int] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)
    irregular_streams: set[str] = field(default_factory=set)
    terms_heads: dict[str, int] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    unmatched: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    up_to_date: set[str] = field(default_factory=set)
    sales: dict[Credit, list[int]] = field(default_factory=dict)
    scores: dict[ScoreKey, Score] = field(default_factory=dict)
    moves: int = 0
    shared_sums: dict[int, dict[tuple[str, str, date], tuple[int, int]]] = field(default_factory=dict)
    keys_named_from: int | None = None
    unsealed: int = 0
    bodies_without_digest: int = 0

    def join(self, later: Part) -> None:
        """Add what a later part says."""
        for audit_pass, result in later.results.items():
            self.results[audit_pass].add(result)
        for drawn in later.drawn:
            before = self.balances.balances.get((drawn.account, drawn.currency), Balance()).amount
            self.drawn.append(drawn._replace(after=before + drawn.after))
        self.balances.join(later.balances.balances)
        for key, course in later.courses.items():
            self.courses[key] = self.courses.get(key, Course()).then(course)
        self.unexplained |= later.unexplained
        self.explained |= later.explained
        self.irregular_streams |= later.irregular_streams
        self.terms_heads |= later.terms_heads
        self.held += later.held
        for pair, (amount, position) in later.unmatched.items():
            self.match(pair, amount, position)
        self.up_to_date |= later.up_to_date
        for credit, added in later.sales.items():
            known = self.sales.get(credit, [0, 0, 0, 0])
            self.sales[credit] = [*(a + b for a, b in zip(known[:3], added[:3], strict=True)), added[3]]
        self.add_scores(later.scores)
        self.moves += later.moves
        for block, sums in later.shared_sums.items():
            known_sums = self.shared_sums.setdefault(block, {})
            for place, (amount, position) in sums.items():
                known_sums[place] = (known_sums.get(place, (0, 0))[0] + amount, position)
        if later.keys_named_from is not None:
            self.name_key_at(later.keys_named_from)
        self.unsealed += later.unsealed
        self.bodies_without_digest += later.bodies_without_digest

    def name_key_at(self, position: int) -> None:
        first = self.keys_named_from
        self.keys_named_from = position if first is None else min(first, position)

    def match(self, pair: tuple[str, ...], amount: int, position: int) -> None:
        """One of two events that name the pair says the amount, the other the same below zero."""
        known, first = self.unmatched.get(pair, (0, position))
        if known + amount:
            self.unmatched[pair] = [known + amount, min(first, position)]
        else:
            self.unmatched.pop(pair, None)

    def could_not_run(self, passes: Collection[Pass], reason: str) -> None:
        """None of these passes says anything of this part, whether they look at it or only build on it."""
        for audit_pass in passes:
            self.results.setdefault(audit_pass, PassResult(audit_pass=audit_pass)).could_not_run(reason)

    def add_scores(self, later: Mapping[ScoreKey, Score]) -> None:
        for key, (value, position) in later.items():
            self.scores[key] = (self.scores.get(key, (0, 0))[0] + value, position)

    def lines(self) -> dict[BalanceKey, int]:
        """How long each payee's line of cleared credits is after the parts joined so far."""
        return {key: balance.credited for key, balance in self.balances.balances.items() if balance.credited}


def new_part(passes: Collection[Pass]) -> Part:
    return Part(
        results={audit_pass: PassResult(audit_pass=audit_pass) for audit_pass in Pass if audit_pass in passes}
    )


def says_the_same(assumed: Mapping[BalanceKey, int], lines: Mapping[BalanceKey, int]) -> bool:
    return all(lines.get(key, 0) == length for key, length in assumed.items())
