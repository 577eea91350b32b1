"""Balances at any moment are the naive fold of the entries: by effective time, as recorded at a position, and both at
once, however far the sums behind them have come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest
from tests.projections.world import CALLER, Record, World

from colink.domain import ledger
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose
from colink.projections import balances_in_time
from colink.projections.balances_in_time import BalancesInTime, find_sums, list_balances, whole_blocks
from colink.projections.rebuild import Rebuild

pytestmark = pytest.mark.anyio

ACCOUNTS = (
    "platform:revenue",
    "store:sto_1:clearing",
    "processor:shopify:fees",
    *(account for payee in ("cre_1", "cre_11", "org_1") for account in ledger.payee_accounts(payee)),
)
CURRENCIES = ("MYR", "MYR", "MYR", "JPY", "KWD")
DAYS = 40


@dataclass(frozen=True)
class Move:
    """A posting as the log has it."""

    position: int
    effective_at: datetime
    account: str
    currency: str
    amount: int


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short log has blocks of every level."""
    monkeypatch.setattr(balances_in_time, "WIDTHS", (4, 16, 64))


def random_journal(random: Random, name: str, recorded_at: datetime) -> Journal:
    """Of two to five postings; one in three is back-dated by up to DAYS days, some share their moment."""
    late = timedelta(seconds=random.randint(0, DAYS * 86_400)) if random.random() < 0.33 else timedelta(0)
    effective_at = (recorded_at - late).replace(microsecond=random.choice([0, 0, 1, 999_999]))
    if random.random() < 0.1:
        effective_at = effective_at.replace(hour=0, minute=0, second=0, microsecond=0)
    currency = random.choice(CURRENCIES)
    amounts = [random.randint(-90_000, 90_000) for _ in range(random.randint(1, 4))]
    return Journal.post(
        journal_id=f"jrn_{name}",
        kind=JournalKind.SALE,
        effective_at=effective_at,
        postings=[
            Posting(account=random.choice(ACCOUNTS), amount=amount, currency=currency, purpose=Purpose.COMMISSION)
            for amount in [*amounts, -sum(amounts)]
        ],
        at=recorded_at,
    )


