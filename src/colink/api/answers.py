"""Answers as bytes: JSON by msgspec (money as `{"amount", "currency"}`, times RFC 3339 in UTC) and problem details.

Responses are Starlette's, which are bare ASGI callables too, so that routes beside FastAPI can use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from colink.application.problems import PROBLEM_JSON, problem_document
from colink.domain.errors import ColinkError, Unauthorized, Unavailable

_encoder = msgspec.json.Encoder()


def json_answer(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encoder.encode(content), status, dict(headers or {}), media_type="application/json")


def problem_answer(error: ColinkError, *, more: Mapping[str, Any] | None = None) -> Response:
    """The problem document of an error; `more` are members beside the standard ones."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Unavailable):
        headers["Retry-After"] = "1"
    body = _encoder.encode({**problem_document(error), **(more or {})})
    return Response(body, error.status, headers, media_type=PROBLEM_JSON)
