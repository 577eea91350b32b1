"""Entries as tables: each posting is there once, exactly, in every format; raw events carry the hashes they are
sealed under; and no cell of a CSV is a formula."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.projections.exports.other_tools import write
from tests.projections.world import AINA, World

from colink.domain.errors import InvalidInput
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose
from colink.projections.exports import ExportFormat, export
from colink.projections.exports.tables import EntryRow

pytestmark = pytest.mark.anyio

_ENTRIES = (
    "SELECT position, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency, organization_id,"
    " order_id, line_id, payout_id, effective_at, recorded_at FROM colink.entries ORDER BY position, ordinal"
)
_COLUMNS = [
    name for name in EntryRow._fields if name not in {"exponent", "cause_id", "corrects", "reason", "occurred_at"}
]


@pytest.fixture
async def told(world: World) -> World:
    await world.order(1, 10_000, 5_050)
    await world.order(2, 700, currency="JPY", creator=None)
    await world.refund(1, line=2, amount="12.34")
    late = Journal.post(
        journal_id="jrn_x",
        kind=JournalKind.MANUAL,
        effective_at=world.clock.time,
        postings=(
            Posting(account="platform:revenue", amount=-5, currency="KWD", purpose=Purpose.MANUAL),
            Posting(
                account=f"payee:{AINA}:available", amount=5, currency="KWD", purpose=Purpose.MANUAL, line_id="=1+1"
            ),
        ),
        at=world.clock.time,
        reason='@SUM("A1")',
        occurred_at=world.clock.time,
    )
    await world.record(*late.new_events())
    return world


async def exported(world: World, form: ExportFormat, **asked: Any) -> bytes:
    async with world.pool.connection() as conn:
        return b"".join([piece async for piece in export(conn, form, **asked)])


async def entries(world: World) -> list[tuple[Any, ...]]:
    return await world.rows(_ENTRIES)


async def test_csv(told: World) -> None:
    text = (await exported(told, ExportFormat.CSV)).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    recorded = await entries(told)
    assert [(int(row["position"]), int(row["ordinal"]), int(row["amount"]), row["account"]) for row in rows] == [
        (entry[0], entry[1], entry[7], entry[4]) for entry in recorded
    ]
    assert {row["currency"]: row["exponent"] for row in rows} == {"MYR": "2", "JPY": "0", "KWD": "3"}
    assert [datetime.fromisoformat(row["effective_at"]) for row in rows] == [entry[13] for entry in recorded]
    by_hand = rows[-1]
    assert (by_hand["line_id"], by_hand["reason"]) == ("'=1+1", '\'@SUM("A1")')
    assert rows[0]["reason"] == ""


async def test_ndjson(told: World) -> None:
    rows = [json.loads(line) for line in (await exported(told, ExportFormat.NDJSON)).splitlines()]
    recorded = await entries(told)
    assert [tuple(row[name] for name in _COLUMNS[:-2]) for row in rows] == [entry[:-2] for entry in recorded]
    assert rows[-1]["line_id"] == "=1+1"


async def test_parquet(told: World, tmp_path: Path) -> None:
    path = tmp_path / "entries.parquet"
    async with told.pool.connection() as conn:
        await write(conn, ExportFormat.PARQUET, path)
    table = pq.read_table(path)
    moment = pa.timestamp("us", tz="UTC")
    types = {name: table.schema.field(name).type for name in ("amount", "exponent", "effective_at", "account")}
    assert types == {"amount": pa.int64(), "exponent": pa.int64(), "effective_at": moment, "account": pa.string()}
    assert [tuple(row[name] for name in _COLUMNS) for row in table.to_pylist()] == await entries(told)


async def test_raw_events_and_their_hashes(told: World) -> None:
    lines = (await exported(told, ExportFormat.NDJSON, events=True)).splitlines()
    rows = await told.rows("SELECT position, stream_id, topic, payload FROM colink.events ORDER BY position")
    events = [json.loads(line) for line in lines]
    assert [(event["position"], event["stream_id"], event["topic"]) for event in events] == [row[:3] for row in rows]
    assert [event["payload"] for event in events] == [json.loads(row[3]) for row in rows]
    assert {event["leaf"] for event in events} == {None}, "nothing is sealed yet"


async def test_a_part_of_the_log(told: World) -> None:
    everything = [json.loads(line) for line in (await exported(told, ExportFormat.NDJSON)).splitlines()]
    cut = everything[len(everything) // 2]["position"]
    part = await exported(told, ExportFormat.NDJSON, from_position=cut, to_position=cut)
    assert [json.loads(line) for line in part.splitlines()] == [row for row in everything if row["position"] == cut]


@pytest.mark.parametrize(
    ("form", "asked", "field"),
    [
        (ExportFormat.CSV, {"from_position": 5, "to_position": 4}, "from"),
        (ExportFormat.CSV, {"to_position": 10_000}, "to"),
        (ExportFormat.CSV, {"events": True}, "events"),
    ],
)
async def test_what_cannot_be_exported(told: World, form: ExportFormat, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await exported(told, form, **asked)
    assert refused.value.field == field


async def test_an_empty_log_has_a_header(world: World) -> None:
    assert (
        (await exported(world, ExportFormat.CSV)).decode().split("\r\n")[0].startswith("position,ordinal,journal_id")
    )
    assert await exported(world, ExportFormat.NDJSON) == b""
