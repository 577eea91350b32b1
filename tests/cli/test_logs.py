"""The promise: whatever a process of ours logs, machines can read it line by line."""

from __future__ import annotations

import json
import subprocess
import sys

PROCESS = """
import logging, structlog
from colink.cli import logs

logs.configure()
with structlog.contextvars.bound_contextvars(correlation_id="r-1"):
    structlog.get_logger().info("request", status=200)
    structlog.get_logger().debug("too much")
    logging.getLogger("psycopg.pool").warning("discarding %s", "a connection")
    logging.getLogger("psycopg.pool").info("too much")
    try:
        1 / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("broken", secret_free=True)
"""


def test_lines_of_ours_and_of_libraries_are_json_with_the_correlation_id() -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["correlation_id"] for line in lines} == {"r-1"}
    assert [(line["event"], line["level"]) for line in lines] == [
        ("request", "info"),
        ("discarding a connection", "warning"),
        ("broken", "error"),
    ]
    assert lines[1]["logger"] == "psycopg.pool"
    assert lines[2]["exception"].endswith("ZeroDivisionError: division by zero")
    assert all(line["timestamp"].endswith("Z") for line in lines)
