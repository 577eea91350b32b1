"""One order of the model: what arrived of it, what it is owed by now, and what was posted."""

from __future__ import annotations

from colink.simulation.model.balances import Change
from colink.simulation.model.deliveries import Facts, Told
from colink.simulation.model.money import ClaimKey

FAR = 1 << 60  # later than anything


class Order:
    """One order as predicted. `cleared` is K of each claim, as if those of `held_whole` were not held."""

    def __init__(self, store: Facts, number: str) -> None:
        self.store = store
        self.number = number
        self.told = Told()
        self.seen: set[tuple[str, str]] = set()
        self.extent: tuple[int, int] | None = None
        self.rules_known: int | None = None
        self.credit: Facts = {"creator": None, "campaign": None, "own_link": False, "made": None}
        self.money: Facts | None = None
        self.due: dict[ClaimKey, list[tuple[int, int]]] = {}
        self.cleared: dict[ClaimKey, int] = {}
        self.held_whole: set[ClaimKey] = set()
        self.has_cleared = False
        self.by_hand = False
        self.reviews: set[tuple[str | None, str | None]] = set()
        self.own_link_of: str | None = None
        self.released: Facts | None = None
        self.owed = 0
        self.posted: Change = {}
        self.counted_in: dict[tuple[str, str, str, str, str], None] = {}
        self.billed: dict[tuple[str, str], int] = {}
        self.settled = 0
        self.has_pending = False
        self.cleared_in_all = 0
        self.currency = ""
        self.next_due: int | None = None

    @property
    def receivable(self) -> int:
        """What a seller who collects himself owes for it."""
        return -sum(self.billed.values())

    @property
    def returnable(self) -> int:
        """What of the money that its seller paid may be taken back: not what pays for what has cleared; nothing
        where all has."""
        return max(self.settled - self.cleared_in_all, 0) if self.has_pending else 0

    def gives_back(self) -> None:
        """What was paid too much for it is for others now. What had cleared and is not owed any more clears anew if
        it is owed again."""
        owed = self.money["owed"] if self.money else {}
        for key in self.cleared:
            self.cleared[key] = min(self.cleared[key], max(owed.get(key, 0), 0))

    def forgets_what_is_not_owed(self) -> None:
        """What pays for something that clears now paid for it once: owed again, that clears anew."""
        owed = self.money["owed"] if self.money else {}
        for key in self.cleared.keys() - self.held_whole:
            self.cleared[key] = min(self.cleared[key], max(owed.get(key, 0), 0))

    def is_returned(self) -> None:
        """What was paid for it was taken back. What a hold took of what had cleared is not given back any more."""
        for key in self.held_whole:
            self.cleared.pop(key, None)

    @property
    def is_unpaid(self) -> bool:
        """Whether its seller has not paid all that he owes for it."""
        return self.settled < self.receivable

    def available(self, key: ClaimKey) -> int:
        """What somebody has of what is owed there, where nothing of it is held."""
        owed = int(self.money["owed"].get(key, 0)) if self.money else 0
        return max(min(owed, self.cleared.get(key, 0)), 0)

    def latest_due(self, line_id: str) -> int:
        """When the last of what anybody is owed of a line is due; 0 where nobody is."""
        return max((at for key, steps in self.due.items() if key[0] == line_id for at, _ in steps), default=0)

    @property
    def placed_at(self) -> int:
        return int(self.told.in_order[0]["placed_at"])

    @property
    def lines_told(self) -> list[str]:
        """Of the newest snapshot."""
        return [str(line["id"]) for line in self.told.in_order[-1]["lines"]]

    def stops(self, key: ClaimKey) -> bool:
        """Whether nothing of what is owed there may clear: somebody looks into it, the buyer asks their bank, or the
        creator bought through their own link."""
        line_id, payee = key
        own_link = self.credit["own_link"] and payee == self.credit["creator"] and payee != self.own_link_of
        reviewed = any(who in {None, payee} and line in {None, line_id} for who, line in self.reviews)
        return own_link or reviewed or self.told.dispute_at(FAR)[0] == "holds"
