"""Streaming against the pipeline of the same commands.

.venv/bin/python -m tests.bench.mapreduce_streaming
"""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, show
from tests.bench.peaks import DSIM, timed
from tests.bench.texts import write_records

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1 << 20


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    size = (32 if quick else 512) * MEGABYTE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "in", size)
        streaming, pipeline = [], []
        for _ in range(2):
            pipeline.append(timed("cat in | LC_ALL=C sort | cat >sorted", folder))
            shutil.rmtree(folder / "out", ignore_errors=True)
            command = ["mr", "--mapper", "cat", "--reducer", "cat", "--input", "in", "--output", "out"]
            streaming.append(timed([DSIM, *command, "--workers", "2"], folder))
        same = filecmp.cmp(folder / "sorted", folder / "out/part-00000", shallow=False)
        ours, theirs = min(streaming), min(pipeline)
    yield Figure(
        f"streaming cat, {size // MEGABYTE} MB, start-up included",
        ours.seconds / theirs.seconds if same else float("inf"),
        "x",
        "" if quick else "at most",
        1.5,
        f"{ours.seconds:.1f} s; cat | LC_ALL=C sort | cat: {theirs.seconds:.1f} s; processor time "
        f"{ours.processor / theirs.processor:.2f} x; the output is "
        f"{'the same' if same else 'NOT the same'}",
    )


if __name__ == "__main__":
    show(figures)
