"""Processes that append to a log until they are killed: through our committer, or through the stock library.

Run by gaps.py in processes of their own; nothing here knows how many there are or when they die.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from eventsourcing.persistence import PersistenceError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from tests.adapters.postgres.commands import Decide, FixedClock, journal

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import create_pool
from colink.application.ports import Decision, Facts
from colink.domain.errors import ColinkError

CALLERS = 4  # in each process: enough to fill batches, few enough to make many of them

Writer = Callable[[str, str], None]
"""Called with a DSN and a name of its own; writes until its process is killed."""


def write_with_ours(dsn: str, name: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # trouble is expected
    asyncio.run(_commit_for_ever(dsn, name))


async def _commit_for_ever(dsn: str, name: str) -> None:
    chance = random.Random(name)
    async with (
        create_pool(dsn, max_size=2, for_commands=True) as pool,
        Committer(pool, FixedClock(), in_flight=2, batch_size=8) as bus,
    ):

        async def caller(number: int) -> None:
            for count in itertools.count():
                try:
                    await bus.submit(_journals(f"jrn_{name}_{number}_{count}", chance.randint(1, 4)))
                except (ColinkError, Error):
                    continue  # rolled back, or refused: the next one

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))


def _journals(stem: str, number: int) -> Decide:
    legs = ("payee:cre_1:available", 5), ("platform:revenue", -5)
    events = tuple(journal(f"{stem}_{n}", *legs) for n in range(number))

    def make(_: Facts) -> Decision:
        return Decision(answer={}, events=events)

    return Decide(make=make)


def library_recorder(dsn: str, *, safe: bool) -> PostgresApplicationRecorder:
    """The stock recorder, in its own table beside ours: with its table lock, or in the mode of its published speed
    figures, POSTGRES_ENABLE_DB_FUNCTIONS."""
    given = conninfo_to_dict(dsn)
    datastore = PostgresDatastore(
        dbname=str(given["dbname"]),
        host=str(given["host"]),
        port=str(given["port"]),
        user=str(given["user"]),
        password="",  # our server knows its users by the socket
        pool_size=CALLERS,
        max_overflow=4,
        enable_db_functions=not safe,
        originator_id_type="text",
    )
    return PostgresApplicationRecorder(datastore, events_table_name="stock_events")


def write_with_library(dsn: str, name: str) -> None:
    _insert_for_ever(dsn, name, safe=True)


def write_with_library_functions(dsn: str, name: str) -> None:
    _insert_for_ever(dsn, name, safe=False)


def _insert_for_ever(dsn: str, name: str, *, safe: bool) -> None:
    recorder = library_recorder(dsn, safe=safe)
    chance = random.Random(name)

    def caller(number: int) -> None:
        for count in itertools.count():
            stem = f"{name}_{number}_{count}"
            events = [StoredEvent(f"{stem}_{n}", 1, "some.topic", b"{}") for n in range(chance.randint(1, 4))]
            try:
                recorder.insert_events(events)
            except PersistenceError:
                continue

    with ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(caller, range(CALLERS)))
    os._exit(1)  # only a defect ends the callers
