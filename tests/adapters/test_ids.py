"""The promise: new ids are UUIDv7 of the clock's time, rise strictly in a process, and never meet."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from colink.adapters.ids import Uuid7Ids

AT = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)


class Clock:
    time = AT

    def now(self) -> datetime:
        return self.time


def parsed(id_: str) -> uuid.UUID:
    return uuid.UUID(id_.removeprefix("org_"))


def test_an_id_is_a_uuid7_of_the_clocks_time() -> None:
    made = parsed(Uuid7Ids(Clock())("org"))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(AT.timestamp()) * 1000 + 123


def test_ids_rise_even_while_the_clock_stands_still_or_goes_back() -> None:
    clock = Clock()
    new_id = Uuid7Ids(clock)
    made = [new_id("org") for _ in range(5_000)]
    clock.time = AT - timedelta(hours=1)
    made += [new_id("org") for _ in range(10)]
    clock.time = AT + timedelta(hours=1)
    made.append(new_id("org"))
    assert made == sorted(set(made))
    assert all(parsed(id_).version == 7 for id_ in made)
