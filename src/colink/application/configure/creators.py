"""Register creators. Who they are is recorded sealed; the e-mail stays out of the log altogether, only its keyed hash
enters, to notice own purchases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from colink.application.configure.checks import Setup, check_text
from colink.application.ports import Decision, Facts, Needs, PrivateValue
from colink.application.privacy.people import SealedProfile
from colink.application.representations import shown
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.errors import Conflict, InvalidInput

_HANDLE = re.compile(r"\w[\w.-]{0,63}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,253}")


@dataclass(frozen=True, kw_only=True)
class RegisterCreator(Setup):
    """Answers with the creator, never with the e-mail, as `sealed` says it; what was sealed is looked at here.
    `customer_ref` is the e-mail's keyed hash (`customer_ref_of`), given exactly when `email` is. Raises Conflict for
    a handle that is taken."""

    id: str
    handle: str
    display_name: str
    email: str | None = None
    customer_ref: str | None = None
    sealed: SealedProfile | None = None

    def needs(self) -> Needs:
        return Needs(streams=(self.id,), keys=tuple((CreatorDetails, key) for key in self._keys))

    @property
    def _keys(self) -> tuple[str, ...]:
        """What others of that handle would be found by: in clear where registered before handles were sealed."""
        return (self.handle, self.sealed.handle_digest) if self.sealed else (self.handle,)

    def decide(self, facts: Facts) -> Decision:
        if not _HANDLE.fullmatch(self.handle):
            msg = "handle must be 1 to 64 letters, digits, dots, dashes or underscores, and start with no dot or dash"
            raise InvalidInput(msg, field="handle")
        if self.email is not None and not _EMAIL.fullmatch(self.email.strip()):
            msg = "email must be an address such as aina@example.com"
            raise InvalidInput(msg, field="email")
        if any(facts.keyed(CreatorDetails, key) is not None for key in self._keys):
            msg = f"the handle {self.handle!r} is taken"
            raise Conflict(msg, field="handle")
        display_name = check_text(self.display_name, field="display_name")
        sealed = self.sealed
        details = CreatorDetails(
            id=self.id,
            handle=sealed.handle if sealed else self.handle,
            display_name=sealed.display_name if sealed else display_name,
            customer_ref=self.customer_ref,
            handle_digest=sealed.handle_digest if sealed else None,
        )
        private: Sequence[PrivateValue] = sealed.private if sealed else ()
        creator = Creator.register(details, at=facts.now)
        return Decision(answer=shown(details), events=creator.new_events(), private=private)
