"""Takes a copy of everything that makes an installation, and puts it into an empty one: its database by pg_dump and
pg_restore of the embedded PostgreSQL, and the other files of its data folder.

    <backup>/files/          the data folder without its database: keys, archived months, the sandbox's book
             colink.dump     what pg_dump --format=custom wrote

Files are copied first: the signing key's memory of what it last signed must not be ahead of the dump, or the sealer
would refuse to go on after a restore (adapters.sealing_keys). The archive of the tracking log is copied last: a month
that left the database before the dump is in a file by then, and files of the archive never change (decision 14).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from filecmp import cmp
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from colink.adapters.postgres.binaries import ServerError, packaged_programs
from colink.adapters.postgres.provision import Database

_DUMP, _FILES = "colink.dump", "files"
_OF_THE_APPLICATION = "colink_read"  # tables that projections make and drop by themselves
_ARCHIVE = "objects"
_COPIED_OTHERWISE = shutil.ignore_patterns("postgres", "postgres.lock", _ARCHIVE)
_NEVER_COPIED = "colink.tracking_salts"  # they are destroyed after 48 hours, and a copy would keep them
_ERASED = "erased"  # grows only: what either side knows is kept (adapters.person_keys)
_UNFINISHED = shutil.ignore_patterns(".*")  # adapters.archive_files


def back_up(database: Database, data_dir: Path, destination: Path) -> None:
    """Copy a running installation; nobody has to stop. `destination` must not exist, and is there in the end whole or
    not at all. Raises ServerError."""
    if destination.exists():
        raise ServerError(f"{destination} exists already: a backup is made in a folder of its own")
    if destination.resolve().is_relative_to(data_dir.resolve()):  # it would hold itself, and be lost with the data
        raise ServerError(f"{destination} is in the data folder: a backup is made outside of {data_dir}")
    unfinished = destination.with_name(f"{destination.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ServerError(f"{destination} cannot be made: {error}") from error
    shutil.copytree(data_dir, unfinished / _FILES, ignore=_COPIED_OTHERWISE)
    what = ("--schema=colink*", f"--exclude-table-data={_NEVER_COPIED}")
    _run(database.owner_dsn, "pg_dump", "--format=custom", *what, f"--file={unfinished / _DUMP}")
    if (data_dir / _ARCHIVE).is_dir():
        shutil.copytree(data_dir / _ARCHIVE, unfinished / _FILES / _ARCHIVE, ignore=_UNFINISHED)
    unfinished.rename(destination)


def restore(database: Database, data_dir: Path, source: Path) -> None:
    """Put a backup into an empty database and data folder. One that was cut off is begun again, in an empty database.
    Raises ServerError where something is in the way."""
    files, dump = source / _FILES, source / _DUMP
    if not files.is_dir() or not dump.is_file():
        raise ServerError(f"{source} is no backup: it lacks {_FILES}/ or {_DUMP}")
    kept = [path.relative_to(files) for path in files.rglob("*") if path.is_file()]
    merged = {path for path in kept if path.name == _ERASED and (data_dir / path).exists()}
    for path in kept:
        if (
            path not in merged
            and (data_dir / path).exists()
            and not cmp(files / path, data_dir / path, shallow=False)
        ):
            raise ServerError(f"{data_dir / path} is another than the backup's: restore into an empty data folder")

    def left_out(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if (Path(folder) / name).relative_to(files) in merged}

    shutil.copytree(files, data_dir, dirs_exist_ok=True, ignore=left_out)
    for path in merged:
        with (data_dir / path).open("ab") as file:
            file.write(b"\n" + (files / path).read_bytes())
    # Each object is made by whom it belongs to: the owner's names differ from server to server, the roles do not.
    into = ("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", str(dump))
    _run(database.owner_dsn, *into, f"--exclude-schema={_OF_THE_APPLICATION}")
    _run(database.app_dsn, *into, f"--schema={_OF_THE_APPLICATION}")


def _run(dsn: str, program: str, *arguments: str) -> None:
    given = conninfo_to_dict(dsn)
    password = given.pop("password", None)  # in the environment: arguments can be read by everybody
    secret = {"PGPASSWORD": str(password)} if password else {}
    done = subprocess.run(  # noqa: S603 - our own program with our own arguments, no shell
        [packaged_programs() / program, *arguments, f"--dbname={make_conninfo('', **given)}"],
        env=os.environ | secret,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerError(f"{program} failed:\n{done.stdout.strip()}")
