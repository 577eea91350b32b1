"""What other people's tools say of an export: hledger and bean-check read it, check it by their own rules, and their
balances are ours. Works on any database, so that whatever fills one can ask for it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

from beancount import loader
from beancount.core import realization
from psycopg import AsyncConnection

from colink.domain.money import currency_exponent
from colink.projections.balances_in_time import list_balances
from colink.projections.engine import Connection
from colink.projections.exports import ExportFormat, export
from colink.projections.exports.account_names import from_beancount, from_hledger

Balances = dict[tuple[str, str], int]
"""By account and currency, in minor units, credit above zero; without those that are zero."""
BEAN_CHECK = Path(sys.executable).with_name("bean-check")


async def check_exports(
    dsn: str, folder: Path, *, from_position: int = 1, to_position: int | None = None
) -> Balances:
    """hledger's strict check and bean-check pass on the books of a range, and both tools' balances are ours, to the
    minor unit and in every currency: those that are returned."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        ours = await balances(conn, at_position=to_position)
        for form, theirs in ((ExportFormat.HLEDGER, of_hledger), (ExportFormat.BEANCOUNT, of_beancount)):
            path = folder / f"book.{form}"
            await write(conn, form, path, from_position=from_position, to_position=to_position)
            assert theirs(path) == ours, form
    return ours


async def write(conn: Connection, form: ExportFormat, path: Path, **asked: object) -> None:
    with path.open("wb") as file:
        async for piece in export(conn, form, **asked):  # type: ignore[arg-type]  # as the caller asked
            file.write(piece)


async def balances(conn: Connection, *, at_position: int | None) -> Balances:
    found = await list_balances(conn, at_position=at_position)
    return {(each.account, each.currency): each.amount for each in found if each.amount}


def of_hledger(path: Path) -> Balances:
    """After `hledger check --strict`, and whatever else it checks that we promise."""
    run("hledger", "-f", str(path), "check", "--strict")
    table = run("hledger", "-f", str(path), "balance", "--flat", "--no-total", "-O", "csv", "--layout", "bare")
    rows = csv.DictReader(io.StringIO(table))
    return {
        (from_hledger(row["account"]), row["commodity"]): minor_units(row["balance"], row["commodity"])
        for row in rows
        if row["commodity"] and minor_units(row["balance"], row["commodity"])
    }


def of_beancount(path: Path) -> Balances:
    """After `bean-check`."""
    run(str(BEAN_CHECK), "--no-cache", str(path))
    entries, errors, _ = loader.load_file(str(path))
    assert errors == []
    found: Balances = {}
    for account in realization.iter_children(realization.realize(entries)):
        for position in account.balance:
            amount = minor_units(str(position.units.number), position.units.currency)
            if amount:
                found[from_beancount(account.account), position.units.currency] = amount
    return found


def minor_units(text: str, currency: str) -> int:
    """Of a number of theirs, where debits are above zero, as ours. Every decimal must be there."""
    whole, _, decimals = text.partition(".")
    exponent = currency_exponent(currency)
    assert len(decimals) <= exponent or set(decimals[exponent:]) == {"0"}, text
    return -int(whole + decimals[:exponent].ljust(exponent, "0"))


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[:2_000]}{done.stderr[:4_000]}"
    return done.stdout
