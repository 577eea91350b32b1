"""A deliberate break of the program: applied to a copy of its source, it must make the named test fail.

src/colink -> a copy with one text replaced -> pytest of that one test, importing the copy -> killed or survived
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "colink"
_FAILED = 1  # what pytest exits with when tests failed; anything else is no answer
_PATIENCE = 900  # seconds for one test


@dataclass(frozen=True, kw_only=True)
class Break:
    """`file`: below src/colink. `old` stands once in it, and `new` takes its place. `test`: as pytest names it, below
    tests. `seen`: how the test failed, in a few words."""

    name: str
    file: str
    old: str
    new: str
    test: str
    seen: str

    def broken(self, source: Path = SOURCE) -> str:
        """The file's text with the break in it. Raises ValueError where it does not fit."""
        text = (source / self.file).read_text()
        if text.count(self.old) != 1:
            msg = f"{self.name}: {self.old!r} does not stand exactly once in {self.file}"
            raise ValueError(msg)
        return text.replace(self.old, self.new)

    def apply(self, source: Path) -> None:
        (source / self.file).write_text(self.broken(source))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`killed`: the test failed, as it must; `said`: the first line of why, or what came instead."""

    broken: Break
    killed: bool
    said: str


def try_break(broken: Break) -> Verdict:
    """Run the test of one break against a copy of the source that has it."""
    with tempfile.TemporaryDirectory(prefix="colink-break-") as folder:
        Path(folder).chmod(0o711)  # processes of other users that the tests start pass through
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE, copy / "colink", ignore=shutil.ignore_patterns("__pycache__"))
        broken.apply(copy / "colink")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{broken.test}"]
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return Verdict(broken=broken, killed=False, said=f"still running after {_PATIENCE} s")
    return Verdict(broken=broken, killed=done.returncode == _FAILED, said=_reason(done))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The first line pytest gives as an error."""
    if done.returncode == 0:
        return "the test passed all the same"
    errors = re.findall(r"^E +(\S.*)$", done.stdout, re.MULTILINE)
    return errors[0] if errors else (done.stdout + done.stderr).strip().rpartition("\n")[2]
