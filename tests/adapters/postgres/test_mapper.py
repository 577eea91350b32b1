"""Events come back from their stored text as they were, older shapes too; text that cannot be stored is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from tests.adapters.postgres.commands import journal

from colink.adapters.postgres.mapper import EventMapper, JsonTranscoder, encode
from colink.domain.aggregates import Event
from colink.domain.errors import InvalidInput
from colink.domain.money import Money
from colink.domain.organizations import Organization, OrganizationDetails

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Priced(Event):
    """Had `cents` and no note at first, then `price` as a bare number, now money."""

    TOPIC: ClassVar[str] = "test.priced"
    class_version: ClassVar[int] = 3
    price: Money
    rate: Decimal
    note: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["price"] = state.pop("cents")

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["price"] = {"amount": state["price"], "currency": "MYR"}


def priced(**changes: Any) -> Priced:
    event = Priced(
        originator_id='s_"1"', originator_version=7, timestamp=AT, price=Money(4997, "MYR"), rate=Decimal("0.10")
    )
    return replace(event, **changes)


def old(state: dict[str, Any]) -> StoredEvent:
    return StoredEvent(
        originator_id="s_1",
        originator_version=1,
        topic="test.priced",
        state=json.dumps({"timestamp": "2026-03-01T12:00:00.123456Z", "rate": "0.10", **state}).encode(),
    )


def test_an_event_comes_back_as_it_was() -> None:
    mapper = EventMapper()
    for event in (
        priced(),
        priced(note="ü \\u0000 \n \x1f"),
        journal("jrn_1", ("payee:a:b:pending", 5), ("platform:loss", -5)),
    ):
        assert mapper.to_domain_event(mapper.to_stored_event(event)) == event


def test_the_payload_holds_neither_id_nor_version() -> None:
    stored = EventMapper().to_stored_event(priced())
    assert json.loads(stored.state) == {
        "timestamp": "2026-03-01T12:00:00.123456Z",
        "price": {"amount": 4997, "currency": "MYR"},
        "rate": "0.10",
        "note": None,
        "class_version": 3,
    }
    assert (stored.originator_id, stored.originator_version, stored.topic) == ('s_"1"', 7, "test.priced")


def test_a_payload_names_its_topic_and_the_version_of_its_shape_unless_it_is_the_first() -> None:
    posted = journal("jrn_1", ("payee:cre_1:available", 5), ("platform:revenue", -5))
    payload = json.loads(EventMapper().to_stored_event(posted).state)
    assert (payload["originator_topic"], payload["class_version"]) == ("journal", 2)
    registered = Organization.register(
        OrganizationDetails(id="org_1", name="Kedai", platform_fee_bps=500), at=posted.timestamp
    )
    (event,) = registered.new_events()
    assert "class_version" not in json.loads(EventMapper().to_stored_event(event).state)


@pytest.mark.parametrize(
    "state",
    [
        {"cents": 4997},
        {"price": 4997, "class_version": 2},
        {"price": {"amount": 4997, "currency": "MYR"}, "class_version": 3},
    ],
)
def test_older_shapes_are_brought_up_to_date(state: dict[str, Any]) -> None:
    assert EventMapper().to_domain_event(old(state)) == priced(originator_id="s_1", originator_version=1)


def test_what_does_not_fit_its_class_says_which_event_it_is() -> None:
    wrong = {"price": {"amount": 1.5, "currency": "MYR"}, "class_version": 3}
    with pytest.raises(MapperDeserialisationError, match=r"event 1 of 's_1' with topic 'test\.priced'"):
        EventMapper().to_domain_event(old(wrong))
    with pytest.raises(MapperDeserialisationError, match=r"no\.such\.topic"):
        EventMapper().event("s_1", 1, "no.such.topic", "{}")


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_cannot_be_stored_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        EventMapper().to_stored_event(priced(price=Money(1, text)))
    assert caught.value.field == "price.currency"
    with pytest.raises(InvalidInput) as caught:
        EventMapper().to_stored_event(priced(note=text))
    assert caught.value.field == "note"


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert encode({"note": "\\u0000"}) == '{"note":"\\\\u0000"}'
    with pytest.raises(InvalidInput):
        encode({"note": ["\x00"]})


def test_payloads_are_neither_compressed_nor_encrypted() -> None:
    with pytest.raises(ValueError, match="auditors read them"):
        EventMapper(compressor=object())


def test_the_transcoder_writes_plain_json() -> None:
    transcoder = JsonTranscoder()
    assert transcoder.encode({"at": AT, "n": Decimal("1.50")}) == b'{"at":"2026-03-01T12:00:00.123456Z","n":"1.50"}'
    assert transcoder.decode(b'{"a":[1,"x",null]}') == {"a": [1, "x", None]}
