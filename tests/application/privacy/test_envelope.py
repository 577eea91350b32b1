"""What is sealed is opened by its key, in its own place, and by nothing else; what was changed is refused."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.application.privacy.envelope import CannotBeOpened, PersonKeys, key_name, owner_of_body

KEYS = PersonKeys.generate()


@given(st.text(), st.binary())
def test_what_is_sealed_is_opened_as_it_was(text: str, body: bytes) -> None:
    encodable = text.encode("utf-8", "ignore").decode()
    key = KEYS.unwrapped(KEYS.wrapped(KEYS.new_key("cre_1", "profile")))
    sealed = key.seal_text(encodable, place="handle")
    assert key_name(sealed) == "profile"
    assert key.open_text(sealed, place="handle") == encodable
    kept = key.seal_body(body, place="dlv_sto.1")
    assert owner_of_body(kept) == "cre_1"
    assert key.open_body(kept, place="dlv_sto.1") == body


def test_no_two_texts_are_sealed_alike_and_nothing_shows_through() -> None:
    key = KEYS.new_key("cre_1", "profile")
    first, second = (key.seal_text("Aina Rahman", place="display_name") for _ in range(2))
    assert first != second
    assert b"Aina" not in base64.b64decode(first.rpartition(":")[2])
    assert key.secret not in base64.b64decode(KEYS.wrapped(key).value.partition(":")[2])
    assert "secret" not in repr(key)
    assert "masters" not in repr(KEYS)


def test_a_text_in_another_place_or_of_another_owner_is_refused() -> None:
    key = KEYS.new_key("cre_1", "profile")
    sealed = key.seal_text("Aina", place="handle")
    with pytest.raises(CannotBeOpened, match="in another place"):
        key.open_text(sealed, place="display_name")
    for other in (replace(key, owner="cre_2"), replace(key, name="account"), KEYS.new_key("cre_1", "profile")):
        with pytest.raises(CannotBeOpened):
            other.open_text(sealed, place="handle")


def test_a_wrapped_key_of_another_owner_is_refused() -> None:
    wrapped = KEYS.wrapped(KEYS.new_key("cre_1", "profile"))
    for changed in (
        replace(wrapped, owner_id="cre_2"),
        replace(wrapped, name="key:account"),
        replace(wrapped, value=wrapped.value[:-4] + "AAA="),
        replace(wrapped, value=wrapped.value + "!"),
    ):
        with pytest.raises(CannotBeOpened):
            KEYS.unwrapped(changed)


@given(st.integers(min_value=0, max_value=10_000))
def test_a_changed_byte_is_refused(where: int) -> None:
    key = KEYS.new_key("ord_sto.1", "dlv_sto.1")
    kept = bytearray(key.seal_body(b'{"email": "a@b.example"}' * 9, place="dlv_sto.1"))
    beginning = kept.index(b"\n") + 1
    kept[beginning + where % (len(kept) - beginning)] ^= 1
    with pytest.raises(CannotBeOpened):
        key.open_body(bytes(kept), place="dlv_sto.1")


def test_a_master_key_that_is_not_here_is_named() -> None:
    wrapped = KEYS.wrapped(KEYS.new_key("cre_1", "profile"))
    with pytest.raises(CannotBeOpened, match=f"the master key '{KEYS.current}', which is not here"):
        PersonKeys.generate().unwrapped(wrapped)


def test_a_rotation_keeps_what_was_sealed_and_ends_with_one_master_key() -> None:
    key = KEYS.new_key("cre_1", "profile")
    rotated = KEYS.rotated()
    assert rotated.unwrapped(KEYS.wrapped(key)) == key
    again = rotated.wrapped(key)
    assert rotated.without_old_masters().unwrapped(again) == key
    with pytest.raises(CannotBeOpened):
        rotated.without_old_masters().unwrapped(KEYS.wrapped(key))
    assert rotated.digest("aina", purpose="handle") == KEYS.digest("aina", purpose="handle")
    assert rotated.fingerprint == KEYS.fingerprint != PersonKeys.generate().fingerprint


def test_digests_are_keyed_and_say_what_they_are_for() -> None:
    assert KEYS.digest("aina", purpose="handle") != KEYS.digest("aina", purpose="payout account")
    assert KEYS.digest("aina", purpose="handle") != PersonKeys.generate().digest("aina", purpose="handle")


def test_bodies_are_packed_before_they_are_sealed() -> None:
    body = b'{"line_items": []}' * 400
    kept = KEYS.new_key("ord_sto.1", "dlv_sto.1").seal_body(body, place="dlv_sto.1")
    assert len(kept) < len(zlib.compress(body, 1)) + 100
    assert owner_of_body(body) is None  # kept before bodies were sealed
