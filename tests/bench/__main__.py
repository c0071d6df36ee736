"""All benchmarks: `python -m tests.bench [--quick]`. Each number stands beside its reference and target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import (
    loop,
    mapreduce_data,
    mapreduce_jobs,
    mapreduce_streaming,
    real_echo,
    rpc,
    start,
    sweep,
    trace,
)
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator


def figures(quick: bool) -> Iterator[Figure]:
    """Measures everything."""
    for part in (
        rpc,
        loop,
        trace,
        start,
        real_echo,
        sweep,
        mapreduce_data,
        mapreduce_streaming,
        mapreduce_jobs,
    ):
        yield from part.figures(quick)


if __name__ == "__main__":
    show(figures)
