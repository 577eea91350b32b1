"""hledger and beancount, which know nothing of us, find our exports in order and our balances in them. Of twenty
simulated businesses, too: tests/simulation/test_other_tools.py."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import FreshDatabase
from tests.projections.exports.other_tools import check_exports, of_beancount, of_hledger, write
from tests.projections.world import AINA, BUDI, CALLER, ORGANIZATION, World, open_world
from tests.scenarios.stories import renamed, story

from colink.application.clear_order import ClearOrder
from colink.application.payouts import RegisterPayoutAccount, RequestPayout
from colink.application.record_order import RecordOrder
from colink.domain import ledger
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose
from colink.domain.payout_accounts import Rail
from colink.projections.exports import ExportFormat
from colink.projections.exports.account_names import (
    beancount_name,
    from_beancount,
    from_hledger,
    hledger_name,
)
from colink.projections.exports.books import amount_text

pytestmark = pytest.mark.anyio

BUSINESSES = 4  # for what simulated ones do not have: names that are hard, other platforms' stories, far amounts


async def do_business(world: World, seed: int) -> None:
    """Orders of random stories and in three currencies, cleared, paid out in part; and journals by hand under names
    that no other tool would take as they are."""
    random = Random(seed)
    for number in range(random.randint(2, 5)):
        code = random.choice([AINA, BUDI]).removeprefix("cre_").upper()
        for news in story(seed * 100 + number, code=code).deliveries:
            await world.commerce.submit(
                RecordOrder(caller=CALLER, store=world.store, news=renamed(news, str(1_000 + number)))
            )
    placed_at = world.clock.time - timedelta(days=40)
    for number, currency in enumerate(("JPY", "KWD", "MYR"), start=1):
        creator = random.choice([AINA, BUDI])
        lines = [random.randint(1, 90_000) for _ in range(random.randint(1, 3))]
        order_id = await world.order(number, *lines, creator=creator, placed_at=placed_at, currency=currency)
        await world.commerce.submit(ClearOrder(caller=CALLER, order_id=order_id))
        for payee in random.sample([creator, ORGANIZATION], random.randint(0, 2)):
            account = {"payee_id": payee, "rail": Rail.SANDBOX, "currency": currency, "details": {}}
            await world.commerce.submit(RegisterPayoutAccount(caller=CALLER, **account))  # type: ignore[arg-type]  # by name
            await world.commerce.submit(
                RequestPayout(caller=CALLER, payout_id=f"pyt_{payee}{currency}", payee_id=payee, currency=currency)
            )
    amount = random.randint(1, 10**12)
    by_hand = Journal.post(
        journal_id=f"jrn_{seed}(by) hand, of: 100%;",
        kind=JournalKind.WRITE_OFF,
        effective_at=world.clock.time,
        postings=(
            Posting(account=ledger.PLATFORM_LOSS, amount=-amount, currency="KWD", purpose=Purpose.WRITE_OFF),
            Posting(
                account=ledger.payee_available("cré/X-2F \u00e4 ü"),
                amount=amount,
                currency="KWD",
                purpose=Purpose.WRITE_OFF,
                line_id='l"1", x:y',
            ),
        ),
        at=world.clock.time,
        reason='said "so";\nor not, tag:value \\ ) \u2028 end',
    )
    await world.record(*by_hand.new_events())


@pytest.mark.parametrize("seed", range(BUSINESSES))
async def test_other_tools_agree(
    anyio_backend: str, fresh_database: FreshDatabase, tmp_path: Path, seed: int
) -> None:
    with fresh_database() as database:
        async with open_world(database) as world:
            await do_business(world, seed)
            [(head,)] = await world.rows("SELECT position FROM colink.log_head")
        await check_exports(database.app_dsn, tmp_path)
        cut = Random(seed).randint(2, head)
        await check_exports(database.app_dsn, tmp_path, from_position=cut)
        await check_exports(database.app_dsn, tmp_path, to_position=cut)


async def test_a_log_without_journals(world: World, tmp_path: Path) -> None:
    await check_exports(world.database.app_dsn, tmp_path)


async def test_a_wrong_balance_of_ours_does_not_pass(world: World, tmp_path: Path) -> None:
    """The journals are read from the log and the assertions from the balances we keep: a tool finds them at odds."""
    await do_business(world, 1)
    world.tamper("UPDATE colink.entries SET amount = amount + 1 WHERE account = 'platform:revenue'")
    async with world.pool.connection() as conn:
        for form in (ExportFormat.HLEDGER, ExportFormat.BEANCOUNT):
            await write(conn, form, tmp_path / form)
    with pytest.raises(AssertionError, match="balance assertion"):
        of_hledger(tmp_path / "hledger")
    with pytest.raises(AssertionError, match="Balance failed"):
        of_beancount(tmp_path / "beancount")


IDS = st.text(min_size=1).filter(lambda text: "\x00" not in text and text.isprintable())


@given(IDS)
def test_names_come_back(id_: str) -> None:
    account = ledger.payee_pending(id_)
    assert from_hledger(hledger_name(account)) == account
    assert from_beancount(beancount_name(account)) == account


@given(st.lists(IDS, min_size=2, max_size=2, unique=True))
def test_no_two_accounts_have_one_name(ids: list[str]) -> None:
    one, other = map(ledger.payee_pending, ids)
    assert hledger_name(one) != hledger_name(other)
    assert beancount_name(one) != beancount_name(other)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1_234, "MYR", "-12.34 MYR"),
        (-5, "MYR", "0.05 MYR"),
        (0, "MYR", "0.00 MYR"),
        (-1_500, "JPY", "1500 JPY"),
        (1, "KWD", "-0.001 KWD"),
        (10**30, "KWD", f"-1{'0' * 27}.000 KWD"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(amount: int, currency: str, text: str) -> None:
    assert amount_text(amount, currency) == text
