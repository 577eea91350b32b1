"""What Prometheus reads: requests by route, the committers' batches and queues, deliveries by outcome, and how far
projections and sealing are behind. One registry per application. Every figure is kept as it happens; only lags are
asked of the database, when they are read."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from colink.projections.checkpoints import Checkpoint
from colink.projections.seals import SealState

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_APPEND_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Is a CommitObserver."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "colink_http_requests", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "colink_http_request_seconds",
            "Time to answer a request, streams left out",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        # As `labels` finds them, at a fraction of the time: webhooks are many.
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._deliveries = Counter(
            "colink_deliveries", "Webhook deliveries by what became of them", ("outcome",), registry=registry
        )
        self._unrecorded = Counter(
            "colink_touches_unrecorded", "Clicks sent on although they could not be recorded", registry=registry
        )
        self._append = Histogram(
            "colink_append_seconds",
            "Time to append a batch, its commit included",
            ("log",),
            buckets=_APPEND_SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "colink_batch_commands", "Commands of a batch", ("log",), buckets=_COMMANDS, registry=registry
        )
        self._events = Counter("colink_events_appended", "Events appended", ("log",), registry=registry)
        self._retried = Counter("colink_commands_retried", "Commands decided again", ("log",), registry=registry)
        self._queue = Gauge("colink_queue_depth", "Commands that wait for a batch", ("log",), registry=registry)
        self._lag = Gauge(
            "colink_projection_lag", "Events a projection is behind", ("projection", "log"), registry=registry
        )
        self._lag_seconds = Gauge(
            "colink_projection_lag_seconds",
            "Age of the oldest event a projection has not applied",
            ("projection", "log"),
            registry=registry,
        )
        self._parked = Gauge(
            "colink_projection_parked",
            "1 where a projection waits at an event it cannot apply",
            ("projection", "log"),
            registry=registry,
        )
        # Without labels a gauge could not be left out: these have one, which says what is sealed.
        self._seal_lag = Gauge("colink_seal_lag", "Events not sealed yet", ("log",), registry=registry)
        self._seal_seconds = Gauge(
            "colink_seal_lag_seconds", "How long the oldest of them waits", ("log",), registry=registry
        )
        self._seal_alarm = Gauge(
            "colink_seal_alarm", "1 where the sealer refuses to go on", ("log",), registry=registry
        )

    def answered(self, *, method: str, route: str, status: int, seconds: float | None) -> None:
        """`route` is the template, never the path: label values must stay few. No `seconds`: it was a stream."""
        request = (method if method in _METHODS else "other", route, status)
        if request not in self._counted:
            self._counted[request] = (self._requests.labels(*request), self._seconds.labels(route))
        count, duration = self._counted[request]
        count.inc()
        if seconds is not None:
            duration.observe(seconds)

    def delivered(self, outcome: str) -> None:
        """One more webhook: accepted, duplicate, ignored, rejected, unavailable, or why it was turned away."""
        self._deliveries.labels(outcome).inc()

    def touch_unrecorded(self) -> None:
        self._unrecorded.inc()

    def batch_committed(self, log: str, commands: int, events: int, seconds: float) -> None:
        self._append.labels(log).observe(seconds)
        self._batch.labels(log).observe(commands)
        self._events.labels(log).inc(events)

    def queue_depth(self, log: str, depth: int) -> None:
        self._queue.labels(log).set(depth)

    def retried(self, log: str, commands: int) -> None:
        self._retried.labels(log).inc(commands)

    def show_lag(self, checkpoints: Sequence[Checkpoint], seals: SealState) -> None:
        self.forget_lag()
        for checkpoint in checkpoints:
            which = (checkpoint.projection, checkpoint.log)
            self._lag.labels(*which).set(checkpoint.lag)
            self._lag_seconds.labels(*which).set(checkpoint.lag_seconds)
            self._parked.labels(*which).set(checkpoint.error_position is not None)
        self._seal_lag.labels("commerce").set(seals.lag)
        self._seal_seconds.labels("commerce").set(seals.lag_seconds)
        self._seal_alarm.labels("commerce").set(seals.alarm is not None)

    def forget_lag(self) -> None:
        """What cannot be read now is left out rather than shown old."""
        for gauge in (
            self._lag,
            self._lag_seconds,
            self._parked,
            self._seal_lag,
            self._seal_seconds,
            self._seal_alarm,
        ):
            gauge.clear()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
