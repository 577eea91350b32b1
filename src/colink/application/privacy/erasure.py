"""Erase a person: the event that says so, which destroys the keys in its own transaction, and who is meant by an id.

A person is a creator or an organisation (whose payout accounts name somebody), a buyer (by the keyed hash of the
e-mail, over all stores), or, where no address is known, an order or a delivery by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from colink.application.ports import Caller, CommandBus, Decision, Facts, Idempotency, Needs, Recorded, Request
from colink.domain.errors import NotFound
from colink.domain.people import (
    ErasedPerson,
    PayoutUnderWay,
    Person,
    PersonIsErased,
    buyer_id,
    customer_ref_in,
    person_stream,
)


class PeopleRegister(Protocol):
    """What is known of people. None of it is personal."""

    async def creators_of(self, customer_ref: str) -> Sequence[str]:
        """Ids of creators with that hash of an e-mail address."""

    async def owners_of(self, customer_ref: str) -> Sequence[str]:
        """Whose keys seal what is known of a buyer: orders, and deliveries that led to none, that have keys. Reads
        the whole log and opens what was rejected: a matter of seconds."""

    async def keyed(self, owners: Sequence[str]) -> Sequence[str]:
        """Those that have keys."""

    async def payouts_under_way(self, payee_id: str) -> Sequence[str]:
        """Payouts that are requested and not final."""


class PrivacyDesk(Protocol):
    """What operators do about people's data."""

    async def find(self, email: str) -> list[dict[str, Any]]:
        """`{person_id, kind, owners}` of creators and buyers with an e-mail address, `owners`: how many things with
        keys are theirs. Raises InvalidInput for no address."""

    async def erase(
        self, person_id: str, *, reason: str, caller: Caller, idempotency: Idempotency | None = None
    ) -> Recorded:
        """Destroy the keys of everything sealed for a person. Raises NotFound, PayoutUnderWay."""

    async def keep_erasures(self) -> int:
        """Let no erasure be forgotten: those in the log are kept beside the keys, too; those that only the key folder
        knows, since a backup of before them was restored, are recorded again; keys that erased payees were given
        since are destroyed. How many of all that."""

    async def rotate(self) -> int:
        """A new master key wraps every data key, and the old one is destroyed; how many were wrapped again. Takes a
        minute, so that every process knows of it. Raises Conflict where a process does not."""


@dataclass(frozen=True, kw_only=True)
class ErasePerson(Request):
    """Answers with `{person_id, owners, erased_at}`: how many owners of keys lost them. Raises NotFound where there
    is nothing to erase, InvalidInput for a reason that says nothing."""

    person_id: str
    owners: tuple[str, ...]
    reason: str
    not_before: datetime | None = None

    def needs(self) -> Needs:
        return Needs(streams=(person_stream(self.person_id),))

    def decide(self, facts: Facts) -> Decision:
        if not self.owners:
            msg = (
                "nothing personal is kept under this id, or it was erased before: colink privacy find, or POST"
                " /v1/people/find, says which there are"
            )
            raise NotFound(msg)
        person, at = facts.aggregate(Person, person_stream(self.person_id)), facts.now
        if self.not_before is not None:
            at = max(at, self.not_before)  # an erasure made again is no older, even if the clock went back
        if person is None:
            person = Person.erase(self.person_id, owners=self.owners, reason=self.reason, at=at)
        else:
            person.erase_again(owners=self.owners, reason=self.reason, at=at)
        erased = person.details
        answer = {"person_id": erased.id, "owners": len(erased.owners), "erased_at": erased.erased_at}
        return Decision(answer=answer, events=person.new_events())


def check_not_erased(facts: Facts, person_id: str) -> None:
    """For commands that would begin something new with a payee; `(ErasedPerson, id)` is among their needs. Raises
    PersonIsErased."""
    if facts.document(ErasedPerson, person_id) is not None:
        msg = f"{person_id} was erased: nothing new is recorded of them, and they are paid by hand"
        raise PersonIsErased(msg)


async def find_people(customer_ref: str, *, register: PeopleRegister) -> list[dict[str, Any]]:
    """`{person_id, kind, owners}` of everybody with that hash of an e-mail address."""
    found: list[dict[str, Any]] = [
        {"person_id": id_, "kind": "creator", "owners": len(await register.keyed([id_]))}
        for id_ in await register.creators_of(customer_ref)
    ]
    owners = await register.owners_of(customer_ref)
    if owners:
        found.append({"person_id": buyer_id(customer_ref), "kind": "buyer", "owners": len(owners)})
    return found


async def erase_person(
    person_id: str,
    *,
    reason: str,
    caller: Caller,
    idempotency: Idempotency | None,
    register: PeopleRegister,
    bus: CommandBus,
) -> Recorded:
    """Destroy the keys of everything sealed for the person.

    Raises NotFound for nobody, PayoutUnderWay where money is on its way to them: it has to arrive, or come back,
    under the name it was sent to."""
    customer_ref = customer_ref_in(person_id)
    under_way = await register.payouts_under_way(person_id)
    if under_way:
        msg = f"wait until these payouts are final, or cancel them: {', '.join(under_way)}"
        raise PayoutUnderWay(msg)
    if customer_ref is None:
        owners = await register.keyed([person_id])
    else:
        owners = await register.owners_of(customer_ref)
    return await bus.submit(
        ErasePerson(caller=caller, idempotency=idempotency, person_id=person_id, owners=tuple(owners), reason=reason)
    )
