"""Seeds on a server: each in a database of its own, a copy of a migrated template, dropped when it is done."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import psycopg
import structlog
from psycopg import sql

from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.provision import create_database, provision
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle
from colink.simulation.faults import Faults, Killed
from colink.simulation.happenings import SeededIds, VirtualClock
from colink.simulation.model.books import Books
from colink.simulation.provider import SimulatedProvider
from colink.simulation.run import Outcome, Progress, Run, Visit, nobody_visits
from colink.simulation.service import Service, World
from colink.simulation.stage import Stage

_TEMPLATE = "colink_simulated"
_LOCK = 0x_51_11
# Of this server nothing is kept, and its crashes are not what is simulated: nothing has to reach the disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "128MB",
}
_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A server with the template on it, and a folder for what seeds leave behind."""

    server: ServerHandle
    folder: Path


def _nobody(_: int) -> None:
    """Nobody watches."""


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """An embedded server in `folder`, shared by all processes that simulate there."""
    with EmbeddedServer(folder / "server", settings=_SETTINGS).acquire() as server:
        yield prepared(server, folder)


def prepared(server: ServerHandle, folder: Path) -> Ground:
    """A running server, with the template on it."""
    provision(server)
    with psycopg.connect(server.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [_LOCK])  # of two processes the second finds it done
        if connection.execute("select from pg_database where datname = %s", [_TEMPLATE]).fetchone() is None:
            create_database(connection, _TEMPLATE)
            migrate(server.dsn(OWNER, _TEMPLATE))
    return Ground(server=server, folder=folder)


@contextmanager
def quiet() -> Iterator[None]:
    """What the service logs of crashes that are meant is nobody's news."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop(_logger: object, _method: str, _event: object) -> str:
    raise structlog.DropEvent


def simulate_all(
    folder: Path, seeds: Sequence[int], *, steps: int, processes: int, progress: Progress = _nobody
) -> Iterator[Outcome]:
    """Live seeds, so many at once, on a server in `folder`; their outcomes in the order of the seeds. `progress` is
    told the steps of a seed as it goes, where there is one process."""
    with ground(folder) as place:
        if processes == 1:
            for seed in seeds:
                yield simulate(place, seed=seed, steps=steps, progress=progress)
            return
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn) as executor:
            yield from executor.map(_simulate_in, itertools.repeat(folder), seeds, itertools.repeat(steps))


def _simulate_in(folder: Path, seed: int, steps: int) -> Outcome:
    """In a process of its own."""
    with ground(folder) as place:
        return simulate(place, seed=seed, steps=steps)


def shortest(folder: Path, *, seed: int, steps: int) -> Outcome | None:
    """The run of a seed with the fewest steps that fails, found by halving; None where it does not fail. A run of
    fewer steps is the same up to its end, where all that was begun comes to its own end."""
    with ground(folder) as place:
        failing, passing = simulate(place, seed=seed, steps=steps), 0
        if failing.failure is None:
            return None
        while failing.steps - passing > 1:
            tried = simulate(place, seed=seed, steps=(failing.steps + passing) // 2)
            if tried.failure is None:
                passing = tried.steps
            else:
                failing = tried
        return failing


def simulate(
    place: Ground, *, seed: int, steps: int, progress: Progress = _nobody, visit: Visit = nobody_visits
) -> Outcome:
    """Live one seed. `visit` comes in the end, while its database is still there."""
    begin = partial(Run, seed=seed, steps=steps, progress=progress, visit=visit)
    name = f"simulated_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(place.server.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
        create_database(connection, name, template=_TEMPLATE)
        keys = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place.folder))
        try:
            with quiet():
                return asyncio.run(_lived(place.server.dsn(APP, name), keys, seed, begin))
        finally:
            shutil.rmtree(keys, ignore_errors=True)
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


async def _lived(dsn: str, keys: Path, seed: int, begin: Callable[[Stage], Run]) -> Outcome:
    asyncio.get_running_loop().set_exception_handler(_unless_killed)
    random, clock = Random(seed), VirtualClock()
    provider = SimulatedProvider(clock=clock, fee=random.choice([0, 0, 25]))
    world = World(
        dsn=dsn,
        clock=clock,
        ids=SeededIds(),
        rail=provider,
        pepper=hashlib.sha256(b"simulated").digest(),
        keys=keys,
        faults=Faults(),
    )
    books, service = Books(lambda: int(clock.time.timestamp())), await Service.open(world)
    stage = Stage(world=world, clock=clock, provider=provider, random=random, books=books, service=service)
    provider.interrupt = stage.interrupt
    return await begin(stage).live()


def _unless_killed(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)
