"""The sandbox rail: payouts over HTTP to the sandbox provider, told apart by what is certain and what is not.

Retried inside are only calls that are safe whatever happened: questions, and submissions whose connection was never
made. A submission that may have arrived is reported as `unknown` and left to the job, which asks by reference first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import httpx
import msgspec
import stamina

from colink.adapters.payments.callback_signature import check_signature
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.application.payout_rails import PayoutInstruction
from colink.domain.errors import InvalidInput, Unavailable
from colink.domain.payouts import ProviderDisagrees, ProviderOutcome, ProviderReport

_PASSING_FAILURES = frozenset({"channel_unavailable"})
_REFUSED = frozenset({400, 422})  # certain: nothing was accepted, and the same again would be refused again
_NOT_OURS = frozenset({401, 403, 404, 405})  # wrong key or address: it says nothing about the payout
_AGAIN = stamina.AsyncRetryingCaller(attempts=3, timeout=None, wait_initial=0.05, wait_max=1.0)


class _Payout(msgspec.Struct):
    """What the provider shows of a payout; fields we do not know are ignored."""

    id: str
    reference: str
    amount: int
    currency: str
    status: str
    settled: bool
    failure_code: str | None = None
    fee: int = 0


class _Page(msgspec.Struct):
    items: list[_Payout]


class _CallbackData(msgspec.Struct):
    reference: str


class _Callback(msgspec.Struct):
    type: str
    data: _CallbackData


class _Problem(msgspec.Struct):
    code: str


class _Refusal(msgspec.Struct):
    error: _Problem


_OUTCOMES = {
    "pending": ProviderOutcome.PENDING,
    "paid": ProviderOutcome.PAID,
    "failed": ProviderOutcome.FAILED,
    "returned": ProviderOutcome.RETURNED,
}


class SandboxRail:
    """A `PayoutRail`. `timeout` in seconds; `now` is the real time that callbacks are checked against."""

    def __init__(
        self,
        base_url: str,
        *,
        credentials: SandboxCredentials,
        timeout: float = 10.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._callback_secret = credentials.callback_secret
        self._now = now
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {credentials.api_key}"},
            timeout=timeout,
            trust_env=False,
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        body = {
            "reference": instruction.reference,
            "amount": instruction.amount,
            "currency": instruction.currency,
            "destination": dict(instruction.details),
            "metadata": {"payout_id": instruction.payout_id},
        }
        try:
            response = await self._post(body, key=instruction.reference)
        except httpx.HTTPError as error:
            return _unknown(instruction, type(error).__name__)
        if response.status_code in _NOT_OURS:
            msg = (
                f"the sandbox provider does not take our payouts ({response.status_code}): check its URL and API key"
            )
            raise Unavailable(msg)
        if response.status_code in _REFUSED:
            return _refused(instruction, response)
        if not response.is_success:
            return _unknown(instruction, f"http_{response.status_code}")
        try:
            return _report(msgspec.json.decode(response.content, type=_Payout))
        except msgspec.DecodeError:
            return _unknown(instruction, "unreadable_answer")

    async def find(self, reference: str) -> ProviderReport | None:
        response = await self._get("/v1/payouts", reference=reference)
        try:
            found = msgspec.json.decode(response.content, type=_Page).items
        except msgspec.DecodeError:
            msg = "the sandbox provider's answer cannot be read"
            raise Unavailable(msg) from None
        if len(found) > 1:
            msg = f"the provider has {len(found)} payouts of reference {reference}"
            raise ProviderDisagrees(msg)
        return _report(found[0]) if found else None

    def callback_reference(self, headers: Mapping[str, str], body: bytes) -> str | None:
        check_signature(self._callback_secret, headers, body, now=self._now())
        try:
            callback = msgspec.json.decode(body, type=_Callback)
        except msgspec.DecodeError as error:
            msg = f"the callback cannot be read: {error}"
            raise InvalidInput(msg) from None
        return callback.data.reference if callback.type.startswith("payout.") else None

    async def _post(self, body: Mapping[str, object], *, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        content = msgspec.json.encode(body)
        never_sent = _AGAIN.on((httpx.ConnectError, httpx.ConnectTimeout))
        return await never_sent(self._client.post, "/v1/payouts", content=content, headers=headers)

    async def _get(self, path: str, **query: str) -> httpx.Response:
        """Raises Unavailable."""

        async def ask() -> httpx.Response:
            response = await self._client.get(path, params=query)
            if response.is_server_error:
                response.raise_for_status()
            return response

        try:
            response = await _AGAIN.on((httpx.TransportError, httpx.HTTPStatusError))(ask)
        except httpx.HTTPError as error:
            msg = f"the sandbox provider does not answer: {type(error).__name__}"
            raise Unavailable(msg) from error
        if not response.is_success:
            msg = f"the sandbox provider does not let us ask ({response.status_code})"
            raise Unavailable(msg)
        return response


def _report(payout: _Payout) -> ProviderReport:
    return ProviderReport(
        reference=payout.reference,
        outcome=_OUTCOMES.get(payout.status, ProviderOutcome.UNKNOWN),
        amount=payout.amount,
        currency=payout.currency,
        provider_id=payout.id,
        failure_code=payout.failure_code,
        passing=payout.failure_code in _PASSING_FAILURES,
        fee=payout.fee,
        settled=payout.settled,
    )


def _refused(instruction: PayoutInstruction, response: httpx.Response) -> ProviderReport:
    try:
        code = msgspec.json.decode(response.content, type=_Refusal).error.code
    except msgspec.DecodeError:
        code = f"http_{response.status_code}"
    return ProviderReport(
        reference=instruction.reference,
        outcome=ProviderOutcome.FAILED,
        amount=instruction.amount,
        currency=instruction.currency,
        failure_code=code,
    )


def _unknown(instruction: PayoutInstruction, code: str) -> ProviderReport:
    return ProviderReport(reference=instruction.reference, outcome=ProviderOutcome.UNKNOWN, failure_code=code)
