"""Is any event missed, or seen out of order, by who reads along while many write?

    python -m tests.torture.gaps --runs 20            our log: a line for each run, exit code 1 for anything missed
    python -m tests.torture.gaps --runs 3 --compare   the same with the stock library's recorder in both its modes

Eight processes write. Of their transactions 2 % are slow between their insert and their commit and 2 % are rolled
back there, both by a trigger on the table of events; processes are killed with SIGKILL and replaced. Two readers
follow: the library's subscription on our recorder, and the projection engine.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Any, ClassVar

import msgspec
import psycopg
from eventsourcing.persistence import Subscription
from psycopg import sql
from tests.torture.databases import TortureDatabase, durable_server
from tests.torture.gap_writers import (
    Writer,
    library_recorder,
    write_with_library,
    write_with_library_functions,
    write_with_ours,
)

from colink.adapters.postgres.append import COMMERCE
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import create_blocking_pool, create_pool
from colink.adapters.postgres.recorder import PostgresRecorder
from colink.domain.ledger import JournalPosted
from colink.projections.engine import Connection, Log, LogEvent, Parts, ProjectionEngine

WRITERS = 8
PATIENCE = 120.0  # seconds for readers to come to the end

_TROUBLE = """
create sequence {schema}.slow_transactions;
create sequence {schema}.rolled_back;
create function {schema}.make_trouble() returns trigger language plpgsql as $$
declare
    chance float := random();
begin
    -- Positions are given out by now and nothing is committed: whoever is not serialised can be overtaken here.
    if chance < 0.02 then
        perform nextval('{schema}.slow_transactions');  -- sequences count what is rolled back, too
        perform pg_sleep(0.02 + random() * 0.08);
    elsif chance < 0.04 then
        perform nextval('{schema}.rolled_back');
        -- One kind that is worth another try, one that is not.
        raise exception 'rolled back' using errcode = case when chance < 0.03 then '40001' else 'P0001' end;
    end if;
    return null;
