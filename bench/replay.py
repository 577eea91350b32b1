"""Claim: the log is read, verified and folded faster than the stock library decodes it, on all cores, in flat memory.

Two depths of the same verification: chain, journals and balances; and these with every attribution, split, clearing
and journal derived again. Segments run in a process a core. The baseline is the library's mapper with its own
transcoder decoding the same events, in one process and without reading them from anywhere: what a replay begins with.

The processes take a second or two to start, which is measured by itself and not counted: the claim is about a million
events (`EVENTS` may be raised to that), where it is nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, Mapper, Transcoding

from bench.claim import Measured
from bench.replay_log import make_log
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.postgres.server import ServerHandle
from colink.adapters.sealing_keys import KeyFolder
from colink.domain.aggregates import Event
from colink.domain.audit.report import Pass
from colink.domain.sealing.encoding import origin_of
from colink.projections.audit import verify
from colink.projections.audit.processes import usable_processes
from colink.projections.audit.segment import DECISIONS
from colink.projections.audit.verify import Effort

EVENTS = 100_000
STOCK_EVENTS = 10_000
LEDGER = frozenset({Pass.ORDER, Pass.CHAIN, Pass.JOURNALS, Pass.BALANCES})
DEPTHS = (
    ("chain, journals, balances", LEDGER, 250_000.0),
    ("with every attribution, split and journal derived again", LEDGER | DECISIONS, 120_000.0),
)
MOST_MEGABYTES = 400.0
ALL_CORES = Effort()


class Unsound(Exception):
    """The log was not found to be what it is."""


def run(_server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    events = make_log(database, events=EVENTS)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(seal(database.app_dsn, Path(folder)))
    baseline = stock(database.app_dsn)
    start, _ = verified_alone(database.app_dsn, LEDGER, effort=Effort(events_a_segment=1), to_position=2)
    measured, peaks = [], []
    for depth, passes, least in DEPTHS:
        seconds, peak = verified_alone(database.app_dsn, passes)
        peaks.append(peak)
        measured.append(
            Measured(
                claim=f"replay and verify: {depth} / stock mapper decoding the same events",
                unit="ev/s",
                ours=events / (seconds - start),
                baseline=baseline,
                least=least,
                least_ratio=2,
                detail=f"{events:,} events on {usable_processes()} cores in {seconds:.1f} s, {start:.1f} s to start",
            )
        )
    memory = Measured(
        claim="memory of a process that verifies",
        unit="MB",
        ours=max(peaks),
        most=MOST_MEGABYTES,
        detail=f"the largest at its peak, over {events:,} events",
    )
    return [*measured, memory]


async def seal(dsn: str, folder: Path) -> None:
    async with create_pool(dsn) as pool:
        async with pool.connection() as conn:
            [(log_id,)] = await (
                await conn.execute("SELECT value FROM colink.installation WHERE name = 'log_id'")
            ).fetchall()
        origin = origin_of(log_id)
        sealer = Sealer(pool, KeyFolder(folder, origin=origin), SystemClock(), origin=origin)
        while await sealer.run():
            pass


def verified_alone(
    dsn: str, passes: frozenset[Pass], *, effort: Effort = ALL_CORES, to_position: int | None = None
) -> tuple[float, float]:
    """The seconds a verification takes, and the megabytes of its largest process. It runs in a process of its own, so
    that nothing else counts."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_verified_here, dsn, passes, effort, to_position).result()


def _verified_here(dsn: str, passes: frozenset[Pass], effort: Effort, to_position: int | None) -> tuple[float, float]:
    seconds = asyncio.run(seconds_of(dsn, passes, effort=effort, to_position=to_position))
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return seconds, max(peaks) / 1024


async def seconds_of(dsn: str, passes: frozenset[Pass], *, effort: Effort, to_position: int | None) -> float:
    """Raises Unsound where the verification finds anything, or anything was not sealed."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        began = time.perf_counter()
        report = await verify(conn, EventMapper().event, only=passes, effort=effort, to_position=to_position)
        took = time.perf_counter() - began
    if not report.clean or report.unsealed:
        raise Unsound(f"{report.findings[:3]}, {report.unsealed} not sealed")
    return took


# The stock way ------------------------------------------------------------------------------------------------------


class ValueAsDict(Transcoding):
    """How the library's documentation stores a value object: its type's name and its fields."""

    def __init__(self, type_: type[Any]) -> None:
        self.type, self.name = type_, type_.__name__

    def encode(self, obj: Any) -> Any:
        return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}

    def decode(self, data: Any) -> Any:
        return self.type(**data)


def stock(dsn: str) -> float:
    """Events per second that the library's mapper decodes, from its own format."""
    events = recorded_events(dsn)
    transcoder = JSONTranscoder()
    transcoder.register(DatetimeAsISO())
    transcoder.register(DecimalAsStr())
    for type_ in value_types(events):
        transcoder.register(ValueAsDict(type_))
    mapper = Mapper[str](transcoder)
    stored = [mapper.to_stored_event(event) for event in events]
    began = time.perf_counter()
    for each in stored:
        mapper.to_domain_event(each)
    return len(stored) / (time.perf_counter() - began)


def recorded_events(dsn: str) -> list[Event]:
    """A month of one seller's."""
    decode = EventMapper().event
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT stream_id, version, topic, payload FROM colink.events ORDER BY position LIMIT %s", [STOCK_EVENTS]
        )
        return [decode(*row) for row in rows]


def value_types(values: Iterable[Any]) -> set[type[Any]]:
    """The classes of the value objects inside these."""
    found: set[type[Any]] = set()
    for value in values:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inside = [getattr(value, field.name) for field in dataclasses.fields(value)]
            if not isinstance(value, Event):
                found.add(type(value))
        elif isinstance(value, tuple):
            inside = list(value)
        else:
            continue
        found |= value_types(inside)
    return found
