"""A process that posts journals until it is done or killed; prints a line for each command that was answered.

python -m tests.adapters.postgres.writer DSN NAME COMMANDS IN_FLIGHT
"""

from __future__ import annotations

import asyncio
import random
import sys

from tests.adapters.postgres.commands import Decide, FixedClock, Post, journal

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import create_pool
from colink.application.ports import BalanceUnchanged, Decision, Facts, Needs
from colink.domain.errors import ConcurrentUpdate
from colink.domain.ledger import Journal, payee_available

ACCOUNTS = 4
CALLERS = 16


def _withdraw(name: str, n: int, payee_id: str) -> Decide:
    """Takes all that is available, guarded by the balance: processes race for it."""
    account = payee_available(payee_id)

    def make(facts: Facts) -> Decision:
        funds = facts.funds(payee_id, "MYR")
        if funds.balance <= 0:
            return Decision(answer={})
        event = journal(
            f"jrn_{name}_{n}",
            (account, -funds.balance),
            (f"payee:{payee_id}:in_transit", funds.balance),
            payout_id=f"pay_{name}_{n}",
        )
        guard = BalanceUnchanged(account=account, currency="MYR", version=funds.version)
        return Decision(answer={}, events=[event], guards=[guard])

    return Decide(make=make, reads=Needs(streams=(f"jrn_{name}_{n}",), funds_of=((payee_id, "MYR"),)))


def _claim(name: str, n: int) -> Decide:
    """Posts the journal of a cause that every process has: the first one wins."""
    journal_id = f"jrn_shared_{n}"

    def make(facts: Facts) -> Decision:
        if facts.aggregate(Journal, journal_id) is not None:
            return Decision(answer={"by": "another"})
        event = journal(journal_id, ("payee:shared:available", 1), ("platform:revenue", -1))
        return Decision(answer={"by": name}, events=[event])

    return Decide(make=make, reads=Needs(streams=(journal_id,)))


def _command(name: str, n: int, chance: random.Random) -> Post | Decide:
    payee_id = f"cre_{chance.randrange(ACCOUNTS)}"
    match chance.randrange(10):
        case 0:
            return _withdraw(name, n, payee_id)
        case 1:
            return _claim(name, n)
        case _:
            legs = ((payee_available(payee_id), 7), ("platform:revenue", -7))
            return Post(journal_id=f"jrn_{name}_{n}", legs=legs)


async def _write(dsn: str, name: str, commands: int, in_flight: int) -> None:
    chance = random.Random(name)
    numbers = iter(range(commands))
    pool = create_pool(dsn, for_commands=True)
    async with pool, Committer(pool, FixedClock(), in_flight=in_flight) as bus:

        async def caller() -> None:
            for n in numbers:
                try:
                    recorded = await bus.submit(_command(name, n, chance))
                except ConcurrentUpdate:
                    continue
                print(recorded.position or 0, flush=True)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
