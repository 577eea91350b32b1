"""Who calls, and what their role may do: the one table of permissions, and API keys by the digest of their secret.

What a key may not do at all is Forbidden (403). What it may do, but not to this thing because the thing belongs to
another, is NotFound (404): see `session.py`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from colink.application.ports import Clock
from colink.domain.access import Role, check_key_stands
from colink.domain.errors import Forbidden, Unauthorized
from colink.projections.api_keys import KnownKey


class Permission(StrEnum):
    """What routes ask for."""

    REGISTER_ORGANIZATIONS = "register organizations and set their terms"
    KEEP_KEYS = "create, list and revoke keys"
    CONFIGURE = "configure stores, products, creators, campaigns, rules and coupons"
    CREATE_LINKS = "create links"
    PREVIEW_COMMISSION = "preview commissions"
    READ_SETUP = "read organizations, stores, products, campaigns and rules"
    READ_PROMOTION = "read creators, links and coupons"
    READ_ORDERS = "read orders"
    RECORD_ORDERS = "record orders"
    READ_LEDGER = "read entries and balances"
    READ_PAYOUTS = "read payouts and payout accounts"
    KEEP_PAYOUT_ACCOUNTS = "keep payout accounts"
    REQUEST_PAYOUTS = "request payouts, and cancel them before they are submitted"
    DECIDE_PAYOUTS = "approve, hold, release and reject payouts"
    READ_BILLING = "read invoices and payments of sellers who collect the money themselves"
    BILL_SELLERS = "bill sellers who collect the money themselves, and record what they pay"
    DECIDE_ORDERS = "hold and release orders, and credit them to another creator"
    READ_SETTLEMENTS = "read settlements of stores"
    RECORD_SETTLEMENTS = "record settlements of stores"
    BOOK_JOURNALS = "propose and decide journals, and close periods"
    READ_REPORTS = "read reports"
    READ_LEADERBOARDS = "read leaderboards"
    READ_INBOX = "read deliveries"
    READ_EVENTS = "read the event log"
    REPLAY_INBOX = "replay deliveries"
    SEE_BODIES = "read what platforms told of buyers"
    ERASE_PEOPLE = "find and erase people"
    PROVE = "read proofs and tiles of the whole log"
    SEE_READS = "see what auditors read, and who read personal data"


PERSONAL = frozenset({Permission.SEE_BODIES, Permission.ERASE_PEOPLE})
"""Whoever uses these leaves a trace, as auditors always do (read_log.py)."""

_READS = frozenset(permission for permission in Permission if permission.name.startswith("READ_"))

ALLOWED: Mapping[Role, frozenset[Permission]] = {
    Role.OPERATOR: frozenset(Permission)
    - {
        Permission.DECIDE_PAYOUTS,
        Permission.DECIDE_ORDERS,
        Permission.BILL_SELLERS,
        Permission.RECORD_SETTLEMENTS,
        Permission.BOOK_JOURNALS,
    },
    Role.FINANCE: _READS
    | {
        Permission.PREVIEW_COMMISSION,
        Permission.RECORD_SETTLEMENTS,
        Permission.KEEP_PAYOUT_ACCOUNTS,
        Permission.REQUEST_PAYOUTS,
        Permission.DECIDE_PAYOUTS,
        Permission.DECIDE_ORDERS,
        Permission.BILL_SELLERS,
        Permission.BOOK_JOURNALS,
        Permission.REPLAY_INBOX,
        Permission.PROVE,
        Permission.SEE_READS,
    },
    Role.AUDITOR: _READS | {Permission.PROVE, Permission.SEE_READS},
    Role.SELLER: _READS
    | {
        Permission.PREVIEW_COMMISSION,
        Permission.CONFIGURE,
        Permission.CREATE_LINKS,
        Permission.RECORD_ORDERS,
        Permission.KEEP_PAYOUT_ACCOUNTS,
        Permission.REQUEST_PAYOUTS,
        Permission.REPLAY_INBOX,
        Permission.SEE_BODIES,
    },
    Role.CREATOR: frozenset(
        {
            Permission.CREATE_LINKS,
            Permission.READ_PROMOTION,
            Permission.READ_ORDERS,
            Permission.READ_LEDGER,
            Permission.READ_PAYOUTS,
            Permission.READ_LEADERBOARDS,
            Permission.KEEP_PAYOUT_ACCOUNTS,
            Permission.REQUEST_PAYOUTS,
        }
    ),
}
"""Role -> what it may do. Operator, finance and auditor do it everywhere, a seller inside its organisation, a creator
to what is their own. Approving is for finance alone, so that who sets accounts up never sends money."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller whose key is known."""

    key_id: str
    role: Role
    organization_id: str | None = None
    payee_id: str | None = None

    def check_may(self, permission: Permission) -> None:
        if permission not in ALLOWED[self.role]:
            msg = f"a key of role {self.role} may not {permission}"
            raise Forbidden(msg)


KeyLookup = Callable[[str], Awaitable[KnownKey | None]]
"""The key with that digest."""

REMEMBERED = 2.0
"""Seconds for which a process goes on taking a key that another process has revoked."""


class Authenticator:
    """Finds the principal of an `Authorization` header. Keys are remembered for `seconds`: so long, at most, a key
    that was revoked elsewhere still opens. What does not open is not remembered, so that a new key works at once."""

    def __init__(self, lookup: KeyLookup, *, clock: Clock, seconds: float = REMEMBERED, most: int = 10_000) -> None:
        self._lookup = lookup
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._known: dict[str, tuple[float, KnownKey]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """Raises Unauthorized without saying whether the key ever existed, but to who holds one that did: KeyRevoked,
        KeyExpired."""
        scheme, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            msg = "send an API key as `Authorization: Bearer <key>`"
            raise Unauthorized(msg)
        key = await self._key(hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())
        check_key_stands(key.details, key.revocation, at=self._clock.now())
        return Principal(
            key_id=key.details.id,
            role=key.details.role,
            organization_id=key.details.organization_id,
            payee_id=key.details.payee_id,
        )

    def forget(self, key_id: str) -> None:
        """The key was revoked in this process: look it up when it comes again."""
        for digest in [digest for digest, (_, key) in self._known.items() if key.details.id == key_id]:
            del self._known[digest]

    async def _key(self, digest: str) -> KnownKey:
        now = time.monotonic()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        key = await self._lookup(digest)
        if key is None:
            msg = "this API key is not known"
            raise Unauthorized(msg)
        if key.revocation is not None:
            return key
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[digest] = (now + self._seconds, key)
        return key
