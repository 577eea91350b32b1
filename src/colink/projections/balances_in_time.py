"""Balances at any moment: what was effective by a time, what was recorded up to a position, and both at once.

Responsible for the running sums that make such a question cheap on millions of entries, and for answering it exactly
however far the sums have come. Not responsible for the newest balances (`colink.balances`, inline).

    journal.posted -> moves: what a journal added to an account, by effective time
                   -> sums: what a block of positions added to an account, by the day it was effective

    the sums of whole blocks before the position, of days before the time
    + the moves of that very day, up to the time         = the balance, by effective time T as recorded at position P
    + the entries behind the last whole block

A block never changes once the log has passed it, whatever is back-dated: a late entry lies in a later block, under
its earlier day. Blocks of three widths let any position be reached by few of them. What the sums have not come to
(or all, while there are none) is added from the entries themselves, so the answer never waits for a projection.

Days are UTC's. Amounts are signed minor units, credit above zero (decision 23).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from colink.domain.ledger import JournalPosted, payee_accounts
from colink.projections.arrays import numbers, texts
from colink.projections.logs import Connection, Log, LogEvent, Parts
from colink.projections.versions import table

WIDTHS = (2**12, 2**16, 2**20)
"""How many positions the blocks of each level hold; each is a multiple of the one before."""

_FEW = 64  # accounts that are looked up one by one; more are found by reading whole blocks


class PostingPart(msgspec.Struct, frozen=True, gc=False):
    account: str
    amount: int
    currency: str


class JournalPart(msgspec.Struct, frozen=True, gc=False):
    """`effective_at` as the log spells it."""

    effective_at: str
    postings: tuple[PostingPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Of an account in one currency: minor units, credit above zero."""

    account: str
    currency: str
    amount: int


class BalancesInTime:
    """The projection."""

    name: ClassVar[str] = "balances_in_time"
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {
        "balance_accounts": """(
            no       integer primary key,
            account  text    not null,
            currency text    not null,
            unique (account, currency)
        )""",
        "balance_moves": """(
            no           integer     not null,
            effective_at timestamptz not null,
            position     bigint      not null,
            amount       numeric     not null,
            primary key (no, effective_at, position) include (amount)
        )""",
        "balance_sums": """(
            level  integer not null,
            block  bigint  not null,
            no     integer not null,
            day    date    not null,
            amount numeric not null,
            primary key (level, block, no, day)
        ) WITH (fillfactor = 90)""",
    }
    parts: ClassVar[Mapping[Log, Parts]] = {Log.COMMERCE: {JournalPosted: JournalPart}}

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:  # noqa: ARG002 - it reads one log
        moves = list(moves_of((event.position, event.part) for event in events))
        if not moves:
            return
        accounts, currencies, times, positions, amounts = zip(*moves, strict=True)
        known = list(dict.fromkeys(zip(accounts, currencies, strict=True)))
        await conn.execute(
            f"INSERT INTO {table('balance_accounts', version)} (no, account, currency)"
            f" SELECT (SELECT coalesce(max(no), 0) FROM {table('balance_accounts', version)})"
            " + row_number() OVER (ORDER BY n), account, currency"
            " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS p (account, currency, n)"
            f" WHERE NOT EXISTS (SELECT FROM {table('balance_accounts', version)} a"
            " WHERE a.account = p.account AND a.currency = p.currency)",
            (texts([account for account, _ in known]), texts([currency for _, currency in known])),
        )
        levels = ", ".join(f"({level}, {width})" for level, width in enumerate(WIDTHS))
        await conn.execute(
            "WITH posted AS MATERIALIZED (SELECT a.no, p.effective_at, p.position, p.amount"
            " FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[], %s::numeric[])"
            f" AS p (account, currency, effective_at, position, amount) JOIN {table('balance_accounts', version)} a"
            " USING (account, currency)),"
            f" moved AS (INSERT INTO {table('balance_moves', version)} (no, effective_at, position, amount)"
            " SELECT no, effective_at, position, amount FROM posted)"
            f" INSERT INTO {table('balance_sums', version)} AS s (level, block, no, day, amount)"
            " SELECT w.level, (p.position - 1) / w.width, p.no, (p.effective_at AT TIME ZONE 'UTC')::date,"
            f" sum(p.amount) FROM posted p CROSS JOIN (VALUES {levels}) AS w (level, width) GROUP BY 1, 2, 3, 4"
            " ON CONFLICT (level, block, no, day) DO UPDATE SET amount = s.amount + excluded.amount",
            (texts(accounts), texts(currencies), texts(times), numbers(positions), numbers(amounts)),
        )


