"""Reading untrusted JSON exactly: decimals without loss, one meaning per key, and a problem that names the field.

Knows no platform. A connector decodes a body with `decode_object` and asks the resulting `Reader` for what it needs;
whatever it does not ask for is ignored, however wrong it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

from colink.domain.errors import InvalidInput, UnreadableBody

MAX_TEXT = 255  # of a text that is kept; identifiers and codes are far shorter
_MAX_DECIMALS = 12  # more than any platform or currency has; with 16 digits before them it fits 28
_AMOUNT = re.compile(rf"-?[0-9]{{1,16}}(?:\.[0-9]{{1,{_MAX_DECIMALS}}})?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_YEARS = range(1970, 3000)  # outside of it nothing was sold, and adding days could leave the calendar


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def decode_object(body: bytes) -> Reader:
    """The JSON object in `body` (UTF-8).

    Raises UnreadableBody where it is no JSON; InvalidInput where it has more than one meaning (a key twice), numbers
    nobody can mean, NUL in a text, or no object at the top.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8"))
        if b"\\u0000" in body:  # a raw NUL is no JSON; without the escape there can be none
            _refuse_nul(value)
    except _DuplicateKey as error:
        msg = f"the key {shown(error.key)} occurs twice in one object"
        raise InvalidInput(msg, field=shown(error.key)) from None
    except json.JSONDecodeError as error:
        msg = f"not JSON: {error.msg} at character {error.pos}"
        raise UnreadableBody(msg) from None
    except UnicodeDecodeError as error:
        msg = f"not JSON: no UTF-8 at byte {error.start}"
        raise UnreadableBody(msg) from None
    except (ValueError, ArithmeticError):
        msg = "the body holds a number with more digits than can be read"
        raise InvalidInput(msg) from None
    except RecursionError:
        msg = "the body is nested too deeply"
        raise InvalidInput(msg) from None
    if not isinstance(value, dict):
        msg = f"expected an object, got {_kind(value)}"
        raise InvalidInput(msg)
    return Reader(value, "")


def shown(text: str) -> str:
    """Foreign text as it may appear in a problem: ASCII, without control characters, cut short."""
    return ascii(text)[1:-1][:80]


