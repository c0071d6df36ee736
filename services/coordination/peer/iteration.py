"""One iteration of the protocol with one server, seen from either end: a stream, and what is sent on it.

The learner opens it, on a connection of its own; the leader learns from its first message who it is.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from services.outbox import MESSAGE, Outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FLUSH = 5.0  # seconds that an iteration may take to send its last messages


def broken() -> tuple[type[Exception], ...]:
    """Returns how a stream tells that it is over, or that it takes too long.

    gRPC is in use only where something has loaded it: a server from `zoo.cfg` does without, and its memory.
    """
    grpc = sys.modules.get("grpc")
    of_grpc = (grpc.RpcError, grpc.aio.BaseError) if grpc is not None else ()
    return (ConnectionError, TimeoutError, asyncio.InvalidStateError, *of_grpc)


class Iteration:
    """An iteration.

    Args:
        server: the other side.
        most: see `Outbox`.

    Attributes:
        server: the other side.
        outbox: what is sent to it.
    """

    def __init__(self, server: int, most: int = MESSAGE) -> None:
        self.server = server
        self.outbox = Outbox(most)
        self._ended = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Ends it at once."""
        if not self._ended.done():
            self._ended.set_result(None)

    def finish(self) -> None:
        """Ends it when all has been sent, which must not take long."""
        self.outbox.finish()
        asyncio.get_running_loop().call_later(FLUSH, self.end)

    async def run(
        self, stream: Any, receive: Callable[[Any], bool], room: Callable[[], Awaitable[None]]
    ) -> None:
        """Carries messages until one side ends it, or the connection breaks.

        Args:
            stream: has `read`, which returns the next message, at the end something that is false
                (`grpc.aio.EOF`, None), and `write`; perhaps `feed` and `write_now` (`services.real.plain`).
            receive: is given each message; says whether it wants more now.
            room: returns when it wants more; raises `ConnectionError` when it never will.

        Raises:
            StorageRefused, OSError: a history that was to be sent cannot be read.
        """
        self.outbox.now = getattr(stream, "write_now", None)
        sending = asyncio.create_task(self._send(stream.write))
        reading = asyncio.create_task(_receive(stream, receive, room))
        try:
            await asyncio.wait((sending, reading, self._ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            reading.cancel()
            results = await asyncio.gather(sending, reading, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(
                result, (*broken(), asyncio.CancelledError)
            ):
                raise result

    async def _send(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        async for data in self.outbox.batches():
            await write(data)


async def _receive(stream: Any, receive: Callable[[Any], bool], room: Callable[[], Awaitable[None]]) -> None:
    if hasattr(stream, "feed"):
        while await stream.feed(receive):
            await room()
        return
    while batch := await stream.read():
        if not receive(batch):
            await room()
