"""The base of every aggregate and event.

An event is a frozen dataclass with an explicit, stable `TOPIC` (stored types outlive module paths). Events are
declared at module level and applied by their own `apply`. Ids and times always come in as parameters: nothing here
reads a clock. A changed shape gets a higher `class_version` and an `upcast_vN_vN+1` static method.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate
from eventsourcing.utils import register_topic


@dataclass(frozen=True, kw_only=True)
class Event(CanMutateAggregate[str]):
    """Something that happened to one stream. `timestamp` is when the command decided it (UTC)."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int] = 1

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


class Aggregate(BaseAggregate[str]):
    """A consistency boundary: one stream of events, one version."""

    TOPIC: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "TOPIC" in cls.__dict__:
            register_topic(cls.TOPIC, cls)

    def new_events(self) -> list[Event]:
        """Takes the events that are not recorded yet."""
        return [event for event in self.collect_events() if isinstance(event, Event)]
