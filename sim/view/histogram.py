"""Percentiles of any number of durations over time, in constant memory.

Durations are counted in buckets that are a few percent wide, as an HDR histogram does it; a
percentile is exact to within that width.
"""

from __future__ import annotations

import math

import numpy as np

BUCKETS_PER_DOUBLING = 24  # so a bucket is 3 % wide
BUCKETS = 64 * BUCKETS_PER_DOUBLING


class Percentiles:
    """Counts of durations in bins of time.

    Args:
        bins: how many bins of time there are.
    """

    def __init__(self, bins: int) -> None:
        self._counts: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self.bins = bins
        self.total = 0

    def add(self, time_bin: int, ns: int) -> None:
        """Counts a duration in a bin of time."""
        counts = self._counts.get(time_bin)
        if counts is None:
            counts = self._counts[time_bin] = np.zeros(BUCKETS, dtype=np.int64)
        counts[round(math.log2(max(ns, 1)) * BUCKETS_PER_DOUBLING)] += 1
        self.total += 1

    def over_time(self, part: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Returns a percentile of each bin, in ns; nan where there is no duration.

        Args:
            part: 0.5 for the median, 0.99 for p99 (the smallest duration that so many do not exceed).
        """
        found = np.full(self.bins, np.nan)
        for time_bin, counts in self._counts.items():
            found[time_bin] = _percentile(counts, part)
        return found

    def overall(self, part: float) -> float:
        """Returns a percentile of all durations, in ns; nan when there are none."""
        if not self._counts:
            return math.nan
        return _percentile(np.sum(list(self._counts.values()), axis=0), part)


def _percentile(counts: np.ndarray[tuple[int], np.dtype[np.int64]], part: float) -> float:
    rank = max(1, math.ceil(part * int(counts.sum())))
    bucket = int(np.searchsorted(np.cumsum(counts), rank))
    return float(2 ** (bucket / BUCKETS_PER_DOUBLING))
