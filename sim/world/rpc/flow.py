"""Flow control of a stream: a writer blocks when its reader does not read.

HTTP/2 gives each stream a window of 64 KiB. A message takes its size out of the sender's window; what the
application at the other end reads is given back, half a window at a time. A message larger than the window
is sent, and its writer blocked until it has been read, which is what chunks that wait for window updates
come to.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

WINDOW = 65_535  # bytes: HTTP/2's initial window
PREFIX = 5  # bytes that gRPC puts before each message


class Outflow:
    """The sender's side of a stream.

    Attributes:
        sent: messages so far.
        busy: a write is under way.
    """

    __slots__ = ("_blocked", "_closed", "_loop", "_window", "busy", "sent")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._window = WINDOW
        self._blocked: list[asyncio.Future[None]] = []
        self._closed = False
        self.sent = 0
        self.busy = False

    def take(self, size: int) -> asyncio.Future[None] | None:
        """Takes a message of `size` bytes out of the window; returns what to wait for when that blocks."""
        self.sent += 1
        self._window -= size + PREFIX
        if self._window >= 0 or self._closed:
            return None
        future = self._loop.create_future()
        self._blocked.append(future)
        return future

    def give(self, size: int) -> None:
        """The reader has taken in `size` bytes."""
        self._window += size
        if self._window >= 0:
            self._release()

    def close(self) -> None:
        """Nothing is to be sent any more: nobody blocks."""
        self._closed = True
        self._release()

    def _release(self) -> None:
        blocked, self._blocked = self._blocked, []
        for future in blocked:
            if not future.done():
                future.set_result(None)


class Inflow:
    """The receiver's side of a stream: messages that have arrived, in order, and its end.

    One read is under way at a time, as in gRPC core. A reader that is cancelled does not take its read back:
    the next message goes there, and is lost.

    Args:
        loop: where readers wait.
        give_back: is told how many bytes have been read, in portions of half a window.
    """

    __slots__ = ("_ended", "_give_back", "_loop", "_messages", "_read", "_reader")

    def __init__(self, loop: asyncio.AbstractEventLoop, give_back: Callable[[int], None]) -> None:
        self._loop = loop
        self._give_back = give_back
        self._messages: deque[bytes] = deque()
        self._reader: asyncio.Future[bytes | None] | None = None
        self._ended = False
        self._read = 0

    @property
    def drained(self) -> bool:
        """Says whether everything that has arrived has been read."""
        return not self._messages

    def put(self, message: bytes) -> None:
        """A message has arrived."""
        reader, self._reader = self._reader, None
        if reader is None:
            self._messages.append(message)
        elif reader.done():
            self._taken(message)
        else:
            reader.set_result(message)

    def end(self, *, discard: bool = False) -> None:
        """No more messages will come; with `discard` those that have are not to be read."""
        self._ended = True
        if discard:
            self._messages.clear()
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def get(self) -> bytes | None:
        """Returns the next message; None at the end, and at once while another read is under way."""
        if self._messages:
            message = self._messages.popleft()
        elif self._ended or self._reader is not None:
            return None
        else:
            self._reader = self._loop.create_future()
            arrived = await self._reader
            if arrived is None:
                return None
            message = arrived
        self._taken(message)
        return message

    def _taken(self, message: bytes) -> None:
        self._read += len(message) + PREFIX
        if self._read * 2 >= WINDOW and not self._ended:
            read, self._read = self._read, 0
            self._give_back(read)
