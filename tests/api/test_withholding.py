"""Tax is withheld from a seller's payouts where it is switched on: the payee gets the rest, the authority is owed the
tax until finance pays it, and whatever ends a payout badly gives the tax back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.sale import Sale, finish_payout, myr, pay_by, request_payout
from tests.api.test_books import balance, booked, findings

from colink.domain.payouts import ProviderOutcome

pytestmark = pytest.mark.anyio
WITHHELD = "tax:lhdn:withheld"


async def switch(sale: Sale, **changes: Any) -> Any:
    body = {"currency": "MYR", "authority": "lhdn", "rate_bps": 1_000} | changes
    return await sale.shop.post(f"/v1/organizations/{sale.organization['id']}/withholding", body)


async def cleared(sale: Sale) -> int:
    """What the seller has available."""
    await sale.shop.hold_ends(sale.order_id)
    return await balance(sale.shop, f"payee:{sale.organization['id']}:available")


async def test_the_payee_gets_the_rest_and_the_tax_is_owed_until_it_is_paid(sale: Sale) -> None:
    shop, seller = sale.shop, sale.organization["id"]
    await pay_by(shop, ProviderOutcome.PAID)
    switched = await switch(sale, threshold=myr(100))
    assert (switched["version"], switched["threshold"]) == (1, myr(100))
    gross = await cleared(sale)
    assert gross == 12_895
    tax = 1_290  # 1289.5, half to even
    requested = await request_payout(sale, sale.organization)
    assert (requested["amount"], requested["tax"], requested["net"]) == (myr(gross), myr(0), myr(gross))
    again = await switch(sale, rate_bps=1_000, threshold=myr(100))
    assert again == switched, "nothing changed: still version 1"
    await finish_payout(sale, requested)
    payout = await shop.get(f"/v1/payouts/{requested['id']}")
    assert (payout["amount"], payout["tax"], payout["net"]) == (myr(gross), myr(tax), myr(gross - tax))
    assert await balance(shop, WITHHELD) == tax
    assert await balance(shop, "processor:sandbox:cash") == gross - tax
    assert await balance(shop, f"payee:{seller}:in_transit") == 0
    await booked(shop, "/v1/tax-remittances", {"authority": "lhdn", "processor": "bank", "amount": myr(tax)})
    assert (await balance(shop, WITHHELD), await balance(shop, "processor:bank:cash")) == (0, tax)
    maker, checker = await shop.key("finance"), await shop.key("finance")
    again = {"authority": "lhdn", "processor": "bank", "amount": myr(1), "reason": "twice"}
    proposed = await shop.post("/v1/tax-remittances", again, key=maker)
    await shop.refused("POST", f"/v1/journals/{proposed['id']}/approve", status=409, key=checker)
    for misspelt in ({"authority": "LHDN"}, {"processor": "my bank"}):
        await shop.refused("POST", "/v1/tax-remittances", again | misspelt, status=422, key=maker)
    assert await findings(shop) == []


@pytest.mark.parametrize("outcome", [ProviderOutcome.FAILED, ProviderOutcome.RETURNED])
async def test_a_payout_that_fails_or_comes_back_gives_the_tax_back(sale: Sale, outcome: ProviderOutcome) -> None:
    shop, seller = sale.shop, sale.organization["id"]
    await pay_by(shop, outcome)
    await switch(sale)
    gross = await cleared(sale)
    requested = await request_payout(sale, sale.organization)
    finance = await shop.key("finance")
    await shop.post(f"/v1/payouts/{requested['id']}/approve", key=finance, status=200)
    await shop.colink.payout_desk().run()
    payout = await shop.get(f"/v1/payouts/{requested['id']}")
    assert payout["status"] == outcome.value
    assert await balance(shop, f"payee:{seller}:available") == gross
    for account in (WITHHELD, "processor:sandbox:cash", f"payee:{seller}:in_transit"):
        assert await balance(shop, account) == 0
    kinds = [each["kind"] for each in (await shop.get("/v1/ledger/entries", account=WITHHELD))["items"]]
    assert kinds == ["tax_withheld", f"payout_{'released' if outcome is ProviderOutcome.FAILED else 'returned'}"]
    assert await findings(shop) == []


async def test_what_is_cancelled_before_it_is_handed_in_never_owed_tax(sale: Sale) -> None:
    shop = sale.shop
    await switch(sale)
    gross = await cleared(sale)
    requested = await request_payout(sale, sale.organization)
    finance = await shop.key("finance")
    approved = await shop.post(f"/v1/payouts/{requested['id']}/approve", key=finance, status=200)
    assert approved["tax"]["amount"] > 0
    await switch(sale, rate_bps=0)
    await shop.post(f"/v1/payouts/{requested['id']}/cancel", key=finance, status=200)
    assert await balance(shop, f"payee:{sale.organization['id']}:available") == gross
    assert (await shop.get("/v1/ledger/entries", account=WITHHELD))["items"] == []
    again = await shop.post("/v1/payouts", {"payee_id": sale.organization["id"], "currency": "MYR"})
    untaxed = await shop.post(f"/v1/payouts/{again['id']}/approve", key=finance, status=200)
    assert (untaxed["tax"], untaxed["net"]) == (myr(0), myr(gross))
    assert await findings(shop) == []


async def test_a_payout_below_the_threshold_is_not_taxed_and_only_operators_switch(sale: Sale) -> None:
    shop = sale.shop
    await switch(sale, threshold=myr(10**9))
    await cleared(sale)
    requested = await request_payout(sale, sale.organization)
    finance = await shop.key("finance")
    approved = await shop.post(f"/v1/payouts/{requested['id']}/approve", key=finance, status=200)
    assert approved["tax"] == myr(0)
    body = {"currency": "MYR", "authority": "lhdn", "rate_bps": 0}
    path = f"/v1/organizations/{sale.organization['id']}/withholding"
    seller = await shop.key("seller", organization_id=sale.organization["id"])
    await shop.refused("POST", path, body, status=403, key=seller)
    for wrong in ({"rate_bps": 5_001}, {"rate_bps": -1}, {"authority": "Inland Revenue"}):
        await shop.refused("POST", path, body | wrong, status=422)
