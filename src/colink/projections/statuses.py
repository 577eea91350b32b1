"""What became of an entry's money: the status that belongs to an (order line, payee). Semantics section 6.

Derived when read from three things that are written inline: the order's claims, the places of its cleared credits on
the payee's line of credits, and the stretches of that line which payouts hold. Nothing here is stored.

A payout also takes credits that were reversed before it: with them it nets the debits of the reversals, and nobody is
paid (domain.payout_funds). So of a claim that came to nothing something was paid only by payouts that were requested
while it had money: a credit carries the log position of the entry that left its claim with nothing, a payout's
stretch that of the request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from colink.domain import ledger
from colink.domain.payout_funds import Stretch
from colink.domain.payouts import RELEASED, PayoutStatus
from colink.domain.split import Claim
from colink.projections.engine import Connection
from colink.projections.entries import IN_ORDERS
from colink.projections.payouts import STATUS_AFTER

ClaimKey = tuple[str, str | None, str]  # (order, line, payee)
Move = tuple[int, int, int | None]  # (log position, amount, length of the line after it where it lengthens it)


class EntryStatus(StrEnum):
    REVERSED = "reversed"
    HELD = "held"
    PENDING = "pending"
    RESERVED = "reserved"
    PAID = "paid"
    CLEARED = "cleared"
    POSTED = "posted"


@dataclass(frozen=True, kw_only=True)
class Place(Stretch):
    """Where on the payee's line a cleared credit of a claim is. `void_from`: the log position of the entry with which
    the claim had no money available any more (refunded, or held again), None while it has."""

    void_from: int | None = None


@dataclass(frozen=True, kw_only=True)
class Taken(Stretch):
    """What a payout holds of the payee's line. `requested`: the log position of its request, which reserved it."""

    requested: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The stretches of one payee's line of credits that live payouts have reserved and paid payouts have used."""

    reserved: tuple[Taken, ...] = ()
    paid: tuple[Taken, ...] = ()


def claim_status(claim: Claim, *, places: Sequence[Place], holdings: Holdings) -> EntryStatus:
    """The first that fits of: reversed (nothing is owed and nothing was paid), held, pending, reserved (a live payout
    holds some of it), paid (paid payouts hold all of it), cleared. `places`: where on the payee's line the
    claim's cleared credits are."""
    if claim.net == 0 and not _was_paid(places, holdings.paid):
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


def _was_paid(places: Sequence[Place], paid: Sequence[Taken]) -> bool:
    """Whether a paid payout was requested on some of the credits before they came to nothing."""
    return any(
        _overlap(credit, stretch) > 0 and (credit.void_from is None or stretch.requested < credit.void_from)
        for credit in places
        for stretch in paid
    )


def _any_overlap(places: Sequence[Stretch], stretches: Sequence[Stretch]) -> bool:
    return any(_overlap(credit, stretch) for credit in places for stretch in stretches)


def _covered(credit: Stretch, stretches: Sequence[Stretch]) -> bool:
    """Whether the stretches, which never overlap each other, hold all of the credit."""
    return sum(_overlap(credit, stretch) for stretch in stretches) == credit.end - credit.start


@dataclass(kw_only=True)
class Statuses:
    """The statuses of all claims of some orders, for entries of these orders."""

    claims: Mapping[ClaimKey, Claim] = field(default_factory=dict)
    places: Mapping[ClaimKey, Sequence[Place]] = field(default_factory=dict)
    holdings: Mapping[tuple[str, str], Holdings] = field(default_factory=dict)

    def of_entry(
        self, *, account: str, purpose: str, currency: str, order_id: str | None, line_id: str | None
    ) -> EntryStatus:
        """`posted` for entries of accounts that are no payee's pending or available, and for those of no claim: of no
        order, or the fee of a dispute."""
        payee_id = ledger.payee_of(account)
        if payee_id is None or order_id is None or purpose == ledger.Purpose.DISPUTE_FEE:
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
_NEWEST = 2**63 - 1  # no position is higher
_STRETCHES = msgspec.json.Decoder(list[Stretch])


async def statuses_of(conn: Connection, order_ids: Collection[str], *, at_position: int | None = None) -> Statuses:
    """Everything `Statuses` needs for entries of these orders; as recorded up to a log position where one is given,
    which costs reading the orders' events."""
    orders = sorted(set(order_ids))
    if not orders:
        return Statuses()
    if at_position is None:
        claims = await _claims_of(conn, orders)
    else:
        claims = await _claims_at(conn, orders, at_position)
    places = await _places_of(conn, orders, at_position)
    payees = sorted({payee_id for _, _, payee_id in claims} | {payee_id for _, _, payee_id in places})
    if at_position is None:
        holdings = await _holdings_of(conn, payees)
    else:
        holdings = await _holdings_at(conn, payees, at_position)
    return Statuses(claims=claims, places=places, holdings=holdings)


