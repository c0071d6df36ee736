"""One iteration of the protocol with one server, seen from either end: a stream, and what is sent on it.

The learner opens it, on a connection of its own; the leader learns from its first message who it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from services.coordination.peer.outbox import MESSAGE, Outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BROKEN = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""How gRPC tells that a stream is over."""

FLUSH = 5.0  # seconds that an iteration may take to send its last messages


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
        self,
        read: Callable[[], Awaitable[Any]],
        write: Callable[[bytes], Awaitable[None]],
        receive: Callable[[Any], Awaitable[bool]],
    ) -> None:
        """Carries messages until one side ends it, or the connection breaks.

        Args:
            read: returns the next message, `grpc.aio.EOF` at the end.
            write: sends one.
            receive: is given each; says whether it wants more.

        Raises:
            StorageRefused, OSError: a history that was to be sent cannot be read.
        """
        sending = asyncio.create_task(self._send(write))
        reading = asyncio.create_task(_receive(read, receive))
        try:
            await asyncio.wait((sending, reading, self._ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            reading.cancel()
            results = await asyncio.gather(sending, reading, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(
                result, (*BROKEN, asyncio.CancelledError)
            ):
                raise result

    async def _send(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        async for data in self.outbox.batches():
            await write(data)


async def _receive(read: Callable[[], Awaitable[Any]], receive: Callable[[Any], Awaitable[bool]]) -> None:
    while True:
        batch = await read()
        if batch is grpc.aio.EOF or not await receive(batch):
            return
