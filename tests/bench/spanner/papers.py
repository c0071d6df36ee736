"""Table 4, simulated: two-phase commit to 200 participants, by one command.

.venv/bin/python -m tests.bench spanner.papers
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, show
from tests.bench.peaks import DSIM, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = 120  # seconds


def figures(quick: bool) -> Iterator[Figure]:
    """Measures; with `quick`, a tenth of the transactions."""
    less = ["--set", "transactions=30"] if quick else []
    with tempfile.TemporaryDirectory() as name:
        table = timed([DSIM, "run", "papers/spanner-2pc", *less], Path(name))
    yield Figure(
        "simulated: Table 4 (papers/spanner-2pc), 1 to 200 participants"
        + (", a tenth of it" if quick else ""),
        table.seconds,
        "s",
        "at most",
        TARGET,
        "start-up, checks and pictures included",
    )


if __name__ == "__main__":
    show(figures)
