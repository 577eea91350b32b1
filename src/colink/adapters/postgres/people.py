"""What the database holds of people: wrapped data keys, who was erased, and where somebody is met.

Reads, and the few things that are done to keys beside the log: `colink.private_values` is otherwise written with
events (append_commerce), and cleared by the database itself when an erasure is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psycopg

from colink.adapters.person_keys import PersonKeyFolder
from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.reading import connected
from colink.application.deliveries import inbox_id
from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import CannotBeOpened, PersonKeys
from colink.application.privacy.people import KeyId
from colink.domain.customers import customer_ref_of
from colink.domain.payouts import RELEASED, PayoutStatus
from colink.domain.people import ErasedPerson
from colink.projections.inbox import open_body
from colink.projections.person_keys import wrapped_keys

_TELLS_OF_BUYERS = ("order.placed", "order.updated")
_FINAL = sorted(str(status) for status in (*RELEASED, PayoutStatus.PAID))
_ADDRESS = re.compile(r"[^@\s\"'<>,;:\\]{1,64}@[^@\s\"'<>,;:\\]{1,253}")
_AT_ONCE, _BODIES = 2_000, 200  # keys, and bodies, in memory at once

_ORDERS = """
    select distinct stream_id from colink.events
     where topic = any(%s) and strpos(payload, %s) > 0
"""
# A delivery that was rejected first and read again later is still its own owner's.
_READ_AGAIN = """
    select source, delivery_id from colink.inbox where order_id = any(%s) and replayed_at is not null
"""
_OF_NO_ORDER = """
    select seq, source, delivery_id, body from colink.inbox
     where order_id is null and seq > %s order by seq limit %s
"""
_KEYED = "select distinct owner_id from colink.private_values where owner_id = any(%s)"
_CREATORS = """
    select id from colink.documents where kind = 'creator' and current and body::json ->> 'customer_ref' = %s
     order by id
"""
_UNDER_WAY = """
    select payout_id from colink.payouts where payee_id = %s and status <> all(%s) order by created_position
"""
_ERASED = "select body from colink.documents where kind = 'erased_person' order by position"
_NOT_BY = """
    select owner_id, name, value from colink.private_values
     where name like 'key:%%' and not starts_with(value, %s) limit %s
"""
_ADOPT = "select colink.adopt_person_keys(%s)"


def open_person_keys(path: Path, dsn: str) -> PersonKeyFolder:
    """The keys of personal data, made where there are none yet. Raises ServerError where the database's were sealed
    with others: going on with new ones would part what is sealed from its keys."""
    folder = PersonKeyFolder(path)
    folder.make()
    if not _adopted(dsn, folder.keys()):
        msg = (
            f"the personal data in this database is sealed with other keys than those in {path}: copy keys.json "
            "there from the data folder that the database was used with before"
        )
        raise ServerError(msg)
    return folder


def _adopted(dsn: str, keys: PersonKeys) -> bool:
    """Whether they are the database's; they become its keys where it has none."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(_ADOPT, (keys.fingerprint,)).fetchone()
        # Of two that come first at the same moment, one sees no row of the other yet.
        row = row if row and row[0] is not None else connection.execute(_ADOPT, (keys.fingerprint,)).fetchone()
    return row is not None and row[0] == keys.fingerprint


class PostgresKeyBook:
    """A KeyBook on `private_values`."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def wrapped(self, wanted: Iterable[KeyId]) -> dict[KeyId, PrivateValue]:
        async with connected(self._pool) as connection:
            return await wrapped_keys(connection, wanted)


class PostgresPeople:
    """A PeopleRegister. `pepper` keys the hashes of e-mail addresses."""

    def __init__(self, pool: AsyncPool, folder: PersonKeyFolder, *, pepper: bytes) -> None:
        self._pool = pool
        self._folder = folder
        self._pepper = pepper

    async def creators_of(self, customer_ref: str) -> Sequence[str]:
        async with connected(self._pool) as connection:
            rows = await (await connection.execute(_CREATORS, (customer_ref,))).fetchall()
        return [id_ for (id_,) in rows]

    async def owners_of(self, customer_ref: str) -> Sequence[str]:
        async with connected(self._pool) as connection:
            told = f'"customer_ref":"{customer_ref}"'
            rows = await (await connection.execute(_ORDERS, (list(_TELLS_OF_BUYERS), told))).fetchall()
            orders = [id_ for (id_,) in rows]
            rows = await (await connection.execute(_READ_AGAIN, (orders,))).fetchall()
        deliveries = [inbox_id(source, delivery_id) for source, delivery_id in rows]
        return await self.keyed([*orders, *deliveries, *await self._rejected_of(customer_ref)])

    async def keyed(self, owners: Sequence[str]) -> Sequence[str]:
        async with connected(self._pool) as connection:
            rows = await (await connection.execute(_KEYED, (list(owners),))).fetchall()
        return sorted(id_ for (id_,) in rows)

    async def payouts_under_way(self, payee_id: str) -> Sequence[str]:
        async with connected(self._pool) as connection:
            rows = await (await connection.execute(_UNDER_WAY, (payee_id, _FINAL))).fetchall()
        return [id_ for (id_,) in rows]

    async def erased(self) -> list[ErasedPerson]:
        """Every erasure in the log, the earliest first."""
        async with connected(self._pool) as connection:
            rows = await (await connection.execute(_ERASED)).fetchall()
        return [msgspec.json.decode(body, type=ErasedPerson) for (body,) in rows]

    async def destroy_keys_left(self) -> int:
        """Keys of erased payees that commands recorded which had been decided before; how many."""
        async with connected(self._pool) as connection:
            row = await (await connection.execute("select colink.destroy_keys_left()")).fetchone()
        return row[0] if row else 0

    async def rewrap(self, keys: PersonKeys) -> int:
        """Wrap every data key by the current master key; how many were not. One that cannot be unwrapped stays.
        Raises CannotBeOpened when only such are left."""
        moved = 0
        while True:
            async with connected(self._pool) as connection:
                rows = await (await connection.execute(_NOT_BY, (f"{keys.current}:", _AT_ONCE))).fetchall()
                if not rows:
                    return moved
                values = [PrivateValue(owner_id=row[0], name=row[1], value=row[2]) for row in rows]
                again = [keys.wrapped(keys.unwrapped(value)).value for value in values]
                cursor = await connection.execute(
                    "select colink.rewrap_keys(%s, %s, %s, %s)",
                    (*([row[n] for row in rows] for n in range(3)), again),
                )
                done = await cursor.fetchone()
                moved += done[0] if done else 0

    async def _rejected_of(self, customer_ref: str) -> list[str]:
        """Deliveries that led to no order and hold the address: nothing of them is in the log, so they are opened."""
        found, keys, after = [], self._folder.keys(), 0
        async with connected(self._pool) as connection:
            while rows := await (await connection.execute(_OF_NO_ORDER, (after, _BODIES))).fetchall():
                for seq, source, delivery_id, body in rows:
                    after = seq
                    with suppress(CannotBeOpened):
                        text = await open_body(connection, keys, source, delivery_id, bytes(body))
                        if text is not None and self._holds(text, customer_ref):
                            found.append(inbox_id(source, delivery_id))
        return found

    def _holds(self, body: bytes, customer_ref: str) -> bool:
        addresses = set(_ADDRESS.findall(body.decode("utf-8", "replace")))
        return any(customer_ref_of(address, pepper=self._pepper) == customer_ref for address in addresses)
