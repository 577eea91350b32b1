"""What the API is given to work with. The wiring builds it once; routes find it on the application's state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from colink.api.auth import Authenticator
from colink.api.metrics import Metrics
from colink.application.ports import Caller, Clock, CommandQueue, Delivery, Idempotency, IdFactory, Recorded
from colink.application.privacy.erasure import PrivacyDesk
from colink.application.privacy.people import People
from colink.domain.orders import Order
from colink.projections.engine import Pool
from colink.projections.log_tail import LogTail

OrderReader = Callable[[Sequence[str]], Awaitable[Mapping[str, Order]]]
"""The orders with these ids, folded from their streams; those without a stream are left out."""


class Replay(Protocol):
    async def __call__(self, delivery_id: str, *, caller: Caller, idempotency: Idempotency | None) -> Recorded:
        """Read a kept delivery again. Raises NotFound."""


class BodyReader(Protocol):
    async def __call__(self, *, source: str, delivery_id: str) -> Delivery | None:
        """A kept delivery, its body opened. Raises Erased."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """`pool`: read connections. `public_url`: base of links and webhook addresses, no slash at its end.
    `customer_ref`: the keyed hash of an e-mail. `people` seals and opens personal data, `privacy` finds and erases
    it, `body` opens a kept delivery. `new_secret`: an API key with 32 random bytes; `new_code`: a code for a link
    that has none."""

    pool: Pool
    commerce: CommandQueue
    clock: Clock
    ids: IdFactory
    orders: OrderReader
    authenticator: Authenticator
    public_url: str
    automatic_approval: bool
    customer_ref: Callable[[str | None], str | None]
    replay: Replay
    people: People
    privacy: PrivacyDesk
    body: BodyReader
    metrics: Metrics
    tail: LogTail
    new_secret: Callable[[], str]
    new_code: Callable[[], str]
