"""The only module that knows everything: it opens the database, wires adapters to the application, and hands the
whole to the API and the command line. Not responsible for anything that happens after.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp

from colink.adapters.archive_files import ArchiveFiles
from colink.adapters.clock import SystemClock
from colink.adapters.ids import Uuid7Ids
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.adapters.people_desk import PeopleDesk
from colink.adapters.person_keys import PersonKeyFolder
from colink.adapters.postgres import backup
from colink.adapters.postgres import migrate as schema
from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.inbox import PostgresInbox, PostgresStoreDirectory
from colink.adapters.postgres.installation import Installation, read_installation
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.orders import PostgresOrders
from colink.adapters.postgres.people import PostgresKeyBook, PostgresPeople, open_person_keys
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.provision import Database, open_database
from colink.adapters.postgres.salts import PostgresSalts, destroy_old_salts
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.postgres.tracking_archive import ArchivedEvents, TrackingArchive
from colink.adapters.sealing_keys import KeyFolder, known_verifiers
from colink.adapters.stores.shopify import ShopifyConnector
from colink.application.configure.access import CreateApiKey, key_digest
from colink.application.deliveries import StoreConnector, replay_delivery
from colink.application.observers import CommitObservers
from colink.application.payout_jobs import PayoutDesk
from colink.application.payout_rails import PayoutRail
from colink.application.ports import Caller, Clock, Idempotency, Recorded
from colink.application.privacy.people import People
from colink.application.store_directory import CachedStores
from colink.cli.app import run
from colink.cli.wiring import Wiring
from colink.config import PayoutApproval, Settings, SettingsError, load_settings
from colink.domain.access import Role
from colink.domain.errors import ColinkError
from colink.domain.organizations import Platform
from colink.domain.payout_accounts import Rail
from colink.domain.sealing.checkpoint import VerifierKey
from colink.domain.sealing.encoding import origin_of
from colink.projections.api_keys import key_by_digest
from colink.projections.attribution_report import AttributionReport
from colink.projections.audit import Outside
from colink.projections.balances_in_time import BalancesInTime
from colink.projections.engine import Decoder, ProjectionEngine
from colink.projections.leaderboard import Leaderboard
from colink.projections.log_tail import LogTail
from colink.projections.log_watch import LogWatch
from colink.projections.payout_queue import PayoutTables
from colink.projections.true_ups import TrueUps
from colink.simulation.command import Simulator

if TYPE_CHECKING:
    from colink.adapters.tracing import Tracing

_log = structlog.get_logger(__name__)
_BATCHES_IN_FLIGHT = 2  # of the commerce log (architecture section 4)
_CONNECTIONS_OF_PROJECTIONS = 16  # two a log that each one follows, two more while it is rebuilt; none while idle


def log_progress(message: str) -> None:
    _log.info(message)


@dataclass(kw_only=True)
class Colink:
    """The opened application. `pool` is for reading; everything is written through `commerce` and `tracking`.
    `rails` are the payment providers in reach; the worker adds the sandbox it starts."""

    settings: Settings
    database: Database
    installation: Installation
    pool: AsyncPool
    commerce: Committer
    tracking: Committer
    clock: Clock
    ids: Uuid7Ids
    mapper: EventMapper
    orders: PostgresOrders
    stores: CachedStores
    inbox: PostgresInbox
    salts: PostgresSalts
    connectors: Mapping[Platform, StoreConnector]
    person_keys: PersonKeyFolder
    people: People
    privacy: PeopleDesk
    engine: ProjectionEngine
    sealer: Sealer
    keys: KeyFolder
    tail: LogTail
    observers: CommitObservers
    tracing: Tracing | None = None
    rails: dict[Rail, PayoutRail] = field(default_factory=dict)

    def new_secret(self) -> str:
        """An API key with 256 random bits."""
        return new_secret()

    async def first_admin_key(self) -> str | None:
        """The operator's first key, made by the first call in the life of a database, where COLINK_ADMIN_KEY gives
        none; None ever after. Whoever calls must show it."""
        if self.settings.admin_key is not None:
            return None
        secret = new_secret()
        return secret if await _create_operator_key(self, secret, once="first-admin-key") else None

    def asgi(self) -> ASGIApp:
        """Everything that HTTP reaches."""
        # FastAPI alone takes as long to import as all the rest: only who serves waits for it.
        from colink.bootstrap.http import build_asgi

        return build_asgi(self)

    def end_streams(self) -> None:
        """Let answers that never end by themselves come to their end."""
        self.tail.stop()

    def payout_desk(self, *, actor: str = "worker") -> PayoutDesk:
        """The worker's payout jobs, on the rails there are."""
        return PayoutDesk(
            bus=self.commerce,
            queue=PayoutTables(pool=self.pool),
            rails=self.rails,
            ids=self.ids,
            clock=self.clock,
            automatic_approval=self.settings.payout_approval is PayoutApproval.AUTO,
            account_details=self.people.account_details,
            actor=actor,
        )

    async def replay(self, delivery_id: str, *, caller: Caller, idempotency: Idempotency | None = None) -> Recorded:
        """Read a kept delivery again."""
        return await replay_delivery(
            delivery_id,
            caller=caller,
            idempotency=idempotency,
            inbox=self.inbox,
            stores=self.stores,
            connectors=self.connectors,
            bus=self.commerce,
        )

    @property
    def decode(self) -> Decoder:
        """How events are read from the log."""
        return self.mapper.event

    def log_watch(self) -> LogWatch:
        """Tells when the commerce log moved, on a connection of its own."""
        return LogWatch(self.database.app_dsn)

    async def seal(self) -> int:
        """Seal the commerce log up to its end, and sign; how many events were sealed."""
        return await self.sealer.run()

    def outside(self) -> Outside:
        """What the data folder holds of what was signed."""
        notes, keys = self.keys.kept()
        return Outside(notes=notes, keys=keys, person_keys=self.person_keys.keys())

    async def new_seal_key(self) -> VerifierKey:
        """A new key, the one that signs from now on; those before it are retired."""
        return await self.sealer.add_key()

    @property
    def tracking_months(self) -> TrackingArchive:
        """The months of the tracking log, and the archive in the data folder."""
        return TrackingArchive(dsn=self.database.app_dsn, files=archive_files(self.settings))

    async def keep_tracking_months(self) -> int:
        """Make the months to come, and archive those that are older than COLINK_TRACKING_RETENTION; how many."""
        made = await asyncio.to_thread(self.tracking_months.prepare, self.clock.now())
        retention = self.settings.tracking_retention
        if retention is None:
            return made
        oldest = self.clock.now() - retention
        return made + await asyncio.to_thread(self.tracking_months.archive_older_than, oldest)

    async def destroy_old_salts(self) -> int:
        """Those that began 48 hours ago or earlier; how many."""
        return await destroy_old_salts(self.pool, at=self.clock.now())

    @asynccontextmanager
    async def sandbox(self, *, callback_url: str | None = None) -> AsyncIterator[str]:
        """The sandbox rail in reach, and its provider's address: that of COLINK_SANDBOX_URL, else of a process that
        is started here, calls back at `callback_url` and ends with this context. Raises Unavailable."""
        if self.settings.sandbox_url is not None:
            yield self.settings.sandbox_url
            return
        from colink.adapters.payments.sandbox import SandboxRail
        from colink.adapters.payments.sandbox_process import SandboxProcess

        credentials = sandbox_credentials(self.settings)
        book = self.settings.data_dir / "sandbox" / "book.sqlite"
        start = partial(SandboxProcess.start, data=book, credentials=credentials, callback_url=callback_url)
        async with AsyncExitStack() as stack:
            process = await asyncio.to_thread(start)
            stack.push_async_callback(asyncio.to_thread, process.stop)
            rail = SandboxRail(process.url, credentials=credentials)
            stack.push_async_callback(rail.aclose)
            self.rails[Rail.SANDBOX] = rail
            stack.callback(self.rails.pop, Rail.SANDBOX)
            yield process.url


