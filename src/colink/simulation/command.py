"""What the command line is given: seeds lived on an embedded server of their own, in the data folder, which is
left as it was. What a simulation needs is loaded when there is one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from colink.cli.wiring import SeedOutcome
from colink.config import Settings


class Simulator:
    """A cli.wiring.Simulator."""

    def __call__(
        self, settings: Settings, seeds: Sequence[int], *, steps: int, processes: int, progress: Callable[[int], None]
    ) -> Iterator[SeedOutcome]:
        from colink.simulation.seeds import simulate_all

        with _own_folder(settings) as folder:
            yield from simulate_all(folder, seeds, steps=steps, processes=processes, progress=progress)

    def shortest(self, settings: Settings, *, seed: int, steps: int) -> SeedOutcome | None:
        from colink.simulation.seeds import shortest

        with _own_folder(settings) as folder:
            return shortest(folder, seed=seed, steps=steps)


@contextmanager
def _own_folder(settings: Settings) -> Iterator[Path]:
    folder = settings.data_dir / f"simulation-{os.getpid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o711)  # the server's user passes through, where the program runs as root
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
