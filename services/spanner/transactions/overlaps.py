"""What lies on ranges of keys, found by overlap: the index under the lock table.

Nearly all locks are on single rows, so ranges of one key are in a hash table; a sorted list of these keys
finds those within a range. The others are in a list of disjoint *segments* of the key space, each with
the ranges that cover it, cut where a range begins or ends. Looking up one key costs a hash and a binary
search among the segments; ranges that nest deeply cost more, each being in every segment that it covers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.spanner.keys import KeyRange

V = TypeVar("V")


def is_point(range: KeyRange) -> bool:
    """Says whether it is the range of one key."""
    end = range.end
    return end[-1:] == b"\0" and end[:-1] == range.start


class Overlaps(Generic[V]):
    """A mapping from ranges to values."""

    __slots__ = ("_covering", "_cuts", "_keys", "_points")

    def __init__(self) -> None:
        self._points: dict[bytes, V] = {}
        self._keys: list[bytes] = []  # those of _points, sorted
        self._cuts: list[bytes] = []  # segment i: from _cuts[i] to the next one
        self._covering: list[dict[KeyRange, V]] = []

    def get(self, range: KeyRange) -> V | None:
        """Returns the value at exactly this range."""
        if is_point(range):
            return self._points.get(range.start)
        at = bisect_left(self._cuts, range.start)
        if at < len(self._cuts) and self._cuts[at] == range.start:
            return self._covering[at].get(range)
        return None

    def put(self, range: KeyRange, value: V) -> None:
        """Adds a range that is not there."""
        if is_point(range):
            self._points[range.start] = value
            insort(self._keys, range.start)
            return
        first, last = self._cut(range.start), self._cut(range.end)
        for covering in self._covering[first:last]:
            covering[range] = value

    def remove(self, range: KeyRange) -> None:
        """Takes away a range that is there."""
        if is_point(range):
            del self._points[range.start]
            del self._keys[bisect_left(self._keys, range.start)]
            return
        first, last = bisect_left(self._cuts, range.start), bisect_left(self._cuts, range.end)
        for covering in self._covering[first:last]:
            del covering[range]
        self._mend(last)
        self._mend(first)

    def overlapping(self, range: KeyRange) -> list[V]:
        """Returns the values of all ranges that overlap this one, itself too; each once."""
        cuts = self._cuts
        if is_point(range):
            point = self._points.get(range.start)
            found = [] if point is None else [point]
            if cuts and (at := bisect_right(cuts, range.start) - 1) >= 0:
                found.extend(self._covering[at].values())
            return found
        keys = self._keys
        found = [self._points[k] for k in keys[bisect_left(keys, range.start) : bisect_left(keys, range.end)]]
        first, last = max(0, bisect_right(cuts, range.start) - 1), bisect_left(cuts, range.end)
        if last - first == 1:
            found.extend(self._covering[first].values())
        elif last > first:
            union: dict[KeyRange, V] = {}
            for covering in self._covering[first:last]:
                union.update(covering)
            found.extend(union.values())
        return found

    def __len__(self) -> int:
        return len(self._points) + len({range for covering in self._covering for range in covering})

    def __iter__(self) -> Iterator[V]:
        yield from self._points.values()
        union: dict[KeyRange, V] = {}
        for covering in self._covering:
            union.update(covering)
        yield from union.values()

    def _cut(self, key: bytes) -> int:
        """Makes a segment begin here; returns its number."""
        at = bisect_left(self._cuts, key)
        if at == len(self._cuts) or self._cuts[at] != key:
            self._cuts.insert(at, key)
            self._covering.insert(at, dict(self._covering[at - 1]) if at else {})
        return at

    def _mend(self, at: int) -> None:
        """Joins a segment with the one before where the same ranges cover both."""
        if self._covering[at].keys() == (self._covering[at - 1].keys() if at else set()):
            del self._cuts[at], self._covering[at]
