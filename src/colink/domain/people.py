"""People: what is recorded of them is encrypted with keys of their own, and erasing a person destroys those keys.

A personal text stands in events and documents as sealed text, `sealed:1:<key>:<base64>`; `application.privacy` makes
and opens it, so that nothing here ever holds a key. What versions before the sealing recorded is plain text and stays
what it is. Semantics section 9; decision 24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import ColinkError, Conflict, InvalidInput
from colink.domain.ids import natural_id

SEALED = "sealed:1:"
BUYER_ID = "byr"  # the prefix of buyers' ids
MAX_REASON = 500  # characters


class Erased(ColinkError):
    """It was there; the key to it is destroyed."""

    slug, title, status = "erased", "The personal data was erased", 410


class PersonIsErased(Conflict):
    slug, title = "person-erased", "The person was erased"


class PayoutUnderWay(Conflict):
    slug, title = "payout-under-way", "A payout of this person is not final yet"


def is_sealed(text: str) -> bool:
    return text.startswith(SEALED)


def buyer_id(customer_ref: str) -> str:
    """A buyer is known by the keyed hash of the e-mail address, over all stores."""
    return f"{BUYER_ID}_{customer_ref}"


def customer_ref_in(person_id: str) -> str | None:
    """The keyed hash in a buyer's id; None for the id of anybody else."""
    prefix, _, ref = person_id.partition("_")
    return ref if prefix == BUYER_ID and ref else None


@dataclass(frozen=True, kw_only=True)
class PrivateDetails:
    """Details that only their owner, and who works for them, may read. `digest` is a keyed one, by a key outside the
    database: equal details have equal digests, so this compares equal whatever key the text was sealed with."""

    digest: str
    text: str = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class ErasedPerson:
    """`id` is the person's. `owners`: whose keys were destroyed: a payee, or a buyer's orders (and deliveries that
    led to none). Nothing personal."""

    id: str
    owners: tuple[str, ...]
    reason: str
    erased_at: datetime


@dataclass(frozen=True, kw_only=True)
class PersonErased(Created):
    """The database destroys the keys of `details.owners` in the transaction that records this."""

    TOPIC: ClassVar[str] = "person.erased"
    details: ErasedPerson


@dataclass(frozen=True, kw_only=True)
class PersonErasedAgain(Event):
    """What came to be known of the person after the erasure before."""

    TOPIC: ClassVar[str] = "person.erased_again"
    details: ErasedPerson

    def apply(self, aggregate: Person) -> None:
        aggregate.details = self.details


ERASURES = (PersonErased, PersonErasedAgain)


def person_stream(person_id: str) -> str:
    return natural_id("prs", person_id)


class Person(Aggregate):
    """Somebody who was erased, once or more often."""

    TOPIC: ClassVar[str] = "person"
    details: ErasedPerson

    @classmethod
    def erase(cls, person_id: str, *, owners: Sequence[str], reason: str, at: datetime) -> Person:
        details = _details(person_id, owners=owners, reason=reason, at=at)
        return cls._create(PersonErased, id=person_stream(person_id), timestamp=at, details=details)

    def erase_again(self, *, owners: Sequence[str], reason: str, at: datetime) -> None:
        details = _details(self.details.id, owners=owners, reason=reason, at=at)
        self.trigger_event(PersonErasedAgain, timestamp=at, details=details)


def _details(person_id: str, *, owners: Sequence[str], reason: str, at: datetime) -> ErasedPerson:
    if not reason.strip():
        msg = "say why the person is erased, without naming them: a request's number, for example"
        raise InvalidInput(msg, field="reason")
    if len(reason) > MAX_REASON:
        msg = f"the reason has at most {MAX_REASON} characters"
        raise InvalidInput(msg, field="reason")
    return ErasedPerson(id=person_id, owners=tuple(sorted(set(owners))), reason=reason.strip(), erased_at=at)
