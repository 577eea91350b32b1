"""API keys as they stand: what was created, and whether it was revoked. Read from the documents, which are written in
the transaction of the event: a key that is revoked is found so at once, by every process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from colink.application.configure.access import shown_revocation
from colink.application.representations import shown
from colink.domain.access import ApiKeyDetails, ApiKeyRevocation, Role
from colink.projections.documents import kind_of

_KINDS = {"keys": kind_of(ApiKeyDetails), "revocations": kind_of(ApiKeyRevocation)}
_FROM = (
    " from colink.documents k left join colink.documents r on r.kind = %(revocations)s and r.id = k.id and r.current"
)


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    details: ApiKeyDetails
    revocation: ApiKeyRevocation | None


@dataclass(frozen=True, kw_only=True)
class FiledKey(KnownKey):
    """A key, and who made it when."""

    created_at: datetime
    created_by: str


async def key_by_digest(connection: AsyncConnection[TupleRow], digest: str) -> KnownKey | None:
    """Also one that was revoked or has expired."""
    cursor = await connection.execute(
        f"select k.body, r.body {_FROM} where k.kind = %(keys)s and k.key = %(digest)s and k.current",
        _KINDS | {"digest": digest},
    )
    row = await cursor.fetchone()
    return None if row is None else KnownKey(details=_details(row[0]), revocation=_revocation(row[1]))


async def list_keys(
    connection: AsyncConnection[TupleRow],
    *,
    role: Role | None = None,
    standing_at: datetime | None = None,
    after_id: str | None = None,
    limit: int = 100,
) -> list[FiledKey]:
    """Keys by id, the oldest first: of one role, or those that stand at a time, where asked for."""
    cursor = await connection.execute(
        f"select k.body, r.body, e.recorded_at, e.actor {_FROM} join colink.events e on e.position = k.position"
        " where k.kind = %(keys)s and k.current"
        " and (%(after)s::text is null or k.id > %(after)s)"
        " and (%(role)s::text is null or k.body::jsonb ->> 'role' = %(role)s)"
        " and (%(standing)s::timestamptz is null or (r.id is null and"
        " coalesce((k.body::jsonb ->> 'expires_at')::timestamptz > %(standing)s, true)))"
        " order by k.id limit %(limit)s",
        _KINDS | {"after": after_id, "role": role, "standing": standing_at, "limit": limit},
    )
    return [
        FiledKey(details=_details(body), revocation=_revocation(end), created_at=made_at, created_by=made_by)
        for body, end, made_at, made_by in await cursor.fetchall()
    ]


def _details(body: str) -> ApiKeyDetails:
    return msgspec.json.decode(body, type=ApiKeyDetails)


def _revocation(body: str | None) -> ApiKeyRevocation | None:
    return None if body is None else msgspec.json.decode(body, type=ApiKeyRevocation)


def shown_key(key: FiledKey) -> dict[str, Any]:
    """A key as operators see it."""
    return shown(key.details) | {
        "created_at": key.created_at,
        "created_by": key.created_by,
        "revoked": None if key.revocation is None else shown_revocation(key.revocation),
    }
