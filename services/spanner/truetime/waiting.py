"""What follows from `TT.now`: `after`, `before` and the wait, the same for every kind of TrueTime."""

from __future__ import annotations

import asyncio
import heapq
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from services.spanner.truetime.interval import Interval

_SECOND = 1_000_000_000

RETRY_S = 0.1
"""Seconds after which a wait of a host that does not know the time looks again whether it does."""


class FromNow(ABC):
    """The rest of `TrueTime` from `now`. Where that raises `Unsynchronized`, nothing is certain.

    All waits share one timer: those that end in the same turn of the loop cost one look at the clock.

    Attributes:
        last: what `now` said last; None where this host does not know the time any more, or yet.
    """

    last: Interval | None

    def __init__(self) -> None:
        self.last = None
        self._waits: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0  # of the timer

    @abstractmethod
    def now(self) -> Interval:
        """Returns the interval; see `TrueTime.now`."""

    def after(self, t: int) -> bool:
        """Says whether `t` (ns) has certainly passed."""
        try:
            return t < self.now().earliest
        except Unsynchronized:
            return False

    def before(self, t: int) -> bool:
        """Says whether `t` (ns) has certainly not arrived."""
        try:
            return t > self.now().latest
        except Unsynchronized:
            return False

    async def until_after(self, t: int) -> bool:
        """Waits until `after(t)`, and says whether there was anything to wait for.

        A host that does not know the time waits until it knows it again.
        """
        last = self.last
        if (last is not None and t < last.earliest) or self.after(t):  # what has passed has passed for good
            return False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waits, (t, self._count, done))
        if self._timer is None or t < self._due:
            self._look()
        await done
        return True

    def _look(self) -> None:
        """Ends the waits that are over, and sets the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = self._waits
        try:
            earliest = self.now().earliest
        except Unsynchronized:
            self._due, pause = 0, RETRY_S
        else:
            while waits and (waits[0][0] < earliest or waits[0][2].done()):
                done = heapq.heappop(waits)[2]
                if not done.done():
                    done.set_result(None)
            if not waits:
                return
            # Timers count another time than this host's clock: what they leave is waited for again.
            self._due = waits[0][0]
            pause = (self._due - earliest + 1) / _SECOND
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)
