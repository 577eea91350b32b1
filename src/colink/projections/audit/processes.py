"""Runs the segments of a verification at once, each in a process of its own, or one after the other in a thread."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

from colink.projections.audit.part import Part, new_part
from colink.projections.audit.segment import Segment, Setting, verify_segment

_setting: Setting | None = None
"""Of the run this process works for; told once, because the terms of a large installation are large."""


def usable_processes() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def verify_segments(
    setting: Setting, segments: Sequence[Segment], *, processes: int, finished: Callable[[Segment], None]
) -> list[Part]:
    """What each segment says, in their order; one whose process dies is incomplete. `finished` is called
    after each."""
    with _executor(setting, min(processes, len(segments))) as executor:

        async def verified(segment: Segment) -> Part:
            try:
                return await loop.run_in_executor(executor, work, segment)
            except Exception as error:  # noqa: BLE001 - a process that was killed, or could not connect
                part = new_part(segment.passes)
                part.could_not_run(segment.passes | segment.needed_by, f"{type(error).__name__}: {error}")
                return part
            finally:
                finished(segment)

        loop = asyncio.get_running_loop()
        work = _verify if isinstance(executor, ProcessPoolExecutor) else partial(verify_segment, setting)
        return await asyncio.gather(*(verified(segment) for segment in segments))


def _executor(setting: Setting, processes: int) -> Executor:
    if processes <= 1:
        return ThreadPoolExecutor(1)
    # Forked, a process would inherit the connections of the one that asks.
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(setting,)
    )


def _start(setting: Setting) -> None:
    global _setting  # noqa: PLW0603 - a process has no other way to keep what it was started with
    _setting = setting
    # Events are built by the thousand and gone with their window; looking for cycles among them took half the time.
    gc.freeze()
    gc.disable()


def _verify(segment: Segment) -> Part:
    if _setting is None:
        msg = "the process was not started for a verification"
        raise RuntimeError(msg)
    return verify_segment(_setting, segment)
