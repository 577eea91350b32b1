"""OpenTelemetry traces, for installations that have a collector: a request, its commands, and what each of them
waited for. Only imported where one is set. Spans hold route templates, kinds and ids of ours: no paths, queries or
payloads.

    POST /v1/creators          the request; part of the caller's trace where it sent `traceparent`
      RegisterCreator          from submitting the command to its answer
        decide                 pure code, once per try
        append                 from the decision to the commit of the batch that the command was in
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from colink.application.ports import (
    Caller,
    Command,
    CommandBus,
    CommandQueue,
    Decision,
    Facts,
    Idempotency,
    Needs,
    Recorded,
)
from colink.domain.errors import ColinkError

_PROPAGATED = frozenset({b"traceparent", b"tracestate"})


class Tracing:
    """Sends spans to the collector at `endpoint` (OTLP over HTTP), in batches from a thread of its own. How many are
    sampled, and headers for the collector, are the standard OTEL_ variables' to say."""

    def __init__(self, endpoint: str, *, service: str = "colink") -> None:
        resource = Resource.create({SERVICE_NAME: service})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("colink")

    def app(self, app: ASGIApp) -> ASGIApp:
        """The application, each request in a span."""
        return _TracedApp(app, self._tracer)

    def bus(self, bus: CommandBus) -> CommandBus:
        """The bus, each command in a span."""
        return _TracedBus(bus, self._tracer)

    def queue(self, queue: CommandQueue) -> CommandQueue:
        """The queue, each command in a span, and many submitted at once in one."""
        return _TracedQueue(queue, self._tracer)

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.to_thread(self._provider.shutdown)


class _TracedApp:
    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _PROPAGATED
        }
        context = self._propagator.extract(carrier) if carrier else Context()
        state = scope.setdefault("state", {})
        with self._tracer.start_as_current_span(
            scope["method"],
            context=context,
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            await self._app(scope, receive, send)
            route, status = state.get("route", "unknown"), state.get("status", 0)
            span.update_name(f"{scope['method']} {route}")
            span.set_attributes(
                {
                    "http.request.method": scope["method"],
                    "http.route": route,
                    "http.response.status_code": status,
                    "colink.correlation_id": state.get("correlation_id", ""),
                }
            )
            if status >= 500:
                span.set_status(StatusCode.ERROR)


class _TracedBus:
    def __init__(self, bus: CommandBus, tracer: Tracer) -> None:
        self._bus = bus
        self._tracer = tracer

    async def submit(self, command: Command) -> Recorded:
        with _command_span(self._tracer, type(command).__name__) as span:
            span.set_attribute("colink.correlation_id", command.caller.correlation_id)
            traced = _TracedCommand(command, self._tracer, trace.set_span_in_context(span))
            recorded = await self._bus.submit(traced)
            traced.appended(recorded)
            return recorded


class _TracedQueue(_TracedBus):
    def __init__(self, queue: CommandQueue, tracer: Tracer) -> None:
        super().__init__(queue, tracer)
        self._queue = queue

    async def submit_many(self, commands: Sequence[Command]) -> list[Recorded | Exception]:
        with _command_span(self._tracer, "commands") as span:
            span.set_attribute("colink.commands", len(commands))
            return await self._queue.submit_many(commands)


@contextmanager
def _command_span(tracer: Tracer, name: str, context: Context | None = None) -> Iterator[Span]:
    """A span that an error marks, without the error's text, which may hold what somebody wrote."""
    with tracer.start_as_current_span(
        name, context=context, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", error.slug if isinstance(error, ColinkError) else type(error).__name__)
            raise


class _TracedCommand:
    """A command that notes when it was decided: in the committer's task, outside its caller's context."""

    def __init__(self, command: Command, tracer: Tracer, context: Context) -> None:
        self._command = command
        self._tracer = tracer
        self._context = context
        self._decided_at: int | None = None

    @property
    def caller(self) -> Caller:
        return self._command.caller

    @property
    def idempotency(self) -> Idempotency | None:
        return self._command.idempotency

    @property
    def delivery_key(self) -> tuple[str, str] | None:
        return self._command.delivery_key

    def needs(self) -> Needs:
        return self._command.needs()

    def decide(self, facts: Facts) -> Decision:
        with _command_span(self._tracer, "decide", self._context):
            decision = self._command.decide(facts)
        self._decided_at = time.time_ns()
        return decision

    def appended(self, recorded: Recorded) -> None:
        if self._decided_at is not None and not recorded.replayed:
            span = self._tracer.start_span("append", context=self._context, start_time=self._decided_at)
            if recorded.position is not None:
                span.set_attribute("colink.position", recorded.position)
            span.end()