def archive_files(settings: Settings) -> ArchiveFiles:
    """What left the tracking log, in the data folder's object store."""
    return ArchiveFiles(settings.data_dir / "objects")


def sandbox_credentials(settings: Settings) -> SandboxCredentials:
    """What the sandbox provider and all processes on this data folder share."""
    return SandboxCredentials.kept_in(settings.data_dir / "sandbox" / "credentials.json")


class DatabaseNotUsable(ColinkError):
    slug, title, status = "database-not-usable", "The database cannot be used", 503


@asynccontextmanager
async def open_colink(settings: Settings) -> AsyncIterator[Colink]:
    """Acquire the database, migrate it, and open everything; closed in reverse order. Raises DatabaseNotUsable, and
    SettingsError for settings that do not fit the database."""
    async with AsyncExitStack() as stack:
        database = await asyncio.to_thread(stack.enter_context, held_database(settings))
        with in_words():
            await asyncio.to_thread(schema.migrate, database.owner_dsn, demo=settings.demo)
        yield await stack.enter_async_context(connect(settings, database))


@asynccontextmanager
async def connect(settings: Settings, database: Database, *, clock: Clock | None = None) -> AsyncIterator[Colink]:
    """Open everything on a migrated database that somebody else holds. `clock` takes the place of the real one."""
    async with AsyncExitStack() as stack:
        dsn = database.app_dsn
        with in_words():
            installation = await asyncio.to_thread(read_installation, dsn)
        clock = clock or SystemClock(checked_offset(settings, installation))
        pool = await stack.enter_async_context(create_pool(dsn))
        commands = await stack.enter_async_context(create_pool(dsn, max_size=_BATCHES_IN_FLIGHT, for_commands=True))
        touches = await stack.enter_async_context(create_pool(dsn, max_size=1, for_commands=True))
        reports = await stack.enter_async_context(create_pool(dsn, min_size=0, max_size=_CONNECTIONS_OF_PROJECTIONS))
        observers = CommitObservers()
        commerce = await stack.enter_async_context(
            Committer(commands, clock, in_flight=_BATCHES_IN_FLIGHT, observer=observers)
        )
        tracking = await stack.enter_async_context(Committer(touches, clock, log=TRACKING, observer=observers))
        mapper = EventMapper()
        origin = origin_of(installation.log_id)
        keys = KeyFolder(key_folder(settings), origin=origin)
        with in_words():
            people_folder = key_folder(settings) / installation.log_id / "people"
            person_keys = await asyncio.to_thread(open_person_keys, people_folder, dsn)
        colink = Colink(
            settings=settings,
            database=database,
            installation=installation,
            pool=pool,
            commerce=commerce,
            tracking=tracking,
            clock=clock,
            ids=Uuid7Ids(clock),
            mapper=mapper,
            orders=PostgresOrders(pool, mapper),
            stores=CachedStores(PostgresStoreDirectory(pool), monotonic=time.monotonic),
            inbox=PostgresInbox(pool, person_keys.keys),
            person_keys=person_keys,
            people=People(person_keys.keys, PostgresKeyBook(pool)),
            privacy=PeopleDesk(
                folder=person_keys,
                register=PostgresPeople(pool, person_keys, pepper=installation.pepper),
                bus=commerce,
                pepper=installation.pepper,
            ),
            salts=PostgresSalts(pool),
            connectors={Platform.SHOPIFY: ShopifyConnector(pepper=installation.pepper)},
            engine=ProjectionEngine(
                reports,
                [AttributionReport(), Leaderboard(), TrueUps(), BalancesInTime()],
                mapper.newest,
                open_archive=lambda: ArchivedEvents(archive_files(settings)),
            ),
            sealer=Sealer(pool, keys, clock, origin=origin),
            keys=keys,
            observers=observers,
            tail=LogTail(pool, lambda: LogWatch(dsn)),
        )
        if settings.otlp_endpoint is not None:
            from colink.adapters.tracing import Tracing

            colink.tracing = Tracing(settings.otlp_endpoint)
            stack.push_async_callback(colink.tracing.close)
        if settings.sandbox_url is not None:
            from colink.adapters.payments.sandbox import SandboxRail

            rail = SandboxRail(settings.sandbox_url, credentials=sandbox_credentials(settings))
            stack.push_async_callback(rail.aclose)
            colink.rails[Rail.SANDBOX] = rail
        await colink.engine.register()
        await ensure_admin_key(colink)
        yield colink


