"""Messages of one direction of a stream that are on their way.

Under a rule a message takes time, and the next one can be sent meanwhile: what is delayed is late, not
slow. As with TCP, a writer is held up only when too much is under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.real.door import Link

_ROOM = 64  # messages


class Conveyor:
    """Carries messages to gRPC in order, each when it is due.

    Args:
        link: whose rules hold.
        send: hands a message to gRPC.
        over: says whether the call has ended, so that nothing need arrive any more.
    """

    def __init__(self, link: Link, send: Callable[[Any], Awaitable[None]], over: Callable[[], bool]) -> None:
        self._link = link
        self._send = send
        self._over = over
        self._due = 0.0
        self._queue: deque[tuple[float, Any]] = deque()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def put(self, message: Any) -> None:
        """Takes a message, when there is room."""
        while len(self._queue) >= _ROOM and not self._over():
            self._moved.clear()
            await self._moved.wait()
        loop = asyncio.get_running_loop()
        rule = self._link.rule
        self._due = max(self._due, loop.time() + (rule.draw_delay() if rule is not None else 0.0))
        self._queue.append((self._due, message))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._carry())

    async def drained(self) -> None:
        """Returns when everything has been handed to gRPC."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def stop(self) -> None:
        """Forgets what is under way: the call is over."""
        self._queue.clear()
        self._moved.set()
        if self._task is not None:
            self._task.cancel()

    async def _carry(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                due, message = self._queue[0]
                await asyncio.sleep(due - loop.time())
                await self._link.cleared(over=self._over)
                if message is not END:
                    await self._send(message)
                if self._queue:
                    self._queue.popleft()
                self._moved.set()
        except Exception:  # the call has ended; who writes or waits next is told why
            self._queue.clear()
            self._moved.set()


END = object()
"""The end of a stream: takes its time like a message, and is sent by whoever waits for `drained`."""
