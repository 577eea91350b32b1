"""The real console script on a real embedded server in a data folder of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.conftest import TestDatabase
from tests.projections.world import AINA, CALLER, ORGANIZATION, open_world

from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.provision import DATABASE, provision
from colink.adapters.postgres.server import EmbeddedServer
from colink.application.payouts import RegisterPayoutAccount
from colink.domain.payout_accounts import Rail

COLINK = Path(sys.executable).with_name("colink")
LONG_AGO = datetime(2020, 1, 6, 9, 0, tzinfo=UTC)  # due by any clock


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`colink` with this data folder and nothing else in its environment."""

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {"COLINK_DATA_DIR": str(self.data_dir)} | self.settings

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs to its end, which must be `code`."""
        done = subprocess.run(
            [str(COLINK), *arguments],
            check=False,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.data_dir,
        )
        assert done.returncode == code, f"colink {' '.join(arguments)}: {done.returncode}\n{done.stderr}{done.stdout}"
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(COLINK), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.data_dir,
        )


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A data folder in which a shop has sold; its server is kept running, so that commands start quickly."""

    colink: CommandLine
    database: TestDatabase


@pytest.fixture(autouse=True)
def logs_go_nowhere_else() -> Iterator[None]:
    """`colink` run in this process logs to the stderr of its test, which is closed for those that follow."""
    handlers = logging.root.handlers[:]
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with _folder() as folder:
        yield folder


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="colink-cli-"))
    folder.chmod(0o711)  # the server's user passes through where the tests run as root
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_shop(sell: Callable[[TestDatabase], None]) -> Iterator[Shop]:
    with _folder() as folder, EmbeddedServer(folder, settings={"fsync": "off"}).acquire() as server:
        provision(server)
        migrate(server.dsn(OWNER, DATABASE))
        database = TestDatabase(
            name=DATABASE,
            app_dsn=server.dsn(APP, DATABASE),
            owner_dsn=server.dsn(OWNER, DATABASE),
            superuser_dsn=server.dsn(SUPERUSER, DATABASE),
        )
        sell(database)
        yield Shop(colink=CommandLine(data_dir=folder), database=database)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Two orders of 150.00 and 40.00 by Aina's coupon, due to clear; sandbox accounts for her and the seller."""
    with open_shop(lambda database: asyncio.run(_sell(database))) as opened:
        yield opened


async def _sell(database: TestDatabase) -> None:
    async with open_world(database) as world:
        await world.order(1, 10_000, 5_000, creator=AINA, placed_at=LONG_AGO)
        await world.order(2, 4_000, creator=AINA, placed_at=LONG_AGO)
        for payee_id in (AINA, ORGANIZATION):
            account = RegisterPayoutAccount(
                caller=CALLER, payee_id=payee_id, rail=Rail.SANDBOX, currency="MYR", details={"delay_ms": 300}
            )
            await world.commerce.submit(account)
