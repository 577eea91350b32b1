"""A statement adds up: what was owed before, and every entry, is what is owed after, as a naive fold has it; and with
the position it names it can be made again exactly."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from tests.person_keys import keys
from tests.projections.test_balances_in_time import all_moves, post
from tests.projections.world import AINA, CALLER, MONDAY, ORGANIZATION, World

from colink.application.clear_order import ClearOrder
from colink.application.payouts import RegisterPayoutAccount, RequestPayout
from colink.application.privacy.people import People
from colink.domain import ledger
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose
from colink.domain.payout_accounts import Rail
from colink.projections import balances_in_time, statements
from colink.projections.balances_in_time import BalancesInTime
from colink.projections.engine import Log, head
from colink.projections.entries import list_entries
from colink.projections.person_keys import SnapshotKeys
from colink.projections.statement_forms import StatementFormat, statement_pieces
from colink.projections.statuses import statuses_of

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
LONG_AGO, FAR = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


async def told(world: World, form: StatementFormat = StatementFormat.JSON, **asked: Any) -> str:
    period = {"payee_id": AINA, "start": LONG_AGO, "end": FAR}
    async with world.pool.connection() as conn:
        people = People(keys, SnapshotKeys(conn))
        pieces = statement_pieces(conn, form, people=people, **(period | asked))
        return b"".join([piece async for piece in pieces]).decode()


async def stated(world: World, **asked: Any) -> Any:
    return json.loads(await told(world, **asked))


async def a_month(world: World) -> None:
    """Two orders, one refunded in part, cleared and paid out in part, and a late correction by hand."""
    await world.order(1, 10_000, 5_050)
    await world.order(2, 20_000, placed_at=MONDAY + DAY)
    await world.refund(1, line=2, amount="10.00", at=MONDAY + 2 * DAY)
    world.clock.time = MONDAY + 20 * DAY
    await world.commerce.submit(ClearOrder(caller=CALLER, order_id="ord_sto_1.1"))
    account = RegisterPayoutAccount(caller=CALLER, payee_id=AINA, rail=Rail.SANDBOX, currency="MYR", details={})
    await world.commerce.submit(account)
    await world.commerce.submit(RequestPayout(caller=CALLER, payout_id="pyt_1", payee_id=AINA, currency="MYR"))
    await by_hand(world, "late", 77, effective_at=MONDAY + 3 * DAY)


async def by_hand(world: World, name: str, amount: int, *, effective_at: datetime, reason: str = "agreed") -> None:
    """Posted now, effective then."""
    journal = Journal.post(
        journal_id=f"jrn_{name}",
        kind=JournalKind.MANUAL,
        effective_at=effective_at,
        postings=(
            Posting(account=ledger.PLATFORM_REVENUE, amount=-amount, currency="MYR", purpose=Purpose.MANUAL),
            Posting(account=ledger.payee_available(AINA), amount=amount, currency="MYR", purpose=Purpose.MANUAL),
        ),
        at=world.clock.time,
        reason=reason,
    )
    await world.record(*journal.new_events())


async def test_a_month_of_a_creator(world: World) -> None:
    await a_month(world)
    found = await stated(world, start=MONDAY + DAY, end=MONDAY + 20 * DAY + timedelta(hours=1))
    assert found["payee"] == {"id": AINA, "name": "aina"}
    assert found["opening"] == {"pending": 1_505, "available": 0, "in_transit": 0, "owed": 1_505}
    # Order 1 earned 1,000 and 505; 99 of it went back with the refund, the rest cleared and is being paid.
    assert found["closing"] == {"pending": 2_000, "available": 77, "in_transit": 1_405, "owed": 3_482}
    told_lines = [
        (line["kind"], line["order_number"], line["line_id"], line["account"], line["amount"], line["balance"])
        for line in found["entries"]
    ]
    assert told_lines == [
        ("sale", "#2", "1", "pending", 2_000, 3_505),
        ("refund", "#1", "2", "pending", -100, 3_405),
        ("manual", None, None, "available", 77, 3_482),
        ("clearing", "#1", "1", "available", 1_000, 4_482),
        ("clearing", "#1", "1", "pending", -1_000, 3_482),
        ("clearing", "#1", "2", "available", 405, 3_887),
        ("clearing", "#1", "2", "pending", -405, 3_482),
        ("payout_reserved", None, None, "available", -1_405, 2_077),
        ("payout_reserved", None, None, "in_transit", 1_405, 3_482),
    ]
    assert [line["status"] for line in found["entries"]] == [
        "pending",
        *["reserved", "posted"],
        *["reserved"] * 4,
        *["posted"] * 2,
    ]
    assert found["entries"][2]["reason"] == "agreed"
    [payout] = found["payouts"]
    assert (payout["id"], payout["amount"], payout["status"]) == ("pyt_1", 1_405, "requested")
    assert found["basis"] == {"time": "effective", "recorded_up_to": await log_head(world), "checkpoint": None}


async def log_head(world: World) -> int:
    async with world.pool.connection() as conn:
        return await head(conn, Log.COMMERCE)


async def test_the_same_position_gives_the_same_statement(world: World) -> None:
    """Whatever is recorded since: entries back-dated into the period, clearings and payouts that change statuses."""
    await world.order(1, 10_000, 5_050)
    await world.order(2, 20_000, placed_at=MONDAY + DAY)
    position = await log_head(world)
    forms = list(StatementFormat)
    before = [await told(world, form, end=MONDAY + 40 * DAY, at_position=position) for form in forms]
    assert "pending" in before[0]
    await a_month_later(world)
    assert [await told(world, form, end=MONDAY + 40 * DAY, at_position=position) for form in forms] == before
    assert await told(world, end=MONDAY + 40 * DAY) != before[0]


async def a_month_later(world: World) -> None:
    world.clock.time = MONDAY + 20 * DAY
    await world.refund(2, line=1, amount="200.00", at=MONDAY + 2 * DAY)
    await world.commerce.submit(ClearOrder(caller=CALLER, order_id="ord_sto_1.1"))
    account = RegisterPayoutAccount(caller=CALLER, payee_id=AINA, rail=Rail.SANDBOX, currency="MYR", details={})
    await world.commerce.submit(account)
    await world.commerce.submit(RequestPayout(caller=CALLER, payout_id="pyt_1", payee_id=AINA, currency="MYR"))
    await by_hand(world, "late", 77, effective_at=MONDAY)


async def test_statuses_at_the_head_are_those_of_now(world: World) -> None:
    await a_month(world)
    async with world.pool.connection() as conn:
        entries = await list_entries(conn, limit=1_000)
        orders = {entry.order_id for entry in entries if entry.order_id}
        now = await statuses_of(conn, orders)
        at_head = await statuses_of(conn, orders, at_position=await head(conn, Log.COMMERCE))
    assert now == at_head
    assert now.holdings[AINA, "MYR"].reserved


@pytest.mark.parametrize("built", [True, False], ids=["with sums", "without"])
async def test_opening_and_entries_are_the_closing(
    world: World, monkeypatch: pytest.MonkeyPatch, built: bool
) -> None:
    """For random periods, currencies and positions; some entries are in the sums, some behind them."""
    monkeypatch.setattr(balances_in_time, "WIDTHS", (4, 16, 64))
    monkeypatch.setattr(statements, "_JOURNALS_A_PAGE", 7)
    random = Random(11)
    await world.record(
        *Creator.register(CreatorDetails(id="cre_1", handle="c", display_name="C"), at=MONDAY).new_events()
    )
    await post(world, random, "a", 90)
    if built:
        await world.engine(projections=[BalancesInTime()]).run_until_caught_up()
    await post(world, random, "b", 20)
    accounts = ledger.payee_accounts("cre_1")
    moves = [move for move in await all_moves(world) if move.account in accounts]
    for _ in range(25):
        start, end = sorted(random.choice(moves).effective_at + timedelta(hours=random.choice([0, 5])) for _ in "ab")
        currency, position = random.choice(["MYR", "JPY"]), random.randint(1, await log_head(world))
        end += timedelta(microseconds=1)
        asked = {"payee_id": "cre_1", "start": start, "end": end, "currency": currency, "at_position": position}
        found = await stated(world, **asked)
        known = [move for move in moves if move.position <= position and move.currency == currency]
        before = sum(move.amount for move in known if move.effective_at < start)
        within = sorted(
            (move.effective_at, move.position, move.amount) for move in known if start <= move.effective_at < end
        )
        assert found["opening"]["owed"] == before
        told_moves = [
            (datetime.fromisoformat(line["effective_at"]), line["position"], line["amount"])
            for line in found["entries"]
        ]
        assert sorted(told_moves) == within
        assert [move[:2] for move in told_moves] == [move[:2] for move in within]
        assert found["closing"]["owed"] == before + sum(amount for _, _, amount in within)
        if found["entries"]:
            assert found["entries"][-1]["balance"] == found["closing"]["owed"]


async def test_csv_adds_up_and_holds_no_formula(world: World) -> None:
    await a_month(world)
    await by_hand(world, "formula", 1, effective_at=MONDAY, reason="=HYPERLINK(1)")
    rows = list(csv.DictReader(io.StringIO(await told(world, StatementFormat.CSV))))
    by_kind: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_kind.setdefault(row["row"], []).append(row)
    assert list(by_kind) == ["opening", "entry", "closing", "payout"]
    opening, entries, closing = (
        sum(Decimal(row["amount"]) for row in by_kind[kind]) for kind in ("opening", "entry", "closing")
    )
    assert opening + entries == closing == Decimal("34.83")
    assert {row["balance"] for row in by_kind["closing"]} == {"34.83"}
    assert "'=HYPERLINK(1)" in {row["reason"] for row in rows}
    assert "-1.00" in {row["amount"] for row in rows}


async def test_html_prints_and_escapes(world: World) -> None:
    await a_month(world)
    await by_hand(world, "script", 123_456, effective_at=MONDAY, reason="<script>alert(1)</script>")
    page = await told(world, StatementFormat.HTML)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "@media print" in page
    assert '<td class="amount">1,234.56</td>' in page
    assert f"as recorded up to position {await log_head(world)} of the" in page
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize(
    ("asked", "error", "field"),
    [
        ({"payee_id": "cre_nobody"}, NotFound, "payee_id"),
        ({"start": FAR, "end": LONG_AGO}, InvalidInput, "to"),
        ({"at_position": 10_000}, InvalidInput, "at_position"),
        ({}, InvalidInput, "currency"),
        *(({"currency": none}, InvalidInput, "currency") for none in ("usd", "", "MY", "XQX", "MYR ")),
        ({"payee_id": ORGANIZATION}, InvalidInput, "currency"),
    ],
)
async def test_what_no_statement_can_be_made_of(
    world: World, asked: dict[str, Any], error: type[Exception], field: str
) -> None:
    if asked.get("payee_id") == ORGANIZATION:
        await world.order(1, 1_000)
        await world.order(2, 1_000, currency="JPY")
    with pytest.raises(error) as refused:
        await stated(world, **asked)
    assert getattr(refused.value, "field", None) == field
