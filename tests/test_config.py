from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from colink.config import PayoutApproval, PayoutSchedule, Settings, SettingsError, load_settings, parse_offset


@pytest.fixture(autouse=True)
def no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)


def test_nothing_has_to_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.model_dump() == {
        "database_url": None,
        "data_dir": tmp_path / ".colink",
        "admin_key": None,
        "public_url": "http://127.0.0.1:8000",
        "payout_approval": PayoutApproval.MANUAL,
        "payout_schedule": PayoutSchedule.ON_REQUEST,
        "sandbox_url": None,
        "tracking_retention": None,
        "clock_offset": timedelta(0),
        "demo": False,
        "kafka_bootstrap": None,
        "redis_url": None,
        "otlp_endpoint": None,
    }


def test_every_setting_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://me@db.example/colink",
        "DATA_DIR": "/srv/colink",
        "ADMIN_KEY": "ck_0123456789abcdef",
        "PUBLIC_URL": "https://colink.example/",
        "PAYOUT_APPROVAL": "auto",
        "PAYOUT_SCHEDULE": "weekly",
        "SANDBOX_URL": "http://127.0.0.1:9000",
        "CLOCK_OFFSET": "+15d",
        "DEMO": "1",
        "KAFKA_BOOTSTRAP": "broker:9092",
        "REDIS_URL": "redis://cache.example:6379/0",
        "OTLP_ENDPOINT": "http://collector.example:4318/",
    }.items():
        monkeypatch.setenv(f"COLINK_{name}", value)
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://me@db.example/colink"
    assert settings.data_dir == Path("/srv/colink")
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "ck_0123456789abcdef"
    assert settings.public_url == "https://colink.example"
    assert settings.payout_approval is PayoutApproval.AUTO
    assert settings.payout_schedule is PayoutSchedule.WEEKLY
    assert settings.sandbox_url == "http://127.0.0.1:9000"
    assert settings.clock_offset == timedelta(days=15)
    assert settings.demo is True
    assert settings.kafka_bootstrap == "broker:9092"
    assert settings.redis_url is not None
    assert settings.otlp_endpoint == "http://collector.example:4318"


def test_traces_go_where_the_standard_variable_says_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard.example:4318")
    assert load_settings().otlp_endpoint == "http://standard.example:4318"
    monkeypatch.setenv("COLINK_OTLP_ENDPOINT", "http://ours.example:4318")
    assert load_settings().otlp_endpoint == "http://ours.example:4318"


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLINK_DATABASE_URL", "")
    monkeypatch.setenv("COLINK_CLOCK_OFFSET", "")
    assert load_settings().database_url is None
    assert load_settings().clock_offset == timedelta(0)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("+15d", timedelta(days=15)),
        ("-2h", timedelta(hours=-2)),
        ("90m", timedelta(minutes=90)),
        ("+45s", timedelta(seconds=45)),
        ("-2w", timedelta(weeks=-2)),
        ("0d", timedelta(0)),
        ("+3660d", timedelta(days=3660)),
    ],
)
def test_offsets(text: str, offset: timedelta) -> None:
    assert parse_offset(text) == offset


@pytest.mark.parametrize("text", ["15", "+d", "1.5d", "+15 days", "15D", "++1d", "P15D", "+3661d", "tomorrow", "٣d"])
def test_offsets_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_offset(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COLINK_CLOCK_OFFSET", "77"),
        ("COLINK_PAYOUT_APPROVAL", "sometimes"),
        ("COLINK_PUBLIC_URL", "colink.example"),
        ("COLINK_SANDBOX_URL", "ftp://sandbox.example"),
        ("COLINK_DATABASE_URL", "mysql://me:hidden@db.example/colink"),
        ("COLINK_ADMIN_KEY", "key with spaces"),
        ("COLINK_PAYOUT_SCHEDULE", "hourly"),
        ("COLINK_TRACKING_RETENTION", "59d"),
        ("COLINK_TRACKING_RETENTION", "-400d"),
        ("COLINK_REDIS_URL", "http://cache.example"),
        ("COLINK_DEMO", "perhaps"),
    ],
)
def test_a_wrong_value_names_its_variable_and_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"{name}: ")
    assert value not in str(raised.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings(database_url="postgresql://me:hidden@db.example/colink", admin_key="ck_hidden_0123456789")  # type: ignore[arg-type] # pydantic takes text
    assert "hidden" not in repr(settings)
