"""A process that seals in small batches until it is killed: `python -m tests.adapters.postgres.sealing_process`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

from tests.adapters.postgres.sealed import SealedLog

from colink.adapters.postgres.pool import AsyncPool


async def main() -> None:
    log = SealedLog(SimpleNamespace(app_dsn=sys.argv[1]), Path(sys.argv[2]))

    async def seal(pool: AsyncPool) -> None:
        sealer = log.sealer(pool, batch_size=20)
        while True:
            await sealer.run()

    await log.run(seal)


asyncio.run(main())
