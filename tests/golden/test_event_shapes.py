"""No event changes its shape unnoticed: what is in the log stays readable, and is read as what it was.

Each event type has a golden file a version, with the shape of its payload and two payloads as they are stored.
docs/evolution.md says what to do when one of these tests fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import make_dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import resolve_topic
from tests.golden.shapes import FOLDER, event_types, examples_of, file_of, shape_of

from colink.adapters.postgres.mapper import EventMapper
from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.money import Money
from colink.domain.order_decisions import OrderSettlementTakenBack
from colink.domain.orders import OrderSplit
from colink.domain.tracking import TouchKind

EVENT_TYPES = event_types()
OLD_AND_NEW = [(cls, version) for cls in EVENT_TYPES for version in range(1, cls.class_version + 1)]


def golden(cls: type[Event], version: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file_of(cls, version).read_text())
    return found


def stored(cls: type[Event], payload: object) -> StoredEvent:
    return StoredEvent(originator_id="s_1", originator_version=7, topic=cls.TOPIC, state=msgspec.json.encode(payload))


def test_every_event_type_has_a_topic_of_its_own_and_says_no_version_it_has_no_upcast_for() -> None:
    topics = [cls.TOPIC for cls in EVENT_TYPES]
    assert sorted(set(topics)) == topics
    for cls in EVENT_TYPES:
        assert cls.class_version >= 1
        for version in range(1, cls.class_version):
            assert callable(getattr(cls, f"upcast_v{version}_v{version + 1}")), cls


def test_every_version_of_every_event_type_has_a_golden_file_and_no_golden_file_is_of_nothing() -> None:
    wanted = {file_of(cls, version).name for cls, version in OLD_AND_NEW}
    assert wanted == {path.name for path in FOLDER.iterdir()}, "run `make golden` (docs/evolution.md)"


@pytest.mark.parametrize("cls", EVENT_TYPES, ids=lambda cls: cls.TOPIC)
def test_an_event_type_has_the_shape_of_its_version(cls: type[Event]) -> None:
    # As text, because the order of the fields is the order of the stored bytes.
    now, known = shape_of(cls), golden(cls, cls.class_version)["shape"]
    assert json.dumps(now, indent=1) == json.dumps(known, indent=1), (
        f"the shape of {cls.TOPIC} changed: raise its class_version (docs/evolution.md)"
    )


@pytest.mark.parametrize("cls", EVENT_TYPES, ids=lambda cls: cls.TOPIC)
def test_a_golden_payload_is_read_and_written_byte_for_byte(cls: type[Event]) -> None:
    mapper = EventMapper()
    for payload, example in zip(golden(cls, cls.class_version)["payloads"], examples_of(cls), strict=True):
        event = mapper.to_domain_event(stored(cls, payload))
        assert event == mapper.to_domain_event(mapper.to_stored_event(event))
        assert mapper.to_stored_event(event) == stored(cls, payload)
        # What stands for an event of that shape today stood for it then: an encoder that changed would show here.
        assert mapper.to_stored_event(example).state == stored(cls, payload).state


@pytest.mark.parametrize(("cls", "version"), OLD_AND_NEW, ids=lambda value: getattr(value, "TOPIC", value))
def test_payloads_of_every_version_are_read_as_the_newest(cls: type[Event], version: int) -> None:
    mapper = EventMapper()
    found = golden(cls, version)
    assert (found["topic"], found["version"]) == (cls.TOPIC, version)
    for payload in found["payloads"]:
        assert payload.get("class_version", 1) == version
        event = mapper.to_domain_event(stored(cls, payload))
        assert type(event) is cls
        written = json.loads(mapper.to_stored_event(event).state)
        assert written.get("class_version", 1) == cls.class_version
        missing = set(shape_of(cls)) - set(written)
        assert missing in (set(), set(cls.omitted_when_none))
        assert [name for name in written if name != "class_version"] == [
            name for name in shape_of(cls) if name not in missing
        ]


@pytest.mark.parametrize("cls", [cls for cls in EVENT_TYPES if issubclass(cls, Created)], ids=lambda cls: cls.TOPIC)
def test_the_aggregate_named_by_a_first_event_is_there(cls: type[Event]) -> None:
    for payload in golden(cls, cls.class_version)["payloads"]:
        assert issubclass(resolve_topic(payload["originator_topic"]), Aggregate)


def _event(**parts: Any) -> type[Event]:
    """An event class with these parts; without a topic it is in no one's way."""
    return make_dataclass("Weighed", list(parts.items()), bases=(Event,), frozen=True, kw_only=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"grams": int},
        {"grams": int, "note": str | None, "by": str},
        {"grammes": int, "note": str | None},
        {"note": str | None, "grams": int},
        {"grams": Decimal, "note": str | None},
        {"grams": int | None, "note": str | None},
        {"grams": int, "note": str},
        {"grams": tuple[int, ...], "note": str | None},
        {"grams": Money, "note": str | None},
        {"grams": TouchKind, "note": str | None},
    ],
    ids=str,
)
def test_every_kind_of_change_shows_in_the_shape(changed: dict[str, Any]) -> None:
    known = {"timestamp": "time", "grams": "integer", "note": "text or null"}
    assert json.dumps(shape_of(_event(grams=int, note=str | None))) == json.dumps(known)
    assert json.dumps(shape_of(_event(**changed))) != json.dumps(known)


