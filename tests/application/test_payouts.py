"""Payouts on the real PostgreSQL and a real sandbox process: nothing is reserved twice, nothing is paid twice, and
every sen is where the ledger says, whoever is killed in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.application.treasury import (
    CREATOR,
    CREATOR_KEY,
    CREDENTIALS,
    FINANCE_KEY,
    SELLER,
    DeadlyRail,
    Killed,
    Known,
    MovingClock,
    ToldRail,
    Treasury,
    by,
)

from colink.adapters.payments.sandbox import SandboxRail
from colink.adapters.payments.sandbox_process import SandboxProcess
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import create_pool
from colink.application import payout_jobs
from colink.application.payout_attempts import RecordPayoutResult
from colink.application.payout_jobs import PayoutDesk, confirm_callback
from colink.application.payouts import (
    CancelPayout,
    HoldPayout,
    LiftPayoutHold,
    RejectPayout,
    RequestPayout,
)
from colink.application.ports import Recorded
from colink.domain.errors import InsufficientFunds, InvalidInput, NotFound, PayoutStateError
from colink.domain.money import Money
from colink.domain.payout_funds import BelowMinimum
from colink.domain.payouts import NoPayoutAccount, ProviderDisagrees, ProviderOutcome, ProviderReport, SelfApproval
from colink.projections.audit import verify


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    data = tmp_path_factory.mktemp("sandbox") / "book.sqlite"
    with SandboxProcess.start(data=data, credentials=CREDENTIALS, options=("--fee", "15")) as running:
        yield running


Story = Callable[[Treasury], Awaitable[None]]


async def verify_from(treasury: Treasury, first: int) -> None:
    async with treasury.pool.connection() as connection:
        report = await verify(connection, EventMapper().event, from_position=first)
    assert (report.findings, report.clean) == ([], True)


@pytest.fixture
def told(database: Any, provider: SandboxProcess) -> Callable[[Story], None]:
    """Runs a story in a treasury of its own."""

    @asynccontextmanager
    async def open_treasury() -> AsyncIterator[Treasury]:
        rail = SandboxRail(provider.url, credentials=CREDENTIALS, timeout=0.5)
        async with (
            create_pool(database.app_dsn) as pool,
            create_pool(database.app_dsn, for_commands=True) as commands,
            Committer(commands, MovingClock()) as bus,
        ):
            await bus.submit(Known(caller=by("test")))
            yield Treasury(pool, bus, rail, provider)
        await rail.aclose()

    def run(story: Story) -> None:
        async def main() -> None:
            async with open_treasury() as treasury:
                await story(treasury)
                await verify_from(treasury, 1)

        asyncio.run(main())

    return run


# Reserving ----------------------------------------------------------------------------------------------------------


def test_32_requests_at_once_never_reserve_more_than_is_available(
    told: Callable[[Story], None], database: Any
) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        for amount in (700, 301):
            await treasury.move(amount)
        async with (
            create_pool(database.app_dsn, for_commands=True) as pool,
            Committer(pool, MovingClock()) as second_process,
        ):
            buses = (treasury.bus, second_process)
            commands = [
                RequestPayout(
                    caller=CREATOR_KEY,
                    payout_id=f"pay_race{number}",
                    payee_id=CREATOR,
                    currency="MYR",
                    amount=Money(90 + number, "MYR"),
                )
                for number in range(32)
            ]
            results = await asyncio.gather(
                *(buses[number % 2].submit(command) for number, command in enumerate(commands)),
                return_exceptions=True,
            )
        granted = [result.answer["amount"]["amount"] for result in results if isinstance(result, Recorded)]
        refused = [result for result in results if not isinstance(result, Recorded)]
        assert {type(error) for error in refused} == {InsufficientFunds}
        assert sum(granted) <= 1001
        assert 1001 - sum(granted) < 121, "a request that would still have fitted was refused"
        assert await treasury.balances() == {
            "payee:cre_1:available": 1001 - sum(granted),
            "payee:cre_1:in_transit": sum(granted),
        }
        held = await treasury.held()
        assert sum(end - start for start, end in held) == sum(granted)
        assert all(end <= start for (_, end), (start, _) in pairwise(held))

    told(story)


def test_cancelling_and_rejecting_give_the_money_back_to_be_reserved_again(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        cancelled = await treasury.request(200)
        rejected = await treasury.request(100)
        kept = await treasury.request(150)
        assert await treasury.held() == [(0, 200), (200, 300), (300, 450)]
        await treasury.bus.submit(CancelPayout(caller=CREATOR_KEY, payout_id=cancelled))
        await treasury.bus.submit(RejectPayout(caller=FINANCE_KEY, payout_id=rejected, reason="a doubt"))
        assert await treasury.balances() == {"payee:cre_1:available": 350, "payee:cre_1:in_transit": 150}
        await treasury.request(320)  # the gap first, then the end of the line
        assert await treasury.held() == [(0, 300), (300, 450), (450, 470)]
        for _ in range(2):
            with pytest.raises(PayoutStateError):
                await treasury.bus.submit(CancelPayout(caller=CREATOR_KEY, payout_id=cancelled))
        await treasury.bus.submit(CancelPayout(caller=CREATOR_KEY, payout_id=kept))
        assert await treasury.balances() == {"payee:cre_1:available": 180, "payee:cre_1:in_transit": 320}

    told(story)


def test_a_refund_of_reserved_money_is_a_debt_that_the_next_payout_nets(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        await treasury.request(automatic_approval=True)
        await treasury.move(-120)
        assert (await treasury.balances())["payee:cre_1:available"] == -120
        with pytest.raises(InsufficientFunds):
            await treasury.request()
        await treasury.move(200)
        await treasury.request(automatic_approval=True)
        await treasury.finish(treasury.desk())
        assert await treasury.held() == [(0, 500), (500, 700)]
        assert await treasury.rows("select amount from colink.payouts order by created_position") == [(500,), (80,)]
        assert await treasury.balances() == {"processor:sandbox:cash": 580 + 30, "platform:expense": -30}

    told(story)


def test_what_is_not_reserved(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.move(500)
        with pytest.raises(NoPayoutAccount):
            await treasury.request()
        await treasury.account(minimum=Money(300, "MYR"))
        with pytest.raises(BelowMinimum):
            await treasury.request(299)
        with pytest.raises(InsufficientFunds):
            await treasury.request(501)
        with pytest.raises(NotFound):
            await treasury.request(within_payee="cre_2")
        with pytest.raises(InvalidInput) as refused:
            await treasury.bus.submit(
                RequestPayout(
                    caller=CREATOR_KEY,
                    payout_id="pay_usd",
                    payee_id=CREATOR,
                    currency="MYR",
                    amount=Money(400, "USD"),
                )
            )
        assert refused.value.field == "amount.currency"
        with pytest.raises(InvalidInput):
            await treasury.account(payee_id="cre_nobody")
        assert await treasury.statuses() == []
        assert await treasury.balances() == {"payee:cre_1:available": 500}

    told(story)


# The whole way ------------------------------------------------------------------------------------------------------


def test_creator_and_seller_are_paid(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        for payee_id, amount in ((CREATOR, 500), (SELLER, 7000)):
            await treasury.account(payee_id=payee_id, delay_ms=100)
            await treasury.move(amount, payee_id=payee_id)
        await treasury.finish(treasury.desk())
        assert await treasury.statuses() == ["paid", "paid"]
        assert await treasury.balances() == {"processor:sandbox:cash": 7530, "platform:expense": -30}
        assert await treasury.journals() == ["payout_fee", "payout_paid", "payout_reserved"]
        organizations = await treasury.rows(
            "select distinct payee_id, organization_id from colink.entries where kind = 'payout_reserved' order by 1"
        )
        assert organizations == [(CREATOR, None), (SELLER, SELLER)]

    told(story)


def test_a_person_approves_and_never_the_one_who_asked(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        payout_id = await treasury.request()
        desk = treasury.desk(automatic=False)
        assert await desk.run() == 0
        with pytest.raises(SelfApproval):
            await treasury.approve(payout_id, caller=CREATOR_KEY)
        assert await treasury.statuses() == ["requested"]
        await treasury.approve(payout_id)
        await treasury.bus.submit(HoldPayout(caller=FINANCE_KEY, payout_id=payout_id, reason="a look"))
        assert await desk.run() == 0
        assert await treasury.statuses() == ["held"]
        await treasury.bus.submit(LiftPayoutHold(caller=FINANCE_KEY, payout_id=payout_id))
        await treasury.approve(payout_id)
        await treasury.finish(desk)
        assert await treasury.statuses() == ["paid"]

    told(story)


def test_a_payout_the_bank_returns_reopens_the_money(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(outcome="returned", delay_ms=250)
        await treasury.move(500)
        await treasury.finish(treasury.desk())
        assert await treasury.statuses() == ["returned"]
        assert await treasury.journals() == ["payout_fee", "payout_paid", "payout_reserved", "payout_returned"]
        assert await treasury.balances() == {
            "payee:cre_1:available": 500,
            "processor:sandbox:cash": 15,
            "platform:expense": -15,
        }
        assert await treasury.held() == []
        [(head,)] = await treasury.rows("select position from colink.log_head")
        for first in range(2, head + 1):  # between an event and its journals too
            await verify_from(treasury, first)

    told(story)


def test_a_failed_payout_is_not_tried_again_until_the_account_is_another(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(outcome="failed")
        await treasury.move(500)
        desk = treasury.desk()
        await treasury.finish(desk)
        await treasury.finish(desk)
        assert await treasury.statuses() == ["failed"]
        assert await treasury.balances() == {"payee:cre_1:available": 500}
        await treasury.account(outcome="paid")
        await treasury.finish(desk)
        assert await treasury.statuses() == ["failed", "paid"]
        assert await treasury.balances() == {"processor:sandbox:cash": 515, "platform:expense": -15}

    told(story)


def test_an_account_changed_after_approval_gets_nothing_until_it_is_approved(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        await treasury.account(outcome="failed")
        await treasury.account()  # changed and changed back is changed
        answer = (await treasury.submit(payout_id)).answer
        assert (answer["status"], answer["began"], answer["instruction"]) == ("cancelled", False, None)
        assert treasury.at_provider(payout_id) == []
        assert await treasury.balances() == {"payee:cre_1:available": 500}

    told(story)


def test_the_schedule_pays_who_has_the_minimum_and_an_account(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(minimum=Money(501, "MYR"))
        await treasury.move(500)
        await treasury.move(500, payee_id=SELLER)
        desk = treasury.desk(automatic=False)
        assert await desk.run() == 0
        await treasury.move(1)
        assert await desk.run() == 1
        assert await treasury.rows("select payee_id, amount, status from colink.payouts") == [
            (CREATOR, 501, "requested")
        ]
        await treasury.move(600)
        assert await desk.run() == 0, "one payout waits at a time"
        [(payout_id,)] = await treasury.rows("select payout_id from colink.payouts")
        await treasury.approve(payout_id)
        await treasury.finish(desk)
        assert await treasury.rows("select amount, status from colink.payouts order by created_position") == [
            (501, "paid"),
            (600, "requested"),
        ]

    told(story)


# What goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["timeout", "error_before", "error_after"])
def test_an_unknown_outcome_is_looked_up_and_paid_once(told: Callable[[Story], None], fault: str) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(fault=fault)
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        desk = treasury.desk()
        await desk.submit_approved()
        assert await treasury.statuses() == ["submitted"], "unknown is neither paid nor failed"
        await treasury.finish(desk)
        assert await treasury.statuses() == ["paid"]
        assert treasury.at_provider(payout_id) == [(f"{payout_id}.1", 500, "paid")]

    told(story)


def test_a_passing_failure_is_tried_again_under_a_new_key(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(fault="channel_down")
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        await treasury.finish(treasury.desk())
        assert await treasury.statuses() == ["paid"]
        assert treasury.at_provider(payout_id) == [(f"{payout_id}.1", 500, "failed"), (f"{payout_id}.2", 500, "paid")]
        assert await treasury.balances() == {"processor:sandbox:cash": 515, "platform:expense": -15}

    told(story)


@pytest.mark.parametrize("meanwhile", ["approved", "held", "requested"])
def test_what_the_provider_called_failed_and_paid_after_all_is_paid_once(
    told: Callable[[Story], None], meanwhile: str
) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(fault="paid_after_all", delay_ms=300)
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        desk = treasury.desk(automatic=False)
        await desk.submit_approved()
        assert await treasury.statuses() == ["approved"], "the provider said that it failed"
        if meanwhile != "approved":
            await treasury.bus.submit(HoldPayout(caller=FINANCE_KEY, payout_id=payout_id, reason="a look"))
        if meanwhile == "requested":
            await treasury.bus.submit(LiftPayoutHold(caller=FINANCE_KEY, payout_id=payout_id))
        assert await treasury.statuses() == [meanwhile]
        await asyncio.sleep(0.35)
        said = by("callback:sandbox")
        assert await confirm_callback(treasury.bus, treasury.rail, f"{payout_id}.1", caller=said)
        assert await treasury.statuses() == ["paid"]
        await treasury.finish(desk)
        assert treasury.at_provider(payout_id) == [(f"{payout_id}.1", 500, "paid")]
        assert await treasury.balances() == {"processor:sandbox:cash": 515, "platform:expense": -15}

    told(story)


@pytest.mark.parametrize("account", ["as it was", "changed"])
def test_nothing_is_tried_again_or_given_back_before_the_provider_was_asked_once_more(
    told: Callable[[Story], None], account: str
) -> None:
    """The callback of the correction got lost."""

    async def story(treasury: Treasury) -> None:
        await treasury.account(fault="paid_after_all", delay_ms=300)
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        desk = treasury.desk()
        await desk.submit_approved()
        if account == "changed":  # what is approved for another account is cancelled
            await treasury.account(account_number="2")
        await asyncio.sleep(0.35)
        assert await desk.submit_approved() == 1
        assert await treasury.statuses() == ["paid"]
        assert treasury.at_provider(payout_id) == [(f"{payout_id}.1", 500, "paid")]
        assert await treasury.balances() == {"processor:sandbox:cash": 515, "platform:expense": -15}

    told(story)


async def called_failed(treasury: Treasury) -> tuple[str, ToldRail, PayoutDesk]:
    """A payout of 500 whose first attempt its provider called failed, for a passing reason."""
    await treasury.account()
    await treasury.move(500)
    payout_id = await treasury.request(automatic_approval=True)
    rail = ToldRail()
    desk = treasury.desk(rail=rail)
    rail.outcome = ProviderOutcome.FAILED
    await desk.submit_approved()
    return payout_id, rail, desk


def test_an_attempt_called_failed_that_goes_on_is_waited_for(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        payout_id, rail, desk = await called_failed(treasury)
        for outcome in (ProviderOutcome.PENDING, ProviderOutcome.UNKNOWN):
            rail.outcome = outcome
            assert await desk.run() == 0
            assert await treasury.statuses() == ["approved"]
            assert await desk.under_way()
        answer = (await treasury.submit(payout_id)).answer
        assert (answer["began"], answer["to_ask"]) == (
            False,
            [{"reference": f"{payout_id}.1", "rail": "sandbox"}],
        ), "whoever has not asked begins nothing"
        rail.outcome = ProviderOutcome.FAILED
        rail.of[f"{payout_id}.2"] = ProviderOutcome.PAID
        assert await desk.run() == 1
        assert await treasury.statuses() == ["paid"]
        assert rail.submitted == [f"{payout_id}.1", f"{payout_id}.2"]

    told(story)


def test_an_attempt_before_the_last_that_was_paid_stops_the_next(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        payout_id, rail, desk = await called_failed(treasury)
        await desk.submit_approved()
        rail.of[f"{payout_id}.1"] = ProviderOutcome.PAID
        assert await desk.run() == 0
        assert await treasury.statuses() == ["approved"]
        assert rail.submitted == [f"{payout_id}.1", f"{payout_id}.2"]
        with pytest.raises(ProviderDisagrees):
            await confirm_callback(treasury.bus, rail, f"{payout_id}.1", caller=by("callback:sandbox"))
        assert (await treasury.balances())["payee:cre_1:in_transit"] == 500

    told(story)


@pytest.mark.parametrize("when", ["before submitting", "after submitting", "after finding"])
def test_a_worker_killed_in_between_pays_once(told: Callable[[Story], None], when: str) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(delay_ms=50)
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        killed = treasury.desk(rail=DeadlyRail(treasury.rail, when=when))
        with pytest.raises(Killed):
            await treasury.finish(killed)
        assert (await treasury.balances())["payee:cre_1:in_transit"] == 500
        await treasury.finish(treasury.desk())
        assert await treasury.statuses() == ["paid"]
        assert treasury.at_provider(payout_id) == [(f"{payout_id}.1", 500, "paid")]
        assert await treasury.balances() == {"processor:sandbox:cash": 515, "platform:expense": -15}

    told(story)


def test_workers_side_by_side_pay_everybody_once(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        for payee_id, amount in ((CREATOR, 500), (SELLER, 7000)):
            await treasury.account(payee_id=payee_id, delay_ms=60)
            await treasury.move(amount, payee_id=payee_id)
        await asyncio.gather(*(treasury.finish(treasury.desk()) for _ in range(4)))
        payouts = await treasury.rows("select payout_id, amount, status from colink.payouts order by amount")
        assert [(amount, status) for _, amount, status in payouts] == [(500, "paid"), (7000, "paid")]
        for payout_id, amount, _ in payouts:
            assert treasury.at_provider(payout_id) == [(f"{payout_id}.1", amount, "paid")]
        assert await treasury.balances() == {"processor:sandbox:cash": 7530, "platform:expense": -30}

    told(story)


def test_late_and_repeated_results_are_recorded_once(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        await treasury.submit(payout_id)

        def said(outcome: ProviderOutcome) -> RecordPayoutResult:
            report = ProviderReport(
                reference=f"{payout_id}.1", outcome=outcome, amount=500, currency="MYR", provider_id="sbx_1"
            )
            return RecordPayoutResult(caller=by("callback:sandbox"), payout_id=payout_id, report=report)

        paid, pending = said(ProviderOutcome.PAID), said(ProviderOutcome.PENDING)
        answers = await asyncio.gather(*(treasury.bus.submit(paid) for _ in range(8)))
        assert sum(answer.position is not None for answer in answers) == 1
        assert (await treasury.bus.submit(pending)).position is None
        returned = said(ProviderOutcome.RETURNED)
        assert (await treasury.bus.submit(returned)).answer["status"] == "returned"
        assert (await treasury.bus.submit(paid)).position is None
        assert await treasury.balances() == {"payee:cre_1:available": 500}

    told(story)


def test_a_callback_makes_us_ask_and_records_the_answer(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account(delay_ms=600)
        await treasury.move(500)
        payout_id = await treasury.request(automatic_approval=True)
        await treasury.desk().submit_approved()
        caller = by("callback:sandbox")
        assert await confirm_callback(treasury.bus, treasury.rail, f"{payout_id}.1", caller=caller)
        assert await treasury.statuses() == ["in_transit"], "whatever the callback claimed, it is not paid yet"
        await asyncio.sleep(0.65)
        assert await confirm_callback(treasury.bus, treasury.rail, f"{payout_id}.1", caller=caller)
        assert await treasury.statuses() == ["paid"]
        assert not await confirm_callback(treasury.bus, treasury.rail, "pay_other.1", caller=caller)

    told(story)


def test_a_return_whose_callback_got_lost_is_found_within_the_hour(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        rail = ToldRail()
        desk = treasury.desk(rail=rail)
        await treasury.finish(desk)
        assert await treasury.statuses() == ["paid"]
        rail.outcome = ProviderOutcome.RETURNED
        assert await desk.run() == 0, "asked less than an hour ago"
        treasury.clock.time += timedelta(hours=1)
        assert await desk.run() == 1
        assert await treasury.statuses() == ["returned"]
        assert await treasury.balances() == {"payee:cre_1:available": 500}

    told(story)


def test_all_that_may_come_back_is_asked_about_by_whatever_worker_is_there(
    told: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        rail, paid = ToldRail(), []
        for _ in range(5):
            await treasury.move(500)
            paid.append(f"{await treasury.request(automatic_approval=True)}.1")
            await treasury.desk(rail=rail).submit_approved()
        rail.of[paid[0]] = ProviderOutcome.RETURNED  # and its callback got lost
        monkeypatch.setattr(payout_jobs, "_PAGE", 2)
        desk = treasury.desk(automatic=False, rail=rail)  # just started: it was not there when they were paid

        async def asked(*, changed: int = 0) -> list[str]:
            rail.asked.clear()
            assert await desk.advance() == changed
            return sorted(rail.asked, key=paid.index)

        assert await asked(changed=1) == paid[:2], "the oldest first, a page at a time"
        assert await treasury.statuses() == ["returned"] + 4 * ["paid"]
        assert await asked() == paid[2:4]
        assert await desk.under_way()
        assert await asked() == paid[4:]
        assert not await desk.under_way()
        treasury.clock.time += timedelta(minutes=59)
        assert await asked() == []
        treasury.clock.time += timedelta(minutes=1)
        rail.of[paid[4]] = ProviderOutcome.RETURNED
        assert [await asked(), await asked(changed=1), await asked()] == [paid[1:3], paid[3:], []]
        treasury.clock.time += timedelta(days=91)
        assert await asked() == [], "nothing comes back that late"

    told(story)


def test_a_provider_that_lost_a_payout_it_had_is_not_handed_it_again(told: Callable[[Story], None]) -> None:
    async def story(treasury: Treasury) -> None:
        await treasury.account()
        await treasury.move(500)
        rail = ToldRail()
        rail.outcome = ProviderOutcome.PENDING
        await treasury.desk(rail=rail).run()
        assert await treasury.statuses() == ["in_transit"]
        empty = treasury.desk()  # the real sandbox, which never heard of it
        assert await empty.run() == 0
        [(payout_id,)] = await treasury.rows("select payout_id from colink.payouts")
        assert treasury.at_provider(payout_id) == []
        assert await treasury.statuses() == ["in_transit"]

    told(story)
