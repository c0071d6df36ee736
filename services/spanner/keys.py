"""Keys and ranges of keys: bytes whose order is the order of the rows (`schema/` makes them)."""

from __future__ import annotations

from msgspec import Struct

FIRST = b""
"""Before every key."""

END = b"\xff"
"""After every key: no key begins with this byte."""


class KeyRange(Struct, frozen=True, array_like=True, order=True, gc=False):
    """All keys from `start` up to, and without, `end`."""

    start: bytes
    end: bytes

    def __contains__(self, key: bytes) -> bool:
        return self.start <= key < self.end

    def overlaps(self, other: KeyRange) -> bool:
        """Says whether some key is in both."""
        return self.start < other.end and other.start < self.end

    def covers(self, other: KeyRange) -> bool:
        """Says whether all keys of the other are in this one."""
        return self.start <= other.start and other.end <= self.end

    def meet(self, other: KeyRange) -> KeyRange | None:
        """Returns what is in both, None where nothing is."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return KeyRange(start, end) if start < end else None


EVERYTHING = KeyRange(FIRST, END)


def only(key: bytes) -> KeyRange:
    """Returns the range of one key."""
    return KeyRange(key, key + b"\x00")


def prefix(start: bytes) -> KeyRange:
    """Returns the range of all keys that begin with `start`."""
    carried = start.rstrip(b"\xff")
    return KeyRange(start, carried[:-1] + bytes((carried[-1] + 1,)) if carried else END)
