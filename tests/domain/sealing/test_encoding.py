"""The bytes that are sealed stay what they are for ever: golden vectors, computed once by hand and never again.

The hashes below were made with `printf ... | sha256sum`, not with the code under test.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.sealing.encoding import (
    EventRow,
    NotSealable,
    epoch_microseconds,
    genesis,
    leaf_data,
    leaf_hash,
    leaf_hashes,
    leaves_of_data,
    link,
    links,
    origin_of,
    position_of,
)

PLACED: EventRow = (
    7,
    "ord_sto_1.1001",
    1,
    "order.recorded",
    2,
    '{"title":"Kopi \u2615","amount":1050}',
    "org_1",
    1_767_225_600_000_001,
    "webhook:sto_1",
    "req_1",
    "evt_6",
)
BARE: EventRow = (1, "key_1", 1, "key.created", 1, "{}", None, 0, "bootstrap", "boot_1", None)


def test_the_bytes_of_an_event() -> None:
    assert leaf_data(PLACED) == (
        b"colink.event.1\x1f7\x1ford_sto_1.1001\x1f1\x1forder.recorded\x1f2\x1f"
        b'{"title":"Kopi \xe2\x98\x95","amount":1050}\x1forg_1\x1f1767225600000001\x1fwebhook:sto_1\x1freq_1\x1fevt_6'
    )
    assert leaf_data(BARE) == (
        b"colink.event.1\x1f1\x1fkey_1\x1f1\x1fkey.created\x1f1\x1f{}\x1f\x1e\x1f0\x1fbootstrap\x1fboot_1\x1f\x1e"
    )


def test_the_leaves_of_events() -> None:
    assert [leaf.hex() for leaf in leaf_hashes([PLACED, BARE])] == [
        "4ef6b8f270f002e28b35eeeffb533f4f77dbd76d11458998c25279b79b1c9d2e",
        "2205eb9380f848223a952c719ae782e8e670dec463d4b54ea79cac95fef719f8",
    ]


def test_the_chain_of_a_log() -> None:
    origin = origin_of("00112233445566778899aabbccddeeff")
    assert origin == "colink/00112233445566778899aabbccddeeff/commerce"
    start = genesis(origin)
    assert start.hex() == "ad5f58d95af3d6e0c09873deef2e0963326e76ba2b68bd49d8e087ff7c9e8058"
    first, second = links(start, leaf_hashes([BARE, PLACED]))
    assert first.hex() == "9577423f9dfd6f73d79b903fa7f1aac7e180c0c9104ea3125536407f4d917cc4"
    assert second.hex() == "0f24cd1b6ec75de2f5f66be2ccbd4f1f2e847e0df64f7d57d8b363572a63644d"
    assert link(start, leaf_hash(leaf_data(BARE))) == first


def test_times_are_exact_to_the_microsecond_in_any_zone() -> None:
    # A float of seconds would lose the last digits of these.
    moment = datetime(2286, 11, 20, 17, 46, 39, 999_999, tzinfo=UTC)
    assert epoch_microseconds(moment) == 9_999_999_999_999_999
    assert epoch_microseconds(moment.astimezone(timezone(timedelta(hours=8)))) == 9_999_999_999_999_999
    assert epoch_microseconds(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1


@pytest.mark.parametrize("column", [1, 3, 5, 6, 8, 9, 10])
@pytest.mark.parametrize("delimiter", ["\x1f", "\x1e"])
def test_a_row_that_holds_a_delimiter_has_no_encoding(column: int, delimiter: str) -> None:
    row = list(PLACED)
    row[column] = f"a{delimiter}b"
    with pytest.raises(NotSealable, match="position 7") as refused:
        leaf_hashes([BARE, tuple(row)])  # type: ignore[list-item] # one column was exchanged for another text
    assert refused.value.position == 7


def test_a_null_is_not_what_stands_for_it() -> None:
    with pytest.raises(NotSealable):
        leaf_data((*PLACED[:10], "\x1e"))


_texts = st.text(st.characters(exclude_characters="\x00\x1e\x1f", exclude_categories=["Cs"]), max_size=4)
_rows = st.tuples(
    st.integers(1, 30),
    _texts,
    st.integers(1, 30),
    _texts,
    st.integers(1, 30),
    _texts,
    st.none() | _texts,
    st.integers(0, 30),
    _texts,
    _texts,
    st.none() | _texts,
)


@given(_rows, _rows)
def test_no_two_events_have_the_same_bytes(one: EventRow, other: EventRow) -> None:
    assert (leaf_data(one) == leaf_data(other)) == (one == other)


def test_bytes_that_somebody_else_put_together() -> None:
    rows = [(leaf_data(BARE), 2), (leaf_data(PLACED), 0)]
    assert leaves_of_data(1, rows) == leaf_hashes([BARE, PLACED])
    assert [position_of(data) for data, _ in rows] == [1, 7]
    for wrong in ((leaf_data(BARE), 1), (leaf_data(PLACED), 1), (leaf_data(PLACED) + b"\x1f", 0)):
        with pytest.raises(NotSealable, match="position 12"):
            leaves_of_data(11, [rows[0], wrong])


@given(st.lists(_rows))
def test_many_at_once_are_each_alone(rows: list[EventRow]) -> None:
    assert leaf_hashes(rows) == [sha256(b"\x00" + leaf_data(row)).digest() for row in rows]
