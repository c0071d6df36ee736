"""What waits to be sent on one stream, in order: messages, and whole histories among them.

Whatever is ready when the stream can take more goes in one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
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
    """

    def __init__(self, most: int = MESSAGE) -> None:
        self._most = most
        self._queue: deque[bytes | Source] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._finished = False

    def put(self, data: bytes) -> bool:
        """Adds a message; says whether there is still room for more."""
        self._queue.append(data)
        self._size += len(data)
        if not self._wake.is_set():
            self._wake.set()
        return self._size <= LIMIT

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
                await self._wake.wait()
                continue
            batch: list[bytes] = []
            size = 0
            while queue and size < self._most:
                head = queue[0]
                if not isinstance(head, bytes):
                    break
                batch.append(head)
                size += len(head)
                queue.popleft()
            if batch:
                self._size -= size
                yield b"".join(batch)
            else:
                source = queue.popleft()
                assert not isinstance(source, bytes)
                async for data in source:
                    batch.append(data)
                    size += len(data)
                    if size >= PART:
                        yield b"".join(batch)
                        batch, size = [], 0
                if batch:
                    yield b"".join(batch)
