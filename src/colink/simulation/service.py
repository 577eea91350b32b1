"""The service under simulation: the real committers, connector, worker jobs, reports and auditor, in this process.

    Service.open -> deliver, touch, submit, clear, pay ... -> crash (thrown away as it stands) or close

One batch is in flight at a time, so that a seed gives the same log every time; the clock, the ids and the provider
come in from outside and outlive the service. HTTP is left out for speed: what a route does beyond this is tested
elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from colink.adapters.archive_files import ArchiveFiles
from colink.adapters.people_desk import PeopleDesk
from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.installation import Installation, read_installation
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.orders import PostgresOrders
from colink.adapters.postgres.people import PostgresKeyBook, PostgresPeople
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.postgres.tracking_archive import ArchivedEvents
from colink.adapters.sealing_keys import KeyFolder
from colink.adapters.stores.shopify import ShopifyConnector
from colink.application.deliveries import Arrival, receive_delivery
from colink.application.jobs import clearing_job
from colink.application.payout_jobs import PayoutDesk
from colink.application.payout_rails import PayoutRail
from colink.application.ports import Clock, Command, IdFactory, Recorded
from colink.application.seller_invoices import InvoiceDesk
from colink.application.seller_settlement import SettlementDesk
from colink.application.tier_job import tier_job
from colink.application.true_up_job import ChangedPeriod, Covered, true_up_job
from colink.domain.audit.report import Report
from colink.domain.errors import Unauthorized
from colink.domain.organizations import StoreDetails
from colink.domain.payout_accounts import Rail
from colink.domain.sealing.encoding import origin_of
from colink.projections.attribution_report import AttributionReport
from colink.projections.audit import Outside, verify
from colink.projections.engine import ProjectionEngine
from colink.projections.leaderboard import Leaderboard
from colink.projections.orders import due_orders
from colink.projections.payout_queue import PayoutTables
from colink.projections.seller_billing import SettlementTables
from colink.projections.seller_invoices import InvoiceTables
from colink.projections.tier_queue import TierTables
from colink.projections.true_ups import NAME as TRUE_UPS
from colink.projections.true_ups import TrueUps, TrueUpTables
from colink.simulation.faults import BreakingPool, Faults
from colink.simulation.keys import folder_with_keys, sealing

Outcome = Recorded | Exception
_MANY = 100_000  # orders: more than a business has


@dataclass(frozen=True, kw_only=True)
class World:
    """What outlives a crash. `pepper` keys the hashes of buyers' addresses; `keys` is a folder for keys."""

    dsn: str
    clock: Clock
    ids: IdFactory
    rail: PayoutRail
    pepper: bytes
    keys: Path
    faults: Faults


@dataclass(frozen=True)
class _InTurn:
    """A TrueUpQueue that shows one period to be counted after the other, and what is due and covered only when all
    are: how far a seller's money reaches depends on what is charged to him, and what is taken back of his orders on
    what was charged first, so a worker that takes all at once may come to either."""

    tables: TrueUpTables

    async def to_count(self, now: datetime, limit: int) -> Sequence[ChangedPeriod]:
        return await self.tables.to_count(now, min(limit, 1))

    async def to_clear(self, now: datetime, limit: int) -> Sequence[str]:
        counted = not await self.tables.to_count(now, 1)
        return await self.tables.to_clear(now, limit) if counted else []

    async def to_release(self, now: datetime, limit: int) -> Sequence[Covered]:
        counted = not await self.tables.to_count(now, 1)
        return await self.tables.to_release(now, limit) if counted else []


