"""The chart of accounts: every account of semantics section 6 has its line, nothing else may be posted to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from colink.domain import ledger
from colink.domain.accounts import CHART, AccountType, NormalSide, account_kind
from colink.domain.errors import InvalidInput
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMED = {
    ledger.store_clearing("sto_1"): (AccountType.ASSET, NormalSide.DEBIT, True),
    ledger.seller_receivable("org_1"): (AccountType.ASSET, NormalSide.DEBIT, True),
    ledger.processor_cash("sandbox"): (AccountType.ASSET, NormalSide.DEBIT, True),
    ledger.fx_liquidity("MYR"): (AccountType.ASSET, NormalSide.EITHER, True),
    ledger.processor_fees("shopify"): (AccountType.LIABILITY, NormalSide.CREDIT, True),
    ledger.payee_pending("cre_1"): (AccountType.LIABILITY, NormalSide.CREDIT, False),
    ledger.payee_available("cre_1"): (AccountType.LIABILITY, NormalSide.CREDIT, True),
    ledger.payee_in_transit("cre_1"): (AccountType.LIABILITY, NormalSide.CREDIT, False),
    ledger.tax_withheld("lhdn"): (AccountType.LIABILITY, NormalSide.CREDIT, True),
    ledger.PLATFORM_REVENUE: (AccountType.INCOME, NormalSide.CREDIT, True),
    ledger.PLATFORM_EXPENSE: (AccountType.EXPENSE, NormalSide.DEBIT, False),
    ledger.PLATFORM_LOSS: (AccountType.EXPENSE, NormalSide.DEBIT, False),
}


def test_every_account_of_the_ledger_is_in_the_chart_and_nothing_is_there_twice() -> None:
    kinds = {name: account_kind(name) for name in NAMED}
    assert {name: (kind.type, kind.normal_side, kind.may_go_negative) for name, kind in kinds.items()} == NAMED
    assert {account_kind(name).pattern for name in NAMED} == {kind.pattern for kind in CHART}
    assert len(CHART) == len(NAMED)


@pytest.mark.parametrize(
    "name",
    [
        "platform",
        "platform:",
        "platform::revenue",
        "platform:x:revenue",
        "payee:available",
        "payee::available",
        "payee:cre_1:savings",
        "fx:myr:liquidity",
        "fx:MYRX:liquidity",
        "bank:x:cash",
        "revenue",
        "tax:withheld",
    ],
)
def test_a_name_outside_the_chart_is_refused_by_the_journal_that_posts_to_it(name: str) -> None:
    postings = [
        Posting(account=account, amount=amount, currency="MYR", purpose=Purpose.MANUAL)
        for account, amount in ((name, 5), ("platform:revenue", -5))
    ]
    with pytest.raises(InvalidInput, match="no account of the chart") as refused:
        Journal.post(journal_id="jrn_1", kind=JournalKind.MANUAL, effective_at=NOON, postings=postings, at=NOON)
    assert refused.value.field == "account"


@pytest.mark.parametrize(
    ("account", "amount", "shown", "refused"),
    [
        ("platform:loss", -5, 5, False),
        ("platform:loss", 5, -5, True),
        ("payee:cre_1:in_transit", 0, 0, False),
        ("payee:cre_1:in_transit", -1, -1, True),
        ("payee:cre_1:available", -1, -1, False),
        ("store:sto_1:clearing", 7, -7, False),
        ("fx:JPY:liquidity", -7, -7, False),
    ],
)
def test_a_balance_is_shown_on_its_normal_side_and_refused_below_zero_where_it_may_not_go(
    account: str, amount: int, shown: int, refused: bool
) -> None:
    kind = account_kind(account)
    assert (kind.shown(amount), kind.refuses(amount)) == (shown, refused)
