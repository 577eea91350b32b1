"""Personal texts on their way in and out: sealed before a command is made of them, opened for who may read them.

Nothing opened is remembered: who was erased is unknown to every process at its next read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import DataKey, PersonKeys, key_name
from colink.domain.people import PrivateDetails, is_sealed

_PROFILE = "profile"  # the name of the key of what a creator says of themselves
_HANDLE, _ACCOUNT = "handle", "payout account"  # purposes of digests

KeyId = tuple[str, str]
"""Owner and name of a data key."""


class KeyBook(Protocol):
    """Where wrapped data keys are kept."""

    async def wrapped(self, wanted: Iterable[KeyId]) -> dict[KeyId, PrivateValue]:
        """Those that are there."""


@dataclass(frozen=True, kw_only=True)
class SealedProfile:
    """What a creator says of themselves, as it is recorded; `private` goes with it."""

    handle: str
    handle_digest: str
    display_name: str
    private: tuple[PrivateValue, ...]


@dataclass(frozen=True, kw_only=True)
class SealedDetails:
    """Where a payee is paid, as it is recorded; `key` goes with it."""

    details: PrivateDetails
    key: PrivateValue


@dataclass(frozen=True, kw_only=True)
class PersonalText:
    """A text of `owner` that may be sealed, and where it stands."""

    owner: str
    place: str
    text: str


class People:
    """`keys` are those outside the database, `book` holds those inside it."""

    def __init__(self, keys: Callable[[], PersonKeys], book: KeyBook) -> None:
        self.keys = keys
        self._book = book

    def reading(self, book: KeyBook) -> People:
        """The same, with wrapped keys from another book: that of a reader's own snapshot."""
        return People(self.keys, book)

    def handle_digest(self, handle: str) -> str:
        return self.keys().digest(handle, purpose=_HANDLE)

    def seal_profile(self, creator_id: str, *, handle: str, display_name: str, email: str | None) -> SealedProfile:
        keys = self.keys()
        key = keys.new_key(creator_id, _PROFILE)
        private = [keys.wrapped(key)]
        if email is not None:
            text = key.seal_text(email.strip(), place="email")
            private.append(PrivateValue(owner_id=creator_id, name="email", value=text))
        return SealedProfile(
            handle=key.seal_text(handle, place="handle"),
            handle_digest=self.handle_digest(handle),
            display_name=key.seal_text(display_name.strip(), place="display_name"),
            private=tuple(private),
        )

    def seal_account(
        self, payee_id: str, details: Mapping[str, str | int], *, account_id: str, name: str
    ) -> SealedDetails:
        """`name` is a fresh one, for the key."""
        keys = self.keys()
        key = keys.new_key(payee_id, name)
        text = msgspec.json.encode(dict(sorted(details.items()))).decode()
        return SealedDetails(
            details=PrivateDetails(
                digest=keys.digest(f"{payee_id}\n{text}", purpose=_ACCOUNT),
                text=key.seal_text(text, place=account_id),
            ),
            key=keys.wrapped(key),
        )

    async def opened(self, texts: Sequence[PersonalText]) -> list[str | None]:
        """Each in clear; None where its person was erased. Raises CannotBeOpened."""
        named = [(text, key_name(text.text)) for text in texts]
        wanted = {(text.owner, name) for text, name in named if name is not None}
        wrapped = await self._book.wrapped(wanted) if wanted else {}
        keys = self.keys() if wrapped else None
        unwrapped: dict[KeyId, DataKey] = {id_: keys.unwrapped(value) for id_, value in wrapped.items() if keys}
        found: list[str | None] = []
        for text, name in named:
            if name is None:
                found.append(text.text)
                continue
            key = unwrapped.get((text.owner, name))
            found.append(None if key is None else key.open_text(text.text, place=text.place))
        return found

    async def show_creators(self, views: Sequence[Mapping[str, Any]], *, id_: str = "id") -> list[dict[str, Any]]:
        """Views with the creator's `handle`, some with a `display_name`, as people may read them: in clear, and of
        erased creators without a name. `id_` is where a view has the creator's id."""
        places = [
            (number, name)
            for number, view in enumerate(views)
            for name in ("handle", "display_name")
            if is_sealed(view.get(name) or "")
        ]
        texts = [PersonalText(owner=views[n][id_], place=name, text=views[n][name]) for n, name in places]
        shown = [dict(view) for view in views]
        for (number, name), text in zip(places, await self.opened(texts), strict=True):
            shown[number][name] = erased_label(shown[number][id_]) if text is None else text
        return shown

    async def show_accounts(self, views: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Views of payout accounts with their `details` in clear; None where the payee was erased."""
        shown = [dict(view) for view in views]
        sealed = [(view, view.pop("private")) for view in shown if view.get("private")]
        texts = [PersonalText(owner=view["payee_id"], place=view["id"], text=text) for view, text in sealed]
        for (view, _), opened in zip(sealed, await self.opened(texts), strict=True):
            view["details"] = None if opened is None else msgspec.json.decode(opened)
        for view in shown:
            view.pop("private", None)
        return shown

    async def account_details(self, payee_id: str, *, account_id: str, text: str) -> Mapping[str, str | int] | None:
        """What a rail is to be told; None where the payee was erased."""
        [opened] = await self.opened([PersonalText(owner=payee_id, place=account_id, text=text)])
        return None if opened is None else msgspec.json.decode(opened, type=dict[str, str | int])


def erased_label(person_id: str) -> str:
    """What stands in the place of a name that nobody knows any more."""
    return f"erased-{person_id[-8:]}"
