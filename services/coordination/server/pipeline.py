"""What a request needs first, and the line at the door when the server has too many (5.1: throttling)."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from typing import Any

from msgspec import Struct

from services.coordination import api
from services.coordination.api import Code


class Route(IntEnum):
    """What a request waits for, besides the requests before it."""

    LOCAL = 0  # nothing: it is answered from this server's replica
    UPDATE = 1  # its transaction, delivered here
    SYNC = 2  # what the leader had proposed, delivered here
    AT_ONCE = 3  # nothing, and it holds for the requests after it already; only its answer waits for its turn


ROUTES: dict[type, Route] = {
    **dict.fromkeys(
        (
            api.Create,
            api.Delete,
            api.SetData,
            api.SetAcl,
            api.Check,
            api.Multi,
            api.CloseSession,
            api.Reconfigure,
        ),
        Route.UPDATE,
    ),
    api.Sync: Route.SYNC,
    api.Authenticate: Route.AT_ONCE,
}
"""Every kind of request that is not answered at once."""


class Waiting(Struct, eq=False, gc=False):
    """A request that has been taken and not answered.

    Attributes:
        xid: the client's number.
        tag: of an update, this server's number, by which its transaction is known.
        since: when it was taken, in seconds of the loop.
        code, result: the answer, once `settled`; a local request finds its own in its turn.
    """

    xid: int
    request: Any
    route: Route
    tag: int
    since: float
    settled: bool = False
    code: Code = Code.OK
    result: api.AnyResult | None = None


class Throttle:
    """Counts the requests in process, and has whoever brings more wait in line.

    Args:
        limit: how many may be in process.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: deque[asyncio.Future[None]] = deque()
        self.outstanding = 0

    @property
    def full(self) -> bool:
        """Whether there is no room for another request."""
        return self.outstanding >= self._limit

    def release(self, count: int = 1) -> None:
        """Tells that requests were answered, or given up."""
        self.outstanding -= count
        assert self.outstanding >= 0, "more requests were answered than taken"
        # One for each answer: more would only find it full again. But who had a turn may bring nothing, so
        # when it is half empty nobody waits any more: else some would until others are answered.
        turns = len(self._line) if self.outstanding <= self._limit // 2 else count
        for _ in range(turns):
            if not self._line or self.full:
                break
            self._next()

    async def wait(self) -> None:
        """Waits in line."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # it was this one's turn
            raise

    def skip(self) -> None:
        """Tells that whoever had the turn brings nothing."""
        if not self.full:
            self._next()

    def _next(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
