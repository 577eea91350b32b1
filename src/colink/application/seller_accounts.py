"""The accounts of sellers that a command writes: read, opened or brought up to date, and booked on.

Every command that posts to a seller's receivable, but for those of orders, writes the seller's account in the same
append. It goes on from the account's document, whose version the append checks, so its events are not read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from colink.application.ports import Decision, Facts, MoreNeeded, Needs, Request
from colink.domain.aggregates import Event
from colink.domain.ledger import JournalPosted
from colink.domain.money import Money
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.seller_accounts import SellerAccount, beside_orders, seller_account_id


def needs_of_accounts(places: Iterable[tuple[str, str]]) -> Needs:
    """What has to be read to write the accounts of these organisations and currencies."""
    ids = tuple(seller_account_id(*place) for place in places)
    return Needs(begins=ids, documents=tuple((SellerAccountDetails, id_) for id_ in ids))


def shown_account(account: SellerAccountDetails) -> dict[str, Any]:
    """An account as the API shows it, amounts as money."""
    return {
        "id": account.id,
        "organization_id": account.organization_id,
        "credit": Money(account.credit, account.currency),
        "held": Money(account.held, account.currency),
        "returned": Money(account.returned, account.currency),
        "invoiced_to": account.invoiced_to,
    }


class SellerAccounts:
    """Those that one command writes, each once."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._accounts: dict[str, SellerAccount] = {}

    def account(self, organization_id: str, currency: str) -> SellerAccount:
        """One that has all that was posted to its receivable. Raises MoreNeeded for what was not read."""
        id_ = seller_account_id(organization_id, currency)
        account = self._accounts.get(id_)
        if account is None:
            account = self._accounts[id_] = self._read(organization_id, currency)
        return account

    def _read(self, organization_id: str, currency: str) -> SellerAccount:
        facts, place = self._facts, (organization_id, currency)
        needs = needs_of_accounts([place])
        if not set(needs.begins) <= set(facts.needs.begins):
            raise MoreNeeded(needs)
        found = facts.versioned(SellerAccountDetails, seller_account_id(*place))
        if found is not None and found[0].since is not None:
            return SellerAccount.standing(found[0], version=found[1], at=facts.now)
        if place not in facts.needs.charges_of:
            raise MoreNeeded(Needs(charges_of=(place,)))
        charges = facts.charges(*place)
        if found is not None:
            account = SellerAccount.standing(found[0], version=found[1], at=facts.now)
        elif charges.entries:
            account = SellerAccount.open(*place, since=None, at=facts.now)
        else:
            return SellerAccount.open(*place, since=0, at=facts.now)
        account.adopt(charges.amount, position=charges.position, at=facts.now)
        return account

    def book(self, journals: Iterable[Event]) -> None:
        """Take over what journals, which are no orders' own and no payments, post to receivables of sellers."""
        for journal in journals:
            if not isinstance(journal, JournalPosted):
                continue
            for place, amount in beside_orders(journal.postings).items():
                self.account(*place).book(
                    amount,
                    journal_id=journal.originator_id,
                    cause_id=journal.cause_id or journal.originator_id,
                    at=self._facts.now,
                )

    def takes_back(self, organization_id: str, currency: str) -> bool:
        """Whether settlements are to be taken back since something was written on this account."""
        account = self._accounts.get(seller_account_id(organization_id, currency))
        return account is not None and account.details.returned > 0

    def new_events(self) -> list[Event]:
        return [event for account in self._accounts.values() for event in account.new_events()]


@dataclass(frozen=True, kw_only=True)
class AdoptCharges(Request):
    """Bring an account of before up to date: what was posted to its receivable beside payments is its credit. Done
    before: nothing."""

    organization_id: str
    currency: str

    def needs(self) -> Needs:
        return needs_of_accounts([(self.organization_id, self.currency)])

    def decide(self, facts: Facts) -> Decision:
        accounts = SellerAccounts(facts)
        answer: dict[str, Any] = {"account_id": accounts.account(self.organization_id, self.currency).id}
        return Decision(answer=answer, events=accounts.new_events(), organization_id=self.organization_id)
