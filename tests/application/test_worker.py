"""The worker promises: one failing job stops no other, failures back off, `run_once` does all due work and waits for
what is under way no longer than told, and stopping lets the runs under way finish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from colink.application.worker import Job, Worker, back_off


def job(
    name: str, results: Sequence[int | Exception], log: list[str] | None = None, *, interval: float = 0.01
) -> Job:
    """A job that does what the list says, then nothing."""
    left = list(results)

    async def run() -> int:
        if log is not None:
            log.append(name)
        result = left.pop(0) if left else 0
        if isinstance(result, Exception):
            raise result
        return result

    return Job(name=name, run=run, interval=interval)


def test_once_goes_on_until_nothing_is_due() -> None:
    log: list[str] = []
    worker = Worker([job("a", [3, 0, 2], log), job("b", [0, 1], log)])
    work = asyncio.run(worker.run_once())
    assert work.done == {"a": 5, "b": 1}
    assert (work.failed, work.unfinished) == ({}, False)
    assert log == ["a", "b"] * 4


def test_once_tries_a_failing_job_three_times_and_the_others_go_on() -> None:
    log: list[str] = []
    broken = job("broken", [ValueError("no")] * 5, log)
    work = asyncio.run(Worker([broken, job("fine", [1, 1, 1, 1], log)]).run_once())
    assert work.done == {"fine": 4}
    assert work.failed == {"broken": "ValueError: no"}
    assert log.count("broken") == 3


def test_once_forgets_a_failure_that_passed() -> None:
    work = asyncio.run(Worker([job("shaky", [ValueError("no"), 2])]).run_once())
    assert (work.done, work.failed) == ({"shaky": 2}, {})


def under_way_for(times: int) -> Callable[[], Awaitable[bool]]:
    left = [True] * times

    async def under_way() -> bool:
        return bool(left) and left.pop()

    return under_way


def test_once_waits_for_what_is_under_way() -> None:
    log: list[str] = []
    worker = Worker([job("payouts", [1, 0, 0, 1], log)], under_way=under_way_for(2))
    work = asyncio.run(worker.run_once())
    assert (work.done, work.unfinished) == ({"payouts": 2}, False)


def test_once_waits_no_longer_than_told() -> None:
    work = asyncio.run(Worker([job("payouts", [1])], under_way=under_way_for(10_000)).run_once(patience=0.25))
    assert work.unfinished


async def _run_for(worker: Worker, seconds: float) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await asyncio.sleep(seconds)
    stop.set()
    await asyncio.wait_for(running, timeout=5)


def test_a_failing_job_backs_off_while_the_others_run() -> None:
    log: list[str] = []
    broken = job("broken", [ValueError("no")] * 1_000, log)
    asyncio.run(_run_for(Worker([broken, job("fine", [], log)]), 0.5))
    assert log.count("broken") == 1, "it waits two seconds after its first failure"
    assert log.count("fine") > 5


def test_back_off_doubles_up_to_five_minutes() -> None:
    assert [back_off(1.0, failures) for failures in (1, 2, 3, 20)] == [2.0, 4.0, 8.0, 300.0]
    assert back_off(0.1, 1) == 2.0


def test_a_log_that_moves_wakes_the_jobs_that_follow_it() -> None:
    log: list[str] = []
    follows = Job(name="follows", run=job("follows", [], log).run, interval=60, on_events=True)
    sleeps = Job(name="sleeps", run=job("sleeps", [], log).run, interval=60)

    async def moves(at_most: float) -> None:
        await asyncio.sleep(min(at_most, 0.02))

    asyncio.run(_run_for(Worker([follows, sleeps], watch_log=moves), 0.4))
    assert log.count("follows") > 3
    assert log.count("sleeps") == 1


def test_a_log_that_cannot_be_watched_is_polled() -> None:
    log: list[str] = []
    follows = Job(name="follows", run=job("follows", [], log).run, interval=0.05, on_events=True)

    async def fails(at_most: float) -> None:
        raise OSError(at_most)

    asyncio.run(_run_for(Worker([follows], watch_log=fails), 0.4))
    assert log.count("follows") > 3


def test_a_database_that_is_back_ends_back_offs() -> None:
    """Else reports would stand still as long again as an outage took, up to five minutes."""
    log: list[str] = []
    watched = iter([OSError("away")])

    async def recovers(at_most: float) -> None:
        for error in watched:
            raise error
        await asyncio.sleep(at_most)

    async def story() -> None:
        ran_again = asyncio.Event()

        async def fails_once() -> int:
            log.append("job")
            if len(log) == 1:
                raise OSError
            ran_again.set()
            return 0

        stop = asyncio.Event()
        worker = Worker([Job(name="hourly", run=fails_once, interval=3600)], watch_log=recovers)
        running = asyncio.create_task(worker.run(stop))
        await asyncio.wait_for(ran_again.wait(), timeout=60)
        stop.set()
        await running

    asyncio.run(story())


def test_stopping_lets_a_run_finish() -> None:
    finished: list[str] = []

    async def slow() -> int:
        await asyncio.sleep(0.3)
        finished.append("slow")
        return 1

    asyncio.run(_run_for(Worker([Job(name="slow", run=slow, interval=60)]), 0.1))
    assert finished == ["slow"]


def test_a_cancelled_worker_ends() -> None:
    async def run() -> None:
        running = asyncio.create_task(Worker([job("a", [])]).run(asyncio.Event()))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(run())