Move = tuple[str, str, str, int, int]
"""Account, currency, effective time, position, amount."""


def moves_of(journals: Iterable[tuple[int, JournalPart]]) -> Iterator[Move]:
    """What journals, given with their positions, add to each account."""
    for position, journal in journals:
        added: dict[tuple[str, str], int] = {}
        for posting in journal.postings:
            key = (posting.account, posting.currency)
            added[key] = added.get(key, 0) + posting.amount
        for (account, currency), amount in added.items():
            yield account, currency, journal.effective_at, position, amount


def whole_blocks(end: int) -> list[tuple[int, int]]:
    """The fewest blocks (level, number) that hold just the positions up to `end`, a multiple of the least width."""
    blocks = []
    start = 0
    for level in reversed(range(len(WIDTHS))):
        width = WIDTHS[level]
        blocks += [(level, number) for number in range(start // width, end // width)]
        start = end - end % width
    return blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The version of the sums that is read, and the positions up to which whole blocks of it are used."""

    version: int
    covered: int


async def find_sums(conn: Connection, *, at_position: int | None = None) -> Sums | None:
    """What there is of use up to a position (the newest where None); None where the entries alone tell."""
    cursor = await conn.execute(
        "SELECT p.live_version, c.position FROM colink.projections p JOIN colink.projection_checkpoints c"
        " ON c.projection = p.name AND c.version = p.live_version AND c.log = %s WHERE p.name = %s AND p.shape = %s",
        (Log.COMMERCE.value, BalancesInTime.name, BalancesInTime.shape),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    version, come = row
    covered = come if at_position is None else min(come, at_position)
    covered -= covered % WIDTHS[0]
    return Sums(version=version, covered=covered) if covered > 0 else None


async def list_balances(
    conn: Connection,
    *,
    account: str | None = None,
    prefix: str | None = None,
    payee_id: str | None = None,
    as_of: datetime | None = None,
    at_position: int | None = None,
) -> list[Balance]:
    """Balances by account and currency; of one account, of those that start with `prefix`, of a payee's accounts.

    as_of: by effective time, that time included; at_position: as recorded up to that log position. Without either,
    the newest. Zero balances are listed once something was posted.
    """
    wanted = await _wanted(conn, account=account, prefix=prefix, payee_id=payee_id)
    if as_of is None and at_position is None:
        query = f"SELECT account, currency, amount FROM colink.balances WHERE {wanted.condition}"
        values = wanted.values
    else:
        query, values = await _in_time(conn, wanted, as_of=as_of, at_position=at_position)
    cursor = await conn.execute(f"{query} ORDER BY account, currency", values)
    return [
        Balance(account=name, currency=currency, amount=int(amount))
        for name, currency, amount in await cursor.fetchall()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which accounts: a condition on a column `account`. `few`: they are named, so looking them up is cheap."""

    condition: str
    values: dict[str, object]
    few: bool


async def _wanted(conn: Connection, *, account: str | None, prefix: str | None, payee_id: str | None) -> _Wanted:
    conditions: list[str] = []
    values: dict[str, object] = {}
    named: Sequence[str] | None = None
    if account is not None:
        named = [account]
    if payee_id is not None:
        own = payee_accounts(payee_id)
        named = own if named is None else [each for each in named if each in own]
    if prefix is not None and named is None:
        cursor = await conn.execute(
            "SELECT DISTINCT account FROM colink.balances WHERE starts_with(account, %s) LIMIT %s", (prefix, _FEW + 1)
        )
        found = [name for (name,) in await cursor.fetchall()]
        named = found if len(found) <= _FEW else None
    if named is not None:
        conditions.append("account = ANY(%(accounts)s)")
        values["accounts"] = list(named)
    if prefix is not None:
        conditions.append("starts_with(account, %(prefix)s)")
        values["prefix"] = prefix
    return _Wanted(condition=" AND ".join(conditions) or "true", values=values, few=named is not None)


async def _in_time(
    conn: Connection, wanted: _Wanted, *, as_of: datetime | None, at_position: int | None
) -> tuple[str, dict[str, object]]:
    """One statement, so that sums and entries are of one moment, and its values."""
    sums = await find_sums(conn, at_position=at_position)
    covered = sums.covered if sums is not None else 0
    conditions = [wanted.condition]
    values = {**wanted.values, "covered": covered}
    if covered:
        conditions.append("position > %(covered)s")
    if at_position is not None:
        conditions.append("position <= %(at_position)s")
        values["at_position"] = at_position
    if as_of is not None:
        conditions.append("effective_at <= %(as_of)s")
        values["as_of"] = as_of
    added = f"SELECT account, currency, amount FROM colink.entries WHERE {' AND '.join(conditions)}"
    if sums is not None:
        summed, more = _summed(sums, wanted, as_of=as_of)
        added = f"{summed} UNION ALL {added}"
        values |= more
    return f"SELECT account, currency, sum(amount) FROM ({added}) AS added GROUP BY account, currency", values


def _summed(sums: Sums, wanted: _Wanted, *, as_of: datetime | None) -> tuple[str, dict[str, object]]:
    blocks = whole_blocks(sums.covered)
    values: dict[str, object] = {
        "levels": [level for level, _ in blocks],
        "blocks": [number for _, number in blocks],
    }
    accounts, moves, totals = (
        table(name, sums.version) for name in ("balance_accounts", "balance_moves", "balance_sums")
    )
    named = f"SELECT no, account, currency FROM {accounts} WHERE {wanted.condition}"
    of_account = "AND s.no = a.no" if wanted.few else ""
    before = "AND s.day < %(day)s" if as_of is not None else ""
    # Grouped block by block: there the rows are in the order of the index, so nothing is sorted.
    parts = (
        "SELECT s.no, s.amount FROM unnest(%(levels)s::integer[], %(blocks)s::bigint[]) AS b (level, block)"
        + (" CROSS JOIN named a" if wanted.few else "")
        + f" CROSS JOIN LATERAL (SELECT s.no, sum(s.amount) AS amount FROM {totals} s"
        f" WHERE s.level = b.level AND s.block = b.block {of_account} {before} GROUP BY s.no OFFSET 0) s"
    )
    if as_of is not None:
        midnight = as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        values |= {"day": midnight.date(), "midnight": midnight}
        parts += (
            " UNION ALL SELECT m.no, m.amount FROM named a CROSS JOIN LATERAL"
            f" (SELECT m.no, m.amount FROM {moves} m WHERE m.no = a.no AND m.effective_at >= %(midnight)s"
            " AND m.effective_at <= %(as_of)s AND m.position <= %(covered)s OFFSET 0) m"
        )
    # Added up before they are named: who knows how many accounts begin alike? The planner does not, and did all this
    # once for each of them.
    return (
        f"(WITH named AS MATERIALIZED ({named}),"
        f" summed AS MATERIALIZED (SELECT no, sum(amount) AS amount FROM ({parts}) AS parts GROUP BY no)"
        " SELECT a.account, a.currency, s.amount FROM summed s JOIN named a USING (no))"
    ), values
