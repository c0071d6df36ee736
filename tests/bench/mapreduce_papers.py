"""The paper's sort at the paper's size, simulated: the wall time and the memory of one command.

.venv/bin/python -m tests.bench.mapreduce_papers
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, show
from tests.bench.peaks import DSIM, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1 << 20


def figures(quick: bool) -> Iterator[Figure]:
    """Measures; nothing of it is left out when it is to be quick."""
    what = "paper-size sort, simulated (1,746 machines, M = 15,000, R = 4,000)"
    with tempfile.TemporaryDirectory() as name:
        sort = timed([DSIM, "run", "papers/mapreduce-sort"], Path(name))
    yield Figure(what, sort.seconds, "s", "at most", 60, "start-up, checks and pictures included")
    yield Figure(
        "the same: the largest process", sort.peak / MEGABYTE, "MB", "at most", 1024, "seen from outside"
    )


if __name__ == "__main__":
    show(figures)
