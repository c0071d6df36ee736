"""`sweep --jobs 2` against `--jobs 1`: at least 1.8 times as fast, on two cores that are free.

    .venv/bin/python -m tests.bench.sweep

Both sweep the same seeds of `basics/primary-backup`, enough of them that starting the workers does not
matter. They take turns, and the best of each counts: what else the machine does only ever adds time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

from sim.explore.sweep import sweep

SCENARIO = "basics/primary-backup"
SEEDS = range(300)
TURNS = 2
TARGET = 1.8


def seconds(jobs: int) -> float:
    """Returns the real seconds that a sweep takes."""
    before = time.perf_counter()
    result = sweep(SCENARIO, SEEDS, jobs=jobs)
    assert result.passed == len(SEEDS), f"{result.failed} failed, {result.errors} errors"
    return time.perf_counter() - before


def main() -> bool:
    """Prints the ratio; says whether the target is met."""
    with tempfile.TemporaryDirectory() as scratch:
        home = os.getcwd()
        os.chdir(scratch)
        try:
            times = [(seconds(1), seconds(2)) for _ in range(TURNS)]
        finally:
            os.chdir(home)
    one, two = (min(column) for column in zip(*times, strict=True))
    ratio = one / two
    print(
        f"sweep --jobs 2: {ratio:.2f} times as fast as --jobs 1 (target: at least {TARGET}; "
        f"{one:.2f} s and {two:.2f} s for {len(SEEDS)} seeds of {SCENARIO})"
    )
    return ratio >= TARGET


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
