"""The base of every aggregate and event.

An event is a frozen dataclass with an explicit, stable `TOPIC` (stored types outlive module paths). Events are
declared at module level and applied by their own `apply`. Ids and times always come in as parameters: nothing here
reads a clock. A changed shape gets a higher `class_version` and an `upcast_vN_vN+1` static method.

Making and applying events is overridden where the library is general at a cost: it copies and filters arguments and
finds defaults for ids and times, which are always given here. The protocol of its events and aggregates is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from inspect import signature
from typing import Any, ClassVar, Self

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate
from eventsourcing.utils import register_topic, resolve_topic


@dataclass(frozen=True, kw_only=True)
class Event(CanMutateAggregate[str]):
    """Something that happened to one stream. `timestamp` is when the command decided it (UTC)."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int] = 1
    omitted_when_none: ClassVar[tuple[str, ...]] = ()
    """The last fields of the class, where they have None as default and are not stored when all of them are None."""
    omitted_ending: ClassVar[str] = ""
    """How a payload ends, with its braces, whose last fields have their defaults; they are not stored then."""

    originator_id: str
    originator_version: int
    timestamp: datetime

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "TOPIC" in cls.__dict__:
            register_topic(cls.TOPIC, cls)

    @staticmethod
    def create_timestamp() -> datetime:
        msg = "time comes in as a parameter: pass timestamp="
        raise RuntimeError(msg)


@dataclass(frozen=True, kw_only=True)
class Created(Event, CanInitAggregate[str]):
    """The first event of a stream."""

    originator_topic: str

    def mutate(self, aggregate: Any) -> Any:
        """The new aggregate, made of the event's fields that its `__init__` takes."""
        if aggregate is not None:
            msg = f"{self.originator_id} was created before"
            raise ValueError(msg)
        type_ = resolve_topic(self.originator_topic)
        created = type_.__new__(type_)
        created.__base_init__(self.originator_id, self.originator_version, self.timestamp)
        values = vars(self)
        created.__init__(**{name: values[name] for name in _taken_from(self.TOPIC, self.originator_topic)})
        self.apply(created)
        return created


@cache
def _taken_from(event_topic: str, aggregate_topic: str) -> tuple[str, ...]:
    """The fields of an event that an aggregate is made of."""
    told = {field.name for field in fields(resolve_topic(event_topic))}
    return tuple(name for name in signature(resolve_topic(aggregate_topic).__init__).parameters if name in told)


def declared_events() -> dict[str, type[Event]]:
    """Every event class of the modules imported so far, by its topic."""
    found: dict[str, type[Event]] = {}
    classes = [Event]
    for cls in classes:
        classes += cls.__subclasses__()
        if "TOPIC" in cls.__dict__:
            found[cls.TOPIC] = cls
    return found


class Aggregate(BaseAggregate[str]):
    """A consistency boundary: one stream of events, one version."""

    TOPIC: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "TOPIC" in cls.__dict__:
            register_topic(cls.TOPIC, cls)

    @classmethod
    def _create(cls, event_class: Any, *, id: str | None = None, **values: Any) -> Self:  # noqa: A002 - overrides
        """The aggregate that a first event makes, the event waiting in it."""
        event = event_class(originator_id=id, originator_version=1, originator_topic=cls.TOPIC, **values)
        aggregate: Self = event.mutate(None)
        aggregate.pending_events.append(event)
        return aggregate

    def trigger_event(self, event_class: Any, **values: Any) -> None:
        """Something happened: the event is applied and waits to be recorded."""
        event = event_class(originator_id=self._id, originator_version=self._version + 1, **values)
        event.mutate(self)
        self._pending_events.append(event)

    def new_events(self) -> list[Event]:
        """Takes the events that are not recorded yet."""
        events, self._pending_events = self._pending_events, []
        return [event for event in events if isinstance(event, Event)]
