"""`sweep --jobs 2` against `--jobs 1`: at least 1.8 times as fast, on two cores that are free.

    .venv/bin/python -m tests.bench.sweep

Both sweep the same seeds of `basics/primary-backup`, enough of them that starting the workers does not
matter. They take turns, and the best of each counts: what else the machine does only ever adds time.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from sim.explore.sweep import sweep
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIO = "basics/primary-backup"
SEEDS = range(300)
TURNS = 2
TARGET = 1.8


def seconds(jobs: int, seeds: range) -> float:
    """Returns the real seconds that a sweep takes."""
    before = time.perf_counter()
    result = sweep(SCENARIO, seeds, jobs=jobs)
    assert result.passed == len(seeds), f"{result.failed} failed, {result.errors} errors"
    return time.perf_counter() - before


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    seeds = SEEDS[:100] if quick else SEEDS
    with tempfile.TemporaryDirectory() as scratch:
        home = os.getcwd()
        os.chdir(scratch)
        try:
            times = [(seconds(1, seeds), seconds(2, seeds)) for _ in range(1 if quick else TURNS)]
        finally:
            os.chdir(home)
    one, two = (min(column) for column in zip(*times, strict=True))
    reference = f"--jobs 1: {one:.1f} s against {two:.1f} s for {len(seeds)} seeds of {SCENARIO}"
    yield Figure("speed of sweep --jobs 2", one / two, "x", "at least", TARGET, reference)


if __name__ == "__main__":
    show(figures)
