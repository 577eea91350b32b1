"""Whose revenue is to be counted for tiers, from the documents, the rows of orders and the log; nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from colink.application.tier_job import TieredRules
from colink.domain.tiers import TierSpan
from colink.projections.logs import Pool

# All versions of a rule: older ones go on serving the times that newer ones do not cover.
_RULES = """
select distinct r.organization_id, o.body::jsonb ->> 'timezone', r.tiers #>> '{steps,0,from_revenue,currency}',
       r.tiers ->> 'span'
  from (select organization_id, body::jsonb -> 'tiers' as tiers from colink.documents
         where kind = 'commission_rule') r
  join colink.documents o on o.kind = 'organization' and o.id = r.organization_id and o.current
 where r.tiers ->> 'mode' = 'whole'
 order by 1, 3, 4
"""
_CREATORS = """
select distinct creator_id from colink.orders
 where organization_id = %s and creator_id is not null and placed_at >= coalesce(%s, '-infinity'::timestamptz)
   and placed_at < %s
 order by 1
"""


@dataclass(frozen=True)
class TierTables:
    """A `TierQueue` read from the database."""

    pool: Pool

    async def tiered_rules(self) -> Sequence[TieredRules]:
        async with self.pool.connection() as conn:
            cursor = await conn.execute(_RULES)
            return [
                TieredRules(
                    organization_id=organization_id, timezone=timezone, currency=currency, span=TierSpan(span)
                )
                for organization_id, timezone, currency, span in await cursor.fetchall()
            ]

    async def creators(self, organization_id: str, *, since: datetime | None, until: datetime) -> Sequence[str]:
        async with self.pool.connection() as conn:
            cursor = await conn.execute(_CREATORS, (organization_id, since, until))
            return [creator_id for (creator_id,) in await cursor.fetchall()]

    async def decided(self, decision_ids: Sequence[str]) -> set[str]:
        async with self.pool.connection() as conn:
            cursor = await conn.execute(
                "select stream_id from colink.events where stream_id = any(%s) and version = 1", (list(decision_ids),)
            )
            return {stream_id for (stream_id,) in await cursor.fetchall()}
