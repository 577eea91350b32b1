"""The sandbox provider as a real process over real HTTP, and the rail that speaks to it: what is certain, what is
unknown, and that nothing is ever paid twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import httpx
import pytest

from colink.adapters.payments.callback_signature import check_signature, signed_headers
from colink.adapters.payments.sandbox import SandboxRail
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.adapters.payments.sandbox_process import SandboxProcess
from colink.application.payout_rails import PayoutInstruction
from colink.domain.errors import InvalidInput, Unauthorized, Unavailable
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderDisagrees, ProviderOutcome, ProviderReport

CREDENTIALS = SandboxCredentials(api_key="sbx_test_key", callback_secret="a secret of this test")
AUTHORIZED = {"Authorization": f"Bearer {CREDENTIALS.api_key}"}


class Listener:
    """Takes callbacks; refuses the first `refusals` of them."""

    def __init__(self) -> None:
        self.received: Queue[tuple[dict[str, str], bytes]] = Queue()
        self.refusals = 0
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                refuse = listener.refusals > 0
                listener.refusals -= refuse
                self.send_response(503 if refuse else 200)
                self.end_headers()
                listener.received.put(({name.lower(): value for name, value in self.headers.items()}, body))

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/callbacks/sandbox"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    taking = Listener()
    yield taking
    taking.server.shutdown()
    taking.server.server_close()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[SandboxProcess]:
    data = tmp_path_factory.mktemp("sandbox") / "book.sqlite"
    with SandboxProcess.start(
        data=data, credentials=CREDENTIALS, callback_url=listener.url, options=("--fee", "15")
    ) as running:
        yield running


class Conversation:
    """Runs rail calls in one event loop with one client."""

    def __init__(self, url: str, *, credentials: SandboxCredentials = CREDENTIALS) -> None:
        self.loop = asyncio.new_event_loop()
        self.rail = SandboxRail(url, credentials=credentials, timeout=0.5)

    def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        return self._run(self.rail.submit(instruction))

    def find(self, reference: str) -> ProviderReport | None:
        return self._run(self.rail.find(reference))

    def find_when(self, reference: str, fits: Callable[[ProviderReport], bool]) -> ProviderReport:
        deadline = time.monotonic() + 10
        while True:
            found = self.find(reference)
            if found is not None and fits(found):
                return found
            assert time.monotonic() < deadline, f"{reference} is still {found}"
            time.sleep(0.02)

    def close(self) -> None:
        self._run(self.rail.aclose())
        self.loop.close()

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)


@pytest.fixture
def rail(provider: SandboxProcess) -> Iterator[Conversation]:
    conversation = Conversation(provider.url)
    yield conversation
    conversation.close()


_numbers = iter(range(1, 1_000_000))


def instruction(*, amount: int = 4997, currency: str = "MYR", **details: str | int) -> PayoutInstruction:
    payout_id = f"pay_{next(_numbers)}"
    return PayoutInstruction(
        payout_id=payout_id,
        reference=f"{payout_id}.1",
        rail=Rail.SANDBOX,
        amount=amount,
        currency=currency,
        details=details,
    )


def retried(first: PayoutInstruction) -> PayoutInstruction:
    """The next attempt of the same payout."""
    return PayoutInstruction(
        payout_id=first.payout_id,
        reference=f"{first.payout_id}.2",
        rail=first.rail,
        amount=first.amount,
        currency=first.currency,
        details=first.details,
    )


def count_at(provider: SandboxProcess, reference: str) -> int:
    answer = httpx.get(f"{provider.url}/v1/payouts", params={"reference": reference}, headers=AUTHORIZED)
    return len(answer.json()["items"])


def test_a_payout_is_pending_then_paid_with_its_fee(rail: Conversation) -> None:
    wish = instruction(delay_ms=150)
    accepted = rail.submit(wish)
    assert (accepted.outcome, accepted.amount, accepted.currency) == (ProviderOutcome.PENDING, 4997, "MYR")
    assert (accepted.reference, accepted.settled, accepted.fee) == (wish.reference, False, 0)
    paid = rail.find_when(wish.reference, lambda report: report.outcome is not ProviderOutcome.PENDING)
    assert (paid.outcome, paid.fee, paid.settled) == (ProviderOutcome.PAID, 15, True)
    assert paid.provider_id == accepted.provider_id


def test_the_same_key_with_the_same_body_is_one_payout_and_one_answer(
    rail: Conversation, provider: SandboxProcess
) -> None:
    wish = instruction(delay_ms=60_000)
    assert rail.submit(wish) == rail.submit(wish)
    assert count_at(provider, wish.reference) == 1


def test_the_same_key_at_the_same_moment_is_one_payout(rail: Conversation, provider: SandboxProcess) -> None:
    wish = instruction(delay_ms=60_000)

    async def at_once() -> list[ProviderReport]:
        return await asyncio.gather(*(rail.rail.submit(wish) for _ in range(16)))

    reports = rail.loop.run_until_complete(at_once())
    assert {report.provider_id for report in reports} == {reports[0].provider_id}
    assert count_at(provider, wish.reference) == 1


def test_a_failed_payout(rail: Conversation) -> None:
    report = rail.submit(instruction(outcome="failed"))
    assert (report.outcome, report.failure_code) == (ProviderOutcome.FAILED, "account_invalid")
    assert (report.passing, report.settled, report.fee) == (False, True, 0)


def test_a_payout_returned_after_it_was_paid(rail: Conversation) -> None:
    wish = instruction(outcome="returned", delay_ms=500)
    rail.submit(wish)
    paid = rail.find_when(wish.reference, lambda report: report.outcome is not ProviderOutcome.PENDING)
    assert (paid.outcome, paid.settled) == (ProviderOutcome.PAID, False)
    returned = rail.find_when(wish.reference, lambda report: report.settled)
    assert (returned.outcome, returned.failure_code) == (ProviderOutcome.RETURNED, "account_closed")


@pytest.mark.parametrize("fault", ["timeout", "error_after"])
def test_an_answer_that_never_came_is_unknown_and_found_by_reference(
    rail: Conversation, provider: SandboxProcess, fault: str
) -> None:
    wish = instruction(fault=fault)
    lost = rail.submit(wish)
    assert (lost.outcome, lost.amount, lost.reference) == (ProviderOutcome.UNKNOWN, None, wish.reference)
    found = rail.find(wish.reference)
    assert found is not None
    assert found.outcome is ProviderOutcome.PAID
    assert rail.submit(wish).provider_id == found.provider_id  # and the same key would have been safe too
    assert count_at(provider, wish.reference) == 1


def test_an_error_before_accepting_is_unknown_too_and_handing_in_again_is_right(rail: Conversation) -> None:
    wish = instruction(fault="error_before")
    assert rail.submit(wish).outcome is ProviderOutcome.UNKNOWN
    assert rail.find(wish.reference) is None
    assert rail.submit(wish).outcome is ProviderOutcome.PAID


def test_a_channel_that_is_down_fails_the_first_attempt_and_lets_the_second_through(rail: Conversation) -> None:
    wish = instruction(fault="channel_down")
    first = rail.submit(wish)
    assert (first.outcome, first.failure_code, first.passing) == (
        ProviderOutcome.FAILED,
        "channel_unavailable",
        True,
    )
    assert rail.submit(retried(wish)).outcome is ProviderOutcome.PAID


def test_an_attempt_that_is_called_failed_for_good_and_paid_after_all(
    rail: Conversation, provider: SandboxProcess
) -> None:
    wish = instruction(fault="paid_after_all", delay_ms=150)
    first = rail.submit(wish)
    assert (first.outcome, first.failure_code, first.passing, first.settled, first.fee) == (
        ProviderOutcome.FAILED,
        "channel_unavailable",
        True,
        True,
        0,
    )
    time.sleep(0.2)
    found = rail.find(wish.reference)
    assert found is not None
    assert (found.outcome, found.failure_code, found.settled, found.fee) == (ProviderOutcome.PAID, None, True, 15)
    assert rail.submit(wish) == first, "what a key answered once it answers again"
    assert count_at(provider, wish.reference) == 1
    assert rail.submit(retried(wish)).outcome is not ProviderOutcome.FAILED, "who hands it in again pays twice"


@pytest.mark.parametrize(
    "wish",
    [
        instruction(currency="XXQ"),
        instruction(amount=0),
        instruction(amount=-5),
        instruction(amount=10**15 + 1),
        instruction(iban="MY00"),
        instruction(fault="refuse"),
    ],
    ids=["currency", "zero", "negative", "absurd", "unknown detail", "refused"],
)
def test_a_definite_refusal_is_a_failure_and_nothing_was_accepted(
    rail: Conversation, wish: PayoutInstruction
) -> None:
    report = rail.submit(wish)
    assert (report.outcome, report.amount, report.passing) == (ProviderOutcome.FAILED, wish.amount, False)
    assert rail.find(wish.reference) is None


def test_a_wrong_key_says_nothing_about_the_payout(provider: SandboxProcess) -> None:
    stranger = Conversation(provider.url, credentials=replace(CREDENTIALS, api_key="wrong"))
    with pytest.raises(Unavailable):
        stranger.submit(instruction())
    with pytest.raises(Unavailable):
        stranger.find("pay_1.1")
    stranger.close()


def test_a_provider_that_is_away_is_unknown_for_money_and_unavailable_for_questions() -> None:
    nobody = Conversation("http://127.0.0.1:9")  # discard: nobody listens there
    assert nobody.submit(instruction()).outcome is ProviderOutcome.UNKNOWN
    with pytest.raises(Unavailable):
        nobody.find("pay_1.1")
    nobody.close()


GOOD = {"reference": "r", "amount": 100, "currency": "MYR", "destination": {}}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (GOOD, {"Authorization": "Bearer nobody"}, 401, "unauthorized"),
        (GOOD, {"Idempotency-Key": ""}, 400, "idempotency_key_missing"),
        (GOOD | {"reference": ""}, {}, 422, "invalid_request"),
        ({"amount": 100, "currency": "MYR", "destination": {}}, {}, 422, "invalid_request"),
        (GOOD | {"amount": 1.5}, {}, 422, "invalid_request"),
        (GOOD | {"amount": True}, {}, 422, "invalid_request"),
        (GOOD | {"tip": 1}, {}, 422, "invalid_request"),
        ([], {}, 422, "invalid_request"),
    ],
)
def test_what_the_provider_refuses(
    provider: SandboxProcess, body: object, headers: dict[str, str], status: int, code: str
) -> None:
    sent = AUTHORIZED | {"Idempotency-Key": f"refusal-{next(_numbers)}"} | headers
    answer = httpx.post(f"{provider.url}/v1/payouts", json=body, headers=sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_key_used_with_another_body_is_a_conflict(provider: SandboxProcess, rail: Conversation) -> None:
    wish = instruction()
    rail.submit(wish)
    other = GOOD | {"reference": wish.reference}
    sent = AUTHORIZED | {"Idempotency-Key": wish.reference}
    assert httpx.post(f"{provider.url}/v1/payouts", json=other, headers=sent).status_code == 409


def test_whose_account_it_is_is_taken_and_kept_nowhere(tmp_path: Path) -> None:
    whose = {"account_holder": "Zylkène Fennimore Quorl", "account_number": "MY77-4410-0099-8123"}
    with SandboxProcess.start(data=tmp_path / "book.sqlite", credentials=CREDENTIALS) as running:
        talk = Conversation(running.url)
        wish = instruction(**whose)
        accepted = talk.submit(wish)
        assert (accepted.outcome, accepted.amount) == (ProviderOutcome.PAID, 4997)
        assert talk.submit(replace(wish, details={})) == accepted, "not even a digest tells another account"
        talk.close()
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert wish.reference.encode() in kept
        for text in whose.values():
            assert text.encode() not in kept
        too_long = GOOD | {"destination": {"account_number": "1" * 141}}
        sent = AUTHORIZED | {"Idempotency-Key": "too-long"}
        answer = httpx.post(f"{running.url}/v1/payouts", json=too_long, headers=sent)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "destination.account_number")


def test_two_payouts_of_one_reference_are_never_chosen_between(provider: SandboxProcess, rail: Conversation) -> None:
    reference = f"double-{next(_numbers)}"
    for number in (1, 2):
        sent = AUTHORIZED | {"Idempotency-Key": f"{reference}-{number}"}
        httpx.post(f"{provider.url}/v1/payouts", json=GOOD | {"reference": reference}, headers=sent)
    with pytest.raises(ProviderDisagrees):
        rail.find(reference)


def test_the_list_is_paged_newest_first(provider: SandboxProcess, rail: Conversation) -> None:
    wishes = [instruction(delay_ms=60_000) for _ in range(3)]
    for wish in wishes:
        rail.submit(wish)
    url = f"{provider.url}/v1/payouts"
    first = httpx.get(url, params={"limit": 2}, headers=AUTHORIZED).json()
    second = httpx.get(url, params={"limit": 1, "cursor": first["next_cursor"]}, headers=AUTHORIZED).json()
    listed = [item["reference"] for item in first["items"] + second["items"]]
    assert listed == [wish.reference for wish in reversed(wishes)]


def callback_for(listener: Listener, rail: Conversation, reference: str) -> tuple[dict[str, str], bytes]:
    while True:
        headers, body = listener.received.get(timeout=10)
        if rail.rail.callback_reference(headers, body) == reference:
            return headers, body


def test_callbacks_are_signed_and_delivered_until_they_are_taken(
    provider: SandboxProcess, rail: Conversation, listener: Listener
) -> None:
    wish = instruction(delay_ms=50)
    listener.refusals = 1
    rail.submit(wish)
    first, body = callback_for(listener, rail, wish.reference)
    again, same = callback_for(listener, rail, wish.reference)
    assert body.startswith(b'{"id":"msg_')
    assert first["webhook-id"] == again["webhook-id"]
    assert b'"type":"payout.paid"' in same
    with pytest.raises(Empty):
        listener.received.get(timeout=0.3)


def test_a_forged_old_or_unsigned_callback_is_not_taken(rail: Conversation) -> None:
    body = b'{"id":"msg_1","type":"payout.paid","data":{"reference":"pay_1.1"}}'
    now = int(time.time())
    good = signed_headers(CREDENTIALS.callback_secret, message_id="msg_1", timestamp=now, body=body)
    assert rail.rail.callback_reference(good, body) == "pay_1.1"
    old = signed_headers(CREDENTIALS.callback_secret, message_id="msg_1", timestamp=now - 301, body=body)
    forged = signed_headers("another secret", message_id="msg_1", timestamp=now, body=body)
    for headers, sent in [(forged, body), (good, body + b" "), (old, body), ({}, body)]:
        with pytest.raises(Unauthorized):
            rail.rail.callback_reference(headers, sent)
    unreadable = signed_headers(CREDENTIALS.callback_secret, message_id="msg_1", timestamp=now, body=b"{")
    with pytest.raises(InvalidInput):
        rail.rail.callback_reference(unreadable, b"{")


def test_the_signature_is_that_of_standard_webhooks() -> None:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1614265330",
        # HMAC-SHA256 by openssl of `msg_1.1614265330.{}` under the key `k`.
        "webhook-signature": "v1,nonsense v1,yLgTPjwBPtkZh0hC++tpfsGfEWWPF1/xyMcEM1U6WYY=",
    }
    check_signature("k", headers, b"{}", now=1614265330.0)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    data = tmp_path / "book.sqlite"
    wish = instruction(delay_ms=60_000)
    with SandboxProcess.start(data=data, credentials=CREDENTIALS) as first:
        before = Conversation(first.url)
        accepted = before.submit(wish)
        before.close()
        os.kill(first.pid, signal.SIGKILL)
    with SandboxProcess.start(data=data, credentials=CREDENTIALS) as second:
        after = Conversation(second.url)
        assert after.find(wish.reference) == accepted
        assert after.submit(wish) == accepted
        after.close()
        assert count_at(second, wish.reference) == 1


def test_a_provider_that_forgot_the_key_would_pay_twice_so_the_job_asks_first(tmp_path: Path) -> None:
    options = ("--key-lifetime", "0")
    with SandboxProcess.start(data=tmp_path / "book", credentials=CREDENTIALS, options=options) as forgetful:
        rail = Conversation(forgetful.url)
        wish = instruction()
        rail.submit(wish)
        assert rail.find(wish.reference) is not None
        rail.submit(wish)
        assert count_at(forgetful, wish.reference) == 2
        rail.close()


def test_the_provider_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from colink.adapters.payments.sandbox_credentials import SandboxCredentials\n"
        "from colink.adapters.payments.sandbox_process import SandboxProcess\n"
        "keys = SandboxCredentials(api_key='a', callback_secret='b')\n"
        "print(SandboxProcess.start(data=Path(sys.argv[1]), credentials=keys).url, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "book")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert httpx.get(f"{url}/v1/payouts").status_code == 401
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/v1/payouts", timeout=0.5)
        except httpx.TransportError:
            return
        time.sleep(0.02)
    pytest.fail("the provider outlived its parent")


def test_a_provider_that_cannot_start_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unavailable):
        SandboxProcess.start(data=tmp_path, credentials=CREDENTIALS)  # a folder is no file


def test_credentials_are_made_once_and_are_private(tmp_path: Path) -> None:
    path = tmp_path / "sandbox" / "credentials.json"
    made = SandboxCredentials.kept_in(path)
    assert SandboxCredentials.kept_in(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
