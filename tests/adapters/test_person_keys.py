"""The key folder: made once whoever comes first, read by its owner only, whole or not at all, followed by every
process; and erasures are kept in it for ever."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from colink.adapters import person_keys
from colink.adapters.person_keys import PersonKeyFolder
from colink.domain.errors import Conflict, Unavailable
from colink.domain.people import ErasedPerson

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def erased(person_id: str) -> ErasedPerson:
    return ErasedPerson(id=person_id, owners=(person_id,), reason="request 17", erased_at=AT)


def test_of_many_that_make_the_first_keys_all_get_the_same(tmp_path: Path) -> None:
    folders = [PersonKeyFolder(tmp_path / "people") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(PersonKeyFolder.make, folders))
    assert len({folder.keys().fingerprint for folder in folders}) == 1
    assert [path.name for path in (tmp_path / "people").iterdir()] == ["keys.json"]


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    folder = PersonKeyFolder(tmp_path / "people")
    folder.make()
    folder.remember_erased([erased("cre_1")])
    assert (tmp_path / "people").stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "people").iterdir()} == {0o600}


def test_a_rotation_is_followed_by_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_keys, "_LOOKED_AT", 0.0)
    one, other = PersonKeyFolder(tmp_path), PersonKeyFolder(tmp_path)
    one.make()
    before = other.keys()
    one.replace(one.keys().rotated())
    assert other.keys().current == one.keys().current != before.current
    assert before.current in other.keys().masters


def test_one_rotates_at_a_time(tmp_path: Path) -> None:
    folder = PersonKeyFolder(tmp_path)
    with folder.rotating(), pytest.raises(Conflict), PersonKeyFolder(tmp_path).rotating():
        pass
    with folder.rotating():
        pass


def test_keys_that_are_not_here_or_damaged_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="copy the folder"):
        PersonKeyFolder(tmp_path).keys()
    for text in ("{", "{}", json.dumps({"masters": {}, "current": "a", "digests": ""})):
        (tmp_path / "keys.json").write_text(text)
        with pytest.raises(Unavailable, match="damaged"):
            PersonKeyFolder(tmp_path).keys()


def test_erasures_are_remembered_once_each_in_their_order(tmp_path: Path) -> None:
    folder = PersonKeyFolder(tmp_path)
    assert folder.erased() == []
    assert folder.remember_erased([erased("cre_2"), erased("cre_1")]) == 2
    assert folder.remember_erased([erased("cre_1"), erased("cre_3")]) == 1
    assert [person.id for person in PersonKeyFolder(tmp_path).erased()] == ["cre_2", "cre_1", "cre_3"]


def test_a_line_that_was_cut_off_is_passed_over_and_written_again(tmp_path: Path) -> None:
    folder = PersonKeyFolder(tmp_path)
    folder.remember_erased([erased("cre_1"), erased("cre_2")])
    file = tmp_path / "erased"
    file.write_bytes(file.read_bytes()[:-20])
    assert [person.id for person in folder.erased()] == ["cre_1"]
    assert folder.remember_erased([erased("cre_1"), erased("cre_2")]) == 1
    assert [person.id for person in folder.erased()] == ["cre_1", "cre_2"]
