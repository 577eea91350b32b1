"""Turns every error into a problem document: ours, those of validation, unknown routes and methods, and the
unexpected, of which nothing leaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from colink.api.answers import problem_answer
from colink.domain.errors import ColinkError, InvalidInput, NotFound, Unavailable, UnreadableBody

_log = structlog.get_logger(__name__)


class InternalError(ColinkError):
    slug, title, status = "internal-error", "Something went wrong on our side", 500


class MethodNotAllowed(ColinkError):
    slug, title, status = "method-not-allowed", "This address does not take this method", 405


class UnsupportedBody(ColinkError):
    slug, title, status = "bad-request", "The request could not be read", 400


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ColinkError, _known)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database_away)
    app.add_exception_handler(PoolTimeout, _database_away)
    app.add_exception_handler(Exception, _unexpected)


async def _known(_: Request, error: Exception) -> Response:
    if not isinstance(error, ColinkError):
        raise error
    return problem_answer(error)


async def _not_valid(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return validation_answer(error.errors())


def validation_answer(errors: Sequence[Any]) -> Response:
    """The first field at fault as the problem's `field`, all of them in `errors`. What was given is not repeated: it
    may be a secret."""
    found = [{"field": _field(each["loc"]), "detail": _detail(each)} for each in errors]
    first = found[0]
    if errors[0]["type"] == "json_invalid":
        return problem_answer(UnreadableBody(f"the body is not JSON: {errors[0].get('ctx', {}).get('error', '')}"))
    return problem_answer(
        InvalidInput(f"{first['field']}: {first['detail']}", field=first["field"]), more={"errors": found}
    )


_ALTERNATIVES = frozenset({"MoneyBody", "int", "constrained-int"})
"""Names that the framework puts into the path of a field which may be one of several things."""


def _field(loc: Sequence[str | int]) -> str:
    parts = loc[1:] if len(loc) > 1 and loc[0] in {"body", "query", "path", "header"} else loc
    return ".".join(str(part) for part in parts if part not in _ALTERNATIVES)


def _detail(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is not a field of this request"
    if tuple(error["loc"]) == ("body",):
        return "send a JSON object, with the header Content-Type: application/json"
    return str(error["msg"])


async def _http(request: Request, error: Exception) -> Response:
    """What the framework itself raises: unknown routes, wrong methods, unreadable bodies."""
    if not isinstance(error, HTTPException):
        raise error
    known: ColinkError
    match error.status_code:
        case 404:
            known = NotFound(f"there is nothing at {request.url.path}")
        case 405:
            known = MethodNotAllowed(f"{request.method} is not a method of {request.url.path}")
        case _:
            known = UnsupportedBody(str(error.detail))
    answer = problem_answer(known)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _database_away(_: Request, error: Exception) -> Response:
    _log.warning("the database cannot be reached", exc_info=error)
    return problem_answer(Unavailable("the database cannot be reached; nothing was recorded"))


async def _unexpected(request: Request, error: Exception) -> Response:
    route = getattr(request.scope.get("route"), "path", "unknown")  # the path itself may hold what is personal
    _log.error("unexpected error", route=route, method=request.method, exc_info=error)
    return problem_answer(InternalError("the error was logged; quote the header X-Request-ID when you report it"))
