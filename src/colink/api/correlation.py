"""Which correlation id a request has: the caller's, where it gives a usable one, else the trace it is part of, else a
new one. It is bound to every log line, recorded with every event and told in the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable

REQUEST_ID, CORRELATION_ID, TRACEPARENT = b"x-request-id", b"x-correlation-id", b"traceparent"
_USABLE = re.compile(rb"[!-~]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")  # W3C Trace Context, level 2
_NO_TRACE = b"0" * 32


def given_correlation_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """By `X-Request-ID`, `X-Correlation-Id` or the trace id of `traceparent`, in this order; None where none is
    usable. Header names are lower case, as ASGI has them."""
    request = correlation = trace = None
    for name, value in headers:
        if name == REQUEST_ID:
            request = value
        elif name == CORRELATION_ID:
            correlation = value
        elif name == TRACEPARENT:
            trace = value
    for given in (request, correlation):
        if given is not None and _USABLE.fullmatch(given):
            return given.decode("ascii")
    found = _TRACE.fullmatch(trace) if trace is not None and not trace.startswith(b"ff") else None
    return found[1].decode("ascii") if found and found[1] != _NO_TRACE else None
