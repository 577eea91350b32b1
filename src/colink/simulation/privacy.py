"""People who ask to be forgotten in a simulated business: buyers, creators and sellers, while life goes on.

And what is compared in the end: all that the service's own keys open is what the model says can still be read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from colink.application.deliveries import inbox_id
from colink.application.privacy.envelope import owner_of_body
from colink.application.privacy.people import PersonalText
from colink.domain.customers import customer_ref_of
from colink.domain.errors import ColinkError
from colink.domain.ids import natural_parts
from colink.domain.people import buyer_id
from colink.projections.person_keys import wrapped_keys
from colink.simulation.business import OPERATOR, Business
from colink.simulation.checks import Differs
from colink.simulation.service import Service
from colink.simulation.stage import Stage

Facts = dict[str, Any]
Thing = tuple[str | tuple[str, str], str]
"""Owner and name, as the model has them."""

_CREATORS = "select id, body from colink.documents where kind = 'creator' and current"
_EMAILS = "select owner_id, value from colink.private_values where name = 'email'"
_ACCOUNTS = """
    select payload from colink.events
     where topic in ('payout_account.registered', 'payout_account.replaced', 'payout.approved') order by position
"""
_BODIES = "select source, delivery_id, order_id, body from colink.inbox where seq > 0"
# Addresses and names, and what only bodies and accounts have: none of it may stand anywhere in clear.
_IN_CLEAR = """
    select 'event ' || position from colink.events where payload ~ %(personal)s
     union all
    select 'document ' || id from colink.documents where body ~ %(personal)s
     union all
    select 'delivery ' || delivery_id from colink.inbox where strpos(encode(body, 'escape'), 'line_items') > 0
"""


class Privacy:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business

    async def act(self) -> None:
        """A buyer asks to be forgotten; a creator or a seller does, now and then."""
        if self.stage.random.random() < 0.7:
            await self._erase_buyer()
        else:
            await self._erase_payee()

    async def _erase_buyer(self) -> None:
        random, books = self.stage.random, self.stage.books
        told = [order.told.in_order[-1]["email"] for order in books.orders.values() if order.told.snapshots]
        addresses = [address for address in told[-200:] if address]
        address = random.choice([*addresses, f"buyer{random.randint(1, 120)}@example.com"])
        await self._find(address)
        customer_ref = customer_ref_of(address, pepper=self.stage.world.pepper)
        refusals = set() if books.privacy.orders_of(address) else {"not-found"}
        if await self._erase(buyer_id(str(customer_ref)), address, refusals):
            books.privacy.erase_buyer(address)

    async def _erase_payee(self) -> None:
        """Of half of them at most: there has to be somebody left."""
        random, privacy = self.stage.random, self.stage.books.privacy
        payees = [each["id"] for each in (*self.business.creators, *self.business.organizations)]
        if 2 * len(privacy.erased) > len(payees):
            payees = sorted(privacy.erased)
        payee = random.choice(payees)
        if await self._erase(payee, payee, privacy.wrong_with_erasing(payee)):
            privacy.erase_payee(payee)

    async def _erase(self, person_id: str, who: str, refusals: set[str]) -> bool:
        """Whether it was done."""
        key = self.stage.idempotency()

        async def ask() -> Any:
            try:
                return await self.stage.service.privacy.erase(
                    person_id, reason="asked for it", caller=OPERATOR, idempotency=key
                )
            except ColinkError as refusal:
                return refusal

        what = f"erasure of {who}"
        recorded = await self.stage.attempt_of(ask, what, refusals=refusals)
        if recorded is not None:
            self.stage.step(what, {}, recorded.position)
        return recorded is not None

    async def _find(self, address: str) -> None:
        """Who has an address: creators, and the buyer as far as anything can be read. Raises Differs."""
        privacy, known = self.stage.books.privacy, self.stage.books.known
        found = await self.stage.service.privacy.find(address)
        expected: list[Facts] = [
            {"person_id": id_, "kind": "creator", "owners": int(id_ in privacy.readable)}
            for id_, creator in sorted(known.creators.items())
            if (creator["email"] or "") == address
        ]
        if orders := privacy.orders_of(address):
            person = buyer_id(str(customer_ref_of(address, pepper=self.stage.world.pepper)))
            expected.append({"person_id": person, "kind": "buyer", "owners": len(orders)})
        if found != expected:
            msg = f"of {address} is known {found}, expected {expected}"
            raise Differs(msg)


async def compare_personal(service: Service, readable: dict[Any, dict[str, Any]]) -> None:
    """Everything personal, opened with the service's own keys, against what can be read. Raises Differs."""
    expected = {(owner, name): value for owner, things in readable.items() for name, value in things.items()}
    async with service.pool.connection() as connection:
        opened = {thing: value async for thing, value in _opened(service, connection) if value is not None}
        clear = await (await connection.execute(_IN_CLEAR, {"personal": "@example[.]com|Person of "})).fetchall()
    if clear:
        msg = f"personal data stands in clear: {[what for (what,) in clear[:3]]}"
        raise Differs(msg)
    if opened != expected:
        wrong = [thing for thing in {*opened, *expected} if opened.get(thing) != expected.get(thing)]
        thing = min(wrong, key=str)
        msg = f"{len(wrong)} things of people, such as {thing}: {opened.get(thing)}, expected {expected.get(thing)}"
        raise Differs(msg)


async def _opened(service: Service, connection: AsyncConnection[TupleRow]) -> AsyncIterator[tuple[Thing, Any]]:
    """None: erased."""
    people, found = service.people, dict[Thing, PersonalText]()
    for id_, body in await (await connection.execute(_CREATORS)).fetchall():
        creator = msgspec.json.decode(body)
        for name in ("handle", "display_name"):
            found[id_, name] = PersonalText(owner=id_, place=name, text=creator[name])
    for id_, text in await (await connection.execute(_EMAILS)).fetchall():
        found[id_, "email"] = PersonalText(owner=id_, place="email", text=text)
    for (payload,) in await (await connection.execute(_ACCOUNTS)).fetchall():
        told = msgspec.json.decode(payload)
        account = told.get("account") or told["details"]
        text = PersonalText(owner=account["payee_id"], place=account["id"], text=account["private"]["text"])
        found[account["payee_id"], f"account {account['currency']} {account['version']}"] = text
    for thing, opened in zip(found, await people.opened(list(found.values())), strict=True):
        yield thing, opened
    bodies = await (await connection.execute(_BODIES)).fetchall()
    owners = {(str(owner_of_body(bytes(body))), inbox_id(source, id_)) for source, id_, _, body in bodies}
    wrapped, keys = await wrapped_keys(connection, owners), people.keys()
    for source, id_, order, body in bodies:
        place, parts = inbox_id(source, id_), natural_parts(order) if order else ("", "")
        key = wrapped.get((str(owner_of_body(bytes(body))), place))
        thing = (parts[0], parts[1]) if order else f"{source} {id_}", f"{source} {id_}"
        yield thing, keys.unwrapped(key).open_body(bytes(body), place=place) if key else None
