"""Who still has to pull how much from whom: all reduces and all sources at once, as one matrix.

60 million regions of 19 KB are too many to be moved one by one. Every second each reduce asks all its sources
for what they have for it, as far as its network card and its memory take it, and every source serves
what was written a short while ago from the page cache, what has left it by a random read each.

A disk serves whoever asked first. A reduce that begins when the maps are over asks for all its regions of a
peer in one call (`services/mapreduce/worker/shuffle.py`), so who began first has asked first. Reduces are
served in `AGES` groups by when they began, and alike within one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from scenarios.papers.disks import Array

    Counts: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

AGES = 8
CRUMB = 0.05  # of a region: what rounding leaves
FEW = 100.0  # regions: rows with so few are summed anew, so that rounding stays below a crumb


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
        self._begun = np.zeros(
            machines, np.int64
        )  # a number for each reduce, in the order of their beginnings
        self._last = 0
        self._age = np.zeros(machines, np.int64)  # the group of each reduce, the oldest first
        self._asked = np.zeros((AGES, machines))  # by each group

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
        """Forgets a reduce; the next one begins."""
        self._last += 1
        self._begun[reduce] = self._last
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
        active = np.flatnonzero(weights)
        if not len(active):
            self.asked = np.zeros(len(part))
            return
        order = active[np.argsort(self._begun[active])]
        self._age[order] = np.arange(len(order)) * AGES // len(order)
        by_age = np.zeros((AGES, len(part)), np.float32)
        by_age[self._age[active], active] = weights[active]
        self._asked = (by_age @ self.pending).astype(np.float64)
        self.asked = self._asked.sum(axis=0)

    def serve(self, served: Array) -> Array:
        """Each source has served this share of what was asked of its disk, the oldest reduces first, and all
        that is in its page cache.

        Returns:
            Regions that each reduce got.
        """
        part, cold = self._share, self.cold
        active = np.flatnonzero(part)
        if not len(active):
            return np.zeros(len(part))
        warm_part = part * (1 - cold)
        cold_part = part * cold
        warm = warm_part * self.waiting
        from_disk = np.zeros(len(part))
        left_over = np.empty(len(part), np.float32)
        shares = self._by_age(served) if cold_part.any() else None
        # Row by row, for a row fits the processor's first cache, and all rows would be a new array each time.
        for row, age, keep, less in zip(
            active.tolist(),
            self._age[active].tolist(),
            (1 - warm_part[active]).astype(np.float32),
            cold_part[active].astype(np.float32),
            strict=True,
        ):
            pending = self.pending[row]
            if shares is not None and less:
                from_disk[row] = less * np.dot(pending, shares[age])
                np.multiply(shares[age], -less, out=left_over)
                left_over += keep
                pending *= left_over
            else:
                pending *= keep
        left = cold * self.waiting - from_disk
        got = warm + from_disk
        self.waiting[active] -= got[active]
        near = active[self.waiting[active] < FEW]
        self.waiting[near] = self.pending[near].sum(axis=1, dtype=np.float64)
        tiny = active[self.waiting[active] < CRUMB / 10]
        got[tiny] += self.waiting[tiny]
        self.pending[tiny] = 0
        self.waiting[tiny] = 0
        some = self.waiting > 0
        self.cold[some] = np.clip(left[some] / self.waiting[some], 0, 1)
        self._share = np.zeros(len(part))
        return got

    def _by_age(self, served: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Returns the share of what each group asked of each source that it gets: the oldest comes first."""
        before = np.cumsum(self._asked, axis=0) - self._asked
        share = np.zeros_like(self._asked)
        np.divide(served * self.asked - before, self._asked, out=share, where=self._asked > 0)
        return np.clip(share, 0, 1).astype(np.float32)
