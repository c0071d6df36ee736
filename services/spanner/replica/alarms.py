"""When each group's rules want to be told the time: one timer for all groups of a spanserver.

Deadlines move with almost every message, nearly always to later. So an alarm that is too early is left; when
it goes off, the rules say what they wait for now. A group that waits for nothing is in no queue.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.spanner.truetime import Interval, TrueTime

_SECOND = 1_000_000_000
BLIND = 0.1  # seconds after which it is tried again where this host does not know the time


class Waiter(Protocol):
    """Whose alarm it is. `alarm`: when it goes off; 0 for never."""

    alarm: int


W = TypeVar("W", bound=Waiter)


class Alarms(Generic[W]):
    """The queue.

    Args:
        truetime: TT.now().earliest counts.
        ring: called with what the time is, and who wanted to know.
    """

    def __init__(self, truetime: TrueTime, ring: Callable[[W, Interval], None]) -> None:
        self._truetime = truetime
        self._ring = ring
        self._heap: list[tuple[int, int, W]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0  # of the timer

    def set(self, waiter: W, deadline: int) -> None:
        """Sets an alarm (TrueTime, ns), unless there is an earlier one."""
        if waiter.alarm and waiter.alarm <= deadline:
            return
        waiter.alarm = deadline
        self._count += 1
        heapq.heappush(self._heap, (deadline, self._count, waiter))
        if self._timer is None or deadline < self._due:
            self._arm()

    def close(self) -> None:
        """Lets none go off any more."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        """Sets the timer to the first alarm that counts."""
        heap = self._heap
        while heap and heap[0][2].alarm != heap[0][0]:
            heapq.heappop(heap)  # there was an earlier one
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not heap:
            return
        self._due = heap[0][0]
        try:
            # Timers count another time than this host's clock: what they leave is waited for again.
            wait = max(0, self._due - self._truetime.now().earliest + 1) / _SECOND
        except Unsynchronized:
            wait = BLIND
        self._timer = asyncio.get_running_loop().call_later(wait, self._go_off)

    def _go_off(self) -> None:
        self._timer = None
        heap = self._heap
        try:
            now = self._truetime.now()
        except Unsynchronized:
            self._arm()
            return
        while heap and heap[0][0] <= now.earliest:
            deadline, _, waiter = heapq.heappop(heap)
            if waiter.alarm == deadline:
                waiter.alarm = 0
                self._ring(waiter, now)
        if self._timer is None:
            self._arm()
