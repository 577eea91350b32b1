"""One database cluster on disk: its folders, its configuration, and whether its server runs.

    <data dir>/postgres/     `home`, ours; or a link to it, where the server's user cannot pass through the data dir
        data/  run/  log/    the server's: rows, sockets, messages; nobody else can enter them
        postgresql.conf ...  ours, written at every start
        server.lock          held by every process of the server, by inheritance: locked means that one of them lives
        users.lock           held (shared) by every process that uses the server
        keeper.lock          held by the keeper (keeper.py)

Liveness is a lock and not a process id, because ids are used again, mean nothing across containers, and say nothing
about the orphans of a killed postmaster. All locks die with their holders. Uses the standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from colink.adapters.postgres.binaries import ServerError, ServerUser, programs_for, user_of

SUPERUSER, OWNER, APP = "postgres", "colink_owner", "colink_app"
PORT = 5432  # names the socket file only: nothing listens on the network

_LONGEST_SOCKET = 100  # bytes: Linux takes 107, others a little less
_SYSTEM_FOLDERS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - a private folder is made inside
_POLL_SECONDS = 0.02
_LONGEST_SHUTDOWN = 60.0  # seconds
_LOG_LIMIT = 16 * 1024 * 1024
_CONFIGURATION: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}


def open_lock(path: Path) -> int:
    """A file descriptor to lock with flock. The file belongs to the owner of its folder."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileExistsError):
        created = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(created, folder.st_uid, folder.st_gid)
        return created
    return os.open(path, flags)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if that needs no waiting."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(
    descriptor: int, *, shared: bool = False, report: Callable[[str], None] | None = None, reason: str = ""
) -> None:
    """Take the lock, however long it takes; says `reason` where it has to wait."""
    if not try_lock(descriptor, shared=shared):
        if report is not None:
            report(reason)
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


