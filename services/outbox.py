"""What waits to be sent on one stream, in order: messages, and whole histories among them.

Whatever is ready when the stream can take more goes in one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

LIMIT = 64 << 20
"""Bytes that may wait before the other side is given up."""

MESSAGE = 1 << 20
"""Bytes that are sent at once, and one message more."""

PART = 1 << 18  # bytes of a source that are sent at once, likewise: others have their turn between them

Source: TypeAlias = AsyncIterator[bytes]
"""Makes messages as they can be sent: a history from the disk, a snapshot."""


class Outbox:
    """The queue of one stream.

    Args:
        most: bytes that are sent at once, and one message more.

    Attributes:
        now: sends, if that need not wait, and says whether it has. Where a stream has that, messages wait for
            `flush`, which saves each the turns of the loop until whoever reads `batches` has been woken.
    """

    def __init__(self, most: int = MESSAGE) -> None:
        self.now: Callable[[bytes], bool] | None = None
        self._most = most
        self._queue: deque[bytes | Source] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._idle = False  # all is sent, and `batches` waits for more
        self._finished = False

    def put(self, data: bytes) -> bool:
        """Adds a message; says whether there is still room for more."""
        self._queue.append(data)
        self._size += len(data)
        if self.now is None or not self._idle:
            self._wake.set()
        return self._size <= LIMIT

    def flush(self) -> None:
        """Sends what was put, by `now`, unless something else is being sent."""
        if not self._queue or self.now is None or not self._idle:
            return
        while (data := self._batch()) is not None:
            if not self.now(data):
                self._queue.appendleft(data)
                self._size += len(data)
                self._wake.set()
                return

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._queue

    def put_source(self, source: Source) -> None:
        """Adds what is made as it is sent; what is added later is sent after it."""
        self._queue.append(source)
        self._wake.set()

    def finish(self) -> None:
        """Takes no more: `batches` ends when all has been sent."""
        self._finished = True
        self._wake.set()

    async def batches(self) -> AsyncIterator[bytes]:
        """Yields what is to be sent, and takes more only when asked for it.

        Raises:
            whatever a source raises.
        """
        queue = self._queue
        while queue or not self._finished:
            if not queue:
                self._wake.clear()
                self._idle = True
                await self._wake.wait()
                self._idle = False
                continue
            if (data := self._batch()) is not None:
                yield data
            else:
                source = queue.popleft()
                assert not isinstance(source, bytes)
                batch: list[bytes] = []
                size = 0
                async for data in source:
                    batch.append(data)
                    size += len(data)
                    if size >= PART:
                        yield b"".join(batch)
                        batch, size = [], 0
                if batch:
                    yield b"".join(batch)

    def _batch(self) -> bytes | None:
        """Takes the messages that are sent at once; None when none is next."""
        queue = self._queue
        batch: list[bytes] = []
        size = 0
        while queue and size < self._most:
            head = queue[0]
            if not isinstance(head, bytes):
                break
            batch.append(head)
            size += len(head)
            queue.popleft()
        self._size -= size
        return b"".join(batch) if batch else None
