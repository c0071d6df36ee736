"""Puts spans that overlap into lanes side by side, while they stream by in the order of their ends.

A span may share a lane with spans that it encloses (they nest) and with spans that ended before it
began; a span that straddles another's edge needs a lane of its own.
"""

from __future__ import annotations

from collections import deque

MEMORY = 256  # spans remembered a lane; older ones only by the end of the last of them


class Lanes:
    """The lanes of one host (or one task).

    Args:
        nest: a span may lie in the same lane as one that encloses it.
    """

    def __init__(self, *, nest: bool) -> None:
        self._nest = nest
        self._lanes: list[_Lane] = []

    def __len__(self) -> int:
        return len(self._lanes)

    def place(self, start: int, end: int) -> int:
        """Returns the number of the first lane in which a span fits, and puts it there.

        Args:
            start, end: ns; `end` must not be less than that of the spans placed before.
        """
        fits = (n for n, lane in enumerate(self._lanes) if lane.fits(start, end, nest=self._nest))
        number = next(fits, len(self._lanes))
        if number == len(self._lanes):
            self._lanes.append(_Lane())
        self._lanes[number].add(start, end)
        return number


class _Lane:
    def __init__(self) -> None:
        self.floor = 0  # nothing that starts before this fits
        self.outermost: deque[tuple[int, int]] = deque()  # disjoint, in order of time

    def fits(self, start: int, end: int, *, nest: bool) -> bool:
        if start < self.floor:
            return False
        for other_start, other_end in reversed(self.outermost):
            if other_end <= start and (other_start, other_end) != (start, start):
                return True
            if not nest:
                return False
            if other_start < start:
                return False  # straddles
            if other_start == start and other_end != end:
                return False  # whether it nests would depend on the order in which a reader sorts
        return True

    def add(self, start: int, end: int) -> None:
        while self.outermost and self.outermost[-1][0] >= start:
            self.outermost.pop()
        self.outermost.append((start, end))
        if len(self.outermost) > MEMORY:
            self.floor = self.outermost.popleft()[1]
