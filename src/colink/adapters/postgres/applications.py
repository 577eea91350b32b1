"""The two logs as applications of the eventsourcing library: repositories, notification logs, subscriptions.

Reading is the library's. Saving goes through the committer, as every write does, so that inline rows are never left
behind. The process environment is not read: a stray COMPRESSOR_TOPIC would change how payloads are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from eventsourcing.application import Application, ProcessingEvent
from eventsourcing.domain import DomainEventProtocol, MutableOrImmutableAggregate
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Mapper,
    Notification,
    Recording,
    Transcoder,
)
from eventsourcing.utils import Environment, EnvType

from colink.adapters.postgres.append import COMMERCE, TRACKING, Log
from colink.adapters.postgres.blocking import BlockingBus
from colink.adapters.postgres.mapper import EventMapper, JsonTranscoder
from colink.adapters.postgres.pool import SyncPool
from colink.adapters.postgres.recorder import PostgresFactory
from colink.application.ports import Caller, Decision, Facts, Needs, Request
from colink.domain.aggregates import Aggregate, Event
from colink.domain.errors import ConcurrentUpdate


@dataclass(frozen=True, kw_only=True)
class SaveEvents(Request):
    """Record events that were triggered already. They fit one version of their streams only: no second decision."""

    events: tuple[Event, ...]

    def needs(self) -> Needs:
        return Needs(streams=tuple(dict.fromkeys(event.originator_id for event in self.events)))

    def decide(self, facts: Facts) -> Decision:
        """Raises ConcurrentUpdate when a stream moved on."""
        seen: set[str] = set()
        for event in self.events:
            if event.originator_id not in seen:
                seen.add(event.originator_id)
                aggregate = facts.aggregate(Aggregate, event.originator_id)
                if event.originator_version != (aggregate.version + 1 if aggregate else Aggregate.INITIAL_VERSION):
                    msg = f"{event.originator_id} changed since it was read"
                    raise ConcurrentUpdate(msg)
        return Decision(answer={}, events=self.events)


class LogApplication(Application[str]):
    """One log. `bus` is the committer of the same log, None where nothing is saved."""

    log_of: ClassVar[Log]

    def __init__(self, pool: SyncPool, bus: BlockingBus | None = None) -> None:
        self._pool = pool
        self._bus = bus
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        return Environment(name, env)

    def construct_factory(self, env: Environment) -> Any:
        return PostgresFactory(env, pool=self._pool, log=self.log_of)

    def construct_transcoder(self) -> Transcoder:
        return JsonTranscoder()

    def construct_mapper(self) -> Mapper[str]:
        return EventMapper(self.construct_transcoder())

    def construct_recorder(self) -> ApplicationRecorder:
        return self.factory.application_recorder()

    def save(
        self,
        *objs: MutableOrImmutableAggregate[str] | DomainEventProtocol[str] | None,
        caller: Caller | None = None,
        **kwargs: Any,
    ) -> list[Recording[str]]:
        """Record the pending events of aggregates through the committer; blocks until they are durable.

        Raises the library's IntegrityError when a stream moved on, RuntimeError on the event loop's thread.
        """
        if self._bus is None:
            msg = "this application was made for reading: give it a bus to save with"
            raise RuntimeError(msg)
        collected: ProcessingEvent[str] = ProcessingEvent()
        collected.collect_events(*objs, **kwargs)
        events = cast("Sequence[Event]", collected.events)
        if not events:
            return []
        by = caller or Caller(actor=f"application:{self.name}", correlation_id=events[0].originator_id)
        try:
            recorded = self._bus.submit(SaveEvents(caller=by, events=tuple(events)))
        except ConcurrentUpdate as error:
            raise IntegrityError(error.detail) from error
        first = (recorded.position or 0) - len(events) + 1
        return [self._recording(event, first + n) for n, event in enumerate(events)]

    def _recording(self, event: Event, position: int) -> Recording[str]:
        stored = self.mapper.to_stored_event(event)
        notification = Notification(
            id=position,
            originator_id=stored.originator_id,
            originator_version=stored.originator_version,
            topic=stored.topic,
            state=stored.state,
        )
        return Recording(event, notification)


class CommerceLog(LogApplication):
    """What auditors replay."""

    name = "commerce"
    log_of = COMMERCE


class TrackingLog(LogApplication):
    """Clicks and views."""

    name = "tracking"
    log_of = TRACKING