class Reader:
    """One JSON object and where it stands in the body. Missing and null are the same.

    Every method takes the key; those that end in `_or_none` or take a default accept a missing value. All raise
    InvalidInput with `field` as a dotted path such as `line_items[1].quantity`.
    """

    __slots__ = ("_data", "_path")

    def __init__(self, data: dict[str, Any], path: str) -> None:
        self._data = data
        self._path = path

    def path_of(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def fail(self, key: str, detail: str) -> NoReturn:
        raise InvalidInput(detail, field=self.path_of(key))

    def has(self, key: str) -> bool:
        return self._data.get(key) is not None

    def raw(self) -> dict[str, Any]:
        """The object as decoded, for hashing."""
        return self._data

    def loose_text_or_none(self, key: str) -> str | None:
        """Any text: for what is only looked into, never kept."""
        value = self._data.get(key)
        if value is not None and not isinstance(value, str):
            self._wrong_type(key, "text", value)
        return value

    def text_or_none(self, key: str, *, limit: int = MAX_TEXT) -> str | None:
        """A text without control characters and lone surrogates, which no store of ours could keep."""
        value = self.loose_text_or_none(key)
        if value is None:
            return None
        if len(value) > limit:
            self.fail(key, f"expected a text of at most {limit} characters, got {len(value)}")
        if not value.isprintable() and any(_unkeepable(character) for character in value):
            self.fail(key, "the text holds NUL, another control character or half a surrogate pair")
        return value

    def text(self, key: str) -> str:
        value = self.text_or_none(key)
        if not value:
            self.fail(key, "expected a text, got none")
        return value

    def id_or_none(self, key: str) -> str | None:
        """An id as text: a whole number above zero, or a text."""
        value = self._data.get(key)
        if value is None or isinstance(value, str):
            return self.text_or_none(key, limit=64) or None
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong_type(key, "an id", value)
        if not 0 < value < 2**64:
            self.fail(key, "expected an id: a whole number between 1 and 2^64")
        return str(value)

    def id(self, key: str) -> str:
        value = self.id_or_none(key)
        if value is None:
            self.fail(key, "expected an id, got none")
        return value

    def flag(self, key: str) -> bool:
        """A boolean; false where it is missing."""
        value = self._data.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            self._wrong_type(key, "true or false", value)
        return value

    def count_or_none(self, key: str) -> int | None:
        """A whole number of things: zero to a thousand million."""
        value = self._data.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong_type(key, "a whole number", value)
        if not 0 <= value <= 10**9:
            self.fail(key, "expected a whole number between 0 and 10^9")
        return value

    def count(self, key: str) -> int:
        value = self.count_or_none(key)
        if value is None:
            self.fail(key, "expected a whole number, got none")
        return value

    def decimal_or_none(self, key: str) -> Decimal | None:
        """A number, as JSON number or as text (`"195.66"`), exact. JSON numbers beyond twelve decimals are the noise
        of somebody's binary arithmetic (59.980000000000004) and lose it."""
        value = self._data.get(key)
        if value is None:
            return None
        if isinstance(value, Decimal) and value.adjusted() < 16:
            value = format(round(value, _MAX_DECIMALS) if _decimals(value) > _MAX_DECIMALS else value, "f")
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**16:
            value = str(value)
        elif isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            self.fail(key, "the amount is absurdly large")
        elif not isinstance(value, str):
            self._wrong_type(key, "an amount", value)
        if not _AMOUNT.fullmatch(value):
            self.fail(key, f"expected an amount such as 195.66, got {shown(value)}")
        return Decimal(value)

    def time_or_none(self, key: str, *, or_day: bool = False) -> datetime | None:
        """An ISO 8601 time with its offset, in UTC. `or_day`: a date alone is the first moment of that day, UTC."""
        value = self._data.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong_type(key, "a time", value)
        if or_day and _DAY.fullmatch(value):
            value += "T00:00:00+00:00"
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            time = None
        if time is None or time.tzinfo is None or time.year not in _YEARS:
            self.fail(key, f"expected a time with its offset such as 2026-01-31T09:00:00+08:00, got {shown(value)}")
        return time.astimezone(UTC)

    def time(self, key: str) -> datetime:
        value = self.time_or_none(key)
        if value is None:
            self.fail(key, "expected a time, got none")
        return value

    def object_or_none(self, key: str) -> Reader | None:
        value = self._data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong_type(key, "an object", value)
        return Reader(value, self.path_of(key))

    def objects(self, key: str, *, required: bool = False) -> list[Reader]:
        """A list of objects; empty where it is missing, unless it is required."""
        value = self._data.get(key)
        if value is None and not required:
            return []
        if not isinstance(value, list):
            self._wrong_type(key, "a list", value)
        path = self.path_of(key)
        readers = []
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                msg = f"expected an object, got {_kind(item)}"
                raise InvalidInput(msg, field=f"{path}[{index}]")
            readers.append(Reader(item, f"{path}[{index}]"))
        return readers

    def _wrong_type(self, key: str, expected: str, value: object) -> NoReturn:
        self.fail(key, f"expected {expected}, got {_kind(value)}")


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _unkeepable(character: str) -> bool:
    return character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff"


def _kind(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, Decimal)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key)
            seen.add(key)
    return decoded


def _not_json(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is no number", constant, 0)


def _refuse_nul(value: object) -> None:
    for path, text in _texts(value, ""):
        if "\x00" in text:
            msg = "the text holds NUL"
            raise InvalidInput(msg, field=path)


def _texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every text of a decoded body, keys included, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{shown(key)}" if path else shown(key)
            yield inner, key
            yield from _texts(item, inner)


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_not_json, object_pairs_hook=_unique_keys)
