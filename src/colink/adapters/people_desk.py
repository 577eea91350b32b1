"""What is done to people's keys: erased, found, kept erased after a restore, and wrapped by a new master key.

Joins what lies on both sides of the database's border: the key folder, and the register inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from colink.adapters.person_keys import SETTLED, PersonKeyFolder
from colink.adapters.postgres.people import PostgresPeople
from colink.application.ports import Caller, CommandBus, Idempotency, Recorded
from colink.application.privacy.erasure import ErasePerson, erase_person, find_people
from colink.domain.customers import customer_ref_of
from colink.domain.errors import Conflict, InvalidInput
from colink.domain.people import ErasedPerson


class PeopleDesk:
    """Implements application.privacy.erasure.PrivacyDesk. `pepper` keys the hashes of e-mail addresses."""

    def __init__(self, *, folder: PersonKeyFolder, register: PostgresPeople, bus: CommandBus, pepper: bytes) -> None:
        self._folder = folder
        self._register = register
        self._bus = bus
        self._pepper = pepper

    async def find(self, email: str) -> list[dict[str, Any]]:
        customer_ref = customer_ref_of(email, pepper=self._pepper)
        if customer_ref is None:
            msg = "give the e-mail address to look for"
            raise InvalidInput(msg, field="email")
        return await find_people(customer_ref, register=self._register)

    async def erase(
        self, person_id: str, *, reason: str, caller: Caller, idempotency: Idempotency | None = None
    ) -> Recorded:
        recorded = await erase_person(
            person_id,
            reason=reason,
            caller=caller,
            idempotency=idempotency,
            register=self._register,
            bus=self._bus,
        )
        await self.keep_erasures()
        return recorded

    async def keep_erasures(self) -> int:
        in_log = await self._register.erased()
        forgotten = [person for person in self._folder.erased() if not _is_in(in_log, person)]
        for person in dict.fromkeys(forgotten):
            await self._bus.submit(
                ErasePerson(
                    caller=Caller(actor="worker", correlation_id=f"erased:{person.id}"),
                    person_id=person.id,
                    owners=person.owners,
                    reason=person.reason,
                    not_before=person.erased_at,
                )
            )
        if forgotten:
            in_log = await self._register.erased()
        remembered = await asyncio.to_thread(self._folder.remember_erased, in_log)
        return len(forgotten) + remembered + await self._register.destroy_keys_left()

    async def rotate(self, *, settle: float = SETTLED) -> int:
        with self._folder.rotating():
            keys = self._folder.keys().rotated()
            self._folder.replace(keys)
            await asyncio.sleep(settle)
            moved = await self._register.rewrap(keys)
            await asyncio.sleep(settle)
            late = await self._register.rewrap(keys)
            if late:
                msg = (
                    f"{late} keys were still wrapped by an old master key, which was kept: another machine has a key "
                    "folder of its own; copy keys.json to it, then rotate once more"
                )
                raise Conflict(msg)
            self._folder.replace(keys.without_old_masters())
        return moved


def _is_in(log: Sequence[ErasedPerson], person: ErasedPerson) -> bool:
    """Whether the log destroyed, then or later, all that this erasure did."""
    owners = set(person.owners)
    return any(
        person.id == known.id and known.erased_at >= person.erased_at and owners <= set(known.owners) for known in log
    )