class Service:
    """One life of the service, between two crashes."""

    def __init__(self, world: World, pool: AsyncPool, commands: AsyncPool, touches: AsyncPool, log_id: str) -> None:
        self._world = world
        self.pool = pool
        self._pools = (pool, commands, touches)
        self.commerce = Committer(BreakingPool(commands, world.faults), world.clock)
        self.tracking = Committer(touches, world.clock, log=TRACKING)
        self.connector = ShopifyConnector(pepper=world.pepper)
        self.mapper = EventMapper()
        self.orders = PostgresOrders(pool, self.mapper)
        self.engine = ProjectionEngine(
            pool,
            [AttributionReport(), Leaderboard(), TrueUps()],
            self.mapper.newest,
            open_archive=lambda: ArchivedEvents(ArchiveFiles(world.keys / "objects")),
        )
        origin = origin_of(log_id)
        self._keys = KeyFolder(world.keys, origin=origin)
        self._pepper = world.pepper
        self._person_keys = folder_with_keys(world.keys / log_id / "people")
        self.people = sealing().reading(PostgresKeyBook(pool))
        register = PostgresPeople(pool, self._person_keys, pepper=world.pepper)
        self.privacy = PeopleDesk(folder=self._person_keys, register=register, bus=self.commerce, pepper=world.pepper)
        self._sealer = Sealer(pool, self._keys, world.clock, origin=origin)
        self._in_turn = ""
        self._clear = clearing_job(self.commerce, self._due, world.clock)
        self._decide_tiers = tier_job(self.commerce, TierTables(pool), world.clock)
        self._true_up = true_up_job(self.commerce, _InTurn(TrueUpTables(pool)), world.clock)
        self.desk = self._desk()
        self._invoices = InvoiceDesk(self.commerce, InvoiceTables(pool), world.clock)
        self._settlement = SettlementDesk(self.commerce, SettlementTables(pool))

    @classmethod
    async def open(cls, world: World) -> Service:
        installation: Installation = await asyncio.to_thread(read_installation, world.dsn)
        pools = (
            create_pool(world.dsn, min_size=1, max_size=6),
            create_pool(world.dsn, max_size=1, for_commands=True),
            create_pool(world.dsn, max_size=1, for_commands=True),
        )
        for pool in pools:
            await pool.open(wait=True)
        service = cls(world, *pools, installation.log_id)
        await service.commerce.start()
        await service.tracking.start()
        await service.engine.register()
        async with service.pool.connection() as connection:
            fingerprint = service._person_keys.keys().fingerprint
            await connection.execute("SELECT colink.adopt_person_keys(%s)", (fingerprint,))
        return service

    async def close(self) -> None:
        await self.commerce.stop()
        await self.tracking.stop()
        for pool in self._pools:
            await pool.close()

    async def crash(self) -> None:
        """Throw it away as it stands: nothing is finished, nobody is answered."""
        own = {asyncio.current_task()}
        for task in asyncio.all_tasks() - own:
            if (task.get_name() or "").startswith(("committer:", "batch")):
                task.cancel()
        for pool in self._pools:
            with suppress(Exception):
                await pool.close(timeout=1.0)

    def _desk(self) -> PayoutDesk:
        return PayoutDesk(
            bus=self.commerce,
            queue=PayoutTables(pool=self.pool),
            rails={Rail.SANDBOX: self._world.rail},
            ids=self._world.ids,
            clock=self._world.clock,
            automatic_approval=False,
            account_details=self.people.account_details,
            at_once=1,  # which of two reaches the provider first would be the machine's chance
        )

    async def _due(self, _now: datetime, _limit: int) -> Sequence[str]:
        return [self._in_turn]

    async def _all_due(self) -> Sequence[str]:
        async with self.pool.connection() as connection:
            return await due_orders(connection, now=self._world.clock.now(), limit=_MANY)

    # What happens to a service ------------------------------------------------------------------------------------

    async def deliver(
        self, store: StoreDetails, secret: str, headers: Mapping[str, str], body: bytes, *, at: datetime
    ) -> Recorded:
        """A webhook, from its signature on. Raises Unauthorized for a wrong one."""
        names = self.connector.headers
        if not self.connector.verify(body, headers, [secret]):
            msg = "the signature does not fit"
            raise Unauthorized(msg)
        arrival = Arrival(
            topic=headers[names.topic],
            delivery_id=headers[names.delivery_id],
            headers={name: value for name, value in headers.items() if name in names.kept},
            body=body,
            received_at=at,
        )
        return await receive_delivery(
            arrival, store=store, connector=self.connector, bus=self.commerce, keys=self.people.keys
        )

    async def submit(self, commands: Sequence[Command]) -> list[Outcome]:
        return list(await self.commerce.submit_many(commands))

    async def touch(self, commands: Sequence[Command]) -> list[Outcome]:
        return list(await self.tracking.submit_many(commands))

    async def clear(self) -> int:
        """The worker's clearing of all that is due, one after the other: a count before one of them may leave
        something to be taken back before others clear."""
        cleared = 0
        for order_id in sorted(await self._all_due()):
            self._in_turn = order_id
            cleared += await self._clear()
        return cleared

    async def decide_tiers(self) -> int:
        return await self._decide_tiers()

    async def true_up(self) -> int:
        """The worker's counts and clearings of days and months, until the projection that notices changes has seen
        all and nothing is left to do."""
        moved = 0
        while True:
            await self.engine.catch_up(TRUE_UPS)
            done = await self._true_up()
            if not done:
                return moved
            moved += done

    async def pay(self) -> int:
        """The worker's payout jobs: submit what is approved, ask about what is at the provider, and about what was
        paid."""
        return await self.desk.submit_approved() + await self.desk.follow_up() + await self.desk.recheck_paid()

    async def bill(self) -> int:
        """The worker's invoices for months that are over."""
        return await self._invoices.run()

    async def settle(self) -> int:
        """The worker's settling of sellers' orders, until nothing is left to do."""
        settled = 0
        while done := await self._settlement.run():
            settled += done
        return settled

    async def verify(self) -> Report:
        """Seal, and verify the whole log."""
        while await self._sealer.run():
            pass
        await self.engine.run_until_caught_up()
        async with self.pool.connection() as connection:
            outside = Outside(person_keys=self._person_keys.keys(), pepper=self._pepper)
            return await verify(connection, self.mapper.event, outside=outside)
