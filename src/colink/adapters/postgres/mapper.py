"""Events to stored text and back. Responsible for encoding, upcasting and the topic of each event; not for storage.

A payload is the JSON of the event's fields without `originator_id` and `originator_version` (they are columns). It is
decoded into the event's own types, so money stays integer, decimals exact and times aware. An event class with a
`class_version` above 1 has it in its payload and is brought up to date by its `upcast_vN_vN+1` methods, as the
library does it. What a newer program wrote, a topic or a version that this one does not know, is refused by name:
read as if it were known, it would be read wrongly (docs/evolution.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Cipher, Compressor, Mapper, MapperDeserialisationError, StoredEvent, Transcoder

from colink.adapters.postgres.prepared import StampedEvent
from colink.domain.aggregates import Event, declared_events
from colink.domain.errors import InvalidInput

_NUL_IN_JSON = "\\u0000"
_FIRST_OF_PAYLOAD = '"timestamp":'
_VERSIONED = '"class_version":'  # in no text of a payload: there its quotes are escaped
_encoder = msgspec.json.Encoder()


class JsonTranscoder(Transcoder):
    """Plain JSON for the library: times as RFC 3339, decimals as text, no type wrappers."""

    def encode(self, obj: Any) -> bytes:
        return _encoder.encode(obj)

    def decode(self, data: bytes) -> Any:
        return msgspec.json.decode(data)


class EventMapper(Mapper[str]):
    """Maps our typed events. Text that PostgreSQL cannot hold is refused here, naming the field."""

    def __init__(
        self,
        transcoder: Transcoder | None = None,
        compressor: Compressor | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        if compressor is not None or cipher is not None:
            msg = "payloads are stored as they are: auditors read them (architecture section 4)"
            raise ValueError(msg)
        super().__init__(transcoder or JsonTranscoder())

    def stamped(self, event: Event) -> StampedEvent:
        """Raises InvalidInput, naming the field, for text with NUL or half a surrogate pair."""
        cls = type(event)
        version = cls.class_version
        text = encode(event)
        # The fields that are columns come first, and inside a JSON text this mark cannot stand: there its quotes are
        # escaped.
        payload = "{" + text[text.index(_FIRST_OF_PAYLOAD) :]
        absent, closing = _absent(cls.omitted_when_none, cls.omitted_ending)
        if absent and payload.endswith(absent):
            payload = payload[: -len(absent)] + closing
        if version > 1:
            payload = f'{payload[:-1]},"class_version":{version}}}'
        return StampedEvent(event.originator_id, event.originator_version, cls.TOPIC, payload, version)

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """The same for the library."""
        stamped = self.stamped(cast("Event", domain_event))
        return StoredEvent(
            originator_id=stamped.stream_id,
            originator_version=stamped.version,
            topic=stamped.topic,
            state=stamped.payload.encode(),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Event:
        return self.event(
            str(stored_event.originator_id),
            stored_event.originator_version,
            stored_event.topic,
            stored_event.state.decode(),
        )

    def event(self, stream_id: str, version: int, topic: str, payload: str) -> Event:
        """The event of one row of the log. Raises MapperDeserialisationError when it does not fit its class."""
        try:
            cls = event_class(topic)
            if cls.class_version > 1 or _VERSIONED in payload:
                payload = _up_to_date(cls, payload)
            # The two columns are put back into the text: one typed decode then builds the whole event.
            text = f'{{"originator_id":{encode(stream_id)},"originator_version":{version},{payload[1:]}'
            return msgspec.json.decode(text, type=cls)
        except Exception as error:
            msg = f"cannot read event {version} of {stream_id!r} with topic {topic!r}: {error}"
            raise MapperDeserialisationError(msg) from error

    def newest(self, topic: str, payload: str) -> str:
        """A payload of any known shape in the newest one, for those who read only parts of it. Raises LookupError for
        an unknown topic, ValueError for a shape that a newer program wrote."""
        return _up_to_date(event_class(topic), payload)


@cache
def _absent(names: tuple[str, ...], ending: str) -> tuple[str, str]:
    """How a payload ends where what is rarely there is not, and how it is stored to end then: the last fields, of
    these names, all None; or this."""
    if ending:
        return ending, ending[len(ending.rstrip("}")) :]
    absent = "".join(f',"{name}":null' for name in names)
    return (absent + "}", "}") if absent else ("", "")


def schema_version(event_class: type[Any]) -> int:
    """The version of the class's shape, 1 where it says none."""
    return int(getattr(event_class, "class_version", 1))


@cache
def event_class(topic: str) -> type[Event]:
    """The class declared with that topic. Raises LookupError for one that this program does not have: a topic in the
    log never imports anything, as the library's own look-up would."""
    found = declared_events().get(topic)
    if found is None:
        msg = "no event of this program has that topic; a newer CoLink may have written it: use that one"
        raise LookupError(msg)
    return found


def _up_to_date(cls: type[Event], payload: str) -> str:
    newest = cls.class_version
    # The version is written last, so the ending tells most payloads apart without reading them twice.
    if newest > 1 and payload.endswith(f',"class_version":{newest}}}'):
        return payload
    state = msgspec.json.decode(payload, type=dict[str, Any])
    version = state.pop("class_version", 1)
    if type(version) is not int or not 1 <= version <= newest:
        msg = (
            f"its shape has version {version!r} and this program knows {newest} at most; a newer CoLink may have "
            "written it: use that one"
        )
        raise ValueError(msg)
    for known in range(version, newest):
        getattr(cls, f"upcast_v{known}_v{known + 1}")(state)
    return _encoder.encode(state).decode()


def encode(value: object) -> str:
    """The JSON text of anything msgspec encodes. Raises InvalidInput for text that PostgreSQL cannot hold."""
    try:
        text = _encoder.encode(value).decode()
    except UnicodeEncodeError as error:
        msg = "text with half a surrogate pair cannot be stored"
        raise InvalidInput(msg, field=_culprit(value)) from error
    # The escape may also be an escaped backslash before `u0000`, which is harmless: only then is the walk in vain.
    if _NUL_IN_JSON in text:
        culprit = _culprit(value)
        if culprit is not None:
            msg = "text with a NUL character cannot be stored"
            raise InvalidInput(msg, field=culprit)
    return text


def _culprit(value: object) -> str | None:
    """The dotted path of the first text that PostgreSQL cannot hold."""
    if isinstance(value, str):
        return "" if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value) else None
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    elif hasattr(value, "__dataclass_fields__"):
        parts = [(name, getattr(value, name)) for name in value.__dataclass_fields__]
    else:
        return None
    for name, part in parts:
        found = _culprit(part) if not isinstance(name, str) or _culprit(name) is None else ""
        if found is not None:
            return f"{name}.{found}".rstrip(".")
    return None
