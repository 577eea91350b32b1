"""The pass `personal`: what is sealed in the log and the inbox can be opened, or was erased by an event of the log.

Sealed text whose key is gone and that nobody erased is lost, or hidden from auditors; and what was erased must not be
readable any more. Erased things are counted, not found. Bodies that led to events are looked at by the pass `inbox`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from colink.application.deliveries import inbox_id
from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import BODY, CannotBeOpened, PersonKeys, key_name, owner_of_body
from colink.application.privacy.people import KeyId, PersonalText
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.creators import CreatorRegistered
from colink.domain.ids import natural_parts
from colink.domain.payout_accounts import PayoutAccountDetails, PayoutAccountRegistered, PayoutAccountReplaced
from colink.domain.payouts import PayoutApproved
from colink.domain.people import ERASURES, ErasedPerson
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window, WindowReader
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection
from colink.projections.person_keys import WRAPPED, asked_for, by_id, wrapped_keys

_EVENTS: tuple[type[Event], ...] = (
    CreatorRegistered,
    PayoutAccountRegistered,
    PayoutAccountReplaced,
    PayoutApproved,
)
_TOPICS = frozenset(event.TOPIC for event in _EVENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The last event that destroyed an owner's keys."""

    position: int
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True)
class Personal:
    """What a run knows of personal data. `keys` None: they are not on this machine. `erasures` by owner of keys."""

    keys: PersonKeys | None
    erasures: Mapping[str, Erasure]

    def is_erased(self, owner: str, *, since: int) -> bool:
        """Whether the owner's keys of what was recorded at that position were destroyed."""
        erasure = self.erasures.get(owner)
        return erasure is not None and erasure.position > since


def needed(keys: PersonKeys | None) -> PersonKeys:
    """Raises CannotBeOpened."""
    if keys is None:
        msg = "personal data is sealed, and its keys (keys.json of the key folder) are not on this machine"
        raise CannotBeOpened(msg)
    return keys


async def erasures(conn: Connection) -> dict[str, Erasure]:
    """From the log alone. Streams of people stand together in its index, in whatever way texts are compared there."""
    found: dict[str, Erasure] = {}
    rows = each_row(
        conn,
        "SELECT position, recorded_at, payload FROM colink.events"
        " WHERE stream_id > 'prs' AND stream_id < 'prt' AND topic = ANY(%s) ORDER BY position",
        ([event.TOPIC for event in ERASURES],),
    )
    async for position, recorded_at, payload in rows:
        details = msgspec.json.decode(payload, type=dict[str, Any])["details"]
        for owner in msgspec.convert(details, ErasedPerson).owners:
            found[owner] = Erasure(position=position, recorded_at=recorded_at)
    return found


class PersonalCheck:
    """`checked` counts sealed texts."""

    def __init__(self, part: Part, personal: Personal) -> None:
        self._result = part.results[Pass.PERSONAL]
        self._personal = personal

    def check(self, window: Window) -> None:
        texts = [
            (position, text, name)
            for position, event in window.events(window.rows, _TOPICS, self._result)
            for text in texts_of(event)
            if (name := key_name(text.text)) is not None
        ]
        wrapped = keys_in(window.reader, ((text.owner, name) for _, text, name in texts))
        for position, text, name in texts:
            self._result.checked += 1
            self._look(position, text, wrapped.get((text.owner, name)))

    def _look(self, position: int, text: PersonalText, wrapped: PrivateValue | None) -> None:
        erased = self._personal.is_erased(text.owner, since=position)
        what = f"what event {position} says of {text.owner}"
        if wrapped is None and erased:
            self._result.erased += 1
        elif wrapped is None:
            self._result.find(Kind.MISSING, position, text.owner, f"the key to {what} is gone, and nobody erased it")
        elif erased:
            self._result.find(Kind.EXTRA, position, text.owner, f"{what} was erased, and its key is still there")
        else:
            try:
                needed(self._personal.keys).unwrapped(wrapped).open_text(text.text, place=text.place)
            except CannotBeOpened as error:
                if self._personal.keys is None:
                    raise
                self._result.find(Kind.CHANGED, position, text.owner, f"{what} cannot be read: {error}")


async def check_silent_bodies(conn: Connection, result: PassResult, personal: Personal) -> None:
    """Bodies that led to no event: nothing is known of what was in them, but with their keys they must open."""
    rows = each_row(
        conn,
        "SELECT source, delivery_id, recorded_at, body FROM colink.inbox"
        " WHERE position IS NULL AND substring(body FROM 1 FOR %s) = %s ORDER BY seq",
        (len(BODY), BODY),
    )
    async for source, delivery_id, recorded_at, body in rows:
        result.checked += 1
        name = inbox_id(source, delivery_id)
        owner = owner_of_body(bytes(body)) or name
        erasure = personal.erasures.get(owner)
        erased = erasure is not None and erasure.recorded_at >= recorded_at
        key = (await wrapped_keys(conn, [(owner, name)])).get((owner, name))
        if owner != name and natural_parts(owner)[0] != source:
            result.find(Kind.CHANGED, 0, name, f"the body of {name} is sealed for {owner}: it is another's")
        elif erased and key is None:
            result.erased += 1
        elif key is None:
            result.find(Kind.MISSING, 0, name, f"the key to the body of {name} is gone, and nobody erased it")
        elif erased:
            result.find(Kind.EXTRA, 0, name, f"the body of {name} was erased, and its key is still there")
        else:
            try:
                needed(personal.keys).unwrapped(key).open_body(bytes(body), place=name)
            except CannotBeOpened as error:
                if personal.keys is None:
                    raise
                result.find(Kind.CHANGED, 0, name, f"{name} cannot be read: {error}")


def keys_in(reader: WindowReader, wanted: Iterable[KeyId]) -> dict[KeyId, PrivateValue]:
    """Wrapped keys, of those that are there."""
    owners, names = asked_for(wanted)
    return by_id(reader.rows(WRAPPED, owners, names)) if owners else {}


def texts_of(event: Event) -> list[PersonalText]:
    """What it says of people, sealed or not."""
    match event:
        case CreatorRegistered(details=details):
            return [
                PersonalText(owner=details.id, place="handle", text=details.handle),
                PersonalText(owner=details.id, place="display_name", text=details.display_name),
            ]
        case PayoutAccountRegistered(details=account) | PayoutAccountReplaced(details=account):
            return _details(account)
        case PayoutApproved(account=account):
            return _details(account)
        case _:
            return []


def _details(account: PayoutAccountDetails) -> list[PersonalText]:
    if account.private is None:
        return []
    return [PersonalText(owner=account.payee_id, place=account.id, text=account.private.text)]
