"""Which group has which range: the rows of a system table, as one value that is always whole."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Fragment(Struct, frozen=True, order=True):
    """A range of keys that one group has (2.2).

    Attributes:
        range: which.
        group: whose.
    """

    range: KeyRange
    group: int


class Edit(Struct, frozen=True):
    """What becomes of the table's rows: rows that go (by their start), and rows that come or change."""

    deleted: tuple[bytes, ...]
    written: tuple[Fragment, ...]


class FragmentMap:
    """Fragments in order: no two have a key in common (invariant 17).

    Raises:
        ValueError: two overlap, or one is empty.
    """

    def __init__(self, fragments: Iterable[Fragment]) -> None:
        self.fragments = tuple(sorted(fragments))
        self._starts = [each.range.start for each in self.fragments]
        end = b""
        for each in self.fragments:
            if not end <= each.range.start < each.range.end:
                raise ValueError(f"{each} is empty, or begins before the one before it ends")
            end = each.range.end

    def owner(self, key: bytes) -> int:
        """Returns the group of a key.

        Raises:
            SpannerError: UNAVAILABLE: it has none.
        """
        return self._at(key).group

    def _at(self, key: bytes) -> Fragment:
        place = bisect_right(self._starts, key) - 1
        if place >= 0 and key in self.fragments[place].range:
            return self.fragments[place]
        raise SpannerError("UNAVAILABLE", f"no group has the key {key!r}", "moved")

    def split(self, ranges: Iterable[KeyRange]) -> list[tuple[int, list[KeyRange]]]:
        """Cuts ranges at the borders of fragments; in order, with the group of each piece.

        Raises:
            SpannerError: UNAVAILABLE: a piece has none.
        """
        found: list[tuple[int, list[KeyRange]]] = []
        for range_ in ranges:
            start = range_.start
            while start < range_.end:
                fragment = self._at(start)
                end = min(range_.end, fragment.range.end)
                found.append((fragment.group, [KeyRange(start, end)]))
                start = end
        return found

    def of(self, group: int) -> tuple[KeyRange, ...]:
        """Returns what a group has."""
        return tuple(each.range for each in self.fragments if each.group == group)

    def groups(self) -> list[int]:
        """Returns the groups that have something, in the order of what they have."""
        return list(dict.fromkeys(each.group for each in self.fragments))

    def meeting(self, range_: KeyRange) -> Sequence[Fragment]:
        """Returns the fragments that have some of a range."""
        first = max(0, bisect_right(self._starts, range_.start) - 1)
        found = []
        for each in self.fragments[first:]:
            if each.range.start >= range_.end:
                break
            if each.range.overlaps(range_):
                found.append(each)
        return found

    def moved(self, range_: KeyRange, to: int) -> Edit:
        """Returns what must be written so that a group has a range; neighbours of one group become one row.

        Raises:
            SpannerError: FAILED_PRECONDITION: part of the range is nobody's.
        """
        touched = list(self.meeting(range_))
        if sum(map(_width, touched)) == 0 or not _whole(touched, range_):
            raise SpannerError("FAILED_PRECONDITION", f"some of {range_} belongs to no group")
        first, last = self.fragments.index(touched[0]), self.fragments.index(touched[-1])
        around = self.fragments[max(0, first - 1) : last + 2]
        pieces: list[Fragment] = []
        for each in around:
            before = KeyRange(each.range.start, min(each.range.end, range_.start))
            after = KeyRange(max(each.range.start, range_.end), each.range.end)
            pieces += [Fragment(part, each.group) for part in (before, after) if part.start < part.end]
        pieces.append(Fragment(range_, to))
        joined: list[Fragment] = []
        for each in sorted(pieces):
            if joined and joined[-1].group == each.group and joined[-1].range.end == each.range.start:
                joined[-1] = Fragment(KeyRange(joined[-1].range.start, each.range.end), each.group)
            else:
                joined.append(each)
        starts = [each.range.start for each in joined]
        return Edit(
            tuple(each.range.start for each in around if each.range.start not in starts),
            tuple(each for each in joined if each not in around),
        )

    def edited(self, edit: Edit) -> FragmentMap:
        """Returns the map after an edit."""
        written = [each.range.start for each in edit.written]
        kept = [
            each
            for each in self.fragments
            if each.range.start not in edit.deleted and each.range.start not in written
        ]
        return FragmentMap([*kept, *edit.written])


def _width(fragment: Fragment) -> int:
    return fragment.range.start < fragment.range.end


def _whole(fragments: Sequence[Fragment], range_: KeyRange) -> bool:
    at = range_.start
    for each in fragments:
        if each.range.start > at:
            return False
        at = each.range.end
    return at >= range_.end
