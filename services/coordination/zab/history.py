"""The shape of a history: which zxids are in it, without the transactions, which are the driver's.

The zxids of an epoch are in it from the first on, without gaps; so the last of each epoch says all, and
two servers find their common prefix by one zxid (IV end: only the last zxid and what is missing are sent).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from services.coordination.zab.zxid import counter_of, epoch_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class History:
    """h_f, by its zxids.

    Attributes:
        oldest: transactions after this one can be served to others; those before are only in snapshots.
        last: f.zxid, the last accepted.
    """

    def __init__(self, oldest: int = 0, ends: Iterable[int] = ()) -> None:
        """Makes one that holds what comes after `oldest`, from the last zxid of each of its epochs."""
        self.oldest = oldest
        self._ends = [end for end in ends if end > oldest]  # the last of each epoch but the last epoch's
        self.last = self._ends.pop() if self._ends else oldest

    def append(self, zxid: int) -> None:
        """Adds one at the end."""
        last = self.last
        if zxid != last + 1 and last != self.oldest:
            self._ends.append(last)
        self.last = zxid

    def truncate(self, zxid: int) -> None:
        """Removes all after `zxid`, which is in it."""
        while self._ends and self._ends[-1] >= zxid:
            self._ends.pop()
        self.last = zxid

    def replace(self, zxid: int) -> None:
        """Puts a snapshot as of `zxid` in its place."""
        self.oldest = self.last = zxid
        self._ends.clear()

    def purge(self, after: int) -> None:
        """Forgets what is not after `after`, which is in it."""
        if after > self.oldest:
            self.oldest = after
            del self._ends[: bisect_left(self._ends, after + 1)]

    def common(self, zxid: int) -> int | None:
        """Returns the last zxid that a history which ends at `zxid` has in common with this one.

        None when that is older than `oldest`, so that it cannot be told. Equal zxids mean equal histories
        up to them: an epoch has one primary, and its proposals are accepted in order (Invariants 1, 2, 4).
        """
        if zxid < self.oldest:
            return None
        if zxid == self.oldest or zxid >= self.last:
            return min(zxid, self.last)
        place = bisect_left(self._ends, zxid)
        end = self._ends[place] if place < len(self._ends) else self.last
        if epoch_of(end) == epoch_of(zxid) and counter_of(zxid):
            return zxid
        return self._ends[place - 1] if place else self.oldest
