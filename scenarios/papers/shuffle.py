"""Who still has to pull how much from whom: all reduces and all sources at once, as one matrix.

60 million regions of 19 KB are too many to be moved one by one. Every second each reduce asks all its sources
for what they have for it, as far as its network card and its memory take it, and every source serves
all who ask the same share of it: what was written a short while ago from the page cache, what has left it
by a random read each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from scenarios.papers.disks import Array

    Counts: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

BLOCK = 64  # rows that fit the processor's cache
CRUMB = 0.05  # of a region: what rounding leaves


class Shuffle:
    """Regions on their way.

    Args:
        machines: how many.

    Attributes:
        pending: regions, a row a reduce (by its machine), a column a source.
        waiting: the sum of each row.
        cold: of each row, the share that has left the page cache.
        asked: regions asked of each source in this step that need its disk.
    """

    def __init__(self, machines: int) -> None:
        self.pending = np.zeros((machines, machines), np.float32)
        self.waiting = np.zeros(machines)
        self.cold = np.zeros(machines)
        self.asked = np.zeros(machines)
        self._share = np.zeros(machines)

    def offer(self, reduce: int, counts: Counts, cold: float) -> None:
        """Takes regions that are there for a reduce.

        Args:
            reduce: its machine.
            counts: by source.
            cold: the share of these that has left the page cache.
        """
        more = int(counts.sum())
        before = self.waiting[reduce]
        if more:
            self.cold[reduce] = (self.cold[reduce] * before + cold * more) / (before + more)
            self.pending[reduce] += counts
            self.waiting[reduce] = before + more

    def clear(self, reduce: int) -> None:
        """Forgets a reduce."""
        self.pending[reduce] = 0
        self.waiting[reduce] = self.cold[reduce] = self._share[reduce] = 0

    def forsake(self, reduce: int, source: int) -> None:
        """What a source had for a reduce is gone."""
        left = self.waiting[reduce] - float(self.pending[reduce, source])
        self.pending[reduce, source] = 0
        self.waiting[reduce] = left if left > CRUMB else self.pending[reduce].sum(dtype=np.float64)

    def ask(self, regions: Array) -> None:
        """Each reduce asks for so many regions, of all its sources alike."""
        few = self.waiting < CRUMB
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(self.waiting > 0, np.minimum(regions / self.waiting, 1.0), 0.0)
        part[few & (self.waiting > 0)] = 1.0
        self._share = part
        weights = part * self.cold
        if weights.any():
            self.asked = (weights.astype(np.float32) @ self.pending).astype(np.float64)
        else:
            self.asked = np.zeros(len(part))

    def serve(self, served: Array) -> Array:
        """Each source has served this share of what was asked of its disk, and all from its page cache.

        Returns:
            Regions that each reduce got.
        """
        part, cold = self._share, self.cold
        active = np.flatnonzero(part)
        got = np.zeros(len(part))
        if not len(active):
            return got
        warm_part = part * (1 - cold)
        cold_part = part * cold
        warm = warm_part * self.waiting
        if cold_part.any():
            lacking = served.astype(np.float32)
            from_disk = cold_part * (self.pending @ lacking)
            for begin in range(0, len(active), BLOCK):
                rows = active[begin : begin + BLOCK]
                keep = (1 - warm_part[rows]).astype(np.float32)[:, None]
                self.pending[rows] *= keep - cold_part[rows].astype(np.float32)[:, None] * lacking
        else:
            from_disk = np.zeros(len(part))
            self.pending[active] *= (1 - warm_part[active]).astype(np.float32)[:, None]
        left = cold * self.waiting - from_disk
        got = warm + from_disk
        self.waiting[active] = self.pending[active].sum(axis=1, dtype=np.float64)
        tiny = active[self.waiting[active] < CRUMB / 10]
        got[tiny] += self.waiting[tiny]
        self.pending[tiny] = 0
        self.waiting[tiny] = 0
        some = self.waiting > 0
        self.cold[some] = np.clip(left[some] / self.waiting[some], 0, 1)
        self._share = np.zeros(len(part))
        return got
