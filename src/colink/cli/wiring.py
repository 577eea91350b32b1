"""What the command line is given by the wiring; it knows nothing of adapters itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.types import ASGIApp

from colink.application.payout_jobs import PayoutDesk
from colink.application.ports import Caller, Clock, CommandBus, IdFactory, Recorded
from colink.application.privacy.erasure import PrivacyDesk
from colink.application.privacy.people import People
from colink.application.tracking_archive import TrackingMonths
from colink.config import Settings
from colink.domain.sealing.checkpoint import VerifierKey
from colink.projections.audit import Outside
from colink.projections.engine import Decoder, Pool, ProjectionEngine
from colink.projections.log_watch import LogWatch


class SchemaState(Protocol):
    """Where the database stands; `current` None: CoLink was never set up there."""

    @property
    def current(self) -> str | None: ...

    @property
    def head(self) -> str | None: ...

    @property
    def pending(self) -> Sequence[str]: ...


class RunningColink(Protocol):
    """An opened application."""

    @property
    def settings(self) -> Settings: ...

    @property
    def commerce(self) -> CommandBus: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def ids(self) -> IdFactory: ...

    @property
    def pool(self) -> Pool:
        """For reading."""

    @property
    def engine(self) -> ProjectionEngine: ...

    @property
    def decode(self) -> Decoder:
        """How events are read from the log."""

    def payout_desk(self, *, actor: str = "worker") -> PayoutDesk:
        """The worker's payout jobs, on the rails there are."""

    def sandbox(self, *, callback_url: str | None = None) -> AbstractAsyncContextManager[str]:
        """The sandbox rail in reach, and its provider's address; where none was given, it is started here."""

    def outside(self) -> Outside:
        """What the data folder holds of what was signed, for `audit verify`."""

    def log_watch(self) -> LogWatch:
        """Tells when the commerce log moved."""

    async def replay(self, delivery_id: str, *, caller: Caller) -> Recorded:
        """Read a kept delivery again. Raises NotFound."""

    @property
    def people(self) -> People:
        """Personal data on its way in and out."""

    @property
    def privacy(self) -> PrivacyDesk:
        """Finding and erasing people."""

    async def seal(self) -> int:
        """Seal the commerce log up to its end, and sign; how many events were sealed. Raises SealRefused."""

    async def new_seal_key(self) -> VerifierKey:
        """A new key, the one that signs from now on; those before it are retired."""

    @property
    def tracking_months(self) -> TrackingMonths:
        """The months of the tracking log and its archive."""

    async def keep_tracking_months(self) -> int:
        """Make the months to come, and archive those that are older than COLINK_TRACKING_RETENTION; how many."""

    async def destroy_old_salts(self) -> int:
        """Of network hashes, as semantics section 3 asks; how many."""

    async def first_admin_key(self) -> str | None:
        """The operator's first key where this call made it: to be shown, since nobody will know it again."""

    def new_secret(self) -> str:
        """A fresh API key."""

    def asgi(self) -> ASGIApp:
        """The whole of HTTP."""

    def end_streams(self) -> None:
        """Let answers that never end by themselves come to their end."""


class SeedOutcome(Protocol):
    """What became of a simulated seed. `failure`: what differed, at step `failed_at`; None: nothing."""

    @property
    def seed(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def failure(self) -> str | None: ...

    @property
    def failed_at(self) -> int | None: ...

    @property
    def events(self) -> int: ...

    @property
    def orders(self) -> int: ...

    @property
    def payouts(self) -> int: ...

    @property
    def crashes(self) -> int: ...

    @property
    def digest(self) -> str:
        """Of every event: a seed lives the same life every time."""


class Simulator(Protocol):
    """Lives seeds on a server of its own (docs/testing.md)."""

    def __call__(
        self, settings: Settings, seeds: Sequence[int], *, steps: int, processes: int, progress: Callable[[int], None]
    ) -> Iterator[SeedOutcome]: ...

    def shortest(self, settings: Settings, *, seed: int, steps: int) -> SeedOutcome | None:
        """The run of a failing seed with the fewest steps that fails; None where it does not fail."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How the command line gets at the application. `open_colink` migrates and opens; `migrate` and `schema_state`
    only look after the database (the first takes a callable that is told what happens). `back_up` copies all of an
    installation into a new folder, `restore` such a folder into an empty one. `known_verifiers` are the
    public keys of the logs that are sealed on this machine; no database is needed to know them."""

    load_settings: Callable[[], Settings]
    open_colink: Callable[[Settings], AbstractAsyncContextManager[RunningColink]]
    migrate: Callable[[Settings, Callable[[str], None]], SchemaState]
    schema_state: Callable[[Settings], SchemaState]
    back_up: Callable[[Settings, Path], None]
    restore: Callable[[Settings, Path], SchemaState]
    known_verifiers: Callable[[Settings], Sequence[VerifierKey]]
    simulate: Simulator
