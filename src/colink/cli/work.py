"""The worker's jobs on an opened application: what background work there is, and how often it is looked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from colink.application.jobs import clearing_job
from colink.application.payout_schedule import payout_jobs
from colink.application.seller_invoices import InvoiceDesk
from colink.application.seller_settlement import SettlementDesk
from colink.application.tier_job import tier_job
from colink.application.true_up_job import true_up_job
from colink.application.worker import Job, Worker
from colink.cli.wiring import RunningColink
from colink.projections.orders import due_orders
from colink.projections.seller_billing import SettlementTables
from colink.projections.seller_invoices import InvoiceTables
from colink.projections.tier_queue import TierTables
from colink.projections.true_ups import TrueUpTables

JOBS = {
    "projection": "log positions folded into a report",
    "retired_tables": "old versions of reports dropped",
    "tiers": "revenues counted for tiers",
    "true_ups": "tiers and caps of a day or month trued up",
    "clearing": "orders cleared",
    "settlement": "accounts of sellers settled",
    "seller_invoices": "sellers invoiced for a month",
    "seller_accounts": "accounts of sellers brought up to date",
    "payout_schedule": "payouts requested on schedule",
    "payouts": "steps of payouts taken",
    "sealing": "events sealed",
    "tracking_months": "months of tracking made or archived",
    "salts": "old salts destroyed",
    "erasures": "erasures of people kept",
}
"""What each job counts, in words; by the part of its name before a colon."""


@asynccontextmanager
async def opened_worker(colink: RunningColink) -> AsyncIterator[Worker]:
    """A worker with all jobs. The sandbox should be in reach (`colink.sandbox()`) while it works."""
    desk = colink.payout_desk()
    sellers = SettlementDesk(colink.commerce, SettlementTables(colink.pool))

    async def due(now: datetime, limit: int) -> Sequence[str]:
        async with colink.pool.connection() as connection:
            return await due_orders(connection, now=now, limit=limit)

    jobs = [
        *(
            Job(
                name=f"projection:{name}",
                run=partial(colink.engine.catch_up, name),
                interval=1.0,
                on_events=True,
                routine=True,
            )
            for name in colink.engine.names
        ),
        Job(name="retired_tables", run=colink.engine.drop_retired, interval=60.0),
        Job(
            name="tiers",
            run=tier_job(colink.commerce, TierTables(colink.pool), colink.clock),
            interval=60.0,
        ),
        Job(
            name="true_ups",
            run=true_up_job(colink.commerce, TrueUpTables(colink.pool), colink.clock),
            interval=5.0,
            on_events=True,
        ),
        Job(name="clearing", run=clearing_job(colink.commerce, due, colink.clock), interval=5.0, on_events=True),
        Job(name="settlement", run=sellers.run, interval=5.0, on_events=True),
        Job(
            name="seller_invoices",
            run=InvoiceDesk(colink.commerce, InvoiceTables(colink.pool), colink.clock).run,
            interval=3600.0,
        ),
        # What was posted before accounts knew of charges; nothing is added to it, so once would do.
        Job(name="seller_accounts", run=sellers.adopt, interval=3600.0),
        *payout_jobs(desk, schedule=colink.settings.payout_schedule, clock=colink.clock),
        # Not on events: a few times a second is soon enough, and each time more is sealed for the same price.
        Job(name="sealing", run=colink.seal, interval=0.25, routine=True),
        Job(name="tracking_months", run=colink.keep_tracking_months, interval=3600.0),
        Job(name="salts", run=colink.destroy_old_salts, interval=3600.0),
        Job(name="erasures", run=colink.privacy.keep_erasures, interval=60.0),
    ]
    async with colink.log_watch() as watch:
        yield Worker(jobs, watch_log=watch.wait, under_way=desk.under_way)
