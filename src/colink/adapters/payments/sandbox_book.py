"""What the sandbox provider remembers: payouts, idempotency keys, callbacks to deliver. One SQLite file.

A payout's status is a function of time: pending for `delay_ms`, then its outcome; a returned one is paid first, for
as long again. One that is paid with a failure code is paid after all: it is called failed for good, for `delay_ms`.
So a restart forgets nothing and nothing has to run for a status to move. Times are milliseconds since 1970, of the
provider's own clock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from colink.domain.payout_accounts import SandboxFault, SandboxOutcome

_SCHEMA = """
create table if not exists payouts (
    seq integer primary key autoincrement, id text not null unique, reference text not null, amount integer not null,
    currency text not null, outcome text not null, failure_code text, fee integer not null, delay_ms integer not null,
    metadata_payout text, created_ms integer not null
) strict;
create index if not exists payouts_reference on payouts (reference);
create index if not exists payouts_metadata on payouts (metadata_payout);
create table if not exists keys (
    key text primary key, digest text not null, answer blob not null, created_ms integer not null
) strict;
create table if not exists faults_shown (key text primary key) strict;
create table if not exists callbacks (
    id text primary key, payout_id text not null, status text not null, due_ms integer not null,
    tries integer not null default 0, delivered integer not null default 0
) strict;
create index if not exists callbacks_due on callbacks (due_ms) where delivered = 0;
"""
Encode = Callable[[Any], bytes]
_DOWN = {SandboxFault.CHANNEL_DOWN: SandboxOutcome.FAILED, SandboxFault.PAID_AFTER_ALL: SandboxOutcome.PAID}
"""How a first attempt ends that is called failed as a channel is down."""
_LEASE_MS = 60_000
_MOST_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A payout as asked for, checked."""

    reference: str
    amount: int
    currency: str
    outcome: SandboxOutcome
    delay_ms: int
    fault: SandboxFault | None
    payout_id: str | None


@dataclass(frozen=True, kw_only=True)
class Callback:
    """One notice of a status, to be delivered at least once."""

    id: str
    payout_id: str
    status: str
    tries: int


class KeyReused(Exception):
    """The idempotency key was used with another request."""


