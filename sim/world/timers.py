"""Virtual time: SimPy's queue of the future in whole nanoseconds, and asyncio's handles in it.

Virtual time is an integer number of nanoseconds: sums of delays are exact, so ties are ties on
every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappush
from typing import Any, ClassVar

import simpy
from msgspec import Struct

SECOND = 1_000_000_000  # ns

NORMAL = 1
"""SimPy's priority of ordinary events."""


def nanoseconds(seconds: float) -> int:
    """Rounds a delay to whole nanoseconds; what is not zero stays at least one."""
    ns = round(seconds * SECOND)
    return ns if ns or seconds <= 0 else 1


class Handle(Struct, eq=False, weakref=True):
    """What `call_soon` returns: an `asyncio.Handle` in a cheaper suit."""

    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    context: Context
    _cancelled: bool = False

    def cancel(self) -> None:
        """Keeps the callback from running."""
        self._cancelled = True
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """Says whether it was cancelled."""
        return self._cancelled

    def get_context(self) -> Context:
        """Returns the context that the callback runs in."""
        return self.context


class Timer(Struct, eq=False, weakref=True):
    """What `call_later` returns: an `asyncio.TimerHandle` that is itself the SimPy event it waits for."""

    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    context: Context
    loop: Any  # the `Loop`
    when_ns: int
    callbacks: tuple[Callable[[Timer], None], ...] | None  # SimPy's
    _cancelled: bool = False

    _ok: ClassVar[bool] = True  # SimPy's: the event did not fail

    def cancel(self) -> None:
        """Keeps the callback from running."""
        if not self._cancelled:
            self._cancelled = True
            self.callback = None  # also when it is due already: a paused process may hold it
            if self.callbacks is not None:  # it has not fired
                self.args = ()
                self.callbacks = DISCARDED
                self.loop.env.discarded()

    cancelled = Handle.cancelled
    get_context = Handle.get_context

    def when(self) -> float:
        """Returns the loop time at which it is due, in seconds."""
        return self.when_ns / SECOND


def _fire(timer: Timer) -> None:
    timer.loop.run_now(timer)


class Delivery(Struct, eq=False):
    """A message under way; it is the SimPy event of its own arrival.

    It has one callback, which the loop calls without more ado; it cannot fail, and nobody waits for it.
    """

    to: Any  # the `Endpoint`
    size: int
    arrive: Callable[..., None]
    args: tuple[Any, ...]
    callbacks: tuple[Callable[[Delivery], None], ...] | None

    _ok: ClassVar[bool] = True


FIRE = (_fire,)
DISCARDED: tuple[Any, ...] = ()
"""As the `callbacks` of a queued event: it was called off, and time does not advance to it."""


class VirtualTime(simpy.Environment):
    """SimPy's environment, in nanoseconds, which forgets events that were called off."""

    _now: int
    _queue: list[Any]

    def __init__(self) -> None:
        super().__init__(0)
        self._called_off = 0

    def discarded(self) -> None:
        """Counts an event called off; when they are most of the queue, the queue is rebuilt."""
        self._called_off += 1
        if self._called_off > 1000 and self._called_off * 2 > len(self._queue):
            self._queue[:] = [item for item in self._queue if item[3].callbacks is not DISCARDED]
            heapify(self._queue)
            self._called_off = 0

    def check(self, event: Any) -> None:
        """Raises what a SimPy event failed with, unless somebody has dealt with it."""
        if not event._ok and not hasattr(event, "_defused"):
            error = type(event._value)(*event._value.args)
            error.__cause__ = event._value
            raise error

    def push(self, at: int, event: Any) -> None:
        """Queues any object with SimPy's `callbacks` and `_ok`, at an absolute time."""
        heappush(self._queue, (at, NORMAL, next(self._eid), event))
