"""Ids: a type prefix and a natural key where nature has one, else a prefix and a UUIDv7 given by the caller.

Natural parts are percent-encoded, so that `.` always separates (contract, HTTP)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

_UUID7 = re.compile(r"[a-z]+_([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = re.compile(r"[A-Za-z0-9_~-]*").fullmatch  # what needs no encoding: nearly every part


def natural_id(prefix: str, *parts: str) -> str:
    """`natural_id("ord", "sto_1", "4507")` -> `ord_sto_1.4507`."""
    return f"{prefix}_" + ".".join([part if _PLAIN(part) else _encoded(part) for part in parts])


def order_id(store_id: str, external_id: str) -> str:
    return natural_id("ord", store_id, external_id)


def product_id(store_id: str, external_id: str) -> str:
    return natural_id("prd", store_id, external_id)


def sku_id(store_id: str, external_id: str) -> str:
    return natural_id("sku", store_id, external_id)


def natural_parts(id_: str) -> tuple[str, ...]:
    """The natural parts of an id that `natural_id` made: `ord_sto_1.4507` -> `("sto_1", "4507")`."""
    return tuple(unquote(part) for part in id_.partition("_")[2].split("."))


def made_at(id_: str) -> datetime | None:
    """When an id with a UUIDv7 was made, to the millisecond (RFC 9562 section 5.7); None for any other id."""
    found = _UUID7(id_)
    return _EPOCH + timedelta(milliseconds=int(found[1] + found[2], 16)) if found else None


def _encoded(part: str) -> str:
    return quote(part, safe="-_~").replace(".", "%2E")
