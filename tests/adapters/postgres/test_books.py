"""The database keeps the books by itself: journals that do not sum to zero are refused, closed periods take nothing
more, and no sum is too large."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.adapters.postgres.commands import CALLER, NOON, Decide, Post, journal, nothing
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import COMMERCE
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.prepared import Prepared
from colink.application.close_period import ClosePeriod
from colink.application.ports import Recorded
from colink.domain.audit.report import Kind, Pass
from colink.domain.errors import InvalidInput
from colink.domain.ledger import JournalPosted, UnbalancedJournal
from colink.domain.periods import ClosedPeriod, PeriodNotOver
from colink.domain.value import replace as replace_value
from colink.projections.audit import verify
from colink.projections.inline import project

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
LATE = NOON.replace(month=2, day=10)


def close(month: str) -> ClosePeriod:
    return ClosePeriod(caller=CALLER, month=month, reason="the accountant signed")


def late(journal_id: str, *, effective_at: datetime = LATE) -> Decide:
    event = journal(journal_id, ("payee:cre_1:available", 5), ("platform:revenue", -5), effective_at=effective_at)
    return Decide(make=lambda _: nothing(events=[event]))


_BUT_WHAT_LED_TO_THEM = frozenset(Pass) - {Pass.DERIVATION}  # journals here stand by themselves, which is found


async def findings(pool: AsyncPool) -> list[tuple[Kind, int, str]]:
    async with pool.connection() as connection:
        report = await verify(connection, EventMapper().event, only=_BUT_WHAT_LED_TO_THEM)
    return [(each.kind, each.position, each.subject) for each in report.findings]


def test_what_comes_late_is_posted_into_the_first_open_period_with_its_own_time_beside(store: Store) -> None:
    async def story(bus: Committer, pool: AsyncPool) -> None:
        await bus.submit(late("jrn_before"))
        await bus.submit(close("2026-02"))
        await bus.submit(late("jrn_after"))
        await bus.submit(late("jrn_at_the_edge", effective_at=MARCH))
        await bus.submit(late("jrn_just_before", effective_at=MARCH - timedelta(microseconds=1)))
        assert await findings(pool) == []

    store.run(story)
    assert store.rows("select journal_id, effective_at, occurred_at from colink.entries where ordinal = 0") == [
        ("jrn_before", LATE, None),
        ("jrn_after", MARCH, LATE),
        ("jrn_at_the_edge", MARCH, None),
        ("jrn_just_before", MARCH, MARCH - timedelta(microseconds=1)),
    ]
    payload = store.value("select payload from colink.events where stream_id = 'jrn_after'")
    assert '"effective_at":"2026-03-01T00:00:00Z"' in payload
    assert '"occurred_at":"2026-02-10T12:00:00Z"' in payload
    store.assert_sound()


def test_only_months_that_are_over_are_closed_each_once_and_all_before_with_them(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        for month in ("2026-03", "2027-01"):
            with pytest.raises(PeriodNotOver):
                await bus.submit(close(month))
        for month in ("2026-13", "2026-3", "26-03", "0000-01", "9999-12", "March"):
            with pytest.raises(InvalidInput):
                await bus.submit(close(month))
        assert (await bus.submit(close("2025-12"))).answer["open_from"] == "2026-01-01T00:00:00Z"
        for month in ("2025-12", "2025-11"):
            with pytest.raises(ClosedPeriod, match="closed already"):
                await bus.submit(close(month))
        await bus.submit(close("2026-02"))
        with pytest.raises(ClosedPeriod):
            await bus.submit(close("2026-01"))

    store.run(story)
    assert store.rows("select version, topic from colink.events where stream_id = 'ledger'") == [
        (1, "ledger.period_closed"),
        (2, "ledger.period_closed"),
    ]
    assert store.value("select open_from from colink.log_head") == MARCH


def test_a_closing_and_late_journals_at_once_leave_nothing_in_the_closed_period(store: Store) -> None:
    """Two committers, so that one decides by what the other is changing."""

    async def story(bus: Committer, pool: AsyncPool) -> None:
        async with store.committer() as (other, _):
            posts = [(bus, other)[n % 2].submit(late(f"jrn_{n}")) for n in range(60)]
            results = await asyncio.gather(*posts[:20], other.submit(close("2026-02")), *posts[20:])
        assert all(isinstance(result, Recorded) for result in results)
        assert await findings(pool) == []

    store.run(story)
    closed_at = store.value("select position from colink.events where stream_id = 'ledger'")
    times = store.rows("select position > %s, effective_at from colink.entries group by 1, 2", closed_at)
    assert set(times) <= {(False, LATE), (True, MARCH)}
    assert store.value("select count(*) from colink.entries") == 120
    store.assert_sound()


def test_a_closing_in_the_same_batch_comes_after_the_journals_decided_with_it(store: Store) -> None:
    async def story(bus: Committer, pool: AsyncPool) -> None:
        await asyncio.gather(bus.submit(close("2026-02")), bus.submit(late("jrn_1")))
        assert await findings(pool) == []

    store.run(story)
    assert store.rows("select stream_id from colink.events order by position") == [("jrn_1",), ("ledger",)]


def test_the_append_refuses_a_journal_that_was_decided_before_a_closing(store: Store) -> None:
    """Straight into the append, as a batch that was read before: the database does not believe who calls it."""

    async def story(bus: Committer, pool: AsyncPool) -> None:
        await bus.submit(close("2026-02"))
        event = journal("jrn_1", ("payee:cre_1:available", 5), ("platform:revenue", -5), effective_at=LATE)
        with pytest.raises(Exception, match="closed before 2026-03-01") as refused:
            await _append(pool, event)
        assert getattr(refused.value, "sqlstate", None) == "CL001"

    async def _append(pool: AsyncPool, event: JournalPosted) -> None:
        stamped = EventMapper().stamped(event)
        prepared = Prepared(events=[stamped], rows=[project(event)], caller=CALLER, answer="{}")
        async with pool.connection() as connection:
            await connection.execute(COMMERCE.append, COMMERCE.parameters([prepared], NOON))

    store.run(story)
    assert store.value("select count(*) from colink.entries") == 0


def test_a_journal_that_does_not_sum_to_zero_is_refused_by_the_database_and_alone(store: Store) -> None:
    posted = journal("jrn_1", ("payee:cre_1:available", 5), ("platform:revenue", -5))
    first, second = posted.postings
    short = replace(posted, postings=(first, replace_value(second, amount=-4)))
    mixed = replace(posted, originator_id="jrn_2", postings=(first, replace_value(second, currency="SGD")))

    async def story(bus: Committer, _: AsyncPool) -> None:
        results = await asyncio.gather(
            bus.submit(Post(journal_id="jrn_good_1")),
            bus.submit(Decide(make=lambda _: nothing(events=[short]))),
            bus.submit(Decide(make=lambda _: nothing(events=[mixed]))),
            bus.submit(Post(journal_id="jrn_good_2")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Recorded, UnbalancedJournal, UnbalancedJournal, Recorded]

    store.run(story)
    assert store.rows("select distinct journal_id from colink.entries order by 1") == [
        ("jrn_good_1",),
        ("jrn_good_2",),
    ]
    store.assert_sound()


def test_sums_beyond_64_bits_stop_nobody(store: Store) -> None:
    """What a seller can fill in a few bulk calls: the account everybody's fees go to, and a creator's own line."""
    huge = 2**62
    legs = (("payee:cre_1:available", huge), ("platform:revenue", -huge))

    async def story(bus: Committer, pool: AsyncPool) -> None:
        for number in range(5):
            await bus.submit(Post(journal_id=f"jrn_{number}", legs=legs))
        await bus.submit(Post(journal_id="jrn_of_another"))
        assert await findings(pool) == []

    store.run(story)
    balance = store.rows(
        "select amount, credits, credited from colink.balances where account = 'payee:cre_1:available'"
    )
    assert balance == [(5 * huge + 5,) * 3]
    assert store.value("select max(credited_after) from colink.entries") == 5 * huge + 5
    store.assert_sound()
