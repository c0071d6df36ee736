"""Percentiles of any number of durations, in constant memory.

Few durations are kept as they are, and their percentiles are exact. More are counted in buckets that
are 1 % wide, as an HDR histogram does it; a percentile is then exact to within that width.
"""

from __future__ import annotations

import math

EXACT = 1000  # durations kept as they are
PER_DOUBLING = 70  # buckets: each is 2^(1/70) - 1 = 1 % above the one before


class Durations:
    """A histogram of durations in ns."""

    def __init__(self) -> None:
        self._exact: list[int] = []
        self._counts: dict[int, int] = {}  # in use once there are too many
        self.count = 0

    def add(self, ns: int) -> None:
        """Counts a duration; less than 1 ns counts as 1 ns."""
        self.count += 1
        if self.count <= EXACT:
            self._exact.append(ns)
            return
        self._fold()
        self._bucket(ns)

    def merge(self, other: Durations) -> None:
        """Adds all that another histogram counted."""
        self.count += other.count
        self._exact += other._exact
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        if self.count > EXACT:
            self._fold()

    def percentile(self, part: float) -> float:
        """Returns the duration (ns) that the part of them does not exceed; nan when there are none.

        Args:
            part: 0.5 for the median, 0.99 for p99.
        """
        rank = max(1, math.ceil(part * self.count))
        if self._exact:
            return float(max(1, sorted(self._exact)[rank - 1]))
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return float(2 ** (bucket / PER_DOUBLING))
        return math.nan

    def _bucket(self, ns: int) -> None:
        bucket = round(math.log2(ns) * PER_DOUBLING) if ns > 1 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def _fold(self) -> None:
        for ns in self._exact:
            self._bucket(ns)
        self._exact.clear()


def in_words(ns: float) -> str:
    """Writes a duration in the unit that suits it: "1.5 ms"."""
    if abs(ns) >= 999.5 * UNITS[0][1]:
        return f"{ns / UNITS[0][1]:,.0f} s"  # not "3.6e+03 s"
    for unit, size in UNITS:
        if abs(ns) >= 0.9995 * size:  # nor "1e+03 ms"
            return f"{ns / size:.3g} {unit}"
    return "0 s" if ns == 0 else f"{ns:.3g} ns"


UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1))
