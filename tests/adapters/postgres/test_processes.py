"""Several processes append at once and two are killed: no gap, no deadlock, no answer is lost, balances fold."""

from __future__ import annotations

import subprocess
import sys
import threading

import psycopg
import pytest
from tests.adapters.postgres.conftest import Store


def start(store: Store, name: str, *, commands: int, in_flight: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.postgres.writer", store.app_dsn, name, str(commands), str(in_flight)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Watcher(threading.Thread):
    """Reads the log from behind all the while: positions must come without a gap, each once."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.seen = 0
        self.gaps: list[tuple[int, int]] = []
        self._dsn = store.app_dsn
        self._ended = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._ended.wait(0.002):
                query = "select position from colink.events where position > %s order by position"
                for (position,) in connection.execute(query, (self.seen,)).fetchall():
                    if position != self.seen + 1:
                        self.gaps.append((self.seen, position))
                    self.seen = position

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.mark.parametrize(("processes", "in_flight"), [(2, 1), (4, 2)])
def test_processes_append_at_once_and_two_are_killed(store: Store, processes: int, in_flight: int) -> None:
    watcher = Watcher(store)
    watcher.start()
    survivors = [start(store, f"s{n}", commands=600, in_flight=in_flight) for n in range(processes)]
    victims = [start(store, f"v{n}", commands=100_000, in_flight=in_flight) for n in range(2)]
    answered: list[int] = []
    for victim in victims:
        assert victim.stdout is not None
        for _ in range(150):  # well in the middle of its work
            answered.append(int(victim.stdout.readline()))
        victim.kill()
        rest, _ = victim.communicate()
        answered += [int(line) for line in rest.split("\n")[:-1]]
    for process in survivors:
        output, problems = process.communicate(timeout=120)
        assert process.returncode == 0, problems
        answered += [int(line) for line in output.split()]
    watcher.end()

    assert watcher.gaps == []
    store.assert_sound()
    recorded = {row[0] for row in store.rows("select position from colink.events")}
    positions = [position for position in answered if position]
    assert len(positions) > processes * 400
    assert len(positions) == len(set(positions))
    assert set(positions) <= recorded
    shared = store.rows("select stream_id from colink.events where stream_id like 'jrn_shared_%%'")
    assert (
        len(shared)
        == len(set(shared))
        == store.value("select amount from colink.balances where account = 'payee:shared:available'")
    )
    deadlocks = store.value("select deadlocks from pg_stat_database where datname = current_database()")
    assert deadlocks == 0
