"""The promise: a callback without the provider's signature does nothing, one with it makes us ask, and what is
recorded is the provider's answer. The bus remembers here; what recording does is tested on the real PostgreSQL."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from colink.adapters.payments.callback_signature import signed_headers
from colink.adapters.payments.sandbox import SandboxRail
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.api.payout_callbacks import MAX_BODY, PayoutCallbacks
from colink.application.payout_attempts import RecordPayoutResult
from colink.application.ports import Command, Recorded
from colink.domain.errors import ColinkError, ConcurrentUpdate, Unavailable
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderDisagrees, ProviderOutcome, ProviderReport

CREDENTIALS = SandboxCredentials(api_key="unused", callback_secret="a secret of this test")
TRUTH = ProviderReport(reference="pay_1.1", outcome=ProviderOutcome.PENDING, amount=500, currency="MYR")
CLAIM = b'{"id":"msg_1","type":"payout.paid","data":{"reference":"pay_1.1","status":"paid"}}'


class Outside(SandboxRail):
    """The real rail's reading of callbacks; a provider and a bus that are told what to answer."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", credentials=CREDENTIALS)
        self.truth: ProviderReport | ColinkError | None = TRUTH
        self.refusal: ColinkError | None = None
        self.recorded: list[Command] = []

    async def find(self, reference: str) -> ProviderReport | None:
        if isinstance(self.truth, ColinkError):
            raise self.truth
        return self.truth

    async def post(
        self, *, body: bytes = CLAIM, signed: bool = True, path: str = "/callbacks/sandbox"
    ) -> httpx.Response:
        secret = CREDENTIALS.callback_secret if signed else "a guess"
        headers = signed_headers(secret, message_id="msg_1", timestamp=int(time.time()), body=body)
        transport = httpx.ASGITransport(PayoutCallbacks(bus=Bus(self), rails={Rail.SANDBOX: self}))
        async with httpx.AsyncClient(transport=transport, base_url="http://colink.example") as client:
            return await client.post(path, content=body, headers=headers)


class Bus:
    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def submit(self, command: Command) -> Recorded:
        if self._outside.refusal:
            raise self._outside.refusal
        self._outside.recorded.append(command)
        return Recorded(answer={}, position=1)


@pytest.fixture
def outside() -> Outside:
    return Outside()


def test_what_is_recorded_is_the_providers_answer_not_the_callbacks_claim(outside: Outside) -> None:
    answer = asyncio.run(outside.post())
    assert (answer.status_code, answer.json()) == (200, {"status": "confirmed"})
    [command] = outside.recorded
    assert isinstance(command, RecordPayoutResult)
    assert (command.payout_id, command.report) == ("pay_1", TRUTH)
    assert (command.caller.actor, command.caller.correlation_id) == ("callback:sandbox", "msg_1")


def test_an_unsigned_callback_does_nothing(outside: Outside) -> None:
    answer = asyncio.run(outside.post(signed=False))
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert outside.recorded == []


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (b"{", "/callbacks/sandbox", 422),
        (CLAIM, "/callbacks/stripe", 404),
        (CLAIM, "/callbacks/nobody", 404),
        (b" " * (MAX_BODY + 1), "/callbacks/sandbox", 413),
    ],
)
def test_what_cannot_be_read_does_nothing(outside: Outside, body: bytes, path: str, status: int) -> None:
    assert asyncio.run(outside.post(body=body, path=path)).status_code == status
    assert outside.recorded == []


def test_callbacks_about_other_things_and_unknown_payouts_are_taken_and_left(outside: Outside) -> None:
    other = b'{"id":"msg_1","type":"balance.low","data":{"reference":"x"}}'
    assert asyncio.run(outside.post(body=other)).json() == {"status": "ignored"}
    outside.truth = None
    assert asyncio.run(outside.post()).json() == {"status": "unknown"}
    assert outside.recorded == []


@pytest.mark.parametrize("cause", [Unavailable("away"), ConcurrentUpdate("lost the race")])
def test_what_cannot_be_confirmed_now_is_asked_for_again(outside: Outside, cause: ColinkError) -> None:
    if isinstance(cause, Unavailable):
        outside.truth = cause
    else:
        outside.refusal = cause
    assert asyncio.run(outside.post()).status_code == 503


def test_a_provider_that_contradicts_itself_is_told(outside: Outside) -> None:
    outside.refusal = ProviderDisagrees("another amount")
    answer = asyncio.run(outside.post())
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "provider-disagrees")