async def _claims_of(conn: Connection, orders: Sequence[str]) -> dict[ClaimKey, Claim]:
    cursor = await conn.execute(
        "SELECT order_id, claims FROM colink.orders WHERE order_id = ANY(%s) AND claims IS NOT NULL", (orders,)
    )
    return _by_key(await cursor.fetchall())


async def _claims_at(conn: Connection, orders: Sequence[str], at_position: int) -> dict[ClaimKey, Claim]:
    """An event that changes an order's claims carries all of them, by itself or in its split."""
    cursor = await conn.execute(
        "SELECT DISTINCT ON (stream_id) stream_id, claims FROM (SELECT stream_id, version,"
        " coalesce(payload::jsonb #> '{split,claims}', payload::jsonb -> 'claims') AS claims FROM colink.events"
        " WHERE stream_id = ANY(%s) AND position <= %s) e WHERE jsonb_typeof(claims) = 'array'"
        " ORDER BY stream_id, version DESC",
        (orders, at_position),
    )
    return _by_key([(order_id, msgspec.json.encode(claims)) for order_id, claims in await cursor.fetchall()])


def _by_key(rows: Iterable[tuple[str, str | bytes]]) -> dict[ClaimKey, Claim]:
    return {
        (order_id, claim.line_id, claim.payee_id): claim for order_id, text in rows for claim in _CLAIMS.decode(text)
    }


async def _places_of(conn: Connection, orders: Sequence[str], at_position: int | None) -> dict[ClaimKey, list[Place]]:
    cursor = await conn.execute(
        "SELECT order_id, line_id, payee_id, account, position, amount, credited_after FROM colink.entries"
        f" WHERE {IN_ORDERS} AND payee_id IS NOT NULL AND purpose <> %(no_claim)s"
        " AND position <= %(at_position)s ORDER BY position, ordinal",
        {
            "order_ids": orders,
            "no_claim": ledger.Purpose.DISPUTE_FEE.value,
            "at_position": _NEWEST if at_position is None else at_position,
        },
    )
    moves: dict[ClaimKey, list[Move]] = defaultdict(list)
    for order_id, line_id, payee_id, account, position, amount, credited_after in await cursor.fetchall():
        if account == ledger.payee_available(payee_id):
            moves[order_id, line_id, payee_id].append((position, amount, credited_after))
    return {key: places_after(claim_moves) for key, claim_moves in moves.items()}


def places_after(moves: Iterable[Move]) -> list[Place]:
    """The places of a claim's cleared credits, from all that moved its available money, in the order of the log."""
    void: list[Place] = []
    live: list[Place] = []
    available = 0
    for position, amount, credited_after in moves:
        available += amount
        if credited_after is not None:
            live.append(Place(start=credited_after - amount, end=credited_after))
        if available <= 0:
            void += [replace(place, void_from=position) for place in live]
            live = []
    return void + live


async def _holdings_of(conn: Connection, payees: Sequence[str]) -> dict[tuple[str, str], Holdings]:
    cursor = await conn.execute(
        "SELECT payee_id, currency, status, stretches, created_position FROM colink.payouts"
        " WHERE payee_id = ANY(%s) AND status <> ALL(%s) ORDER BY created_position",
        (payees, [status.value for status in RELEASED]),
    )
    return _holdings(await cursor.fetchall())


async def _holdings_at(conn: Connection, payees: Sequence[str], at_position: int) -> dict[tuple[str, str], Holdings]:
    cursor = await conn.execute(
        "SELECT p.payee_id, p.currency, e.topic, p.stretches, p.created_position FROM colink.payouts p"
        " CROSS JOIN LATERAL (SELECT topic FROM colink.events WHERE stream_id = p.payout_id AND position <= %s"
        " ORDER BY version DESC LIMIT 1) e WHERE p.payee_id = ANY(%s) ORDER BY p.created_position",
        (at_position, payees),
    )
    rows = [
        (payee, currency, STATUS_AFTER[topic], *held) for payee, currency, topic, *held in await cursor.fetchall()
    ]
    return _holdings([row for row in rows if row[2] not in RELEASED])


def _holdings(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str], Holdings]:
    """Of payouts: payee, currency, status, stretches and the position of the request."""
    reserved: dict[tuple[str, str], list[Taken]] = defaultdict(list)
    paid: dict[tuple[str, str], list[Taken]] = defaultdict(list)
    for payee_id, currency, status, stretches, requested in rows:
        held = paid if status == PayoutStatus.PAID else reserved
        held[payee_id, currency] += (
            Taken(start=part.start, end=part.end, requested=requested) for part in _STRETCHES.decode(stretches)
        )
    return {
        key: Holdings(reserved=tuple(reserved[key]), paid=tuple(paid[key])) for key in reserved.keys() | paid.keys()
    }
