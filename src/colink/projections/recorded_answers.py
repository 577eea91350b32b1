"""What was answered under an idempotency key, for those who must know before they submit."""

from __future__ import annotations

import json
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from colink.application.ports import Idempotency
from colink.domain.errors import IdempotencyConflict


async def recorded_answer(connection: AsyncConnection[TupleRow], idempotency: Idempotency) -> dict[str, Any] | None:
    """The answer kept under the key, None where there is none. Raises IdempotencyConflict where the key was used with
    another request."""
    cursor = await connection.execute(
        "select request_digest, answer from colink.idempotency_keys where scope = %s and key = %s",
        [idempotency.scope, idempotency.key],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    if row[0] != idempotency.request_digest:
        msg = f"the idempotency key {idempotency.key!r} was used with another request"
        raise IdempotencyConflict(msg)
    answer: dict[str, Any] = json.loads(row[1])
    return answer
