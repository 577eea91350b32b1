"""The part of the pass `personal` about the rows beside the log: private values that nobody wrote, or that are gone,
and what makes the database this installation.

    configuration in the log -> whose secrets, addresses and keys there must be      \
    bodies in the inbox      -> whose keys there may be                                > the rows, both ways
    master keys outside      -> which fingerprint the database must name             /

Keys that events and bodies are sealed with are missed where they are needed (`personal_pass`, `inbox_pass`). Of the
pepper an address that can be opened tells whether it is still the same; other random values are only there or not.
Credentials of a store other than those its connector needs are known to no event: they are left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from colink.application.deliveries import inbox_id
from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import BODY, KEY, CannotBeOpened, key_name, owner_of_body
from colink.domain.audit.report import Kind, PassResult
from colink.domain.creators import CreatorRegistered
from colink.domain.customers import customer_ref_of
from colink.domain.ids import natural_parts
from colink.domain.organizations import StoreConnected
from colink.domain.payout_accounts import PayoutAccountRegistered, PayoutAccountReplaced
from colink.projections.audit.personal_pass import Personal, needed, texts_of
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection, Decoder
from colink.projections.person_keys import wrapped_keys

_OWNERS = (CreatorRegistered, StoreConnected, PayoutAccountRegistered, PayoutAccountReplaced)
_EMAIL, _SECRETS = "email", "webhook_secrets"
_OF_BODY = f"{KEY}dlv_"
_CREDENTIAL = re.compile(r"[a-z][a-z0-9_]*")
_OF_EVERY_DATABASE = ("cookie_key", "log_id", "pepper")
_PERSON_KEYS, _DEMO = "person_keys", "demo"
_HEAD = 1_024  # bytes of a body, in which its owner stands


@dataclass(frozen=True, slots=True, kw_only=True)
class _Must:
    """A value that an event at `position` says was kept."""

    position: int
    customer_ref: str | None = None


@dataclass(kw_only=True)
class _Known:
    """Of the configuration in the log: values that must be there by owner and name, keys that may be, and stores."""

    must: dict[tuple[str, str], _Must] = field(default_factory=dict)
    keys: set[tuple[str, str]] = field(default_factory=set)
    stores: set[str] = field(default_factory=set)

    def explains(self, owner: str, name: str) -> bool:
        of_store = owner in self.stores and _CREDENTIAL.fullmatch(name) is not None
        return of_store or (owner, name) in self.must or (owner, name) in self.keys


class PrivateValuesCheck:
    """`pepper`: what addresses are hashed with, None where that is lost."""

    def __init__(self, conn: Connection, result: PassResult, personal: Personal, *, pepper: bytes | None) -> None:
        self._conn, self._result, self._personal, self._pepper = conn, result, personal, pepper

    async def check(self, decode: Decoder) -> None:
        """`checked` grows by the values there are."""
        known = await _known(self._conn, decode)
        missing = dict(known.must)
        rows = each_row(
            self._conn,
            "SELECT owner_id, name, value FROM colink.private_values WHERE NOT starts_with(name, %s) ORDER BY 1, 2",
            (_OF_BODY,),
        )
        async for owner, name, value in rows:
            self._result.checked += 1
            must = missing.pop((owner, name), None)
            if not known.explains(owner, name):
                self._result.find(
                    Kind.EXTRA, 0, owner, f"{name} of {owner} is kept, and nothing in the log says of what"
                )
            elif must is not None and self._personal.is_erased(owner, since=must.position):
                self._result.find(
                    Kind.EXTRA, must.position, owner, f"{name} of {owner} was erased, and is still there"
                )
            elif must is not None and must.customer_ref is not None:
                await self._compare_address(PrivateValue(owner_id=owner, name=name, value=value), must)
        for (owner, name), must in missing.items():
            if not self._personal.is_erased(owner, since=must.position):
                self._result.find(
                    Kind.MISSING, must.position, owner, f"{name} of {owner} is gone, and nobody erased it"
                )
        await _find_keys_of_no_body(self._conn, self._result)

    async def _compare_address(self, kept: PrivateValue, must: _Must) -> None:
        """The address is the one whose hash stands in the log."""
        owner, name, address = kept.owner_id, key_name(kept.value), kept.value
        if name is not None:
            wrapped = (await wrapped_keys(self._conn, [(owner, name)])).get((owner, name))
            if wrapped is None:
                return  # the key is missed where the profile is looked at
            try:
                address = needed(self._personal.keys).unwrapped(wrapped).open_text(kept.value, place=_EMAIL)
            except CannotBeOpened as error:
                if self._personal.keys is None:
                    raise
                self._result.find(
                    Kind.CHANGED, must.position, owner, f"the address of {owner} cannot be read: {error}"
                )
                return
        if self._pepper is not None and customer_ref_of(address, pepper=self._pepper) != must.customer_ref:
            self._result.find(
                Kind.CHANGED,
                must.position,
                owner,
                f"the address of {owner}, with the pepper of the installation, is not that of event {must.position}",
            )


async def check_installation(conn: Connection, result: PassResult, personal: Personal) -> bytes | None:
    """What makes this database this installation is there, and nothing else. Returns its pepper."""
    cursor = await conn.execute("SELECT name, value FROM colink.installation ORDER BY 1")
    values: dict[str, str] = dict(await cursor.fetchall())
    for name in sorted(values.keys() - {*_OF_EVERY_DATABASE, _PERSON_KEYS, _DEMO}):
        result.find(Kind.EXTRA, 0, f"installation {name}", f"nobody knows what {name} of the installation is")
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT FROM colink.private_values WHERE starts_with(name, %s))", (KEY,)
    )
    keyed = await cursor.fetchone() == (True,)
    for name in (*_OF_EVERY_DATABASE, *((_PERSON_KEYS,) if keyed else ())):
        if name not in values:
            result.find(Kind.MISSING, 0, f"installation {name}", f"{name} of the installation is gone")
    named = values.get(_PERSON_KEYS)
    if personal.keys is not None and named not in {None, personal.keys.fingerprint}:
        result.find(
            Kind.CHANGED,
            0,
            f"installation {_PERSON_KEYS}",
            "the database names other keys of personal data than those in the key folder",
            recorded=named,
            derived=personal.keys.fingerprint,
        )
    pepper = values.get("pepper")
    return None if pepper is None else _bytes_of(pepper)


async def _known(conn: Connection, decode: Decoder) -> _Known:
    """Configuration only, which is small."""
    known = _Known()
    rows = each_row(
        conn,
        "SELECT position, stream_id, version, topic, payload FROM colink.events WHERE topic = ANY(%s)"
        " ORDER BY position",
        ([event.TOPIC for event in _OWNERS],),
    )
    async for position, stream_id, version, topic, payload in rows:
        try:
            event = decode(stream_id, version, topic, payload)
        except Exception:  # noqa: BLE001, S112 - one that cannot be read is a finding of the pass over documents
            continue
        for text in texts_of(event):
            if (name := key_name(text.text)) is not None:
                known.keys.add((text.owner, f"{KEY}{name}"))
        if isinstance(event, StoreConnected):
            known.stores.add(stream_id)
            known.must[stream_id, _SECRETS] = _Must(position=position)
        elif isinstance(event, CreatorRegistered) and event.details.customer_ref is not None:
            known.must[stream_id, _EMAIL] = _Must(position=position, customer_ref=event.details.customer_ref)
    return known


def _bytes_of(text: str) -> bytes:
    """Of hexadecimal digits; of what is none, nothing that hashes to what was."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


