"""What TrueTime says: intervals that contain absolute time (section 3, table 1). The seam to its users."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Interval(NamedTuple):
    """`TT.now()`: absolute time, at some moment during the call, lay between the two.

    Attributes:
        earliest, latest: nanoseconds since the Unix epoch.
    """

    earliest: int
    latest: int

    @property
    def epsilon(self) -> int:
        """Half the width (ε), in nanoseconds."""
        return (self.latest - self.earliest) // 2


class TrueTime(Protocol):
    """A host's TrueTime (table 1)."""

    @property
    def last(self) -> Interval | None:
        """What `now` said last; None where this host does not know the time any more, or yet."""
        ...

    def now(self) -> Interval:
        """Returns an interval that contains the absolute time of this call (`TT.now`).

        Raises:
            Unsynchronized: this host does not know the time: no majority of masters was heard yet, or it was
                evicted for its drift. A server that gets this serves nothing that needs time.
        """
        ...

    def after(self, t: int) -> bool:
        """Says whether `t` has certainly passed (`TT.after`)."""
        ...

    def before(self, t: int) -> bool:
        """Says whether `t` has certainly not arrived (`TT.before`)."""
        ...

    async def until_after(self, t: int) -> bool:
        """Waits until `after(t)`: the commit wait (4.1.2). Says whether there was anything to wait for."""
        ...


class Unsynchronized(Exception):
    """This host does not know what time it is."""
