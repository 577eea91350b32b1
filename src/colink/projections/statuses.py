"""What became of an entry's money: the status that belongs to an (order line, payee). Semantics section 6.

Derived when read from three things that are written inline: the order's claims, the places of its cleared credits on
the payee's line of credits, and the stretches of that line which payouts hold. Nothing here is stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from colink.domain import ledger
from colink.domain.payouts import RELEASED, PayoutStatus, Stretch
from colink.domain.split import Claim
from colink.projections.engine import Connection


class EntryStatus(StrEnum):
    REVERSED = "reversed"
    HELD = "held"
    PENDING = "pending"
    RESERVED = "reserved"
    PAID = "paid"
    CLEARED = "cleared"
    POSTED = "posted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The stretches of one payee's line of credits that live payouts have reserved and paid payouts have used."""

    reserved: tuple[Stretch, ...] = ()
    paid: tuple[Stretch, ...] = ()


def claim_status(claim: Claim, *, places: Sequence[Stretch], holdings: Holdings) -> EntryStatus:
    """The first that fits of: reversed (nothing is owed and nothing was paid), held, pending, reserved (a live payout
    holds some of it), paid (paid payouts hold all of it), cleared. `places`: where on the payee's line the
    claim's cleared credits are."""
    if claim.net == 0 and not _any_overlap(places, holdings.paid):
        return EntryStatus.REVERSED
    if claim.held > 0:
        return EntryStatus.HELD
    if claim.pending > 0:
        return EntryStatus.PENDING
    if _any_overlap(places, holdings.reserved):
        return EntryStatus.RESERVED
    if places and all(_covered(credit, holdings.paid) for credit in places):
        return EntryStatus.PAID
    return EntryStatus.CLEARED


def _overlap(a: Stretch, b: Stretch) -> int:
    return max(0, min(a.end, b.end) - max(a.start, b.start))


def _any_overlap(places: Sequence[Stretch], stretches: Sequence[Stretch]) -> bool:
    return any(_overlap(credit, stretch) for credit in places for stretch in stretches)


def _covered(credit: Stretch, stretches: Sequence[Stretch]) -> bool:
    """Whether the stretches, which never overlap each other, hold all of the credit."""
    return sum(_overlap(credit, stretch) for stretch in stretches) == credit.end - credit.start


@dataclass(kw_only=True)
class Statuses:
    """The statuses of all claims of some orders, for entries of these orders."""

    claims: Mapping[tuple[str, str | None, str], Claim] = field(default_factory=dict)
    places: Mapping[tuple[str, str | None, str], Sequence[Stretch]] = field(default_factory=dict)
    holdings: Mapping[tuple[str, str], Holdings] = field(default_factory=dict)

    def of_entry(self, *, account: str, currency: str, order_id: str | None, line_id: str | None) -> EntryStatus:
        """`posted` for entries of accounts that are no payee's pending or available, and for those of no order."""
        payee_id = ledger.payee_of(account)
        if payee_id is None or order_id is None:
            return EntryStatus.POSTED
        if account not in {ledger.payee_pending(payee_id), ledger.payee_available(payee_id)}:
            return EntryStatus.POSTED
        key = (order_id, line_id, payee_id)
        return claim_status(
            self.claims.get(key) or Claim(line_id=line_id, payee_id=payee_id, net=0),
            places=self.places.get(key, ()),
            holdings=self.holdings.get((payee_id, currency), Holdings()),
        )


_CLAIMS = msgspec.json.Decoder(list[Claim])
_STRETCHES = msgspec.json.Decoder(list[Stretch])


async def statuses_of(conn: Connection, order_ids: Collection[str]) -> Statuses:
    """Everything `Statuses` needs for entries of these orders."""
    orders = sorted(set(order_ids))
    if not orders:
        return Statuses()
    claims = await _claims_of(conn, orders)
    places = await _places_of(conn, orders)
    payees = sorted({payee_id for _, _, payee_id in claims} | {payee_id for _, _, payee_id in places})
    return Statuses(claims=claims, places=places, holdings=await _holdings_of(conn, payees))


async def _claims_of(conn: Connection, orders: Sequence[str]) -> dict[tuple[str, str | None, str], Claim]:
    cursor = await conn.execute(
        "SELECT order_id, claims FROM colink.orders WHERE order_id = ANY(%s) AND claims IS NOT NULL", (orders,)
    )
    return {
        (order_id, claim.line_id, claim.payee_id): claim
        for order_id, text in await cursor.fetchall()
        for claim in _CLAIMS.decode(text)
    }


async def _places_of(conn: Connection, orders: Sequence[str]) -> dict[tuple[str, str | None, str], list[Stretch]]:
    cursor = await conn.execute(
        "SELECT order_id, line_id, payee_id, credited_after - amount, credited_after FROM colink.entries"
        " WHERE order_id = ANY(%s) AND credited_after IS NOT NULL AND payee_id IS NOT NULL"
        " ORDER BY position, ordinal",
        (orders,),
    )
    places: dict[tuple[str, str | None, str], list[Stretch]] = defaultdict(list)
    for order_id, line_id, payee_id, start, end in await cursor.fetchall():
        places[order_id, line_id, payee_id].append(Stretch(start=start, end=end))
    return places


async def _holdings_of(conn: Connection, payees: Sequence[str]) -> dict[tuple[str, str], Holdings]:
    cursor = await conn.execute(
        "SELECT payee_id, currency, status, stretches FROM colink.payouts"
        " WHERE payee_id = ANY(%s) AND status <> ALL(%s) ORDER BY created_position",
        (payees, [status.value for status in RELEASED]),
    )
    reserved: dict[tuple[str, str], list[Stretch]] = defaultdict(list)
    paid: dict[tuple[str, str], list[Stretch]] = defaultdict(list)
    for payee_id, currency, status, stretches in await cursor.fetchall():
        held = paid if status == PayoutStatus.PAID else reserved
        held[payee_id, currency] += _STRETCHES.decode(stretches)
    return {
        key: Holdings(reserved=tuple(reserved[key]), paid=tuple(paid[key])) for key in reserved.keys() | paid.keys()
    }