def test_a_member_more_shows_in_the_shape() -> None:
    assert shape_of(_event(kind=TouchKind))["kind"] == "one of click, view"
    assert shape_of(_event(price=Money))["price"] == {"amount": "integer", "currency": "text"}


def test_an_audit_knows_every_event_type_by_itself() -> None:
    """It takes what it does not know for a newer program's, so whatever declares events has to be imported by it."""
    code = "import colink.projections.audit, colink.domain.aggregates as a; print(*sorted(a.declared_events()))"
    known = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert known == [cls.TOPIC for cls in EVENT_TYPES]


def test_an_order_of_which_nothing_is_held_is_stored_as_it_always_was() -> None:
    cls = next(cls for cls in EVENT_TYPES if cls.TOPIC == "order.split")
    before = golden(cls, 3)["payloads"][0]
    event = EventMapper().to_domain_event(stored(cls, before))
    assert isinstance(event, OrderSplit)
    assert event.split.held_lines is None, "nobody had said what is held"
    assert event.split.waits_for_seller is None, "nor whether it waits"
    nothing_held = replace(event, split=replace(event.split, held_lines=(), waits_for_seller=False))
    written = EventMapper().to_stored_event(nothing_held).state
    terms = before["terms"] | {"keeps_rates": False}
    assert written == msgspec.json.encode({**before, "terms": terms, "class_version": 6})
    assert EventMapper().to_domain_event(stored(cls, msgspec.json.decode(written))) == nothing_held
    for changes in (
        {"held_lines": ("7",)},
        {"waits_for_seller": True},
        {"held_lines": None, "waits_for_seller": None},
    ):
        other = replace(event, split=replace(nothing_held.split, **changes))
        assert EventMapper().to_domain_event(EventMapper().to_stored_event(other)) == other


def test_what_a_returned_payment_took_back_once_left_what_holds_had_taken() -> None:
    cls = next(cls for cls in EVENT_TYPES if cls.TOPIC == "order.settlement_taken_back")
    event = EventMapper().to_domain_event(stored(cls, golden(cls, 1)["payloads"][0]))
    assert isinstance(event, OrderSettlementTakenBack)
    assert event.forfeits_suspended is None


def test_a_journal_without_a_cause_or_reason_of_its_own_is_stored_as_it_always_was() -> None:
    cls = next(cls for cls in EVENT_TYPES if cls.TOPIC == "journal.posted")
    sparse = golden(cls, 1)["payloads"][1]
    written = EventMapper().to_stored_event(EventMapper().to_domain_event(stored(cls, sparse))).state
    assert written == msgspec.json.encode({**sparse, "class_version": 2})
    with_reason = {**sparse, "cause_id": None, "occurred_at": None, "corrects": None, "reason": "late"}
    kept = EventMapper().to_stored_event(EventMapper().to_domain_event(stored(cls, with_reason))).state
    assert kept == msgspec.json.encode({**with_reason, "class_version": 2})
