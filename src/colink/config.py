"""Every setting, once (contract, "Settings"): environment variables with the prefix COLINK_. Not responsible for
what a setting does, only for its name, type and default, and for saying clearly which one is wrong."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_OFFSET = re.compile(r"(?P<sign>[+-]?)(?P<count>[0-9]{1,6})(?P<unit>[smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHORTEST_RETENTION = timedelta(days=60)
_LONGEST_OFFSET = timedelta(days=3660)  # ten years: more is a slip of the keyboard, and times must stay representable


class SettingsError(Exception):
    """A setting has a wrong value. The text names each variable at fault and what it may hold."""


class PayoutApproval(StrEnum):
    """Who releases a payout to its rail: a person, or nobody."""

    MANUAL = "manual"
    AUTO = "auto"


class PayoutSchedule(StrEnum):
    """When the worker requests payouts by itself, by UTC dates (docs/decisions/0008)."""

    ON_REQUEST = "on_request"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def parse_offset(text: str) -> timedelta:
    """`+15d`, `-2h`, `90m`, `45s` or `2w`: a sign (plus where missing), a whole number and one unit.

    Raises ValueError for anything else and beyond ten years.
    """
    match = _OFFSET.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a sign, a whole number and one of s, m, h, d, w, like +15d, -2h or 90m")
    offset = timedelta(**{_UNITS[match["unit"]]: int(match["sign"] + match["count"])})
    if abs(offset) > _LONGEST_OFFSET:
        raise ValueError(f"expected at most {_LONGEST_OFFSET.days} days")
    return offset


def _offset(value: Any) -> Any:
    # Anything pydantic would read as a duration by itself (a bare number, ISO 8601) is refused: one spelling.
    return parse_offset(value) if isinstance(value, str) else value


def _checked_url(value: str, *schemes: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"expected a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return value.rstrip("/")


class Settings(BaseSettings):
    """The settings of this process. Take them from `load_settings()`, which reports wrong ones in words."""

    model_config = SettingsConfigDict(
        env_prefix="COLINK_", env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    database_url: SecretStr | None = Field(default=None, description="PostgreSQL >= 15; none: the embedded server")
    data_dir: Path = Field(default=Path(".colink"), description="embedded database, keys, local object store")
    admin_key: SecretStr | None = Field(default=None, description="operator's API key; none: generated, shown once")
    public_url: str = Field(default="http://127.0.0.1:8000", description="base of links and webhook URLs")
    payout_approval: PayoutApproval = Field(default=PayoutApproval.MANUAL, description="manual or auto")
    payout_schedule: PayoutSchedule = Field(
        default=PayoutSchedule.ON_REQUEST,
        description="who has the minimum is paid on_request, weekly (Mondays) or monthly (the first), by UTC dates",
    )
    sandbox_url: str | None = Field(default=None, description="sandbox payment provider; none: the worker starts it")
    clock_offset: Annotated[timedelta, BeforeValidator(_offset)] = Field(
        default=timedelta(0), description="moves the clock (+15d), only on a database created with COLINK_DEMO=1"
    )
    tracking_retention: Annotated[timedelta | None, BeforeValidator(_offset)] = Field(
        default=None, description="age (400d) at which months of clicks and views are archived to files; none: never"
    )
    demo: bool = Field(default=False, description="a database created now is a demo: its clock may be moved")
    kafka_bootstrap: str | None = Field(default=None, description="host:port[,host:port]; none: no relay")
    redis_url: SecretStr | None = Field(
        default=None, description="shared rate limits and link cache; none: in-process"
    )
    otlp_endpoint: str | None = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        description="OpenTelemetry collector (OTLP over HTTP); none: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces",
    )

    @field_validator("tracking_retention")
    @classmethod
    def _long_enough(cls, value: timedelta | None) -> timedelta | None:
        # What windows need beyond that, the database knows: a month that is needed longer stays longer.
        if value is not None and value < _SHORTEST_RETENTION:
            raise ValueError(
                f"expected at least {_SHORTEST_RETENTION.days}d: orders may still be credited to touches"
            )
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Relative to where the process started: it must not follow a later chdir.
        return value.expanduser().absolute()

    @field_validator("public_url", "sandbox_url", "otlp_endpoint")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value, "http", "https")

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _checked_url(value.get_secret_value(), "redis", "rediss")
        return value

    @field_validator("database_url")
    @classmethod
    def _database_address(cls, value: SecretStr | None) -> SecretStr | None:
        text = "" if value is None else value.get_secret_value()
        if value is not None and not text.startswith(("postgresql://", "postgres://")):
            raise ValueError("expected a URL that begins with postgresql://")
        return value

    @field_validator("admin_key")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        # It travels in a header; how long it is, is the operator's choice.
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("expected visible ASCII characters without spaces")
        return value


def load_settings() -> Settings:
    """The settings of the environment. Raises SettingsError, naming variables but never their values, which may be
    secrets."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"COLINK_{'_'.join(str(part) for part in problem['loc']).upper()}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(problems)) from None
