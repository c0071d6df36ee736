"""Percentiles of any number of durations, in constant memory.

Durations are counted in buckets that are 3 % wide, as an HDR histogram does it; a percentile is
exact to within that width.
"""

from __future__ import annotations

import math

PER_DOUBLING = 24  # buckets: each is 2^(1/24) - 1 = 2.9 % wider than the one before


class Durations:
    """A histogram of durations in ns."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, ns: int) -> None:
        """Counts a duration; less than 1 ns counts as 1 ns."""
        bucket = round(math.log2(ns) * PER_DOUBLING) if ns > 1 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1

    def merge(self, other: Durations) -> None:
        """Adds all that another histogram counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count

    def percentile(self, part: float) -> float:
        """Returns the duration (ns) that the part of them does not exceed; nan when there are none.

        Args:
            part: 0.5 for the median, 0.99 for p99.
        """
        rank = max(1, math.ceil(part * self.count))
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return float(2 ** (bucket / PER_DOUBLING))
        return math.nan


def in_words(ns: float) -> str:
    """Writes a duration in the unit that suits it: "1.5 ms"."""
    for unit, size in UNITS:
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return "0 s" if ns == 0 else f"{ns:.3g} ns"


UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1))
