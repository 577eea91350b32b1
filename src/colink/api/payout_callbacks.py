"""`POST /callbacks/{rail}`: a payment provider says that something became of a payout.

A bare ASGI callable. A callback is a hint (semantics section 7): its signature is checked, and then the provider is
asked; what is recorded is its answer, never the callback. A callback that cannot be confirmed now is answered with
503, so that the provider tells us again; the worker asks by itself anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from colink.api.answers import json_answer, problem_answer
from colink.application.payout_jobs import confirm_callback
from colink.application.payout_rails import PayoutRail
from colink.application.ports import Caller, CommandBus
from colink.domain.errors import ColinkError, ConcurrentUpdate, NotFound, PayloadTooLarge, Unavailable
from colink.domain.payout_accounts import Rail

MAX_BODY = 256 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class PayoutCallbacks:
    """The route. `rails` holds those that call back."""

    bus: CommandBus
    rails: Mapping[Rail, PayoutRail]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            return
        except ConcurrentUpdate as error:
            answer = problem_answer(Unavailable(error.detail))
        except (OperationalError, PoolTimeout):
            answer = problem_answer(Unavailable("the database cannot be reached; nothing was recorded"))
        except ColinkError as error:
            answer = problem_answer(error)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        name = request.url.path.rstrip("/").rpartition("/")[2]
        rail = next((rail for known, rail in self.rails.items() if known == name), None)
        if rail is None:
            msg = "no payment provider calls back at this address"
            raise NotFound(msg)
        reference = rail.callback_reference(request.headers, await _body(request))
        if reference is None:
            return json_answer({"status": "ignored"})
        caller = Caller(actor=f"callback:{name}", correlation_id=request.headers.get("webhook-id", reference)[:128])
        confirmed = await confirm_callback(self.bus, rail, reference, caller=caller)
        return json_answer({"status": "confirmed" if confirmed else "unknown"})


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            msg = f"the body is larger than {MAX_BODY} bytes"
            raise PayloadTooLarge(msg)
    return body