class Book:
    """`fee`: minor units charged for each payout that is paid; `key_lifetime_ms`: how long keys are remembered."""

    def __init__(self, path: Path, *, fee: int = 0, key_lifetime_ms: int = 86_400_000) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.executescript(_SCHEMA)
        self._fee = fee
        self._key_lifetime_ms = key_lifetime_ms

    def close(self) -> None:
        self._db.close()

    def answered(self, key: str, digest: str, *, now_ms: int) -> bytes | None:
        """The first answer to this key, while it is remembered. Raises KeyReused."""
        row = self._db.execute(
            "select digest, answer from keys where key = ? and created_ms > ?", (key, now_ms - self._key_lifetime_ms)
        ).fetchone()
        if row is None:
            return None
        if row["digest"] != digest:
            raise KeyReused
        return bytes(row["answer"])

    def show_fault(self, key: str) -> bool:
        """True the first time a key comes with a fault that is shown once."""
        return self._db.execute("insert or ignore into faults_shown values (?)", (key,)).rowcount == 1

    def accept(self, wish: Wish, *, key: str, digest: str, now_ms: int, encode: Encode) -> tuple[bytes, bool]:
        """Take a payout on, once per key: the answer, and whether it was given before. Raises KeyReused."""
        with self._transaction():
            known = self.answered(key, digest, now_ms=now_ms)
            if known is not None:
                return known, True
            failure_code, outcome = None, wish.outcome
            if wish.fault in _DOWN and self._is_first_attempt(wish):
                failure_code, outcome = "channel_unavailable", _DOWN[wish.fault]
            elif outcome is SandboxOutcome.FAILED:
                failure_code = "account_invalid"
            elif outcome is SandboxOutcome.RETURNED:
                failure_code = "account_closed"
            payout_id = f"sbx_{uuid4().hex}"
            self._db.execute(
                "insert into payouts (id, reference, amount, currency, outcome, failure_code, fee, delay_ms,"
                " metadata_payout, created_ms) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    payout_id,
                    wish.reference,
                    wish.amount,
                    wish.currency,
                    outcome,
                    failure_code,
                    self._fee,
                    wish.delay_ms,
                    wish.payout_id,
                    now_ms,
                ),
            )
            if outcome is SandboxOutcome.PAID and failure_code:
                self._schedule_callback(payout_id, SandboxOutcome.FAILED, now_ms)
            self._schedule_callbacks(payout_id, outcome, now_ms, wish.delay_ms)
            answer = encode(self.payout(payout_id, now_ms=now_ms))
            self._db.execute("insert or replace into keys values (?, ?, ?, ?)", (key, digest, answer, now_ms))
            return answer, False

    def _is_first_attempt(self, wish: Wish) -> bool:
        found = self._db.execute("select 1 from payouts where metadata_payout = ? limit 1", (wish.payout_id,))
        return found.fetchone() is None

    def _schedule_callbacks(self, payout_id: str, outcome: SandboxOutcome, now_ms: int, delay_ms: int) -> None:
        steps = {SandboxOutcome.RETURNED: ("paid", "returned")}.get(outcome, (outcome.value,))
        for number, status in enumerate(steps, start=1):
            self._schedule_callback(payout_id, status, now_ms + number * delay_ms)

    def _schedule_callback(self, payout_id: str, status: str, due_ms: int) -> None:
        self._db.execute(
            "insert into callbacks (id, payout_id, status, due_ms) values (?, ?, ?, ?)",
            (f"msg_{uuid4().hex}", payout_id, status, due_ms),
        )

    def payout(self, payout_id: str, *, now_ms: int) -> dict[str, Any] | None:
        row = self._db.execute("select * from payouts where id = ?", (payout_id,)).fetchone()
        return None if row is None else _shown(row, now_ms)

    def payouts(
        self, *, reference: str | None, before: int | None, limit: int, now_ms: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Newest first, and where the next page starts, if there is one."""
        rows = self._db.execute(
            "select * from payouts where (:reference is null or reference = :reference)"
            " and (:before is null or seq < :before) order by seq desc limit :limit",
            {"reference": reference, "before": before, "limit": limit + 1},
        ).fetchall()
        page = rows[:limit]
        return [_shown(row, now_ms) for row in page], page[-1]["seq"] if len(rows) > limit else None

    def next_callback_ms(self) -> int | None:
        row = self._db.execute("select min(due_ms) from callbacks where delivered = 0").fetchone()
        return None if row[0] is None else int(row[0])

    def take_callback(self, *, now_ms: int) -> Callback | None:
        """The next callback that is due, leased for a minute so that a second process leaves it alone."""
        row = self._db.execute(
            "update callbacks set tries = tries + 1, due_ms = :lease where id ="
            " (select id from callbacks where delivered = 0 and due_ms <= :now order by due_ms, rowid limit 1)"
            " returning id, payout_id, status, tries",
            {"now": now_ms, "lease": now_ms + _LEASE_MS},
        ).fetchone()
        return None if row is None else Callback(**dict(row))

    def callback_done(self, callback: Callback, *, delivered: bool, now_ms: int) -> None:
        """Delivered, or tried again later, twice as late each time; given up after ten tries."""
        if delivered or callback.tries >= _MOST_TRIES:
            self._db.execute("update callbacks set delivered = 1 where id = ?", (callback.id,))
        else:
            again = now_ms + 250 * 2**callback.tries
            self._db.execute("update callbacks set due_ms = ? where id = ?", (again, callback.id))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


def _shown(row: sqlite3.Row, now_ms: int) -> dict[str, Any]:
    steps = (now_ms - row["created_ms"]) // row["delay_ms"] if row["delay_ms"] else 2
    final = row["outcome"] if row["outcome"] != SandboxOutcome.RETURNED or steps >= 2 else SandboxOutcome.PAID.value
    early = "failed" if row["outcome"] == SandboxOutcome.PAID and row["failure_code"] else "pending"
    status = early if steps < 1 else final
    moved_ms = row["created_ms"] + row["delay_ms"] * {early: 0, "returned": 2}.get(status, 1)
    return {
        "id": row["id"],
        "object": "payout",
        "reference": row["reference"],
        "amount": row["amount"],
        "currency": row["currency"],
        "status": status,
        "settled": status in {row["outcome"], "failed"},
        "failure_code": row["failure_code"] if status in {"failed", "returned"} else None,
        "fee": row["fee"] if status in {"paid", "returned"} else 0,
        "created_at": _time(row["created_ms"]),
        "updated_at": _time(moved_ms),
    }


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
