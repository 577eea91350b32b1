"""Verification finds a payout of more than was available, in whatever part of the log it was reserved."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.projections.test_audit import found, verified
from tests.projections.world import CALLER, ORGANIZATION, STORE, World

from colink.application.clear_order import ClearOrder
from colink.application.payouts import CancelPayout, RegisterPayoutAccount, RequestPayout
from colink.domain import payouts
from colink.domain.audit.report import Kind, Pass
from colink.domain.money import Money
from colink.domain.payout_accounts import Rail
from colink.domain.payout_funds import Funds, Stretch

pytestmark = pytest.mark.anyio

APRIL = datetime(2026, 4, 20, tzinfo=UTC)


def forgetful(funds: Funds, *, amount: int | None, minimum: int) -> tuple[int, tuple[Stretch, ...]]:
    """Debts are forgotten: all free credits are paid."""
    return sum(part.end - part.start for part in funds.free), funds.free


async def request(world: World, payout_id: str, amount: int | None = None) -> None:
    await world.commerce.submit(
        RequestPayout(
            caller=CALLER,
            payout_id=payout_id,
            payee_id=ORGANIZATION,
            currency="MYR",
            amount=None if amount is None else Money(amount, "MYR"),
        )
    )


async def cleared(world: World, number: int, base: int) -> None:
    await world.order(number, base)
    await world.commerce.submit(ClearOrder(caller=CALLER, order_id=f"ord_{STORE}.{number}"))


async def a_debt(world: World) -> int:
    """Of 85.00 that were paid out, as the order was refunded; then 170.00 clear. The position so far."""
    account = RegisterPayoutAccount(
        caller=CALLER, payee_id=ORGANIZATION, rail=Rail.SANDBOX, currency="MYR", details={}
    )
    await world.commerce.submit(account)
    world.clock.time = APRIL
    await cleared(world, 1, 10_000)
    await request(world, "pyt_1", 5_000)
    await request(world, "pyt_2")
    await world.refund(1, line=1, amount="100.00")
    await cleared(world, 2, 20_000)
    assert await available(world) == 8_500
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    return int(head)


async def available(world: World) -> int:
    rows = await world.rows(
        "SELECT amount FROM colink.balances WHERE account = %s", f"payee:{ORGANIZATION}:available"
    )
    return int(rows[0][0])


async def test_a_payout_of_more_than_was_available(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await a_debt(world)
    monkeypatch.setattr(payouts, "plan_payout", forgetful)
    await request(world, "pyt_3")
    assert await available(world) == -8_500
    overdrawn = {(Pass.PAYOUTS, Kind.OVERDRAWN, before + 2)}  # behind the request
    report = await verified(world)
    assert found(report) == overdrawn
    [finding] = report.findings
    assert (finding.subject, finding.recorded) == ("pyt_3", "-8500")
    assert found(await verified(world, from_position=before + 1)) == overdrawn
    assert found(await verified(world, from_position=before + 3)) == set()
    await world.commerce.submit(CancelPayout(caller=CALLER, payout_id="pyt_3"))
    assert found(await verified(world)) == overdrawn, "what was given back was reserved all the same"


async def test_payouts_of_all_that_is_there_are_right(world: World) -> None:
    await a_debt(world)
    await request(world, "pyt_3", 8_499)
    await request(world, "pyt_4")
    await world.refund(2, line=1, amount="200.00")  # after the reservation it may go below zero
    assert await available(world) == -17_000
    assert found(await verified(world)) == set()
