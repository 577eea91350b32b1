"""The worker: runs jobs beside each other, for ever or until nothing is due.

Responsible for when a job runs, for backing off from one that fails, and for stopping. A job is a callable given by
the wiring; it does what is due now and says how much that was. Every job must be idempotent and safe to run by
several workers at once: the worker takes no locks. Not responsible for what jobs do (`jobs.py`, projections,
payouts).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

_log = structlog.get_logger(__name__)

_LONGEST_BACK_OFF = 300.0  # seconds
_LONGEST_WATCH = 1.0  # seconds: jobs that follow the log also poll it that often
_runs = itertools.count(1)  # of this process
_TRIES_ONCE = 3  # how often `run_once` tries a job that fails


@dataclass(frozen=True, kw_only=True)
class Job:
    """`run` does what is due and returns how many things it did. Every `interval` seconds, and at once when the log
    moved where `on_events` is set. `routine`: it follows every request, so its runs are logged for debugging only.
    """

    name: str
    run: Callable[[], Awaitable[int]]
    interval: float
    on_events: bool = False
    routine: bool = False


@dataclass(kw_only=True)
class WorkDone:
    """What `run_once` did: things done and the last error by job; `unfinished`: something was still on its way when
    the time was up."""

    done: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unfinished: bool = False


async def _nothing_under_way() -> bool:
    return False


async def _no_log_to_watch(at_most: float) -> None:
    await asyncio.sleep(at_most)


class Worker:
    """Runs jobs. `watch_log(at_most)` returns when the log moved, after `at_most` seconds anyway. `under_way()` tells
    whether work was handed to the outside that `run_once` should see the end of (payouts at the sandbox)."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        watch_log: Callable[[float], Awaitable[None]] = _no_log_to_watch,
        under_way: Callable[[], Awaitable[bool]] = _nothing_under_way,
    ) -> None:
        self._jobs = jobs
        self._watch_log = watch_log
        self._under_way = under_way

    async def run_once(self, *, patience: float = 30.0) -> WorkDone:
        """All due work, pass after pass in the order of the jobs, until a pass does nothing and nothing is under way;
        waits `patience` seconds at most for what is. A job that fails three times is given up."""
        work = WorkDone()
        failures = dict.fromkeys((job.name for job in self._jobs), 0)
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            progress = await self._pass(work, failures)
            if progress:
                continue
            if not await self._under_way():
                return work
            if asyncio.get_running_loop().time() >= deadline:
                work.unfinished = True
                return work
            await asyncio.sleep(0.1)

    async def _pass(self, work: WorkDone, failures: dict[str, int]) -> bool:
        progress = False
        for job in self._jobs:
            if failures[job.name] >= _TRIES_ONCE:
                continue
            try:
                with _as_run_of(job):
                    done = await job.run()
            except Exception as error:  # noqa: BLE001 - one job's failure, whatever it is, must not stop the others
                failures[job.name] += 1
                work.failed[job.name] = f"{type(error).__name__}: {error}"
                _log.warning("job failed", job=job.name, failures=failures[job.name], exc_info=error)
                progress = progress or failures[job.name] < _TRIES_ONCE
                continue
            failures[job.name] = 0
            work.failed.pop(job.name, None)
            work.done[job.name] = work.done.get(job.name, 0) + done
            progress = progress or done > 0
        return progress

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; the runs under way are finished first."""
        wake = {job.name: asyncio.Event() for job in self._jobs}
        back = {job.name: asyncio.Event() for job in self._jobs}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(stop, wake, back))
            for job in self._jobs:
                tasks.create_task(self._repeat(job, stop, wake[job.name], back[job.name]))

    async def _watch(
        self, stop: asyncio.Event, wake: Mapping[str, asyncio.Event], back: Mapping[str, asyncio.Event]
    ) -> None:
        """Wake the jobs that follow the log; all that back off, when the log is in reach again; on stopping, all."""
        watched = [wake[job.name] for job in self._jobs if job.on_events]
        out_of_reach = False
        stopping: asyncio.Future[object] = asyncio.ensure_future(stop.wait())
        watching: asyncio.Future[object] = asyncio.ensure_future(self._watch_log(_LONGEST_WATCH))
        try:
            while not stop.is_set():
                await asyncio.wait({stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    return
                if (error := watching.exception()) is not None:
                    out_of_reach = True
                    _log.warning("cannot watch the log, polling", exc_info=error)
                    await asyncio.wait({stopping}, timeout=_LONGEST_WATCH)
                elif out_of_reach:
                    out_of_reach = False
                    for event in back.values():
                        event.set()
                for event in watched:
                    event.set()
                watching = asyncio.ensure_future(self._watch_log(_LONGEST_WATCH))
        finally:
            stopping.cancel()
            watching.cancel()
            await asyncio.gather(stopping, watching, return_exceptions=True)
            for event in (*wake.values(), *back.values()):
                event.set()

    async def _repeat(self, job: Job, stop: asyncio.Event, wake: asyncio.Event, back: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            wake.clear()
            back.clear()
            try:
                with _as_run_of(job):
                    done = await job.run()
            except Exception as error:  # noqa: BLE001 - the job is tried again later; the others go on
                failures += 1
                pause = back_off(job.interval, failures)
                _log.warning("job failed", job=job.name, failures=failures, again_in=pause, exc_info=error)
                if await _set_within(pause, back):
                    failures = 0  # what kept it from its work may be over
                continue
            failures = 0
            if done:
                say = _log.debug if job.routine else _log.info
                say("job done", job=job.name, done=done)
            if stop.is_set():
                return
            await _set_within(job.interval, wake)


@contextmanager
def _as_run_of(job: Job) -> Iterator[None]:
    """Lines that are logged meanwhile say which run of which job they belong to."""
    with structlog.contextvars.bound_contextvars(job=job.name, correlation_id=f"job:{job.name}:{next(_runs)}"):
        yield


def back_off(interval: float, failures: int) -> float:
    """Seconds until a job that failed `failures` times in a row is tried again: doubling, 5 minutes at most."""
    return min(max(interval, 1.0) * 2.0 ** min(failures, 16), _LONGEST_BACK_OFF)


async def _set_within(seconds: float, event: asyncio.Event) -> bool:
    """Whether the event was set before that time had passed."""
    try:
        await asyncio.wait_for(event.wait(), timeout=seconds)
    except TimeoutError:
        return False
    return True
