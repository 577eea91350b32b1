"""The daily salts of network hashes: made when first needed, shared by all processes, destroyed after 48 hours.

Without its salt a hash leads back to no address (semantics section 3). Salts are in no log and no event.
"""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, timedelta

from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.reading import connected
from colink.application.track import REPEAT_WITHIN

_FIND = "select salt from colink.tracking_salts where day = %s"
_MAKE = "insert into colink.tracking_salts (day, salt) values (%s, %s) on conflict (day) do nothing"
_DESTROY = "select colink.destroy_salts(%s)"  # the table gets a new file: nothing of them stays in the old one


class PostgresSalts:
    """A SaltSource on the table `tracking_salts`. Days are UTC."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._known: dict[date, bytes] = {}

    async def salts(self, at: datetime) -> tuple[bytes, ...]:
        today = at.astimezone(UTC).date()
        an_hour_ago = (at - REPEAT_WITHIN).astimezone(UTC).date()
        salts = [await self._salt_of(today, make=True)]
        if an_hour_ago != today:
            salts.append(await self._salt_of(an_hour_ago, make=False))
        for day in [day for day in self._known if day < today - timedelta(days=1)]:
            del self._known[day]
        return tuple(salt for salt in salts if salt is not None)

    async def _salt_of(self, day: date, *, make: bool) -> bytes | None:
        salt = self._known.get(day)
        if salt is None:
            salt = await self._read(day, make=make)
            if salt is not None:
                self._known[day] = salt
        return salt

    async def _read(self, day: date, *, make: bool) -> bytes | None:
        async with connected(self._pool) as connection:
            row = await (await connection.execute(_FIND, (day,))).fetchone()
            if row is None and make:
                # Another process may make it at the same moment: only one row is kept, and all read that one.
                await connection.execute(_MAKE, (day, secrets.token_bytes(32)))
                row = await (await connection.execute(_FIND, (day,))).fetchone()
        return bytes(row[0]) if row is not None else None


async def destroy_old_salts(pool: AsyncPool, *, at: datetime) -> int:
    """Delete the salts that began 48 hours ago or earlier; returns how many. The worker calls this every hour."""
    oldest_kept = at.astimezone(UTC).date() - timedelta(days=1)
    async with pool.connection() as connection:
        row = await (await connection.execute(_DESTROY, (oldest_kept,))).fetchone()
    return row[0] if row else 0
