"""A server with the simulator's template on it: that of the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colink.adapters.postgres.server import ServerHandle
from colink.simulation.seeds import Ground, prepared


@pytest.fixture(scope="session")
def place(postgres: ServerHandle) -> Ground:
    folder = Path(os.environ["COLINK_TEST_RUN"]) / "simulation"
    folder.mkdir(exist_ok=True)
    return prepared(postgres, folder)
