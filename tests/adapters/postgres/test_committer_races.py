"""What a command decided on may move before its append, or its connection break: it decides again, never twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.adapters.postgres.commands import (
    NOON,
    Decide,
    Post,
    Register,
    delivery,
    idempotency,
    journal,
    nothing,
    our_events,
)
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.committer import ATTEMPTS, Committer
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.application.ports import (
    BalanceUnchanged,
    Decision,
    Facts,
    MoreNeeded,
    Needs,
    Recorded,
    TermsUnchanged,
)
from colink.domain.errors import (
    ConcurrentUpdate,
    Unavailable,
)
from colink.domain.ledger import Journal
from colink.domain.organizations import Organization, OrganizationDetails

AVAILABLE = "payee:cre_1:available"


async def _posted_by_another(store: Store, command: Post | Register) -> None:
    """Another process records something meanwhile."""
    async with store.committer() as (other, _):
        await other.submit(command)


class _Interrupted:
    """Facts are read, then somebody else is quicker, then the command is appended. Once."""

    def __init__(self, store: Store, pool: AsyncPool, rival: Post | Register) -> None:
        self._store, self._pool, self._rival = store, pool, rival
        self.committer = Committer(pool, store.clock)
        self._append = self.committer._append
        self.committer._append = self._late

    async def _late(self, connection: object, decided: list[object]) -> object:
        rival, self._rival = self._rival, None
        if rival is not None:
            await _posted_by_another(self._store, rival)
        return await self._append(connection, decided)


def test_a_command_that_lost_a_race_decides_again_on_what_is_there_now(store: Store) -> None:
    versions: list[int] = []

    def once(facts: Facts) -> Decision:
        seen = facts.aggregate(Journal, "jrn_1")
        versions.append(seen.version if seen else 0)
        events = [] if seen else [journal("jrn_1", (AVAILABLE, 7), ("platform:revenue", -7))]
        return nothing(events=events)

    async def story(_: Committer, pool: AsyncPool) -> None:
        async with _Interrupted(store, pool, Post(journal_id="jrn_1")).committer as bus:
            recorded = await bus.submit(Decide(make=once, reads=Needs(streams=("jrn_1",))))
            assert recorded.position is None

    store.run(story)
    assert versions == [0, 1]
    assert store.value("select amount from colink.balances where account = %s", AVAILABLE) == 5
    store.assert_sound()


def test_a_command_that_asked_for_more_is_not_there_twice_when_the_connection_breaks(store: Store) -> None:
    """Its batch is tried again; it waits by itself already. In its own way it would begin again for ever."""
    decisions = 0

    def once(facts: Facts) -> Decision:
        nonlocal decisions
        decisions += 1
        if "jrn_all" not in (*facts.needs.reads, *facts.needs.streams):
            raise MoreNeeded(Needs(reads=("jrn_all",)))
        if "jrn_all" not in facts.needs.streams:
            raise MoreNeeded(Needs(streams=("jrn_all",)), for_all=True)
        if not facts.needs.charges_of:
            raise MoreNeeded(Needs(charges_of=(("org_1", "MYR"),)))
        return nothing(events=[journal("jrn_all", (AVAILABLE, 7), ("platform:revenue", -7))])

    async def story(_: Committer, pool: AsyncPool) -> None:
        committer = Committer(pool, store.clock)
        append, broken = committer._append, 0

        async def breaks_once(connection: object, decided: list[object]) -> object:
            nonlocal broken
            if decided and not broken:
                broken += 1
                raise psycopg.OperationalError
            return await append(connection, decided)

        committer._append = breaks_once
        async with committer as bus:
            commands = [Decide(make=once, reads=Needs(streams=("jrn_own",))), Post(journal_id="jrn_1")]
            async with asyncio.timeout(20):
                recorded = await asyncio.gather(*(bus.submit(command) for command in commands))
        assert all(each.position is not None for each in recorded)
        assert broken == 1

    store.run(story)
    assert decisions == 4
    store.assert_sound()


def test_a_guarded_balance_that_moved_is_read_again(store: Store) -> None:
    versions: list[int] = []

    def take_all(facts: Facts) -> Decision:
        funds = facts.funds("cre_1", "MYR")
        versions.append(funds.version)
        event = journal(
            "jrn_2", (AVAILABLE, -funds.balance), ("payee:cre_1:in_transit", funds.balance), payout_id="p"
        )
        return Decision(
            answer={"amount": funds.balance},
            events=[event],
            guards=[BalanceUnchanged(account=AVAILABLE, currency="MYR", version=funds.version)],
        )

    async def story(bus: Committer, pool: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_0"))
        async with _Interrupted(store, pool, Post(journal_id="jrn_1")).committer as slow:
            recorded = await slow.submit(Decide(make=take_all, reads=Needs(funds_of=(("cre_1", "MYR"),))))
            assert recorded.answer == {"amount": 10}

    store.run(story)
    assert versions == [1, 2]
    assert store.rows("select amount, credited, version from colink.balances where account = %s", AVAILABLE) == [
        (0, 10, 3)
    ]
    store.assert_sound()


def test_terms_that_moved_are_read_again(store: Store) -> None:
    positions: list[int] = []

    def read_terms(facts: Facts) -> Decision:
        terms = facts.terms()
        positions.append(terms.position)
        guards = [TermsUnchanged(organization_id="org_1", position=terms.position)]
        return Decision(answer={"name": terms.organization.name}, guards=guards)

    def rename(_: Facts) -> Decision:
        details = OrganizationDetails(id="org_1", name="Kedai Baru", platform_fee_bps=700)
        (event,) = our_events(Organization.register(details, at=NOON))
        # A second event of the stream with new details: what a change of terms looks like.
        return nothing(events=[replace(event, originator_version=2)])

    reads = Needs(terms_of="org_1")

    async def story(bus: Committer, pool: AsyncPool) -> None:
        await bus.submit(Register(organization_id="org_1"))
        interrupted = _Interrupted(store, pool, Decide(make=rename))
        async with interrupted.committer as slow:
            assert (await slow.submit(Decide(make=read_terms, reads=reads))).answer == {"name": "Kedai Baru"}
            assert (await slow.submit(Decide(make=read_terms, reads=reads))).answer == {"name": "Kedai Baru"}

    store.run(story)
    assert positions == [1, 2, 2]


def test_in_one_batch_a_guard_is_not_passed_by_what_the_batch_itself_changes(store: Store) -> None:
    """Two commands that both take all of the same balance, without telling their keys: one of them decides again."""

    def take_all(facts: Facts, journal_id: str) -> Decision:
        funds = facts.funds("cre_1", "MYR")
        if funds.balance <= 0:
            return Decision(answer={"took": 0})
        event = journal(
            journal_id, (AVAILABLE, -funds.balance), ("payee:cre_1:in_transit", funds.balance), payout_id=journal_id
        )
        guard = BalanceUnchanged(account=AVAILABLE, currency="MYR", version=funds.version)
        return Decision(answer={"took": funds.balance}, events=[event], guards=[guard])

    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_0"))
        reads = Needs(funds_of=(("cre_1", "MYR"),))
        results = await asyncio.gather(
            *(
                bus.submit(Decide(make=lambda facts, n=n: take_all(facts, f"jrn_p{n}"), reads=reads))
                for n in range(32)
            )
        )
        assert sorted(result.answer["took"] for result in results) == [0] * 31 + [5]

    store.run(story)
    store.assert_sound()


def test_who_keeps_losing_is_told_so(store: Store) -> None:
    guard = BalanceUnchanged(account=AVAILABLE, currency="MYR", version=99)
    command = Decide(make=lambda _: Decision(answer={}, guards=[guard]))

    async def story(bus: Committer, _: AsyncPool) -> None:
        with pytest.raises(ConcurrentUpdate):
            await bus.submit(command)

    store.run(story)
    assert len(command.seen) == ATTEMPTS


def test_a_connection_lost_before_the_append_is_survived(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_0"))
        store.value(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert (await bus.submit(Post(journal_id="jrn_1"))).position == 2

    store.run(story)


def test_a_connection_lost_after_the_commit_applies_nothing_twice(store: Store) -> None:
    """The append commits, its answer never arrives. Commands with and without an idempotency key, and one that
    records nothing but its delivery."""

    async def story(_: Committer, pool: AsyncPool) -> None:
        bus = Committer(pool, store.clock)
        append, lost = bus._append, []

        async def losing(connection: object, decided: list[tuple[object, object]]) -> object:
            if lost:
                return await append(connection, decided)
            lost.append(True)
            kept = [(pending, prepared, pending.answer) for pending, prepared in decided]
            for pending, _, _ in kept:
                pending.answer = asyncio.get_running_loop().create_future()
            await append(connection, decided)
            for pending, prepared, answer in kept:
                pending.answer = answer
                pending.unsure.append(prepared)
            msg = "server closed the connection unexpectedly"
            raise psycopg.OperationalError(msg)

        bus._append = losing
        async with bus:
            plain, keyed, delivered = await asyncio.gather(
                bus.submit(Post(journal_id="jrn_1")),
                bus.submit(Post(journal_id="jrn_2", idempotency=idempotency("k"))),
                bus.submit(Decide(make=lambda _: nothing(delivery("d_1")), delivery_key=("sto_1", "d_1"))),
            )
        assert (plain.position, keyed.position) == (1, 2)
        assert plain.answer == {"journal_id": "jrn_1"}
        assert delivered.answer == {"ok": True}

    store.run(story)
    assert store.value("select count(*) from colink.events") == 2
    assert store.value("select count(*) from colink.inbox") == 1
    store.assert_sound()


def test_connections_that_break_all_the_time_lose_nothing_and_double_nothing(store: Store) -> None:
    """Backends are terminated while 1,500 commands are recorded, or more where no blow has hit yet. Each is answered
    as recorded, by its first try or by being recognised in the log; none is told that it is there already. Between
    two blows something is answered: where batches take longer than blows take to come, none would ever be."""

    async def story(bus: Committer, _: AsyncPool) -> None:
        done, answered = asyncio.Event(), asyncio.Event()
        results: list[Recorded] = []
        killed = 0

        async def record(n: int) -> None:
            results.append(await bus.submit(Post(journal_id=f"jrn_{n}")))
            answered.set()

        async def terminate() -> None:
            nonlocal killed
            async with await psycopg.AsyncConnection.connect(store.app_dsn, autocommit=True) as connection:
                while not done.is_set():
                    answered.clear()
                    cursor = await connection.execute(
                        "select count(pg_terminate_backend(pid)) from pg_stat_activity where state = 'active'"
                        " and datname = current_database() and pid <> pg_backend_pid()"
                    )
                    row = await cursor.fetchone()
                    hit = row[0] if row else 0
                    killed += hit
                    if hit:
                        await answered.wait()
                    await asyncio.sleep(0.01)

        terminator = asyncio.ensure_future(terminate())
        told = 0
        while told < 1500 or not killed:
            await asyncio.gather(*(record(n) for n in range(told, told + 250)))
            told += 250
            assert not terminator.done()
        done.set()
        answered.set()
        await terminator
        assert sorted(result.position or 0 for result in results) == list(range(1, told + 1))

    store.run(story, in_flight=2, batch_size=32, patience=120.0)
    store.assert_sound()


def test_when_the_database_stays_away_all_who_wait_are_told_together(store: Store) -> None:
    """Not batch after batch, each of which would be patient for as long as the first: the last of a full queue would
    wait for minutes."""

    async def story() -> None:
        pool = create_pool("host=/nowhere", timeout=0.2, for_commands=True)
        await pool.open()
        try:
            async with Committer(pool, store.clock, batch_size=1, patience=0.5) as bus:
                results = await asyncio.gather(
                    *(bus.submit(Post(journal_id=f"jrn_{n}")) for n in range(50)), return_exceptions=True
                )
            assert {type(result) for result in results} == {Unavailable}
            assert {str(result) for result in results} == {
                "the database cannot be reached; nothing was recorded, and it is safe to repeat"
            }
            assert pool.get_stats()["requests_num"] < 20, "tries to connect"
        finally:
            await pool.close()

    asyncio.run(story())


def test_when_appends_keep_breaking_off_all_who_wait_are_told(store: Store) -> None:
    """Reads go on, as with a disk that is full; here another holds the log's head for longer than appends may wait.
    The next command is recorded."""

    async def story() -> None:
        dsn = make_conninfo(store.app_dsn, options="-c lock_timeout=50")
        async with (
            create_pool(dsn, for_commands=True) as pool,
            Committer(pool, store.clock, batch_size=1, patience=0.5) as bus,
            asyncio.timeout(60),
        ):
            async with await psycopg.AsyncConnection.connect(store.owner_dsn) as holding:
                await holding.execute("select from colink.log_head for update")
                results = await asyncio.gather(
                    *(bus.submit(Post(journal_id=f"jrn_{n}")) for n in range(20)), return_exceptions=True
                )
            assert {type(result) for result in results} == {Unavailable}
            assert (await bus.submit(Post(journal_id="jrn_after"))).position == 1

    asyncio.run(story())
    store.assert_sound()
