"""Customers, as far as the log may know them: a keyed hash that says whether two e-mail addresses are the same."""

from __future__ import annotations

import hashlib
import hmac


def customer_ref_of(email: str | None, *, pepper: bytes) -> str | None:
    """HMAC-SHA256 hex of the trimmed, lower-cased address; None where there is none. Buyers' and creators' references
    are made alike, so that own purchases are noticed (semantics section 3)."""
    address = (email or "").strip().lower()
    if not address:
        return None
    return hmac.new(pepper, address.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