@contextmanager
def held_database(settings: Settings, report: Callable[[str], None] = log_progress) -> Iterator[Database]:
    """The provisioned database of the settings, while it is held: the embedded server runs as long as anyone does."""
    url = settings.database_url.get_secret_value() if settings.database_url is not None else None
    with ExitStack() as stack:
        with in_words():
            database = stack.enter_context(open_database(url, settings.data_dir, report=report))
        yield database


@contextmanager
def in_words() -> Iterator[None]:
    """What keeps us from the database is meant for people."""
    try:
        yield
    except (ServerError, schema.MigrationError) as error:
        raise DatabaseNotUsable(str(error)) from error


def checked_offset(settings: Settings, installation: Installation) -> timedelta:
    """Raises SettingsError where the clock of a database with real money in it would be moved."""
    if settings.clock_offset and not installation.demo:
        msg = (
            "COLINK_CLOCK_OFFSET: the clock moves only on a database created with COLINK_DEMO=1, which this one was "
            "not: unset it, or use another database"
        )
        raise SettingsError(msg)
    return settings.clock_offset


def new_secret() -> str:
    return f"ck_{secrets.token_urlsafe(32)}"


async def ensure_admin_key(colink: Colink) -> None:
    """Make COLINK_ADMIN_KEY usable, where it is given. One that was revoked stays so."""
    given = colink.settings.admin_key
    if given is not None:
        await _create_operator_key(
            colink, given.get_secret_value(), once=f"admin-key:{key_digest(given.get_secret_value())}"
        )
        async with colink.pool.connection() as connection:
            known = await key_by_digest(connection, key_digest(given.get_secret_value()))
        if known is not None and known.revocation is not None:
            _log.warning("COLINK_ADMIN_KEY was revoked and opens nothing: set another", key=known.details.id)


