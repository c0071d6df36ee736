"""How long a person waits: whole processes, from the shell's view. The best of several runs counts.

.venv/bin/python -m tests.bench.start
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

DSIM = Path(sys.executable).with_name("dsim")


def best(rounds: int, *arguments: str) -> float:
    """Returns the seconds of the fastest of several runs, each in an empty folder."""
    times = []
    for _ in range(rounds + 1):  # the first fills the page cache
        with tempfile.TemporaryDirectory() as folder:
            before = time.perf_counter()
            subprocess.run([DSIM, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - before)
    return min(times[1:])


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    rounds = 3 if quick else 7
    python = min(_python() for _ in range(rounds))
    beside = f"python -c pass takes {python:.3f} s"
    yield Figure("dsim --help", best(rounds, "--help"), "s", "at most", 0.3, beside)
    ping = best(rounds, "run", "basics/ping")
    yield Figure("dsim run basics/ping, with its picture", ping, "s", "at most", 1.0, beside)


def _python() -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - before


if __name__ == "__main__":
    show(figures)
