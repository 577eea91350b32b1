"""The promise: with a collector set, a request can be seen as a trace, from the caller's through the command to its
append, and without one nothing that makes traces is even loaded. The collector is a real HTTP server that decodes
what it is sent."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.api.shop import ADMIN_KEY, open_shop
from tests.conftest import TestDatabase

from colink.adapters.postgres.provision import Database

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(HTTPServer):
    """Keeps the spans it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.services: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name: str, *, under: Span | None = None) -> Span:
        (span,) = [
            span
            for span in self.spans
            if span.name == name and (under is None or span.parent_span_id == under.span_id)
        ]
        return span


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.services |= {
                pair.value.string_value for pair in each.resource.attributes if pair.key == "service.name"
            }
            self.server.spans += [span for scope in each.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


async def test_a_request_is_one_trace_down_to_its_append(database: TestDatabase, collector: Collector) -> None:
    dsn = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    async with open_shop(dsn, otlp_endpoint=collector.url) as shop:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answer = await shop.send("POST", "/v1/creators", {"handle": "aina", "display_name": "A"}, headers=headers)
        assert answer.headers["x-request-id"] == TRACE
        position = (await shop.get("/v1/events"))["after"]
        await shop.refused("POST", "/v1/creators", {"handle": "aina", "display_name": "B"}, status=409)
    assert collector.services == {"colink"}  # sent to the last before the shop was closed
    request = next(span for span in collector.spans if span.name == "POST /v1/creators" and span.parent_span_id)
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert request.kind == Span.SPAN_KIND_SERVER
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/v1/creators",
        "http.response.status_code": 201,
        "colink.correlation_id": TRACE,
    }
    command = collector.named("RegisterCreator", under=request)
    decide, append = collector.named("decide", under=command), collector.named("append", under=command)
    assert {span.trace_id.hex() for span in (command, decide, append)} == {TRACE}
    assert attributes(append) == {"colink.position": position}
    assert (
        request.start_time_unix_nano
        <= command.start_time_unix_nano
        <= decide.end_time_unix_nano
        <= append.start_time_unix_nano
        < append.end_time_unix_nano
        <= command.end_time_unix_nano
        <= request.end_time_unix_nano
    )
    failed = [span for span in collector.spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert ("RegisterCreator", "conflict") in {(span.name, attributes(span)["error.type"]) for span in failed}
    told = b"".join(span.SerializeToString() for span in collector.spans)
    for secret in (b"aina", ADMIN_KEY.encode()):
        assert secret not in told


async def test_a_collector_that_is_away_harms_nobody(database: TestDatabase) -> None:
    dsn = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    async with open_shop(dsn, otlp_endpoint="http://127.0.0.1:9") as shop:
        await shop.creator()


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    script = (
        "import sys, colink.bootstrap, colink.api.app, colink.cli.serve\n"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == 0