end
$$;
grant usage on all sequences in schema {schema} to public;
create trigger make_trouble after insert on {table} for each statement execute function {schema}.make_trouble();
"""


@dataclass(kw_only=True)
class Reader:
    """Notes the positions it is given, in the order it is given them."""

    name: str
    seen: list[int] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def out_of_order(self) -> int:
        return sum(1 for before, after in zip(self.seen, self.seen[1:], strict=False) if after <= before)


@dataclass(frozen=True, kw_only=True)
class GapRun:
    """What came out of one run: `missed` and `out_of_order` by reader."""

    way: str
    events: int
    slow: int
    rolled_back: int
    killed: int
    missed: dict[str, int]
    out_of_order: dict[str, int]
    gapless: bool

    @property
    def sound(self) -> bool:
        return not any(self.missed.values()) and not any(self.out_of_order.values())

    def __str__(self) -> str:
        readers = ", ".join(
            f"{name}: {missed:,} missed, {self.out_of_order[name]:,} out of order"
            for name, missed in self.missed.items()
        )
        return (
            f"{self.way:<22} {self.events:>8,} events  {self.slow:>4} slow  {self.rolled_back:>4} rolled back  "
            f"{self.killed:>3} killed  {'gapless' if self.gapless else 'with gaps':<9}  {readers}"
        )


class Nothing(msgspec.Struct):
    """All that this projection needs of an event: that it is there."""


class SeenByEngine:
    """A projection that keeps nothing but what it was shown."""

    name: ClassVar[str] = "gap_test"
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {}
    parts: ClassVar[Mapping[Log, Parts]] = {Log.COMMERCE: {JournalPosted: Nothing}}

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        self._reader.seen.extend(event.position for event in events)


@contextmanager
def subscribed(reader: Reader, subscription: Subscription[Any]) -> Iterator[None]:
    """A thread that follows a subscription of the library."""

    def follow() -> None:
        try:
            with subscription:
                reader.seen.extend(notification.id for notification in subscription)
        except BaseException as error:  # noqa: BLE001 - told with the result
            reader.errors.append(error)

    thread = threading.Thread(target=follow, name=reader.name)
    thread.start()
    try:
        yield
    finally:
        subscription.stop()
        thread.join()


@contextmanager
def projected(reader: Reader, dsn: str) -> Iterator[None]:
    """A thread in which the projection engine follows the log as the worker lets it."""
    stop = threading.Event()

    async def follow() -> None:
        async with create_pool(dsn) as pool:
            engine = ProjectionEngine(pool, [SeenByEngine(reader)], EventMapper().newest)
            await engine.register()
            while not stop.is_set():
                await engine.run_until_caught_up()
                await asyncio.sleep(0.002)

    def run() -> None:
        try:
            asyncio.run(follow())
        except BaseException as error:  # noqa: BLE001 - told with the result
            reader.errors.append(error)

    thread = threading.Thread(target=run, name=reader.name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def our_run(database: TortureDatabase, *, seconds: float, seed: int) -> GapRun:
    """Writers and readers on the commerce log of a fresh database."""
    subscriber, engine = Reader(name="subscription"), Reader(name="engine")
    with ExitStack() as stack:
        pool = stack.enter_context(create_blocking_pool(database.app_dsn))
        stack.enter_context(subscribed(subscriber, PostgresRecorder(pool, COMMERCE).subscribe(gt=0)))
        stack.enter_context(projected(engine, database.app_dsn))
        return _run(
            "ours", write_with_ours, database, readers=[subscriber, engine], seconds=seconds, seed=seed,
            schema="colink", table="events", position="position",
        )  # fmt: skip


def library_run(database: TortureDatabase, *, safe: bool, seconds: float, seed: int) -> GapRun:
    """The same writers and a reader with the stock library."""
    recorder = library_recorder(database.superuser_dsn, safe=safe)
    recorder.create_table()
    reader = Reader(name="subscription")
    with ExitStack() as stack:
        stack.callback(recorder.datastore.close)
        stack.enter_context(subscribed(reader, recorder.subscribe(gt=0)))
        return _run(
            "library, locking" if safe else "library, DB functions",
            write_with_library if safe else write_with_library_functions,
            database, readers=[reader], seconds=seconds, seed=seed,
            schema="public", table="stock_events", position="notification_id",
        )  # fmt: skip


def _run(
    way: str,
    writer: Writer,
    database: TortureDatabase,
    *,
    readers: Sequence[Reader],
    seconds: float,
    seed: int,
    schema: str,
    table: str,
    position: str,
) -> GapRun:
    where = {"schema": sql.Identifier(schema), "table": sql.Identifier(schema, table)}
    dsn = database.app_dsn if schema == "colink" else database.superuser_dsn
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(_TROUBLE).format(**where))
        killed = _write_and_kill(writer, dsn, seconds=seconds, chance=random.Random(seed))
        _wait_until_idle(connection)
        column = sql.Identifier(position)
        query = sql.SQL("select {0} from {1} order by {0}").format(column, where["table"])
        positions = [row[0] for row in connection.execute(query).fetchall()]
        deadline = time.monotonic() + PATIENCE
        while not all(_at_end(reader, positions) for reader in readers) and time.monotonic() < deadline:
            time.sleep(0.05)
        for reader in readers:
            for error in reader.errors:
                raise error
        counted = sql.SQL("select coalesce(pg_sequence_last_value({}::regclass), 0)")
        slow, rolled_back = (
            connection.execute(counted.format(sql.Literal(f"{schema}.{name}"))).fetchone()[0]
            for name in ("slow_transactions", "rolled_back")
        )
    return GapRun(
        way=way,
        events=len(positions),
        slow=slow,
        rolled_back=rolled_back,
        killed=killed,
        missed={reader.name: len(set(positions) - set(reader.seen)) for reader in readers},
        out_of_order={reader.name: reader.out_of_order() for reader in readers},
        gapless=positions == list(range(1, len(positions) + 1)),
    )


def _at_end(reader: Reader, positions: Sequence[int]) -> bool:
    """Whether it was given the newest event: readers go forward only, so nothing older will come."""
    return bool(reader.errors) or not positions or (bool(reader.seen) and reader.seen[-1] >= positions[-1])


def _write_and_kill(writer: Writer, dsn: str, *, seconds: float, chance: random.Random) -> int:
    """Let the writers write; kill one at random moments and start another in its place. In the end all are killed."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([writer.__module__])
    names = iter(range(1_000_000))

    def start() -> ForkServerProcess:
        process = processes.Process(target=writer, args=(dsn, f"w{next(names)}"), daemon=True)
        process.start()
        return process

    running = [start() for _ in range(WRITERS)]
    killed = 0
    try:
        _wait_for_writes(dsn)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.05, 0.5))
            victim = chance.randrange(WRITERS)
            assert running[victim].is_alive(), "a writer ended by itself"
            running[victim].kill()
            running[victim].join()
            running[victim] = start()
            killed += 1
    finally:
        for process in running:
            process.kill()
            process.join()
    return killed + WRITERS


def _wait_for_writes(dsn: str) -> None:
    """Until the first of them writes, however long it takes to start them."""
    deadline = time.monotonic() + PATIENCE
    query = "select count(*) from pg_stat_user_tables where relname in ('events', 'stock_events') and n_tup_ins > 0"
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute(query).fetchone() == (0,) and time.monotonic() < deadline:
            time.sleep(0.05)


def _wait_until_idle(connection: psycopg.Connection[Any]) -> None:
    """Until what the killed processes had begun is over: their statements run to their end without them."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and state = 'active'"
        " and pid <> pg_backend_pid()"
    )
    quiet = 0
    while quiet < 3:
        quiet = quiet + 1 if connection.execute(query).fetchone() == (0,) else 0
        time.sleep(0.05)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="of writing, in each run")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--compare", action="store_true", help="run the stock library's two modes as well")
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}; {WRITERS} writers, {chosen.seconds:g} s a run", flush=True)
    ways: list[Callable[..., GapRun]] = [our_run]
    if chosen.compare:
        ways += [_library_locking, _library_functions]
    sound = True
    with durable_server() as server:
        for way in ways:
            for number in range(chosen.runs):
                with server.database() as database:
                    found = way(database, seconds=chosen.seconds, seed=chosen.seed + number)
                print(found, flush=True)
                sound = sound and (way is not our_run or (found.sound and found.gapless))
    print("nothing missed, nothing out of order" if sound else "OUR LOG LOST SOMETHING")
    return 0 if sound else 1


def _library_locking(database: TortureDatabase, **more: Any) -> GapRun:
    return library_run(database, safe=True, **more)


def _library_functions(database: TortureDatabase, **more: Any) -> GapRun:
    return library_run(database, safe=False, **more)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
