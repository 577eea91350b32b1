"""The ledger as a journal that hledger or beancount reads, and checks by its own rules.

Each journal is a transaction on the day (UTC) it was effective, with its id, position, kind, cause, exact times and
order beside it. Accounts and commodities are declared first, so that the strict checks hold; a book that begins
behind the start of the log opens with the balances before it; the last lines assert every balance as we keep it.

Both tools count debits above zero, as accountants do, and we count credits (semantics section 6): every amount
changes its sign on the way out.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

from colink.domain.money import currency_exponent, decimal_text
from colink.projections.engine import Connection
from colink.projections.exports.account_names import beancount_name, hledger_name
from colink.projections.exports.journal import Extract, Recorded, journals

_JOURNALS_A_PIECE = 200
_ENDS_A_TAG = re.compile(r"[%,;)\x00-\x1f\x7f-\x9f\u2028\u2029]")


def amount_text(amount: int, currency: str) -> str:
    """Debits above zero, with the decimals of the currency: `-12.34 MYR`."""
    return f"{decimal_text(-amount, currency)} {currency}"


async def hledger(conn: Connection, extract: Extract) -> AsyncIterator[bytes]:
    """For `hledger check --strict`."""
    yield _text(_hledger_head(extract))
    async for some in _pieces(conn, extract):
        yield _text(line for recorded in some for line in _hledger_journal(recorded))
    yield _text(_hledger_assertions(extract))


def _hledger_head(extract: Extract) -> Iterator[str]:
    yield f"; CoLink ledger, log positions {extract.first} to {extract.last}; debits above zero"
    for currency in extract.currencies:
        yield f"commodity {_sample(currency)} {currency}"
    for account in extract.accounts:
        yield f"account {hledger_name(account)}"
    yield ""
    if extract.opening:
        yield f"{extract.since} (opening) balances at position {extract.first - 1}"
        for balance in extract.opening:
            yield f"    {hledger_name(balance.account)}  {amount_text(balance.amount, balance.currency)}"
        yield ""


@cache
def _sample(currency: str) -> str:
    """How an amount of a currency is shown. hledger wants a decimal mark even where nothing follows it."""
    return f"1000.{'0' * currency_exponent(currency)}"


def _hledger_journal(recorded: Recorded) -> Iterator[str]:
    journal = recorded.journal
    yield f"{_day(journal.effective_at)} ({_tag(recorded.journal_id)}) {journal.kind}"
    yield f"    ; {', '.join(f'{name}:{_tag(value)}' for name, value in _details(recorded))}"
    for posting in journal.postings:
        line = f", line:{_tag(posting.line_id)}" if posting.line_id is not None else ""
        yield (
            f"    {hledger_name(posting.account)}  {amount_text(posting.amount, posting.currency)}"
            f"  ; purpose:{posting.purpose}{line}"
        )
    yield ""


def _hledger_assertions(extract: Extract) -> Iterator[str]:
    if not extract.closing:
        return
    yield f"{extract.until} (closing) balances at position {extract.last}"
    for balance in extract.closing:
        nothing, amount = (amount_text(each, balance.currency) for each in (0, balance.amount))
        yield f"    {hledger_name(balance.account)}  {nothing} = {amount}"
    yield ""


def _tag(value: str) -> str:
    """What would end a tag or a code, as in URLs."""
    return _ENDS_A_TAG.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), value)


async def beancount(conn: Connection, extract: Extract) -> AsyncIterator[bytes]:
    """For `bean-check`."""
    yield _text(_beancount_head(extract))
    async for some in _pieces(conn, extract):
        yield _text(line for recorded in some for line in _beancount_journal(recorded))
    yield _text(_beancount_assertions(extract))


def _beancount_head(extract: Extract) -> Iterator[str]:
    yield f"; CoLink ledger, log positions {extract.first} to {extract.last}; debits above zero"
    for currency in extract.currencies:
        yield f'option "inferred_tolerance_default" "{currency}:0"'
    for currency in extract.currencies:
        yield f"{extract.since} commodity {currency}"
        yield f"  precision: {currency_exponent(currency)}"
    for account in extract.accounts:
        yield f"{extract.since} open {beancount_name(account)}"
        yield f"  account: {_quoted(account)}"
    yield ""
    if extract.opening:
        yield f'{extract.since} * "opening" "balances at position {extract.first - 1}"'
        for balance in extract.opening:
            yield f"  {beancount_name(balance.account)}  {amount_text(balance.amount, balance.currency)}"
        yield ""


def _beancount_journal(recorded: Recorded) -> Iterator[str]:
    journal = recorded.journal
    yield f"{_day(journal.effective_at)} * {_quoted(journal.kind)} {_quoted(recorded.journal_id)}"
    yield f"  code: {_quoted(recorded.journal_id)}"
    for name, value in _details(recorded):
        yield f"  {name}: {_quoted(value)}"
    for posting in journal.postings:
        yield f"  {beancount_name(posting.account)}  {amount_text(posting.amount, posting.currency)}"
        yield f"    purpose: {_quoted(posting.purpose)}"
        if posting.line_id is not None:
            yield f"    line: {_quoted(posting.line_id)}"
    yield ""


def _beancount_assertions(extract: Extract) -> Iterator[str]:
    """At the beginning of the day after the last: beancount asserts before the transactions of a day."""
    day = extract.until + timedelta(days=1)
    for balance in extract.closing:
        number, currency = amount_text(balance.amount, balance.currency).split()
        yield f"{day} balance {beancount_name(balance.account)}  {number} ~ 0 {currency}"


def _quoted(text: str) -> str:
    inside = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inside}"'


async def _pieces(conn: Connection, extract: Extract) -> AsyncIterator[list[Recorded]]:
    some: list[Recorded] = []
    async for recorded in journals(conn, extract):
        some.append(recorded)
        if len(some) == _JOURNALS_A_PIECE:
            yield some
            some = []
    yield some


def _details(recorded: Recorded) -> Iterator[tuple[str, str]]:
    """What stands beside a transaction, by name."""
    journal = recorded.journal
    yield "position", str(recorded.position)
    yield "kind", journal.kind
    yield "effective", _moment(journal.effective_at)
    yield "recorded", _moment(recorded.recorded_at)
    optional = {
        "order": journal.order_id,
        "payout": journal.payout_id,
        "cause": journal.cause_id or journal.order_id or journal.payout_id,
        "organization": journal.organization_id,
        "occurred": _moment(journal.occurred_at) if journal.occurred_at is not None else None,
        "corrects": journal.corrects,
        "reason": journal.reason,
    }
    for name, value in optional.items():
        if value is not None:
            yield name, value


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
