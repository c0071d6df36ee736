"""How hardware wakes a task: at once, in the very event that brings what it waits for.

An `asyncio.Future` that is resolved queues the task, and the loop runs it a turn later. Nothing else is
ready while a message arrives, so that turn is pure cost, and on the path of an RPC half of all cost.
A `Waiter` speaks the protocol of futures to the task that awaits it, and `wake` steps the task directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from sim.world.timers import Handle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.world.loop import Loop


class Waiter(Struct, eq=False):
    """What one task waits on.

    Attributes:
        get_loop: asyncio's: returns the loop.
        give_up: called when the waiting task is cancelled; returns True when it will be woken for that.
        wakeup, context: how to step the task; None while nobody waits.
    """

    get_loop: Callable[[], asyncio.AbstractEventLoop]
    give_up: Callable[[], bool]
    _asyncio_future_blocking: bool = True
    wakeup: Callable[[Any], None] | None = None
    context: Context | None = None

    def add_done_callback(self, callback: Callable[[Any], None], *, context: Context) -> None:
        """Takes note of the task (asyncio calls it with the task's own wake-up)."""
        self.wakeup = callback
        self.context = context

    def cancel(self, msg: Any = None) -> bool:
        """Is called when the task that waits is cancelled."""
        return self.give_up()

    def __await__(self) -> Iterator[Waiter]:
        self._asyncio_future_blocking = True
        return iter((self,))  # what a generator with one `yield self` does, without its frame


def settled(loop: Loop) -> asyncio.Future[None]:
    """Returns a future that is done: what every woken task is told it waited for."""
    future: asyncio.Future[None] = asyncio.Future(loop=loop)
    future.set_result(None)
    return future


def wake(waiter: Waiter, done: asyncio.Future[None]) -> None:
    """Steps the task that waits, if one does. Only from hardware, with no task running."""
    wakeup = waiter.wakeup
    if wakeup is not None:
        waiter.wakeup = None
        waiter.context.run(wakeup, done)  # type: ignore[union-attr]


def wake_soon(waiter: Waiter, done: asyncio.Future[None], loop: Loop) -> None:
    """Has the loop step the task that waits, if one does."""
    wakeup = waiter.wakeup
    if wakeup is not None:
        waiter.wakeup = None
        loop.ready([Handle(wakeup, (done,), waiter.context)])  # type: ignore[arg-type]
