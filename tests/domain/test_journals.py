"""A journal is balanced in every currency by itself, or it is refused; whoever makes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.ledger import Posting, Purpose, UnbalancedJournal, check_postings_balance

CURRENCIES = ("MYR", "USD")
ACCOUNTS = ("store:sto_1:clearing", "platform:revenue", "payee:crt_1:pending")


def postings(*legs: tuple[int, str]) -> list[Posting]:
    return [
        Posting(account=ACCOUNTS[number % 3], amount=amount, currency=currency, purpose=Purpose.CASH)
        for number, (amount, currency) in enumerate(legs)
    ]


@pytest.mark.parametrize(
    "legs",
    [
        [(-100, "MYR"), (99, "MYR")],
        [(-100, "MYR"), (101, "MYR")],
        [(-100, "MYR"), (100, "USD")],
        [(-100, "MYR"), (100, "MYR"), (7, "USD")],
        [(0, "MYR")],
        [],
    ],
)
def test_a_journal_that_does_not_sum_to_zero_is_refused(legs: list[tuple[int, str]]) -> None:
    with pytest.raises(UnbalancedJournal):
        check_postings_balance(postings(*legs))


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.sampled_from(CURRENCIES)), min_size=1, max_size=8))
def test_what_is_completed_to_zero_is_taken_and_a_unit_beside_it_is_not(legs: list[tuple[int, str]]) -> None:
    missing = {currency: -sum(amount for amount, each in legs if each == currency) for currency in CURRENCIES}
    whole = legs + [(amount, currency) for currency, amount in missing.items()]
    check_postings_balance(postings(*whole))
    for currency in CURRENCIES:
        with pytest.raises(UnbalancedJournal):
            check_postings_balance(postings(*whole, (1, currency)))
