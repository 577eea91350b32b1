"""What texts setup commands and decisions take."""

from __future__ import annotations

import pytest

from colink.application.configure.checks import check_text
from colink.domain.errors import InvalidInput

INVISIBLE = {
    "zero width space": "\u200b",
    "byte order mark": "\ufeff",
    "joiners and a soft hyphen": "\u2060\u200d\u00ad",
    "marks of direction around spaces": "\u202e \u00a0\u3000\u202c",
}


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE.keys())
def test_a_reason_that_nobody_can_see_is_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="reason must hold something that can be seen") as refused:
        check_text(text, field="reason")
    assert refused.value.field == "reason"


@pytest.mark.parametrize("text", ["-", "\u200bok", "क्\u200dष", "👩\u200d🔧"])
def test_what_holds_some_that_cannot_be_seen_is_kept_as_it_is(text: str) -> None:
    assert check_text(text, field="reason") == text
