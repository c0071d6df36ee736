"""What happens, in order, for one reader: a bounded queue that ends.

A reader that lags costs no more memory than the bound. What does not fit is not silently missing: the reader
gets what is there, then `EventsLost`, and may go on with what comes after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")

LIMIT = 1_000


class EventsLost(Exception):
    """The reader lagged too far behind; it is to look at the state anew."""


class Feed(Generic[T]):
    """An async iterator over what is pushed.

    Args:
        limit: how many items may wait for the reader.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._lost = False
        self._ended = False
        self._error: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None

    def push(self, item: T) -> None:
        """Adds an item, unless there is no room (also until the reader has been told so)."""
        if self._ended:
            return
        if self._lost or len(self._items) >= self._limit:
            self._lost = True
        else:
            self._items.append(item)
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Ends it: the reader gets what waits, then the error or the end of the iteration."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            if self._items:
                return self._items.popleft()
            if self._lost:
                self._lost = False
                raise EventsLost(f"more than {self._limit} events waited to be read")
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if self._arrival is not None:
                raise RuntimeError("a feed has one reader")
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