@dataclass(frozen=True)
class Cluster:
    """The cluster in `home`, whose server runs as `user`."""

    home: Path
    user: ServerUser

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log" / "server.log"

    @property
    def sockets(self) -> Path:
        """Where the sockets are: a folder of the same privacy under /tmp where the path would be too long."""
        folder = self.home / "run"
        if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET:
            return folder
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path("/tmp") / f"colink-{self.user.uid}-{digest}"  # noqa: S108 - made private, or refused

    def initialize(self) -> None:
        """Create what is missing. Complete or not at all: an interrupted one is begun again."""
        for folder in (self.home / "run", self.home / "log", self.sockets):
            self.user.make_private_folder(folder)
        if self.data.exists():
            return
        unfinished = self.home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.user.make_private_folder(unfinished)
        done = self.user.run(
            [
                programs_for(self.user, self.home) / "initdb",
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                "--auth=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--text-search-config=simple",
                "--data-checksums",
            ]
        )
        if done.returncode != 0:
            raise ServerError(f"initdb failed in {self.home}:\n{done.stdout.strip()}")
        unfinished.rename(self.data)

    def is_running(self) -> bool:
        """Whether any process of the server lives, be it only the last one of a server that was killed."""
        descriptor = open_lock(self.home / "server.lock")
        try:
            return not try_lock(descriptor, shared=True)
        finally:
            os.close(descriptor)

    def start_if_stopped(self, settings: Mapping[str, str] | None = None) -> bool:
        """Start the server unless it runs, and say whether that was needed. Does not wait until it is ready. Without
        `settings` it is configured as it was the last time. To be called by one process at a time."""
        descriptor = open_lock(self.home / "server.lock")
        try:
            if not try_lock(descriptor):
                return False
            # No process of this server lives, so what these files say is stale; and the process id in them may be in
            # use again, or that of a dead process that nobody has waited for: the server would not start for it.
            socket = f".s.PGSQL.{PORT}"
            for stale in (self.data / "postmaster.pid", self.sockets / socket, self.sockets / f"{socket}.lock"):
                stale.unlink(missing_ok=True)
            if settings is not None:
                self._configure(settings)
            with suppress(FileNotFoundError):
                if self.log.stat().st_size > _LOG_LIMIT:
                    self.log.rename(self.log.with_name("server.log.1"))
            options = shlex.join(["-c", f"config_file={self.home / 'postgresql.conf'}"])
            started = self.user.run(
                [
                    programs_for(self.user, self.home) / "pg_ctl",
                    "start",
                    "--no-wait",
                    f"--pgdata={self.data}",
                    f"--log={self.log}",
                    f"--options={options}",
                ],
                pass_fds=[descriptor],
            )
            if started.returncode != 0:
                raise ServerError(f"pg_ctl failed in {self.home}:\n{started.stdout.strip()}\n{self.last_messages()}")
            return True
        finally:
            os.close(descriptor)  # the server's own copies keep the lock

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, what is committed is flushed. Returns when it is done.

        One that does not end (PostgreSQL 18 told to stop while it recovers from a killed backend, or a process that
        hangs) is ended without its checkpoint: what was committed is in its log and is recovered at the next start.
        """
        until = time.monotonic() + _LONGEST_SHUTDOWN
        while self.is_running():
            # Again and again: one that is only just starting has not written its process id yet.
            postmaster = self.postmaster()
            if postmaster is not None:
                with suppress(ProcessLookupError):
                    os.kill(postmaster, signal.SIGINT if time.monotonic() < until else signal.SIGQUIT)
            time.sleep(_POLL_SECONDS)

    def postmaster(self) -> int | None:
        """The id of the server's first process, None where it does not live."""
        lines = self._pid_file()
        if not lines or not lines[0].isdecimal():
            return None
        process = int(lines[0])
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        return process if os.fsencode(self.data) in command else None

    def says_ready(self) -> bool:
        """Whether the server last wrote that it takes connections."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def last_messages(self) -> str:
        """The end of the server's log, to show with an error."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
        except OSError:
            return ""

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _configure(self, settings: Mapping[str, str]) -> None:
        configuration = {
            **_CONFIGURATION,
            **settings,
            "unix_socket_directories": f'"{self.sockets}"',
            "port": str(PORT),
            "hba_file": str(self.home / "pg_hba.conf"),
            "ident_file": str(self.home / "pg_ident.conf"),
        }
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in configuration.items()]
        self._write("postgresql.conf", lines)
        roles = (SUPERUSER, OWNER, APP)
        # The kernel says who is at the other end of a socket. No password exists, so none can leak.
        self._write("pg_hba.conf", [f"local all {','.join(roles)} peer map=colink"])
        names = ["root", *([] if self.user.other and self.user.name == "nobody" else [self.user.name])]
        self._write("pg_ident.conf", [f'colink "{name}" {role}' for name in dict.fromkeys(names) for role in roles])

    def _write(self, name: str, lines: list[str]) -> None:
        path = self.home / name
        new = path.with_name(f"{name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write("".join(f"{line}\n" for line in ["# Written by colink at every start.", *lines]))
            os.fchmod(file.fileno(), 0o644 if self.user.other else 0o600)
        new.rename(path)


@contextmanager
def alone(data_dir: Path, report: Callable[[str], None] | None = None) -> Iterator[None]:
    """While no other process creates, starts or stops the cluster of this data dir."""
    descriptor = open_lock(data_dir / "postgres.lock")
    try:
        wait_for_lock(descriptor, report=report, reason="waiting for another process that starts the database")
        yield
    finally:
        os.close(descriptor)


def locate(data_dir: Path) -> Cluster:
    """The cluster of a data dir; its folder is created where there is none yet. To be called by one process at a
    time."""
    entry = data_dir / "postgres"
    if entry.is_symlink() and not entry.exists():
        raise ServerError(
            f"the database of {data_dir} was in {entry.readlink()} and is gone: bring it back, or remove {entry} to "
            f"begin with an empty one"
        )
    if entry.exists():
        home = entry.resolve()
        data = home / "data"
        owner = home.stat().st_uid if os.geteuid() != 0 else data.stat().st_uid if data.exists() else None
        return Cluster(home, user_of(owner))
    user = user_of(None)
    if not user.other:
        entry.mkdir(mode=0o700)
        return Cluster(entry.resolve(), user)
    if user.may("x", data_dir.resolve()):
        _make_passable(entry)
        return Cluster(entry.resolve(), user)
    home = _system_folder(user) / secrets.token_hex(8)
    _make_passable(home)
    entry.symlink_to(home)
    return Cluster(home, user)


def prepare_data_dir(data_dir: Path) -> None:
    """Create it where it does not exist: ours alone, but that the server's user may pass through root's."""
    if not data_dir.exists():
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            data_dir.mkdir(mode=0o700)
            if os.geteuid() == 0:
                data_dir.chmod(0o711)


def _make_passable(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o711)


def _system_folder(user: ServerUser) -> Path:
    for base in _SYSTEM_FOLDERS:
        folder = base / "colink"
        try:
            if not folder.exists():
                _make_passable(folder)
        except OSError:
            continue
        found = folder.lstat()
        if found.st_uid == 0 and not found.st_mode & 0o022 and user.may("x", folder):
            return folder
    raise ServerError(
        f"the user {user.name}, as whom PostgreSQL has to run, can reach neither the data dir nor "
        f"{' nor '.join(str(base) for base in _SYSTEM_FOLDERS)}: set COLINK_DATA_DIR to a folder it may pass through"
    )