async def _find_keys_of_no_body(conn: Connection, result: PassResult) -> None:
    """Keys of bodies, of which there may be as many as deliveries: joined in the database, and those that it cannot
    name (their ids are encoded) looked up one by one."""
    counted = await conn.execute(
        "SELECT count(*) FROM colink.private_values WHERE starts_with(name, %s)", (_OF_BODY,)
    )
    result.checked += (await counted.fetchone() or (0,))[0]
    rows = each_row(
        conn,
        "SELECT v.owner_id, v.name FROM (SELECT owner_id, name, %s::bytea || convert_to(owner_id || E'\\n', 'UTF8')"
        " AS head FROM colink.private_values WHERE starts_with(name, %s)) v WHERE NOT EXISTS"
        " (SELECT FROM colink.inbox i WHERE %s || i.source || '.' || i.delivery_id = v.name"
        " AND substring(i.body FROM 1 FOR octet_length(v.head)) = v.head) ORDER BY 1, 2",
        (BODY, _OF_BODY, _OF_BODY),
    )
    async for owner, name in rows:
        parts = natural_parts(name.removeprefix(KEY))
        if len(parts) == 2 and inbox_id(*parts) == name.removeprefix(KEY):
            cursor = await conn.execute(
                "SELECT substring(body FROM 1 FOR %s) FROM colink.inbox WHERE source = %s AND delivery_id = %s",
                (_HEAD, *parts),
            )
            row = await cursor.fetchone()
            if row is not None and owner_of_body(bytes(row[0])) == owner:
                continue
        body = name.removeprefix(KEY)
        result.find(Kind.EXTRA, 0, body, f"a key of {owner} to the body of {body} is kept, and no such body")
