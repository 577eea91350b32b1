"""Journals by hand in a simulated business: one person proposes, another approves or rejects, each of them wrongly at
times. Write-offs, conversions and what takes them back, tax paid to its authority, and journals of any postings.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from colink.application.book import (
    ApproveBooking,
    ProposeConversion,
    ProposeJournal,
    ProposeRemittance,
    ProposeReversal,
    ProposeWriteOff,
    RejectBooking,
)
from colink.application.ports import Caller, Command
from colink.domain.booking_journals import booking_journal_id
from colink.domain.bookings import BookedPosting, BookingDetails
from colink.domain.money import Money
from colink.projections.bookings import booking_by_id
from colink.simulation.business import Business
from colink.simulation.checks import Differs
from colink.simulation.stage import Stage

Facts = dict[str, Any]
Posting = tuple[str, str, int]
"""Account, currency, signed amount."""

_DAY = 86_400
_PEOPLE = ("key:finance", "key:controller", "key:operator")
_RATES = ("0.2934", "3.41", "33.1", "0.0000001")
_NO_ACCOUNTS = (
    "payee:nobody:available",
    "seller:nobody:receivable",
    "store:nobody:clearing",
    "processor:Sandbox:cash",
    "platform:profit",
    "fx:USD:liquidity",
    "cash",
)


class Bookings:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business

    async def act(self) -> None:
        """Somebody proposes something, or decides what was proposed."""
        random, model = self.stage.random, self.stage.books.bookings
        waiting = model.pending()
        decided = list(model.by_id.values()) if random.random() < 0.05 else []
        if waiting and random.random() < 0.55:
            await self._decide(random.choice(decided or waiting))
        else:
            await self._propose()

    async def _decide(self, booking: Facts) -> None:
        random, model, id_ = self.stage.random, self.stage.books.bookings, booking["id"]
        by = random.choice(_PEOPLE)
        known = await self._known(id_)
        shared: Facts = {
            "caller": Caller(actor=by, correlation_id="simulation"),
            "idempotency": self.stage.idempotency(),
            "known": known,
        }
        if random.random() < 0.2:
            refusals = set() if booking["status"] == "pending" else {"booking-decided"}
            what = f"{id_} rejected by {by}"
            if recorded := await self.stage.attempt(RejectBooking(**shared), what, refusals=refusals):
                model.reject(id_)
                self.stage.step(what, {}, recorded.position)
            return
        what, wrong = f"{booking['kind']} {id_} approved by {by}", model.wrong_with_approval(id_, by=by)
        if recorded := await self.stage.attempt(ApproveBooking(**shared), what, refusals=wrong):
            self.stage.step(what, model.approve(id_), recorded.position)

    async def _known(self, id_: str) -> BookingDetails:
        """Raises Differs."""
        async with self.stage.service.pool.connection() as connection:
            known = await booking_by_id(connection, id_)
        if known is None:
            msg = f"{id_} was proposed, and is not there"
            raise Differs(msg)
        return known

    async def _propose(self) -> None:
        random, model = self.stage.random, self.stage.books.bookings
        now = int(self.stage.clock.time.timestamp())
        proposals = [
            self._journal,
            self._journal,
            self._write_off,
            self._conversion,
            self._reversal,
            self._remittance,
        ]
        what = random.choice(proposals)()
        if what is None:
            return
        proposal = what | {
            "id": self.stage.world.ids("bkg"),
            "by": random.choice(_PEOPLE),
            "at": now - random.choices([0, _DAY, 30 * _DAY, -60], weights=[30, 5, 4, 1])[0],
            "organization": random.choice([None, *(each["id"] for each in self.business.organizations)]),
        }
        if random.random() < 0.02:
            proposal |= {"organization": "org_0"}
        command, wrong = await self._command(proposal), model.wrong_with(proposal, now=now)
        told = f"{proposal['kind']} {proposal['id']} proposed by {proposal['by']}"
        if recorded := await self.stage.attempt(command, told, refusals=wrong):
            model.propose(proposal)
            self.stage.step(told, {}, recorded.position)

    # What is proposed ---------------------------------------------------------------------------------------------

    def _journal(self) -> Facts:
        """Postings of any accounts; or what takes back, or half back, a journal that was approved."""
        random, model = self.stage.random, self.stage.books.bookings
        posted = [each for each in model.by_id.values() if each["kind"] == "journal" and each["status"] == "posted"]
        if posted and random.random() < 0.3:
            corrected = random.choice(posted)
            postings = [(account, currency, -amount) for account, currency, amount in corrected["postings"]]
            return {"kind": "journal", "postings": postings, "corrects": corrected["id"]}
        postings = []
        for currency in random.sample(self.business.currencies, random.choice([1, 1, len(self.business.currencies)])):
            amounts = [random.choice([1, -1, 40, random.randint(-9_000, 9_000)]) for _ in range(random.randint(1, 3))]
            amounts.append(-sum(amounts) + (1 if random.random() < 0.03 else 0))
            postings += [(self._account(currency), currency, amount) for amount in amounts]
        if random.random() < 0.05:
            postings[0] = (self._account_of_nobody(), *postings[0][1:])
        own = sorted(
            id_ for id_, each in model.by_id.items() if each["kind"] != "reversal"
        )  # named by what it reverses
        corrects = random.choice(own) if own and random.random() < 0.05 else None
        return {"kind": "journal", "postings": postings, "corrects": corrects}

    def _account(self, currency: str) -> str:
        random, business = self.stage.random, self.business
        payee, _ = random.choice(business.payees)
        return random.choice(
            [
                f"payee:{payee}:available",
                f"payee:{payee}:available",
                f"store:{random.choice(business.stores)['id']}:clearing",
                f"seller:{random.choice(business.organizations)['id']}:receivable",
                f"processor:{random.choice(['sandbox', 'shopify', 'bank'])}:{random.choice(['cash', 'fees'])}",
                f"tax:{random.choice(['lhdn', 'nta'])}:withheld",
                f"fx:{currency}:liquidity",
                "platform:revenue",
                "platform:expense",
                "platform:loss",
            ]
        )

    def _account_of_nobody(self) -> str:
        """One that nobody books to: another's business, or nobody's."""
        payee, _ = self.stage.random.choice(self.business.payees)
        flows = (f"payee:{payee}:pending", f"payee:{payee}:in_transit")
        return self.stage.random.choice([*flows, *_NO_ACCOUNTS])

    def _write_off(self) -> Facts | None:
        debts = [
            (account, currency, -amount)
            for (account, currency), amount in self.stage.books.balances.amounts.items()
            if amount < 0 and account.endswith((":available", ":receivable"))
        ]
        if not debts:
            return None
        account, currency, debt = self.stage.random.choice(sorted(debts))
        amount = self.stage.random.choice([debt, debt + 1, self.stage.random.randint(1, debt)])
        return {"kind": "write-off", "account": account, "currency": currency, "amount": amount}

    def _conversion(self) -> Facts | None:
        random, balances = self.stage.random, self.stage.books.balances
        rich = [each for each in self.business.payees if balances.available(*each) > 0]
        if not rich or len(self.business.currencies) < 2:
            return None
        payee, currency = random.choice(rich)
        available = balances.available(payee, currency)
        return {
            "kind": "conversion",
            "payee": payee,
            "currency": currency,
            "amount": random.choice([available + 1, random.randint(1, available), random.randint(1, available)]),
            "into": random.choice([each for each in self.business.currencies if each != currency]),
            "rate": random.choice(_RATES),
            "rated_at": int(self.stage.clock.time.timestamp()) - random.choice([0, 60, _DAY]),
        }

    def _reversal(self) -> Facts | None:
        known = list(self.stage.books.bookings.by_id.values())
        made = [each["id"] for each in known if each["kind"] == "conversion"]
        other = (
            [each["id"] for each in known if each["kind"] != "conversion"] if self.stage.random.random() < 0.1 else []
        )
        return {"kind": "reversal", "of": self.stage.random.choice(other or made)} if other or made else None

    def _remittance(self) -> Facts | None:
        withheld = [
            (account.split(":")[1], currency, amount)
            for (account, currency), amount in self.stage.books.balances.amounts.items()
            if amount > 0 and account.endswith(":withheld")
        ]
        if not withheld:
            return None
        authority, currency, amount = self.stage.random.choice(sorted(withheld))
        return {
            "kind": "remittance",
            "authority": authority,
            "processor": self.stage.random.choice(["sandbox", "bank"]),
            "currency": currency,
            "amount": self.stage.random.choice([amount, amount, amount + 1, self.stage.random.randint(1, amount)]),
        }

    async def _command(self, proposal: Facts) -> Command:
        shared: Facts = {
            "caller": Caller(actor=proposal["by"], correlation_id="simulation"),
            "idempotency": self.stage.idempotency(),
            "booking_id": proposal["id"],
            "reason": "agreed",
            "effective_at": datetime.fromtimestamp(proposal["at"], UTC),
            "organization_id": proposal["organization"],
        }
        money = Money(proposal["amount"], proposal["currency"]) if "amount" in proposal else None
        match proposal["kind"], money:
            case "write-off", Money():
                return ProposeWriteOff(**shared, account=proposal["account"], amount=money)
            case "conversion", Money():
                return ProposeConversion(
                    **shared,
                    payee_id=proposal["payee"],
                    amount=money,
                    into=proposal["into"],
                    rate=proposal["rate"],
                    source="a bank",
                    rated_at=datetime.fromtimestamp(proposal["rated_at"], UTC),
                )
            case "remittance", Money():
                return ProposeRemittance(
                    **shared, authority=proposal["authority"], processor=proposal["processor"], amount=money
                )
            case "reversal", _:
                return ProposeReversal(**shared, reverses=proposal["of"])
            case _:
                postings = tuple(
                    BookedPosting(account=account, currency=currency, amount=amount)
                    for account, currency, amount in proposal["postings"]
                )
                corrects = proposal["corrects"]
                journal = booking_journal_id(await self._known(corrects)) if corrects else None
                return ProposeJournal(**shared, postings=postings, corrects=journal)
