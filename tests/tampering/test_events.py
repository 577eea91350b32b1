"""Each field of each kind of event is changed once in the sealed log of the business: the verification names its
position, no other. The columns beside the payload are changed in test_columns.py.

Of each kind the event with the most in it is changed. The business lives every kind of event and journal there is;
what it has not lived is named below, with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.api.shop import Shop
from tests.golden.shapes import event_types
from tests.tampering.mutants import Tamperer

from colink.domain.audit.report import Kind, Pass
from colink.domain.ledger import JournalKind
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

IN_THE_OTHER_LOG = "touch.recorded"
TOPICS = [cls.TOPIC for cls in event_types() if cls.TOPIC != IN_THE_OTHER_LOG]
NEVER_POSTED: Mapping[JournalKind, str] = {
    JournalKind.DISPUTE: "a dispute that counts is one more refund, and is posted as one (semantics section 2)"
}


def test_the_business_has_lived_every_kind_of_event(tamperer: Tamperer) -> None:
    lived = {topic for (topic,) in tamperer.rows("SELECT DISTINCT topic FROM colink.events")}
    assert lived == set(TOPICS)
    touches = tamperer.rows("SELECT DISTINCT topic FROM colink.tracking_events")
    assert touches == [(IN_THE_OTHER_LOG,)]


def test_the_business_has_posted_every_kind_of_journal(tamperer: Tamperer) -> None:
    posted = tamperer.rows(
        "SELECT DISTINCT payload::jsonb ->> 'kind' FROM colink.events WHERE topic = 'journal.posted'"
    )
    assert {kind for (kind,) in posted} == {kind.value for kind in JournalKind if kind not in NEVER_POSTED}


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


@pytest.mark.parametrize("topic", TOPICS)
async def test_each_field_of_an_event_is_sealed(business: Shop, tamperer: Tamperer, topic: str) -> None:
    [(position, payload)] = tamperer.rows(
        "SELECT position, payload FROM colink.events WHERE topic = %s"
        " ORDER BY length(payload) DESC, position LIMIT 1",
        topic,
    )
    payloads = [json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in changed(json.loads(payload))]
    assert len(payloads) >= 2
    for text in payloads:
        with tamperer.payload(position, text):
            async with business.colink.pool.connection() as connection:
                report = await verify(
                    connection,
                    business.colink.decode,
                    from_position=position - 1 or 1,
                    to_position=position + 1,
                    only=[Pass.CHAIN],
                    effort=Effort(processes=1),
                )
        found = [(each.audit_pass, each.kind, each.position) for each in report.findings]
        assert found == [(Pass.CHAIN, Kind.CHANGED, position)], text
