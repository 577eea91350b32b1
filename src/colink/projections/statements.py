"""What a payee earned and was paid in a period: opening balance, every entry with its reason, closing, payouts.

Responsible for the figures; `statement_forms.py` writes them down. A statement is by effective time and as recorded
up to a position of the log, both stated in it: with the same position it is the same at any later time, whatever was
recorded since. It covers `start` to `end`, the end excluded.

A payee has three accounts (semantics section 6): pending, available, in transit. What is owed is their sum; moving
money between them (clearing, reserving a payout) changes none of it. Amounts are signed minor units, credit above
zero.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from colink.application.privacy.people import People
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ledger import payee_accounts
from colink.domain.money import currency_exponent
from colink.domain.organizations import OrganizationDetails
from colink.projections.balances_in_time import find_sums, list_balances
from colink.projections.documents import document_by_id
from colink.projections.engine import Connection, Log, head, table
from colink.projections.payouts import STATUS_AFTER
from colink.projections.person_keys import SnapshotKeys
from colink.projections.seals import PublishedCheckpoint, checkpoint_before
from colink.projections.statuses import statuses_of

_JOURNALS_A_PAGE = 500
_BEFORE_ALL = -1
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in a payee's accounts."""

    pending: int = 0
    available: int = 0
    in_transit: int = 0

    @property
    def owed(self) -> int:
        return self.pending + self.available + self.in_transit


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPayout:
    """A payout under way in the period: its state as recorded at the statement's position, and since when it is."""

    id: str
    amount: int
    status: str
    requested_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry. `account`: which of the three; `balance`: what is owed after it; `reason` is of whoever made the
    journal by hand. `occurred_at`: its own time where a closed period moved `effective_at`."""

    position: int
    ordinal: int
    journal_id: str
    kind: str
    account: str
    purpose: str
    amount: int
    balance: int
    status: str
    order_id: str | None
    order_number: str | None
    line_id: str | None
    payout_id: str | None
    reason: str | None
    effective_at: datetime
    occurred_at: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """All but the entries, which `lines` gives. `checkpoint`: the newest signed tree head of what was recorded by
    `position`, None while there is none."""

    payee_id: str
    payee_name: str
    currency: str
    start: datetime
    end: datetime
    position: int
    checkpoint: PublishedCheckpoint | None
    opening: Standing
    closing: Standing
    payouts: Sequence[StatedPayout]


async def make_statement(
    conn: Connection,
    people: People,
    *,
    payee_id: str,
    start: datetime,
    end: datetime,
    currency: str | None = None,
    at_position: int | None = None,
) -> Statement:
    """As recorded up to `at_position`, the head where None; `people` opens the payee's name. Raises NotFound for a
    payee that nobody knows; InvalidInput for a period, position or currency that is none, and where there are several
    currencies and none is given."""
    if start >= end:
        raise InvalidInput("the period ends before it begins: give a later time", field="to")
    if currency is not None:
        currency_exponent(currency)
    newest = await head(conn, Log.COMMERCE)
    position = newest if at_position is None else at_position
    if not 0 <= position <= newest:
        msg = f"the log ends at position {newest}: give a position up to that"
        raise InvalidInput(msg, field="at_position")
    name = await _name_of(conn, people, payee_id)
    if currency is None:
        currency = await _only_currency(conn, payee_id, position)
    return Statement(
        payee_id=payee_id,
        payee_name=name,
        currency=currency,
        start=start,
        end=end,
        position=position,
        checkpoint=await checkpoint_before(conn, position),
        opening=await _standing(conn, payee_id, currency, before=start, position=position),
        closing=await _standing(conn, payee_id, currency, before=end, position=position),
        payouts=await _payouts(conn, payee_id, currency, start=start, end=end, position=position),
    )


async def _name_of(conn: Connection, people: People, payee_id: str) -> str:
    """A creator's handle as it may be read now: an erased one has a label instead."""
    creator = await document_by_id(conn, CreatorDetails, payee_id)
    if creator is not None:
        sealed = {"id": payee_id, "handle": creator.details(CreatorDetails).handle}
        [shown] = await people.reading(SnapshotKeys(conn)).show_creators([sealed])
        return str(shown["handle"])
    organization = await document_by_id(conn, OrganizationDetails, payee_id)
    if organization is None:
        raise NotFound("there is no such payee", field="payee_id")
    return organization.details(OrganizationDetails).name


async def _only_currency(conn: Connection, payee_id: str, position: int) -> str:
    balances = await list_balances(conn, payee_id=payee_id, at_position=position)
    currencies = sorted({balance.currency for balance in balances})
    if len(currencies) != 1:
        known = f"has entries in {', '.join(currencies)}" if currencies else "has no entries yet"
        msg = f"{payee_id} {known}: say which currency the statement is in"
        raise InvalidInput(msg, field="currency")
    return currencies[0]


async def _standing(conn: Connection, payee_id: str, currency: str, *, before: datetime, position: int) -> Standing:
    if before <= _FIRST_MOMENT:
        return Standing()  # nothing was before it
    as_of = before - timedelta(microseconds=1)  # the smallest step there is
    balances = await list_balances(conn, payee_id=payee_id, as_of=as_of, at_position=position)
    amounts = {part_of(each.account): each.amount for each in balances if each.currency == currency}
    return Standing(**amounts)


def part_of(account: str) -> str:
    """Which of a payee's accounts: pending, available or in_transit."""
    return account.rpartition(":")[2]


