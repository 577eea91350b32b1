"""Signatures of callbacks, by the Standard Webhooks scheme (github.com/standard-webhooks/standard-webhooks, v1).

`webhook-signature` is `v1,` and the base64 HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`; several may
stand beside each other while a secret is rotated.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from colink.domain.errors import Unauthorized

TOLERANCE = 300  # seconds that a callback may be old, or early by the other clock


def signed_headers(secret: str, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a callback. `timestamp` in seconds since 1970."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{_signature(secret, message_id, str(timestamp), body)}",
    }


def check_signature(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Raises Unauthorized unless the body was signed with the secret within the tolerance. Header names in lower
    case; `now` in seconds since 1970."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp)) > TOLERANCE:
        msg = "the callback is not signed, or too old"
        raise Unauthorized(msg)
    expected = f"v1,{_signature(secret, message_id, timestamp, body)}".encode()
    given = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected, candidate.encode()) for candidate in given):
        msg = "the signature of the callback is wrong"
        raise Unauthorized(msg)


def _signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
