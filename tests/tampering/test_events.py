"""Each field of each kind of event is changed once in a sealed log: the verification names its position, no other.

The log holds the example of every kind that the golden files are made of; the columns beside the payload are changed
in test_columns.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase
from tests.golden.shapes import event_types, examples_of
from tests.tampering.mutants import Tamperer

from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.provision import Database
from colink.domain.audit.report import Kind, Pass
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

TYPES = {cls.TOPIC: cls for cls in event_types() if cls.TOPIC != "touch.recorded"}  # that is in the other log


@pytest.fixture(scope="module")
async def examples(
    anyio_backend: str, shared_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """A sealed log with one event of every kind, as it is stored. They belong to nothing."""
    given = Database(owner_dsn=shared_database.owner_dsn, app_dsn=shared_database.app_dsn)
    async with open_shop(given, data_dir=tmp_path_factory.mktemp("data")) as shop:
        with psycopg.connect(shared_database.superuser_dsn) as connection:
            [(head,)] = connection.execute("SELECT position FROM colink.log_head")
            for position, (topic, cls) in enumerate(TYPES.items(), head + 1):
                stamped = EventMapper().stamped(examples_of(cls)[0])
                connection.execute(
                    "INSERT INTO colink.events VALUES (%s, %s, 1, %s, %s, %s, null, %s, 'test', 'test', null)",
                    [position, f"example_{position}", topic, stamped.schema_version, stamped.payload, _NOON],
                )
            connection.execute("UPDATE colink.log_head SET position = %s, recorded_at = %s", [position, _NOON])
        while await shop.colink.seal():
            pass
        yield shop


@pytest.fixture(scope="module")
def tamperer(examples: Shop, shared_database: TestDatabase) -> Iterator[Tamperer]:
    assert examples
    opened = Tamperer(shared_database.superuser_dsn)
    yield opened
    opened.close()


_NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


def changed(value: Any) -> Iterator[Any]:
    """The value with one leaf changed, for every leaf; of lists the first element stands for all."""
    match value:
        case dict() if value:
            for name, part in value.items():
                yield from (value | {name: each} for each in changed(part))
        case list() if value:
            yield from ([each, *value[1:]] for each in changed(value[0]))
        case bool():
            yield not value
        case int():
            yield value + 1
        case str():
            yield value + "~"
        case _:
            yield 1


def test_every_leaf_is_changed_once() -> None:
    assert list(changed({"a": 1, "b": [True, "x"], "c": {"d": None}})) == [
        {"a": 2, "b": [True, "x"], "c": {"d": None}},
        {"a": 1, "b": [False, "x"], "c": {"d": None}},
        {"a": 1, "b": [True, "x"], "c": {"d": 1}},
    ]


@pytest.mark.parametrize("topic", TYPES)
async def test_each_field_of_an_event_is_sealed(examples: Shop, tamperer: Tamperer, topic: str) -> None:
    [(position, payload)] = tamperer.rows(
        "SELECT position, payload FROM colink.events WHERE topic = %s ORDER BY position DESC LIMIT 1", topic
    )
    payloads = [json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in changed(json.loads(payload))]
    assert len(payloads) >= 2
    for text in payloads:
        with tamperer.payload(position, text):
            async with examples.colink.pool.connection() as connection:
                report = await verify(
                    connection,
                    examples.colink.decode,
                    from_position=position - 1,
                    to_position=position + 1,
                    only=[Pass.CHAIN],
                    effort=Effort(processes=1),
                )
        found = [(each.audit_pass, each.kind, each.position) for each in report.findings]
        assert found == [(Pass.CHAIN, Kind.CHANGED, position)], text
