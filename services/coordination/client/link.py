"""One connection of a session: a stream of request batches to a server, and of answers from it.

Whatever is handed over while a message is being written goes into the next one: nothing waits for company,
and a thousand calls made at once travel in a few messages. A link ends once, for one reason, and is never
used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from services.host import Host

MESSAGE = 1024 * 1024  # bytes of requests in one message; only a single larger request exceeds it

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a server may answer a thousand reads at once
    ("grpc.use_local_subchannel_pool", 1),  # when to try again is decided here, not by gRPC's backoff
)


class Refused(Exception):
    """No connection to this server: it is not there, or will not serve this client."""


class Link:
    """An open connection; made by `open`.

    Attributes:
        target: the server.
        opened: what it said first.
        closed: settled with the reason when it has ended.
        heard, sent: when something last came and went, in `loop.time()`.
        opening: when the client asked for it.
    """

    def __init__(
        self, target: str, channel: Any, call: Any, opened: pb.Connected, opening: float, read_only: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        self.target = target
        self.opened = opened
        self.read_only = read_only
        self.opening = self.sent = opening
        self.heard = loop.time()
        self.closed: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._channel = channel
        self._call = call
        self._xids: list[int] = []
        self._requests: list[bytes] = []
        self._size = 0
        self._idle: asyncio.Future[None] | None = None  # while there is nothing to write
        self._departures: deque[tuple[int, float]] = deque()  # last xid of each message, and when it left
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    async def open(host: Host, target: str, hello: pb.Connect, within: float) -> Link:
        """Connects and says hello.

        Args:
            host: the client's door.
            target: the server.
            hello: of which session, and what the client has seen.
            within: seconds.

        Raises:
            Refused: with the reason.
        """
        channel = host.connect(target, options=_OPTIONS)
        opening = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(within):
                call = rpc.CoordinationStub(channel).Session()
                await call.write(pb.ClientMessage(connect=hello))
                answer: Any = await call.read()
            if answer is grpc.aio.EOF or answer.WhichOneof("kind") != "connected":
                raise Refused(f"{target} closed the connection")
            opened = answer.connected
            if not opened.session and not hello.session:
                raise Refused(f"{target} opened no session")
            return Link(target, channel, call, opened, opening, opened.read_only)
        except BaseException as exc:
            await channel.close()
            if isinstance(exc, TimeoutError):
                raise Refused(f"{target} does not answer") from None
            if isinstance(exc, grpc.aio.AioRpcError):
                raise Refused(f"{target}: {exc.details()}") from None
            if isinstance(exc, asyncio.InvalidStateError | grpc.aio.UsageError):
                raise Refused(f"{target} closed the connection") from None
            raise

    def start(self, received: Callable[[Sequence[bytes]], None]) -> None:
        """Begins to carry; `received` is called with the answers of each message, in order."""
        self._tasks = [
            asyncio.create_task(self._guarded(self._write()), name=f"to {self.target}"),
            asyncio.create_task(self._guarded(self._read(received)), name=f"from {self.target}"),
        ]

    def send(self, xid: int, request: bytes) -> None:
        """Has a request written with the next message."""
        self._xids.append(xid)
        self._requests.append(request)
        self._size += len(request)
        idle = self._idle
        if idle is not None and not idle.done():
            idle.set_result(None)

    def departure(self, xid: int) -> float | None:
        """Returns when the message with this request left; asked for rising xids only."""
        left = None
        departures = self._departures
        while departures and _reached(departures[0][0], xid):
            left = departures.popleft()[1]
        return left

    def end(self, reason: str) -> None:
        """Ends it; whoever waits for `closed` sees why."""
        if not self.closed.done():
            self.closed.set_result(reason)

    async def close(self) -> None:
        """Gives back what it holds."""
        self.end("closed")
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._channel.close()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except grpc.aio.AioRpcError as exc:
            self.end(exc.details() or exc.code().name)
        except asyncio.InvalidStateError:
            self.end("the stream has ended")
        except Exception as exc:
            self.end(f"{type(exc).__name__}: {exc}")
        finally:
            self.end("the stream was cancelled")

    async def _write(self) -> None:
        write = self._call.write
        while True:
            if not self._xids:
                self._idle = self._loop.create_future()
                await self._idle
                self._idle = None
            xids, requests = self._next_batch()
            self.sent = self._loop.time()
            self._departures.append((xids[-1], self.sent))
            await write(pb.ClientMessage(requests=pb.Requests(xids=xids, requests=requests)))

    def _next_batch(self) -> tuple[list[int], list[bytes]]:
        if self._size <= MESSAGE:
            xids, requests = self._xids, self._requests
            self._xids, self._requests, self._size = [], [], 0
            return xids, requests
        count = size = 0
        for request in self._requests:
            size += len(request)
            if count and size > MESSAGE:
                size -= len(request)
                break
            count += 1
        xids, requests = self._xids[:count], self._requests[:count]
        del self._xids[:count]
        del self._requests[:count]
        self._size -= size
        return xids, requests

    async def _read(self, received: Callable[[Sequence[bytes]], None]) -> None:
        read = self._call.read
        while (message := await read()) is not grpc.aio.EOF:
            self.heard = self._loop.time()
            received(message.replies.messages)
        self.end("the server closed the connection")


def _reached(xid: int, answered: int) -> bool:
    """Whether `xid` is not after `answered`, in numbers of 31 bits that begin anew."""
    return (answered - xid) & 0x7FFFFFFF < 0x40000000
