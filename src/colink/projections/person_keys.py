"""Wrapped data keys, as they are kept beside the log; what they seal is opened in `application.privacy`."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import KEY
from colink.application.privacy.people import KeyId

WRAPPED = (
    "select v.owner_id, v.name, v.value from colink.private_values v"
    " join unnest(%s::text[], %s::text[]) as wanted (owner_id, name) using (owner_id, name)"
)


def asked_for(wanted: Iterable[KeyId]) -> tuple[list[str], list[str]]:
    """The values of WRAPPED."""
    pairs = sorted(set(wanted))
    return [owner for owner, _ in pairs], [f"{KEY}{name}" for _, name in pairs]


def by_id(rows: Iterable[TupleRow]) -> dict[KeyId, PrivateValue]:
    return {
        (owner, name.removeprefix(KEY)): PrivateValue(owner_id=owner, name=name, value=value)
        for owner, name, value in rows
    }


async def wrapped_keys(connection: AsyncConnection[TupleRow], wanted: Iterable[KeyId]) -> dict[KeyId, PrivateValue]:
    """Those of the keys that are there."""
    cursor = await connection.execute(WRAPPED, asked_for(wanted))
    return by_id(await cursor.fetchall())


class SnapshotKeys:
    """The wrapped keys as one connection sees them: whoever holds one needs no second one to open names."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def wrapped(self, wanted: Iterable[KeyId]) -> dict[KeyId, PrivateValue]:
        return await wrapped_keys(self._connection, wanted)


async def is_erased(connection: AsyncConnection[TupleRow], owner: str) -> bool:
    """Whether keys of this owner were destroyed by an erasure. Reads all erasures: for when a key is missing."""
    cursor = await connection.execute(
        "select exists (select from colink.documents where kind = 'erased_person' and body::jsonb -> 'owners' ? %s)",
        (owner,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])
