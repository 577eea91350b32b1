"""The log is append-only for everyone, and the application writes to it through the append functions only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection, errors
from psycopg.rows import TupleRow
from tests.adapters.postgres.commands import Decide, Post, delivery, idempotency, nothing
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool

LOGS = ("events", "tracking_events")
SEALS = {
    "seals": "position",
    "merkle_nodes": "index",
    "checkpoints": "tree_size",
    "checkpoint_keys": "ordinal",
    "seal_alarms": "reason",
}
"""Tables of the sealer, each with a column of its own."""
KEPT = {"idempotency_keys": "answer", "installation": "value", "audit_reads": "path"}
"""Tables beside the log that only grow, too."""
INLINE = (
    "log_head",
    "tracking_head",
    "entries",
    "balances",
    "documents",
    "terms_heads",
    "orders",
    "payouts",
    "idempotency_keys",
    "inbox",
    "private_values",
    "touches",
    "installation",
)


@pytest.fixture
def written(store: Store) -> Store:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_1", idempotency=idempotency("k")))
        await bus.submit(Decide(make=lambda _: nothing(delivery("d_1"))))

    store.run(story)
    return store


@pytest.fixture
def application(written: Store) -> Iterator[Connection[TupleRow]]:
    with psycopg.connect(written.app_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(written: Store) -> Iterator[Connection[TupleRow]]:
    with psycopg.connect(written.owner_dsn, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(
    "change", ["update colink.{} set payload = '{{}}'", "delete from colink.{}", "truncate colink.{}"]
)
def test_the_owner_cannot_change_a_log(owner: Connection[TupleRow], log: str, change: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
        owner.execute(change.format(log))


@pytest.mark.parametrize(("table", "column"), [*SEALS.items(), *KEPT.items()])
@pytest.mark.parametrize(
    "change", ["update colink.{0} set {1} = {1}", "delete from colink.{0}", "truncate colink.{0}"]
)
@pytest.mark.parametrize("role", ["owner_dsn", "superuser_dsn"])
def test_nobody_changes_what_only_grows(database: Any, role: str, table: str, column: str, change: str) -> None:
    with psycopg.connect(getattr(database, role), autocommit=True) as connection:
        if role == "superuser_dsn":
            connection.execute("set session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
            connection.execute(change.format(table, column).encode())


@pytest.mark.parametrize("log", LOGS)
def test_a_superuser_who_switches_ordinary_triggers_off_is_refused_too(database: Any, log: str) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
            connection.execute(f"delete from colink.{log}")


@pytest.mark.parametrize(
    "change",
    [
        "update colink.inbox set body = 'other'",
        "update colink.inbox set headers = '[]'",
        "update colink.inbox set source = 'sto_2'",
        "update colink.inbox set delivery_id = 'd_2'",
        "update colink.inbox set topic = 'other'",
        "update colink.inbox set received_at = received_at - interval '1 day'",
        "update colink.inbox set recorded_at = recorded_at - interval '1 day'",
        "update colink.inbox set seq = default",
        "delete from colink.inbox",
        "truncate colink.inbox",
    ],
)
@pytest.mark.parametrize("role", ["owner_dsn", "superuser_dsn"])
def test_nobody_changes_or_removes_a_delivery(written: Store, database: Any, role: str, change: str) -> None:
    before = written.rows("select * from colink.inbox")
    with psycopg.connect(getattr(database, role), autocommit=True) as connection:
        if role == "superuser_dsn":
            connection.execute("set session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege, match="deliveries stay as they came"):
            connection.execute(change.encode())
    assert written.rows("select * from colink.inbox") == before


def test_what_became_of_a_delivery_moves_until_it_is_accepted(owner: Connection[TupleRow]) -> None:
    """What a replay writes; the append function is tested with it elsewhere."""
    owner.execute(
        "insert into colink.inbox (source, delivery_id, topic, headers, body, received_at, status, answer,"
        " recorded_at) values ('sto_1', 'd_2', 'orders/paid', '{}', '', now(), 'rejected', '{}', now())"
    )
    moved = "update colink.inbox set status = 'accepted', order_id = 'o', position = 1 where delivery_id = 'd_2'"
    assert owner.execute(moved).rowcount == 1
    with pytest.raises(errors.InsufficientPrivilege, match="deliveries stay as they came"):
        owner.execute("update colink.inbox set status = 'rejected' where delivery_id = 'd_2'")


@pytest.mark.parametrize("table", [*LOGS, *INLINE, *SEALS])
@pytest.mark.parametrize(
    "change", ["insert into colink.{} default values", "delete from colink.{}", "truncate colink.{}"]
)
def test_the_application_cannot_write_rows(application: Connection[TupleRow], table: str, change: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
        application.execute(change.format(table))


@pytest.mark.parametrize(
    "change",
    [
        "update colink.events set payload = '{}'",
        "update colink.entries set amount = 0",
        "update colink.balances set amount = 0",
        "update colink.log_head set position = 0",
        "update colink.inbox set status = 'accepted'",
        "update colink.idempotency_keys set answer = '{}'",
        "update colink.private_values set value = ''",
    ],
)
def test_the_application_cannot_change_rows(application: Connection[TupleRow], change: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
        application.execute(change)


def test_the_application_keeps_salts_and_counts_rejections_itself(application: Connection[TupleRow]) -> None:
    def kept(query: str) -> list[TupleRow]:
        return application.execute(query.encode()).fetchall()

    salts = "select day::text, salt from colink.tracking_salts"
    application.execute("insert into colink.tracking_salts values ('2026-03-01', '\\x00')")
    assert kept(salts) == [("2026-03-01", b"\x00")]
    application.execute("insert into colink.tracking_salts values ('2026-03-02', '\\x01')")
    assert kept("select colink.destroy_salts('2026-03-02')") == [(1,)]
    assert kept(salts) == [("2026-03-02", b"\x01")]
    for count in (1, 2):
        application.execute(
            "insert into colink.webhook_rejections as r values ('sto_1', 'signature', 1)"
            " on conflict (source, reason) do update set count = r.count + 1"
        )
        assert kept("select source, reason, count from colink.webhook_rejections") == [("sto_1", "signature", count)]


def test_the_functions_are_not_for_everyone(written: Store) -> None:
    public = written.value(
        "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'colink' and p.proname like 'append%'"
        " and has_function_privilege('public', p.oid, 'execute')"
    )
    assert public == 0


def test_the_append_functions_resolve_names_in_their_own_schema_only(written: Store) -> None:
    settings = written.rows(
        "select proname, prosecdef, proconfig from pg_proc where proname in ('append_commerce', 'append_tracking')"
    )
    assert len(settings) == 2
    for _, security_definer, config in settings:
        assert security_definer
        assert config[:2] == ["search_path=colink, pg_temp", "enable_seqscan=off"]


def test_columns_of_different_lengths_are_refused(application: Connection[TupleRow]) -> None:
    sep = "\x1f"
    events = [f"0{sep}", f"s{sep}", f"1{sep}", f"t{sep}", f"1{sep}", f"{{}}{sep}{{}}{sep}", *[f"a{sep}"] * 4]
    with pytest.raises(errors.InvalidParameterValue, match="columns of events do not all have 1 rows"):
        application.execute(
            "select * from colink.append_tracking(now(), array[1, 0, 0, 0], %s, array['', '', ''],"
            " array_fill(''::text, array[10]), array_fill(''::text, array[7]))",
            (events,),
        )
    row = application.execute("select count(*) from colink.tracking_events").fetchone()
    assert row == (0,)


_WIDTHS = (10, 3, 6, 12, 3, 4, 16, 8, 9, 10, 9, 3)  # of the tables of an append, in their order


def _append_commerce(
    application: Connection[TupleRow], *, counts: dict[int, int], columns: dict[int, list[str]]
) -> None:
    """Tables by their number, from 0; those not named have no rows."""
    tables: list[object] = [columns.get(table, [""] * width) for table, width in enumerate(_WIDTHS)]
    tables.insert(4, [])  # the bodies of deliveries
    call = ", ".join("%b::bytea[]" if number == 4 else "%b::text[]" for number in range(13))
    application.execute(
        f"select * from colink.append_commerce(now(), %b::integer[], {call})",
        [[counts.get(table, 0) for table in range(12)], *tables],
    )


_KEY = ["0\x1f", "s\x1f", "k\x1f", "d\x1f", "{}\x1f", "\x1e\x1f"]


@pytest.mark.parametrize(
    ("counts", "keys", "message"),
    [
        pytest.param({2: 1}, [*_KEY[:4], "{}\x1f{}\x1f", _KEY[5]], "columns of keys", id="one too long"),
        pytest.param({2: 1}, [*_KEY[:5], ""], "columns of keys", id="one too short"),
        pytest.param({2: 1}, [*_KEY[:4], "{}", _KEY[5]], "columns of keys", id="one without its end"),
        pytest.param({2: 1}, [column * 2 for column in _KEY], "columns of keys", id="all too long"),
        pytest.param({}, _KEY, "columns and no rows", id="said to be empty"),
        pytest.param({2: 1}, _KEY[:5], "do not have their columns", id="a column missing"),
        pytest.param({2: 1}, [*_KEY, "0\x1f"], "do not have their columns", id="a column too many"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_the_commerce_append(
    application: Connection[TupleRow], counts: dict[int, int], keys: list[str], message: str
) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=message):
        _append_commerce(application, counts=counts, columns={2: keys})
    assert application.execute("select key from colink.idempotency_keys where scope = 's'").fetchall() == []
    _append_commerce(application, counts={2: 1}, columns={2: _KEY})
    assert application.execute(
        "select scope, key, position from colink.idempotency_keys where scope = 's'"
    ).fetchall() == [("s", "k", None)]


def test_an_installation_has_secrets_of_its_own(written: Store) -> None:
    secrets = dict(written.rows("select name, value from colink.installation"))
    assert len({secrets["pepper"], secrets["cookie_key"]}) == 2
    assert all(len(bytes.fromhex(secrets[name])) == 32 for name in ("pepper", "cookie_key"))
