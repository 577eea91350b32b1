"""The sandbox payment provider: a small HTTP service of its own process that pays nobody.

It answers, delays, fails, returns and calls back like a real one, so that everything that can go wrong with a payout
can be shown and tested: idempotency keys, refusals, timeouts after accepting, errors before and after accepting,
signed callbacks that are retried. What it shall do with a payout stands in the payout's `destination`: {outcome,
delay_ms, fault}. Whose account it is (`account_holder`, `account_number`) is taken, as a bank takes it, and kept
nowhere.

    POST /v1/payouts                  {reference, amount, currency, destination, metadata}
    GET  /v1/payouts/{id}             one payout
    GET  /v1/payouts?reference=       a list, newest first

It knows nothing of CoLink's log and database: only what a caller tells it. Its two secrets are those of a
credentials file, or of COLINK_SANDBOX_API_KEY and COLINK_SANDBOX_CALLBACK_SECRET in its environment.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from colink.adapters.payments.callback_signature import signed_headers
from colink.adapters.payments.sandbox_book import Book, Callback, KeyReused, Wish
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.domain.errors import InvalidInput
from colink.domain.money import MAX_AMOUNT, currency_exponent
from colink.domain.payout_accounts import MAX_ACCOUNT_TEXT, MAX_DELAY_MS, SandboxFault, SandboxOutcome

API_KEY = "COLINK_SANDBOX_API_KEY"
CALLBACK_SECRET = "COLINK_SANDBOX_CALLBACK_SECRET"  # noqa: S105 - the name of a variable
_SILENCE = 60.0  # seconds a payout with the fault `timeout` is left without an answer
_LONGEST_BODY = 64 * 1024
_SHOWN_IN_ANSWERS = frozenset({SandboxFault.TIMEOUT, SandboxFault.ERROR_BEFORE, SandboxFault.ERROR_AFTER})


_AccountText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ACCOUNT_TEXT)]


class _Destination(msgspec.Struct, forbid_unknown_fields=True):
    outcome: SandboxOutcome = SandboxOutcome.PAID
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_DELAY_MS)] = 0
    fault: SandboxFault | None = None
    account_holder: _AccountText | None = None
    account_number: _AccountText | None = None


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    payout_id: Annotated[str, msgspec.Meta(max_length=255)] | None = None


class _PayoutBody(msgspec.Struct, forbid_unknown_fields=True):
    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    amount: Annotated[int, msgspec.Meta(gt=0, le=MAX_AMOUNT)]
    currency: str
    destination: _Destination
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class SandboxProvider:
    """The service. `callback_url` None: nobody is called back."""

    def __init__(self, book: Book, *, credentials: SandboxCredentials, callback_url: str | None) -> None:
        self._book = book
        self._api_key = credentials.api_key.encode()
        self._callback_secret = credentials.callback_secret
        self._callback_url = callback_url
        self._accepted = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/v1/payouts", self._create, methods=["POST"]),
                Route("/v1/payouts", self._list, methods=["GET"]),
                Route("/v1/payouts/{payout_id}", self._show, methods=["GET"]),
            ],
            lifespan=self._lifespan,
        )

    async def _create(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        raw = await request.body()
        key = request.headers.get("idempotency-key", "")
        if not 1 <= len(key) <= 255:
            return _error(400, "idempotency_key_missing", "Idempotency-Key has 1 to 255 characters")
        try:
            body = _read(raw)
        except InvalidInput as error:
            return _error(422, "invalid_request", error.detail, param=error.field)
        return await self._accept(request, key, body)

    async def _accept(self, request: Request, key: str, body: _PayoutBody) -> Response:
        digest = _digest(body)
        fault, now_ms = body.destination.fault, _now_ms()
        if fault is SandboxFault.REFUSE:
            return _error(422, "destination_refused", "the destination cannot be paid", param="destination")
        shows = fault in _SHOWN_IN_ANSWERS and self._book.show_fault(key)
        if shows and fault is SandboxFault.ERROR_BEFORE:
            return _error(503, "try_again", "nothing was accepted")
        try:
            answer, replayed = self._book.accept(
                _wish(body), key=key, digest=digest, now_ms=now_ms, encode=msgspec.json.encode
            )
        except KeyReused:
            return _error(409, "idempotency_key_reused", "the key was used with another request")
        self._accepted.set()
        if shows and fault is SandboxFault.ERROR_AFTER:
            return _error(503, "try_again", "something went wrong")
        if shows and fault is SandboxFault.TIMEOUT:
            await _stay_silent(request)
        headers = {"Idempotent-Replayed": "true"} if replayed else {}
        return Response(answer, status_code=201, media_type="application/json", headers=headers)

    async def _show(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        payout = self._book.payout(request.path_params["payout_id"], now_ms=_now_ms())
        return JSONResponse(payout) if payout else _error(404, "not_found", "there is no such payout")

    async def _list(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        query = request.query_params
        try:
            limit, cursor = int(query.get("limit", "50")), query.get("cursor")
            before = int(cursor) if cursor else None
        except ValueError:
            return _error(400, "invalid_request", "limit and cursor are numbers")
        items, following = self._book.payouts(
            reference=query.get("reference"), before=before, limit=min(max(limit, 1), 100), now_ms=_now_ms()
        )
        return JSONResponse({"items": items, "next_cursor": None if following is None else str(following)})

    def _refusal(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if hmac.compare_digest(given, self._api_key):
            return None
        return _error(401, "unauthorized", "the API key is missing or wrong")

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self._call_back()) if self._callback_url else None
        yield
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._book.close()

    async def _call_back(self) -> None:
        """Deliver callbacks as they come due, for as long as the service runs."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            while True:
                self._accepted.clear()
                callback = self._book.take_callback(now_ms=_now_ms())
                if callback is not None:
                    delivered = await self._deliver(client, callback)
                    self._book.callback_done(callback, delivered=delivered, now_ms=_now_ms())
                    continue
                due_ms = self._book.next_callback_ms()
                pause = None if due_ms is None else max(0.001, (due_ms - _now_ms()) / 1000)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._accepted.wait(), timeout=pause)

    async def _deliver(self, client: httpx.AsyncClient, callback: Callback) -> bool:
        now_ms = _now_ms()
        payout = self._book.payout(callback.payout_id, now_ms=now_ms)
        event = {"id": callback.id, "type": f"payout.{callback.status}", "data": payout}
        body = msgspec.json.encode(event)
        headers = signed_headers(
            self._callback_secret, message_id=callback.id, timestamp=now_ms // 1000, body=body
        ) | {"content-type": "application/json"}
        try:
            response = await client.post(str(self._callback_url), content=body, headers=headers)
        except httpx.HTTPError:
            return False
        return response.is_success


