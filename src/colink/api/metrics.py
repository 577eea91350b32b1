"""What Prometheus reads: requests by route, and how far the projections are behind. One registry per application."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from colink.projections.engine import Checkpoint

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "colink_http_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "colink_http_request_seconds",
            "Time to answer a request",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._lag = Gauge(
            "colink_projection_lag", "Events a projection is behind", ("projection", "log"), registry=self._registry
        )
        self._parked = Gauge(
            "colink_projection_parked",
            "1 where a projection waits at an event it cannot apply",
            ("projection", "log"),
            registry=self._registry,
        )

    def answered(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the template, never the path: label values must stay few."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def show_lag(self, checkpoints: Sequence[Checkpoint]) -> None:
        self.forget_lag()
        for checkpoint in checkpoints:
            self._lag.labels(checkpoint.projection, checkpoint.log).set(checkpoint.lag)
            self._parked.labels(checkpoint.projection, checkpoint.log).set(checkpoint.error_position is not None)

    def forget_lag(self) -> None:
        """What cannot be read now is left out rather than shown old."""
        self._lag.clear()
        self._parked.clear()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
