"""Every rule that can be broken, once. An error carries its HTTP status, a stable slug and its data; the edges
(API, command line) only translate. `field` names the input at fault, as a dotted path."""

from __future__ import annotations

from typing import ClassVar


class ColinkError(Exception):
    """Base of all errors that people and machines are meant to understand."""

    slug: ClassVar[str] = "error"
    title: ClassVar[str] = "The request could not be carried out"
    status: ClassVar[int] = 400

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInput(ColinkError):
    slug, title, status = "invalid-input", "A field is not valid", 422


class UnreadableBody(InvalidInput):
    slug, title, status = "unreadable-body", "The body is not JSON", 400


class NotFound(ColinkError):
    slug, title, status = "not-found", "There is no such thing here", 404


class Unauthorized(ColinkError):
    slug, title, status = "unauthorized", "The credentials are missing or wrong", 401


class Forbidden(ColinkError):
    slug, title, status = "forbidden", "The role of this key does not allow that", 403


class Conflict(ColinkError):
    slug, title, status = "conflict", "That contradicts what is already recorded", 409


class IdempotencyConflict(Conflict):
    slug, title = "idempotency-key-reused", "The idempotency key was used with another request"


class ConcurrentUpdate(Conflict):
    """The streams or rows a command decided on moved before its append; it may be decided again."""

    slug, title = "concurrent-update", "Somebody else changed the same thing; try again"


class PayloadTooLarge(ColinkError):
    slug, title, status = "payload-too-large", "The body is larger than allowed", 413


class InsufficientFunds(ColinkError):
    slug, title, status = "insufficient-funds", "Less is available than asked for", 409


class PayoutStateError(Conflict):
    slug, title = "payout-state", "The payout is not in a state that allows this"


class Unavailable(ColinkError):
    """The service cannot take the command now; nothing was recorded and it is safe to repeat."""

    slug, title, status = "unavailable", "Not available right now; try again shortly", 503