async def post(world: World, random: Random, name: str, count: int) -> None:
    """So many journals, over some days; now and then something else is recorded between them."""
    for number in range(count):
        world.clock.time += timedelta(seconds=random.randint(0, DAYS * 86_400 // 200))
        journal = random_journal(random, f"{name}.{number}", world.clock.time)
        await world.commerce.submit(Record(caller=CALLER, events=journal.new_events()))


async def all_moves(world: World) -> list[Move]:
    rows = await world.rows(
        "SELECT position, (payload::jsonb ->> 'effective_at')::timestamptz, p ->> 'account', p ->> 'currency',"
        " (p ->> 'amount')::bigint FROM colink.events, jsonb_array_elements(payload::jsonb -> 'postings') AS p"
        " WHERE topic = 'journal.posted'"
    )
    return [Move(*row) for row in rows]


def naive(
    moves: Sequence[Move], *, as_of: datetime | None, at_position: int | None, accounts: Sequence[str]
) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for move in moves:
        if move.account not in accounts or (as_of is not None and move.effective_at > as_of):
            continue
        if at_position is not None and move.position > at_position:
            continue
        key = (move.account, move.currency)
        sums[key] = sums.get(key, 0) + move.amount
    return sums


async def compare(world: World, random: Random, moves: Sequence[Move], *, moments: int) -> None:
    """The balances of one account, a payee, a prefix or all, at random moments of random kinds."""
    head = max(move.position for move in moves)
    async with world.pool.connection() as conn:
        for _ in range(moments):
            kind = random.randrange(3)
            move = random.choice(moves)  # often the very moment of an entry
            off = random.choice([timedelta(0), timedelta(microseconds=-1), timedelta(hours=random.randint(-30, 30))])
            as_of = move.effective_at + off if kind != 0 else None
            at_position = random.randint(0, head) if kind != 1 else None
            asked, accounts = random.choice(
                [
                    ({"account": move.account}, [move.account]),
                    ({"payee_id": "cre_1"}, list(ledger.payee_accounts("cre_1"))),
                    ({"prefix": "payee:cre_1"}, [each for each in ACCOUNTS if each.startswith("payee:cre_1")]),
                    ({}, list(ACCOUNTS)),
                ]
            )
            found = await list_balances(conn, **asked, as_of=as_of, at_position=at_position)
            expected = naive(moves, as_of=as_of, at_position=at_position, accounts=accounts)
            assert {(b.account, b.currency): b.amount for b in found} == expected, (asked, as_of, at_position)
            assert [(b.account, b.currency) for b in found] == sorted((b.account, b.currency) for b in found)


async def covered(world: World) -> int:
    async with world.pool.connection() as conn:
        sums = await find_sums(conn)
    return sums.covered if sums is not None else 0


@pytest.mark.parametrize("few", [64, 0], ids=["looked up", "read by blocks"])
async def test_a_thousand_random_moments(world: World, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(balances_in_time, "_FEW", few)
    random = Random(few)
    engine = world.engine(batch_size=7, projections=[BalancesInTime()])
    await post(world, random, "a", 120)
    assert await covered(world) == 0  # nothing is built: the entries alone tell
    await compare(world, random, await all_moves(world), moments=100)
    await engine.run_until_caught_up()
    assert await covered(world) > 100
    await compare(world, random, await all_moves(world), moments=150)
    await post(world, random, "b", 90)  # behind, with entries back-dated into what is summed up already
    behind = await covered(world)
    await compare(world, random, await all_moves(world), moments=150)
    await engine.run_until_caught_up()
    assert await covered(world) > behind + 60
    await compare(world, random, await all_moves(world), moments=100)


async def test_answers_stay_exact_while_the_sums_are_rebuilt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(3)
    engine = world.engine(batch_size=5, projections=[BalancesInTime()])
    await post(world, random, "a", 60)
    await engine.run_until_caught_up()
    moves = await all_moves(world)
    flip = Rebuild._flip

    async def compared_then_flipped(self: Rebuild, *arguments: object) -> bool:
        await compare(world, random, moves, moments=50)
        return await flip(self, *arguments)  # type: ignore[arg-type]  # what it was given

    monkeypatch.setattr(Rebuild, "_flip", compared_then_flipped)
    assert (await engine.rebuild("balances_in_time")).live
    await compare(world, random, moves, moments=50)


async def test_sums_do_not_depend_on_how_the_log_was_cut(world: World) -> None:
    random = Random(4)
    await post(world, random, "a", 60)
    await world.engine(batch_size=3, projections=[BalancesInTime()]).run_until_caught_up()
    await world.engine(batch_size=1_000, projections=[BalancesInTime()]).rebuild("balances_in_time")
    for name in BalancesInTime.tables:
        query = f"SELECT t::text FROM colink_read.{name}_v%s t ORDER BY 1"
        first, second = [await world.rows(query % version) for version in (1, 2)]
        assert first == second
        assert first


async def test_a_stopped_projection_makes_no_answer_wrong(world: World) -> None:
    random = Random(5)
    await post(world, random, "a", 40)
    await world.engine(projections=[BalancesInTime()]).run_until_caught_up()
    world.tamper(
        "UPDATE colink.projection_checkpoints SET error = 'broken', error_position = position + 1"
        " WHERE projection = 'balances_in_time'"
    )
    await post(world, random, "b", 40)
    assert await world.engine(projections=[BalancesInTime()]).run_until_caught_up() == 0
    await compare(world, random, await all_moves(world), moments=50)


def test_few_blocks_reach_any_position() -> None:
    for end in range(0, 1_000, 4):
        blocks = whole_blocks(end)
        widths = [balances_in_time.WIDTHS[level] for level, _ in blocks]
        spans = [range(n * width + 1, (n + 1) * width + 1) for (_, n), width in zip(blocks, widths, strict=True)]
        assert [position for span in spans for position in span] == list(range(1, end + 1))
        assert sum(level < 2 for level, _ in blocks) <= 3 + 3
