"""The worker's part in tiers: when a month begins, count what creators sold before it, where a rule looks at that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from colink.application.jobs import submit_all
from colink.application.ports import Caller, Clock, CommandBus
from colink.application.tiers import DecideTier
from colink.domain.local_time import local_month
from colink.domain.tiers import RevenueKey, TierSpan

_AT_ONCE = 64  # commands: each reads the orders of a month


@dataclass(frozen=True, kw_only=True)
class TieredRules:
    """An organisation has rules with whole tiers in a currency, that look at such a span."""

    organization_id: str
    timezone: str
    currency: str
    span: TierSpan


class TierQueue(Protocol):
    """What there is to do."""

    async def tiered_rules(self) -> Sequence[TieredRules]: ...

    async def creators(self, organization_id: str, *, since: datetime | None, until: datetime) -> Sequence[str]:
        """Those who are credited for an order placed then."""

    async def decided(self, decision_ids: Sequence[str]) -> set[str]:
        """Those of the decisions that were made."""


def tier_job(bus: CommandBus, queue: TierQueue, clock: Clock) -> Callable[[], Awaitable[int]]:
    """Decides what the month that has begun needs; returns how many decisions were made. Creators without an order
    in that time are left to the first order that needs them. Looks once a month through an organisation's orders."""
    looked: set[tuple[TieredRules, str]] = set()

    async def run() -> int:
        now, made = clock.now(), 0
        for rules in await queue.tiered_rules():
            month = local_month(now, rules.timezone)
            if (rules, month) in looked:
                continue
            keys = await _missing(rules, month)
            for start in range(0, len(keys), _AT_ONCE):
                commands = [
                    DecideTier(caller=_caller(key), key=key, timezone=rules.timezone)
                    for key in keys[start : start + _AT_ONCE]
                ]
                recorded = await submit_all(bus, commands)
                made += sum(1 for answer in recorded if answer is not None and answer.position is not None)
            looked.add((rules, month))
        return made

    async def _missing(rules: TieredRules, month: str) -> list[RevenueKey]:
        def key_of(creator_id: str) -> RevenueKey:
            return RevenueKey(
                organization_id=rules.organization_id,
                creator_id=creator_id,
                currency=rules.currency,
                month=month,
                span=rules.span,
            )

        since, until = key_of("").bounds(rules.timezone)
        creators = await queue.creators(rules.organization_id, since=since, until=until)
        keys = {key.id: key for key in map(key_of, creators)}
        decided = await queue.decided(list(keys))
        return [key for id_, key in keys.items() if id_ not in decided]

    return run


def _caller(key: RevenueKey) -> Caller:
    return Caller(actor="worker", correlation_id=f"tier:{key.id}")
