"""What finance and the worker do with the money of the business: clearing, payouts, tax, settlements, the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from tests.api.sale import CertainRail, myr
from tests.api.test_books import legs
from tests.tampering.business import DAY, Business

from colink.application.payout_rails import PayoutInstruction
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome, ProviderReport

FEE = 25
AUTHORITY = "lhdn"


class HesitantRail:
    """A provider that says one thing after the other, at last the same for ever; for paying it charges a fee."""

    def __init__(self, reports: Sequence[tuple[ProviderOutcome, bool]]) -> None:
        """`reports`: outcomes, and whether a failure is a passing one."""
        self._left = list(reports)
        self._known: dict[str, PayoutInstruction] = {}

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        self._known[instruction.reference] = instruction
        return self._say(instruction)

    async def find(self, reference: str) -> ProviderReport | None:
        return self._say(self._known[reference]) if reference in self._known else None

    def callback_reference(self, headers: Mapping[str, str], body: bytes) -> str | None:
        return None

    def _say(self, instruction: PayoutInstruction) -> ProviderReport:
        outcome, passing = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        return ProviderReport(
            reference=instruction.reference,
            outcome=outcome,
            amount=instruction.amount,
            currency=instruction.currency,
            provider_id=f"po_{instruction.reference}",
            failure_code="busy" if outcome is ProviderOutcome.FAILED else None,
            passing=passing,
            fee=FEE if outcome is ProviderOutcome.PAID else 0,
        )


async def clear(business: Business) -> None:
    shop = business.shop
    shop.clock.time += 22 * DAY
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(
            "select order_id from colink.orders where clears_at <= %s order by 1", [shop.clock.time]
        )
        orders = [str(order_id) for (order_id,) in await cursor.fetchall()]
    for order_id in orders:
        await shop.hold_ends(order_id, after=timedelta(seconds=1))


async def pay_out(business: Business) -> None:
    """One payout for every way it may end, and one that is under way."""
    shop, first = business.shop, business.creators[0]
    for number, (outcome, creator) in enumerate(
        (outcome, creator)
        for outcome in (ProviderOutcome.PAID, ProviderOutcome.RETURNED, ProviderOutcome.FAILED)
        for creator in business.creators
    ):
        shop.colink.rails[Rail.SANDBOX] = CertainRail(outcome)
        payout = await business.request(creator, 100 + number)
        await business.step(payout, "approve")
        await shop.colink.payout_desk().advance()
    held = await business.request(first, 110)
    await business.step(held, "hold", reason="who is this")
    await business.step(held, "release")
    await business.step(held, "reject", reason="nobody")
    cancelled = await business.request(first, 120)
    await business.step(cancelled, "cancel")
    await business.request(first, 130)


async def pay_out_with_tax(business: Business) -> None:
    """The seller's payout, taxed: tried twice, under way, paid for a fee. The tax is remitted, but for a part."""
    shop = business.shop
    switch = {"currency": "MYR", "authority": AUTHORITY, "rate_bps": 1_000, "threshold": myr(1_000)}
    for rate in (900, 1_000):
        path = f"/v1/organizations/{business.organization['id']}/withholding"
        await shop.post(path, switch | {"rate_bps": rate})
    shop.colink.rails[Rail.SANDBOX] = HesitantRail(
        [
            (ProviderOutcome.FAILED, True),
            (ProviderOutcome.FAILED, True),  # asked once more before it is tried again
            (ProviderOutcome.PENDING, False),
            (ProviderOutcome.PAID, False),
        ]
    )
    payout = await business.request(business.organization, 4_000)
    await business.step(payout, "approve")
    for _ in range(3):
        await shop.colink.payout_desk().advance()
    assert (await shop.get(f"/v1/payouts/{payout['id']}"))["status"] == "paid"
    remittance = {"authority": AUTHORITY, "processor": "bank", "amount": myr(350)}
    await business.approve(await business.propose("/v1/tax-remittances", **remittance))


async def settle(business: Business) -> None:
    """What the platform settled to us of the store, with the fees of an order that is there and of one to come."""
    fees = [
        {"order_external_id": "1", "amount": 333},
        {"order_external_id": "21", "kind": "dispute", "amount": 1_500},
        {"order_external_id": "40", "amount": 77},
    ]
    settlement = {
        "store_id": business.store["id"],
        "reference": "po_1",
        "currency": "MYR",
        "gross": 20_000,
        "fee": 410,
        "settled_at": business.shop.clock.now().isoformat(),
        "fees": fees,
    }
    await business.shop.post("/v1/settlements", settlement, key=business.finance)
    await business.shop.order(business.store, order_id=40, items=[])


async def keep_books(business: Business) -> None:
    """By hand: a gift that makes up for a debt in part, the rest written off, a conversion taken back, a proposal
    that was refused and one that waits. Then the first month is closed, and something is told late."""
    aina, budi = (f"payee:{creator['id']}:available" for creator in business.creators)
    owed = legs((budi, -90_000), ("platform:revenue", 90_000))
    await business.approve(await business.propose("/v1/journals", postings=owed))
    await business.approve(await business.propose("/v1/write-offs", account=budi, amount=myr(1_000)))
    gift = legs(("platform:expense", -100_000), (budi, 100_000))
    await business.approve(await business.propose("/v1/journals", postings=gift))
    given = await business.propose("/v1/journals", postings=legs(("platform:expense", -9_000), (aina, 9_000)))
    await business.approve(given)
    rate = {"rate": "0.3012", "source": "BNM", "rated_at": business.shop.clock.now().isoformat()}
    conversion = {"payee_id": business.creators[0]["id"], "amount": myr(5_000), "into": "SGD"} | rate
    made = await business.approve(await business.propose("/v1/conversions", **conversion))
    await business.approve(await business.propose(f"/v1/conversions/{made['id']}/reverse"))
    refused = await business.propose("/v1/journals", postings=legs(("platform:expense", -1), (aina, 1)))
    rejection = {"reason": "what for"}
    await business.shop.post(f"/v1/journals/{refused['id']}/reject", rejection, key=business.checker, status=200)
    await business.propose("/v1/journals", postings=legs(("platform:expense", -2), (aina, 2)))


async def close_march(business: Business) -> None:
    """And a refund of March is told after it."""
    shop = business.shop
    await shop.post("/v1/ledger/periods/2026-02/close", {"reason": "signed"}, key=business.finance)
    await shop.post("/v1/ledger/periods/2026-03/close", {"reason": "signed"}, key=business.finance)
    late = shop.clock.now() - 40 * DAY
    await shop.refund(business.store, order_id=2, refund_id=20, amount_only="5.00", processed_at=late)
