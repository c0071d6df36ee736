"""All benchmarks: each number stands beside its reference and its target, with the load of the machine.

    python -m tests.bench [--quick | --full] [PART ...]

`--quick` measures less; `--full` also what takes very long (word count of 4 GB, the largest master). A part
is the beginning of a module's name: `mapreduce` prints the table of MapReduce alone, `coordination` that of
the coordination service, `spanner` that of Spanner.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.bench import (
    linearizability,
    loop,
    mapreduce_data,
    mapreduce_jobs,
    mapreduce_master,
    mapreduce_papers,
    mapreduce_streaming,
    real_echo,
    rpc,
    start,
    sweep,
    trace,
    transactions,
)
from tests.bench.coordination import against_apache, own_client, simulated
from tests.bench.figure import Figure, show
from tests.bench.spanner import idle, papers, real
from tests.bench.spanner import simulated as spanner_simulated

if TYPE_CHECKING:
    from collections.abc import Iterator


def figures(quick: bool) -> Iterator[Figure]:
    """Measures everything, or the parts that were named."""
    names = tuple(name for name in sys.argv[1:] if not name.startswith("-"))
    for part in (
        rpc,
        loop,
        trace,
        start,
        real_echo,
        sweep,
        linearizability,
        transactions,
        mapreduce_data,
        mapreduce_streaming,
        mapreduce_jobs,
        mapreduce_master,
        mapreduce_papers,
        against_apache,
        own_client,
        simulated,
        real,
        spanner_simulated,
        papers,
        idle,
    ):
        if not names or part.__name__.removeprefix("tests.bench.").startswith(names):
            yield from part.figures(quick)


if __name__ == "__main__":
    show(figures)
