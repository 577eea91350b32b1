"""Touches of one place at once share a batch and keep their order; exactly one of them counts, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.adapters.postgres.commands import NOON
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool
from colink.application.ports import Recorded
from colink.application.track import RecordTouch, record_click
from colink.domain.errors import ConcurrentUpdate, InvalidInput
from colink.domain.tracking import LinkDetails


def link(id_: str) -> LinkDetails:
    return LinkDetails(id=id_, code=id_, creator_id="cre_1", destination="https://kedai.example", campaign_id="cmp_1")


def click(
    click_id: str, *, on: str = "lnk_1", networks: Sequence[str] = ("net_1",), after: float = 0.0
) -> RecordTouch:
    """`after`: seconds after noon."""
    return record_click(
        link(on),
        click_id=click_id,
        at=NOON + timedelta(seconds=after),
        visitor_id=None,
        set_aside=None,
        network_hashes=networks,
    )


class Batches:
    """An observer that counts the commands of each batch."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def batch_committed(self, log: str, commands: int, events: int, seconds: float) -> None:
        self.sizes.append(commands)

    def queue_depth(self, log: str, depth: int) -> None: ...

    def retried(self, log: str, commands: int) -> None: ...


async def at_once(bus: Committer, *clicks: RecordTouch) -> list[Any]:
    return await asyncio.gather(*(bus.submit(command) for command in clicks), return_exceptions=True)


def repeats(answers: Sequence[Any]) -> list[bool]:
    return [answer.answer["repeat"] for answer in answers]


def marked(store: Store) -> list[tuple[str, bool]]:
    """What the log says, in its order."""
    rows = store.rows(
        "select stream_id, payload::jsonb #>> '{details,repeat}' from colink.tracking_events order by 1"
    )
    return [(stream, repeat == "true") for stream, repeat in rows]


def test_touches_of_one_place_share_a_batch_and_the_first_counts(store: Store) -> None:
    batches = Batches()

    async def story(bus: Committer, _: AsyncPool) -> None:
        answers = await at_once(bus, *(click(f"clk_{n}") for n in range(50)))
        assert repeats(answers) == [False] + [True] * 49
        assert [answer.position for answer in answers] == list(range(1, 51))
        assert repeats(await at_once(bus, click("clk_50"), click("clk_51"))) == [True, True]

    store.run(story, log=TRACKING, observer=batches)
    assert batches.sizes == [50, 2]


def test_only_the_same_place_within_the_hour_is_a_repeat(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        answers = await at_once(
            bus,
            click("clk_0", networks=("today", "yesterday")),
            click("clk_1", networks=("other",)),
            click("clk_2", on="lnk_2", networks=("today",)),
            click("clk_3", networks=("tomorrow", "today"), after=3600),
            click("clk_4", networks=("tomorrow", "today"), after=3600.000001),
            click("clk_5", networks=("yesterday",)),
        )
        # The fourth is of the first's network an hour later, the fifth of the fourth's. A touch keeps its first hash.
        assert repeats(answers) == [False, False, False, True, True, False]
        late = await at_once(bus, click("clk_6", networks=("other",), after=3601))
        assert repeats(late) == [False]

    store.run(story, log=TRACKING)


@pytest.mark.parametrize(
    ("first", "error"),
    [(click("clk_taken"), ConcurrentUpdate), (click("clk_\x1f"), InvalidInput), (click("clk_\x00"), Exception)],
    ids=["recorded already", "cannot be written", "cannot be read for"],
)
def test_when_the_first_is_not_recorded_the_next_one_counts(
    store: Store, first: RecordTouch, error: type[Exception]
) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(click("clk_taken", networks=("elsewhere",)))
        answers = await at_once(bus, first, *(click(f"clk_{n}") for n in range(3)))
        assert isinstance(answers[0], error)
        assert repeats(answers[1:]) == [False, True, True]

    store.run(story, log=TRACKING)
    assert marked(store) == [("clk_0", False), ("clk_1", True), ("clk_2", True), ("clk_taken", False)]


def test_two_batches_in_flight_never_share_a_place(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        clicks = [click(f"clk_{n:03}", networks=(f"net_{n % 7}",)) for n in range(140)]
        answers = await at_once(bus, *clicks)
        assert all(isinstance(answer, Recorded) for answer in answers)
        assert repeats(answers) == [n >= 7 for n in range(140)]

    store.run(story, log=TRACKING, in_flight=2, batch_size=10)


def test_of_two_processes_one_counts_a_place(store: Store) -> None:
    """Each has read before the other wrote; the append tells the second, which decides again."""

    async def story(one: Committer, pool: AsyncPool) -> None:
        async with store.committer(log=TRACKING) as (other, _):
            for n in range(20):
                answers = await asyncio.gather(
                    one.submit(click(f"clk_a{n}", networks=(f"net_{n}",))),
                    other.submit(click(f"clk_b{n}", networks=(f"net_{n}",))),
                )
                assert sorted(repeats(answers)) == [False, True]

    store.run(story, log=TRACKING)
