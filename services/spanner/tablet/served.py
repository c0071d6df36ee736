"""At which timestamps this replica has served reads: what comes later must be above (invariant 11).

It is no part of the state: each replica has its own, as long as it lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.tablet.errors import demand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.spanner.keys import KeyRange

KEPT = 256  # reads that are remembered with their ranges, the latest ones


class Served:
    """Remembers reads, so that what is applied can be held against them.

    Attributes:
        newest: the greatest timestamp of any read.
    """

    def __init__(self) -> None:
        self.newest = 0
        self._reads: dict[KeyRange, int] = {}

    def add(self, ranges: Iterable[KeyRange], t: int) -> None:
        """Notes that ranges were read at `t`."""
        self.newest = max(self.newest, t)
        reads = self._reads
        for within in ranges:
            reads[within] = max(t, reads.pop(within, 0))
            if len(reads) > KEPT:
                del reads[next(iter(reads))]

    def check_keys(self, keys: Iterable[bytes], timestamp: int) -> None:
        """Raises `Contradiction` where a key was read at or above the timestamp at which it now changes."""
        if timestamp > self.newest:
            return
        late = [(within, t) for within, t in self._reads.items() if t >= timestamp]
        for key in keys:
            for within, t in late:
                demand(key not in within, f"{key!r} changes at {timestamp}, and was read at {t}")

    def check_ranges(self, ranges: Iterable[KeyRange], timestamp: int) -> None:
        """The same for ranges."""
        if timestamp > self.newest:
            return
        for part in ranges:
            for within, t in self._reads.items():
                demand(
                    t < timestamp or not part.overlaps(within),
                    f"{part} changes at {timestamp}, and was read at {t}",
                )
