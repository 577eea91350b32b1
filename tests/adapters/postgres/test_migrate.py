"""Promises of `colink db migrate`: any number of processes may run it at once, one that is killed half-way leaves
the old version, and a database with money in it never becomes a demo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from colink.adapters.postgres.migrate import MigrationError, is_demo_database, migrate, status

MakeDatabase = Callable[..., "Database"]


class Database:
    app_dsn: str
    owner_dsn: str
    superuser_dsn: str


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", dedent(code), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def has_table(dsn: str, table: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
    return row == (True,)


def test_an_empty_database_reaches_the_head_and_stays(make_database: MakeDatabase) -> None:
    database = make_database(migrated=False)
    before = status(database.owner_dsn)
    assert before.current is None
    assert before.head is not None
    assert before.pending[-1] == before.head

    done = migrate(database.owner_dsn)
    assert (done.current, done.head, done.pending) == (before.head, before.head, ())

    said: list[str] = []
    assert migrate(database.owner_dsn, report=said.append) == done
    assert said == []
    assert status(database.app_dsn) == done


def test_several_processes_at_once(make_database: MakeDatabase) -> None:
    database = make_database(migrated=False)
    code = """
        import sys
        from colink.adapters.postgres.migrate import migrate
        print(migrate(sys.argv[1]).current)
    """
    processes = [run_python(code, database.owner_dsn) for _ in range(4)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], answers
    assert {answer.strip() for answer, _ in answers} == {status(database.owner_dsn).head}


def write_steps(folder: Path, *, second: str) -> None:
    (folder / "versions").mkdir(exist_ok=True)
    for number, (before, statement) in enumerate([(None, "create table first (id int)"), ("1", second)], start=1):
        (folder / "versions" / f"{number}.py").write_text(
            dedent(f"""
                from alembic import op
                revision, down_revision = "{number}", {before!r}
                def upgrade():
                    op.get_bind().exec_driver_sql("{statement}")
            """)
        )


def test_one_killed_half_way_leaves_the_old_version(make_database: MakeDatabase, tmp_path: Path) -> None:
    database = make_database(migrated=False)
    write_steps(tmp_path, second="select pg_sleep(600)")
    code = """
        import sys
        from pathlib import Path
        from colink.adapters.postgres.migrate import migrate
        migrate(sys.argv[1], scripts=Path(sys.argv[2]))
    """
    process = run_python(code, database.owner_dsn, str(tmp_path))
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        query = "select from pg_stat_activity where query like '%%pg_sleep%%' and pid <> pg_backend_pid()"
        deadline = time.monotonic() + 30
        while connection.execute(query).fetchone() is None:
            assert time.monotonic() < deadline, process.communicate()
            time.sleep(0.02)
    process.kill()
    process.communicate()

    assert not has_table(database.owner_dsn, "first")
    assert status(database.owner_dsn, scripts=tmp_path).pending == ("1", "2")

    write_steps(tmp_path, second="create table second (id int)")
    said: list[str] = []
    assert migrate(database.owner_dsn, scripts=tmp_path, report=said.append).current == "2"
    assert has_table(database.owner_dsn, "first")
    assert has_table(database.owner_dsn, "second")


def test_a_step_that_fails_changes_nothing(make_database: MakeDatabase, tmp_path: Path) -> None:
    database = make_database(migrated=False)
    write_steps(tmp_path, second="select 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        migrate(database.owner_dsn, scripts=tmp_path)
    assert not has_table(database.owner_dsn, "first")
    assert status(database.owner_dsn, scripts=tmp_path).current is None


def test_a_newer_database_is_left_alone(make_database: MakeDatabase) -> None:
    database = make_database()
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("update colink.schema_version set version_num = '9999'")
    for call in (migrate, status):
        with pytest.raises(MigrationError, match=r"9999.*newer CoLink"):
            call(database.owner_dsn)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("delete from colink.schema_version", "says nothing of its version"),
        ("insert into colink.schema_version values ('0001')", r"says 0001 and \d+ of its version"),
    ],
)
def test_a_database_that_lost_its_version_is_refused(make_database: MakeDatabase, change: str, said: str) -> None:
    """Migrating it once more from the beginning would fail in the middle of nowhere."""
    database = make_database()
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute(change.encode())
    for call in (migrate, status):
        with pytest.raises(MigrationError, match=said):
            call(database.owner_dsn)


def test_only_a_new_database_becomes_a_demo(make_database: MakeDatabase) -> None:
    demo, real = make_database(migrated=False), make_database(migrated=False)
    migrate(demo.owner_dsn, demo=True)
    migrate(real.owner_dsn)
    migrate(real.owner_dsn, demo=True)
    with psycopg.connect(demo.app_dsn) as connection:
        assert is_demo_database(connection)
    with psycopg.connect(real.app_dsn) as connection:
        assert not is_demo_database(connection)


def test_the_application_cannot_make_its_database_a_demo(make_database: MakeDatabase) -> None:
    with (
        psycopg.connect(make_database().app_dsn) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("insert into colink.installation (name, value) values ('demo', 'true')")