def _read(raw: bytes) -> _PayoutBody:
    if len(raw) > _LONGEST_BODY:
        msg = "the body is too long"
        raise InvalidInput(msg)
    try:
        body = msgspec.json.decode(raw, type=_PayoutBody)
    except msgspec.DecodeError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise InvalidInput(message, field=path.rstrip("`") or None) from None
    currency_exponent(body.currency)
    return body


def _digest(body: _PayoutBody) -> str:
    """What a request under the same key must be again. It is kept, so it says nothing of whose account it is."""
    told: dict[str, Any] = msgspec.to_builtins(body)
    for name in ("account_holder", "account_number"):
        del told["destination"][name]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _wish(body: _PayoutBody) -> Wish:
    return Wish(
        reference=body.reference,
        amount=body.amount,
        currency=body.currency,
        outcome=body.destination.outcome,
        delay_ms=body.destination.delay_ms,
        fault=body.destination.fault,
        payout_id=body.metadata.payout_id,
    )


def _error(status: int, code: str, message: str, *, param: str | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "param": param}}, status_code=status)


async def _stay_silent(request: Request) -> None:
    """Until the caller gives up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_SILENCE):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _end_with_parent() -> None:
    """Exit when standard input ends: the launcher holds its other end, however it dies. All is on disk by then."""
    sys.stdin.buffer.read()
    os._exit(0)


def _credentials(path: Path | None) -> SandboxCredentials | None:
    if path is not None:
        return SandboxCredentials.kept_in(path)
    api_key, callback_secret = os.environ.get(API_KEY), os.environ.get(CALLBACK_SECRET)
    if not (api_key and callback_secret):
        return None
    return SandboxCredentials(api_key=api_key, callback_secret=callback_secret)


def main() -> None:
    """Serve on loopback; the first line on standard output is `{"url": ...}`."""
    parser = argparse.ArgumentParser(prog="python -m colink.adapters.payments.sandbox_provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--data", type=Path, required=True, help="file that keeps what was accepted")
    parser.add_argument("--credentials", type=Path, help="file with both secrets, made where there is none")
    parser.add_argument("--callback-url", default=None)
    parser.add_argument("--fee", type=int, default=0, help="charged for each paid payout, minor units")
    parser.add_argument("--key-lifetime", type=int, default=86_400, help="seconds idempotency keys are remembered")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    options = parser.parse_args()
    credentials = _credentials(options.credentials)
    if credentials is None:
        parser.error(f"give --credentials, or set {API_KEY} and {CALLBACK_SECRET}")
    provider = SandboxProvider(
        Book(options.data, fee=options.fee, key_lifetime_ms=options.key_lifetime * 1000),
        credentials=credentials,
        callback_url=options.callback_url,
    )
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", options.port))
    listening.listen(128)
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}) + "\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        provider.app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
