"""A backup of one machine, made while it works, restored into a new cluster on another: the log is the same byte for
byte, and writers, readers, projections and seals go on where it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from tests.torture.judge import judge, settle
from tests.torture.load import Answers
from tests.torture.machine import PATIENCE, Machine, machine
from tests.torture.shop import Shop, open_shop

from colink.adapters.postgres.append import COMMERCE
from colink.adapters.postgres.pool import create_blocking_pool
from colink.adapters.postgres.recorder import PostgresRecorder

BEFORE, MEANWHILE, AFTER = range(1, 61), range(61, 121), range(121, 141)  # orders
_LOG = "select md5(string_agg(e::text, '|' order by position)) from colink.events e where position <= %s"
_CHECKPOINTS = "select projection, log, position from colink.projection_checkpoints order by 1, 2"


def test_all_goes_on_in_a_new_cluster(tmp_path: Path) -> None:
    with machine(fsync="off") as old, machine(fsync="off") as new:
        shop = asyncio.run(_work_and_back_up(old, tmp_path / "backup"))
        assert new.colink("db", "restore", str(tmp_path / "backup"))[0] == 0
        head = new.value("select position from colink.log_head")
        assert new.value(_LOG, head) == old.value(_LOG, head)
        checkpoints, sealed = new.rows(_CHECKPOINTS), new.value("select max(position) from colink.seals")
        assert all(position > 0 for _, _, position in checkpoints)
        assert 0 < sealed <= head

        asyncio.run(_go_on(new, shop))
        assert new.value(_LOG, head) == old.value(_LOG, head)
        assert [row[:2] for row in new.rows(_CHECKPOINTS)] == [row[:2] for row in checkpoints]
        assert all(now >= then for (*_, now), (*_, then) in zip(new.rows(_CHECKPOINTS), checkpoints, strict=True))
        _a_subscription_continues(new, gt=head - 10)


async def _work_and_back_up(old: Machine, backup: Path) -> Shop:
    old.start_all()
    async with open_shop(old.url) as shop:
        await _deliver(shop, BEFORE)
        assert (await shop.click()).status_code == 302
        await asyncio.to_thread(settle, old)
        assert (await shop.request_payout(shop.creator_id, key="payout-1")).status_code == 201
        await asyncio.to_thread(settle, old)
        working = asyncio.ensure_future(_deliver(shop, MEANWHILE))
        code, _ = await asyncio.to_thread(old.colink, "db", "backup", str(backup))
        assert code == 0
        await working
    old.stop("worker")
    old.stop("serve")
    return shop


async def _deliver(shop: Shop, orders: range) -> Answers:
    answers = Answers()
    for number in orders:
        told = await shop.deliver(shop.order(number))
        assert told.status_code == 200, told.text
        answers.deliveries.add(f"order-{number}")
    return answers


async def _go_on(new: Machine, shop: Shop) -> None:
    """The platform sends again what it sent after the backup, and what it did not; then all is as if nothing was."""
    new.start_all()
    async with httpx.AsyncClient(base_url=new.url, timeout=PATIENCE, trust_env=False) as http:
        moved = replace(shop, http=http)
        answers = Answers()
        for orders in (BEFORE, MEANWHILE, AFTER):
            answers.deliveries |= (await _deliver(moved, orders)).deliveries
        answers.tried["click"] = 1
        await asyncio.to_thread(settle, new)
        await asyncio.to_thread(judge, new, moved, answers)


def _a_subscription_continues(new: Machine, *, gt: int) -> None:
    last: Any = new.value("select position from colink.log_head")
    with create_blocking_pool(new.dsn()) as pool, PostgresRecorder(pool, COMMERCE).subscribe(gt=gt) as subscription:
        seen = [next(subscription).id for _ in range(last - gt)]
    assert seen == list(range(gt + 1, last + 1))