async def _payouts(
    conn: Connection, payee_id: str, currency: str, *, start: datetime, end: datetime, position: int
) -> list[StatedPayout]:
    cursor = await conn.execute(
        "SELECT p.payout_id, p.amount, last.topic, first.recorded_at, last.recorded_at FROM colink.payouts p"
        " JOIN colink.events first ON first.position = p.created_position"
        " CROSS JOIN LATERAL (SELECT topic, recorded_at FROM colink.events e WHERE e.stream_id = p.payout_id"
        " AND e.position <= %(position)s ORDER BY version DESC LIMIT 1) last"
        " WHERE p.payee_id = %(payee)s AND p.currency = %(currency)s AND p.created_position <= %(position)s"
        " AND first.recorded_at < %(end)s AND last.recorded_at >= %(start)s ORDER BY p.created_position",
        {"payee": payee_id, "currency": currency, "start": start, "end": end, "position": position},
    )
    return [
        StatedPayout(
            id=id_, amount=amount, status=STATUS_AFTER[topic], requested_at=requested_at, changed_at=changed_at
        )
        for id_, amount, topic, requested_at, changed_at in await cursor.fetchall()
    ]


async def lines(conn: Connection, statement: Statement) -> AsyncIterator[Line]:
    """The entries by effective time, then as recorded; some hundred journals are in memory at a time."""
    owed = statement.opening.owed
    after = (statement.start, _BEFORE_ALL)
    while rows := await _page(conn, statement, after=after):
        orders = {row["order_id"] for row in rows if row["order_id"] is not None}
        statuses = await statuses_of(conn, orders, at_position=statement.position)
        numbers = await _order_numbers(conn, orders)
        for row in rows:
            owed += row["amount"]
            status = statuses.of_entry(
                account=row["account"],
                currency=statement.currency,
                order_id=row["order_id"],
                line_id=row["line_id"],
                purpose=row["purpose"],
            )
            yield Line(
                **{**row, "account": part_of(row["account"])},
                balance=owed,
                status=status.value,
                order_number=numbers.get(row["order_id"]),
            )
        after = (rows[-1]["effective_at"], rows[-1]["position"])


async def _page(conn: Connection, statement: Statement, *, after: tuple[datetime, int]) -> list[dict[str, Any]]:
    """The entries of the next journals. Where they are is known by the moves behind the balances, as far as those
    have come, and by the entries themselves behind that."""
    sums = await find_sums(conn, at_position=statement.position)
    covered = sums.covered if sums is not None else 0
    within = "effective_at >= %(start)s AND effective_at < %(end)s AND (effective_at, position) > (%(at)s, %(after)s)"
    order = "ORDER BY effective_at, position LIMIT %(limit)s"
    places = (
        "(SELECT DISTINCT effective_at, position FROM colink.entries WHERE account = ANY(%(accounts)s)"
        f" AND currency = %(currency)s AND position > %(covered)s AND position <= %(position)s AND {within} {order})"
    )
    if sums is not None:
        accounts, moves = (table(name, sums.version) for name in ("balance_accounts", "balance_moves"))
        places += (
            f" UNION (SELECT m.effective_at, m.position FROM {accounts} a CROSS JOIN LATERAL"
            f" (SELECT effective_at, position FROM {moves} WHERE no = a.no AND position <= %(covered)s AND {within}"
            f" {order}) m WHERE a.account = ANY(%(accounts)s) AND a.currency = %(currency)s)"
        )
    cursor = await conn.execute(
        f"WITH places AS MATERIALIZED (SELECT * FROM ({places}) p {order})"
        " SELECT e.position, e.ordinal, e.journal_id, e.kind, e.account, e.purpose, e.amount, e.order_id, e.line_id,"
        " e.payout_id, j.payload::json ->> 'reason', e.effective_at,"
        " (j.payload::json ->> 'occurred_at')::timestamptz, e.recorded_at"
        " FROM places p JOIN colink.entries e ON e.position = p.position"
        " JOIN colink.events j ON j.position = p.position"
        " WHERE e.account = ANY(%(accounts)s) AND e.currency = %(currency)s"
        " ORDER BY e.effective_at, e.position, e.ordinal",
        {
            "accounts": list(payee_accounts(statement.payee_id)),
            "currency": statement.currency,
            "start": statement.start,
            "end": statement.end,
            "position": statement.position,
            "covered": covered,
            "at": after[0],
            "after": after[1],
            "limit": _JOURNALS_A_PAGE,
        },
    )
    return [dict(zip(_COLUMNS, row, strict=True)) for row in await cursor.fetchall()]


_COLUMNS = (
    "position",
    "ordinal",
    "journal_id",
    "kind",
    "account",
    "purpose",
    "amount",
    "order_id",
    "line_id",
    "payout_id",
    "reason",
    "effective_at",
    "occurred_at",
    "recorded_at",
)


async def _order_numbers(conn: Connection, orders: set[str]) -> Mapping[str | None, str]:
    """What the shop calls them, as first told."""
    if not orders:
        return {}
    cursor = await conn.execute(
        "SELECT DISTINCT ON (stream_id) stream_id, payload::json #>> '{snapshot,number}' FROM colink.events"
        " WHERE stream_id = ANY(%s) AND payload::json #>> '{snapshot,number}' IS NOT NULL"
        " ORDER BY stream_id, version",
        (sorted(orders),),
    )
    return dict(await cursor.fetchall())