async def _create_operator_key(colink: Colink, secret: str, *, once: str) -> bool:
    """Whether this call made it. `once` names the making: of any number of processes at once only one does it."""
    digest = key_digest(secret)
    async with colink.pool.connection() as connection:
        if await key_by_digest(connection, digest) is not None:
            return False
    recorded = await colink.commerce.submit(
        CreateApiKey(
            caller=Caller(actor="bootstrap", correlation_id=colink.ids("boot")),
            idempotency=Idempotency(scope="bootstrap", key=once, request_digest=once),
            id=colink.ids("key"),
            digest=digest,
            role=Role.OPERATOR,
        )
    )
    return not recorded.replayed


def key_folder(settings: Settings) -> Path:
    """Where signing keys are kept: outside the database, which they vouch for."""
    return settings.data_dir / "keys"


def migrate(settings: Settings, report: Callable[[str], None]) -> schema.SchemaStatus:
    with held_database(settings, report) as database, in_words():
        return schema.migrate(database.owner_dsn, demo=settings.demo, report=report)


def schema_state(settings: Settings) -> schema.SchemaStatus:
    with held_database(settings) as database, in_words():
        return schema.status(database.owner_dsn)


def back_up(settings: Settings, destination: Path) -> None:
    """A copy of everything, of a service that may go on working. Raises DatabaseNotUsable."""
    with held_database(settings) as database, in_words():
        backup.back_up(database, settings.data_dir, destination)


def restore(settings: Settings, source: Path) -> schema.SchemaStatus:
    """Such a copy in place of an empty database, brought to the schema of this version. Raises DatabaseNotUsable."""
    with held_database(settings) as database, in_words():
        if schema.status(database.owner_dsn).current is not None:
            msg = "there is a CoLink in this database already: restore into an empty one"
            raise DatabaseNotUsable(msg)
        backup.restore(database, settings.data_dir, source)
        state = schema.migrate(database.owner_dsn, demo=settings.demo)
        asyncio.run(_erase_again(settings, database))
        return state


async def _erase_again(settings: Settings, database: Database) -> None:
    """A backup brings back the keys of whoever was erased after it was made."""
    async with connect(settings, database) as colink:
        await colink.privacy.keep_erasures()


def wiring() -> Wiring:
    """What the command line is given."""
    return Wiring(
        load_settings=load_settings,
        open_colink=open_colink,
        migrate=migrate,
        schema_state=schema_state,
        back_up=back_up,
        restore=restore,
        known_verifiers=lambda settings: known_verifiers(key_folder(settings)),
        simulate=Simulator(),
    )


def main() -> None:
    """The console script `colink`."""
    run(wiring())
