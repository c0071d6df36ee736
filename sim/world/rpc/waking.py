"""How hardware wakes a task: at once, in the very event that brings what it waits for.

An `asyncio.Future` that is resolved queues the task, and the loop runs it a turn later. Nothing else is
ready while a message arrives, so that turn is pure cost. So a task may wait on a future that is
never resolved: `wake` takes the task's own wake-up back from it and steps the task directly, and the future
can be waited on again. Cancelling the task cancels the future, as ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.world.loop import Loop


class Once(tuple[Any]):
    """`await Once((future,))` waits for one step on a future, without asking what became of it.

    The future's `_asyncio_future_blocking` must be set before, as its own `__await__` would.
    """

    __slots__ = ()

    __await__ = tuple.__iter__  # written in C: no frame of Python for a wait


def pause(loop: Loop) -> asyncio.Future[None]:
    """Returns a future for a task to wait on (of asyncio's own class, which its tasks know best)."""
    return asyncio.Future(loop=loop)


def settled(loop: Loop) -> asyncio.Future[None]:
    """Returns a future that is done: what every woken task is told it waited for."""
    future: asyncio.Future[None] = asyncio.Future(loop=loop)
    future.set_result(None)
    return future


def wake(future: Any, done: asyncio.Future[None]) -> bool:
    """Steps the task that waits on a future, and says whether one did. Only with no task running."""
    waiting = future._callbacks
    if waiting is None:
        return False
    wakeup, context = waiting[0]
    future.remove_done_callback(wakeup)
    context.run(wakeup, done)
    return True
