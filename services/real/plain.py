"""Streams as those of `grpc.aio` over plain TCP, one connection for each call: for those who pay per message.

A message through gRPC's core takes several threads and wake-ups: some hundred microseconds of processor time,
which is most of what a small message between two servers costs; and gRPC takes 12 MB of memory. Here it
is its length and its bytes, read and written by the loop itself. Only calls with streams both ways are there;
both sides must be of this kind. The end of a stream is None, and what breaks one a `ConnectionError`. Beside
`read` and `write` there are `feed` and `write_now`, which take no task's turn of the loop.

A connection begins with a `Hello`, which the server answers by an empty frame when the handler lets the call
begin. It says who calls, and proves it by the token, as gRPC's calls do (`channel.py`). Before that nothing
that is large or slow is taken from whoever has connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from hmac import compare_digest
from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

MAGIC = "dsim 1"
UNREAD = 1 << 22  # bytes of messages that wait to be read before no more are taken
GREETING = 1 << 16  # bytes that a greeting may have
WITHIN = 10.0  # seconds in which it must come
BIND_WITHIN = 5.0  # seconds to wait for a port that a predecessor still holds
LINGER = 5.0  # seconds in which what was written last may be sent
BACKLOG = 128

_CLOSED = "the connection is closed"
_LENGTH = Layout(">I")
_encode = msgspec.msgpack.Encoder().encode


class Hello(Struct, frozen=True):
    """The first frame of a call."""

    magic: str
    token: str
    name: str
    method: str
    metadata: list[tuple[str, Any]]  # text or bytes


_hello = msgspec.msgpack.Decoder(Hello).decode


class Connection(asyncio.Protocol):
    """One connection: frames in and out.

    Args:
        begin: called when it is there.
    """

    def __init__(self, begin: Callable[[Connection], None] | None = None) -> None:
        self._begin = begin
        self._transport: Any = None
        self._frames: deque[bytes] = deque()
        self._unread = 0
        self._parts: list[bytes] = []
        self._stored, self._needed = 0, 4
        self._largest = GREETING
        self._reading = True
        self._reader: asyncio.Future[None] | None = None
        self._fed: tuple[asyncio.Future[bool], Callable[[bytes], bool]] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._writable = True
        self.ended = False  # nothing more will come
        self.lost = ""  # why nothing more will go

    def trust(self) -> None:
        """Takes frames of any length from now on."""
        self._largest = 1 << 32

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = transport
        if self._begin is not None:
            self._begin(self)

    def data_received(self, data: bytes) -> None:
        """Takes the frames that are whole."""
        if self._parts:
            self._parts.append(data)
            self._stored += len(data)
            if self._stored < self._needed:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        at, size, self._needed = 0, len(data), 4
        while size - at >= 4:
            length: int = _LENGTH.unpack_from(data, at)[0]
            if length > self._largest:
                self.abort(f"a frame of {length} bytes")
                return
            if size - at < 4 + length:
                self._needed = 4 + length
                break
            self._frames.append(data[at + 4 : at + 4 + length])
            self._unread += 4 + length
            at += 4 + length
        if at < size:
            self._parts.append(data[at:] if at else data)
            self._stored = size - at
        if self._unread > UNREAD and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._feed()
        self._wake()

    def eof_received(self) -> bool:
        """The other side sends no more, and may still read."""
        self.ended = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.ended = True
        self.lost = self.lost or str(exc or _CLOSED)
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The other side does not read."""
        self._writable = False

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable = True
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self.ended and self._fed is not None and not self._fed[0].done():
            self._fed[0].set_result(False)

    def _feed(self) -> None:
        """Hands out frames as long as more are wanted."""
        if self._fed is None:
            return
        fed, take = self._fed
        try:
            while self._frames and not fed.done():
                if not take(self._next()):
                    fed.set_result(True)
        except Exception as exc:
            fed.set_exception(exc)

    def _next(self) -> bytes:
        frame = self._frames.popleft()
        self._unread -= 4 + len(frame)
        if not self._reading and self._unread < UNREAD // 2 and not self.ended:
            self._reading = True
            self._transport.resume_reading()
        return frame

    # What streams do with it

    async def read(self) -> bytes | None:
        """Returns the next frame, None at the end; one reader at a time."""
        while not self._frames:
            if self.ended:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._next()

    async def feed(self, take: Callable[[bytes], bool]) -> bool:
        """Hands frames to `take` in the moment they come, until it returns False; in the place of `read`.

        Returns:
            whether there may be more; not at the end.
        """
        fed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._fed = fed, take
        try:
            self._feed()
            self._wake()
            return await fed
        finally:
            self._fed = None

    def write_now(self, frame: bytes) -> bool:
        """Sends a frame if that need not wait, and says whether it has; no other may be being written."""
        if self.lost or not self._writable:
            return False
        self._transport.writelines((_LENGTH.pack(len(frame)), frame))
        return True

    async def write(self, frame: bytes) -> None:
        """Sends a frame, and waits until another may be sent; one writer at a time.

        Raises:
            ConnectionError: it is over.
        """
        if self.lost:
            raise ConnectionError(self.lost)
        self._transport.writelines((_LENGTH.pack(len(frame)), frame))
        while not self._writable:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if self.lost:
            raise ConnectionError(self.lost)

    def finish(self) -> None:
        """Sends no more."""
        if not self.lost and not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except (
                OSError
            ) as exc:  # ENOTCONN: the other side has reset it, and the loop has not seen that yet
                self.abort(str(exc))

    def close(self) -> None:
        """Ends it when all is sent, which must not take long."""
        if self._transport is not None:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(LINGER, self._transport.abort)

    def abort(self, why: str = _CLOSED) -> None:
        """Ends it at once."""
        self.ended = True
        self.lost = self.lost or why
        if self._transport is not None:
            self._transport.abort()

    def peer(self) -> str:
        """Returns the network address of the other side."""
        name = self._transport.get_extra_info("peername") or ("?", 0)
        return f"{name[0]}:{name[1]}"


class Channel:
    """Opens calls at an address (`grpc.aio.Channel`, as far as streams go).

    Args:
        address: "address:port".
        name, token: who calls, and the proof.
    """

    def __init__(self, address: str, name: str, token: str) -> None:
        self._address = address
        self._name, self._token = name, token
        self._calls: list[Call] = []

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
    ) -> Callable[..., Call]:
        """Returns what opens a call of a method."""

        def begin(*, metadata: Sequence[tuple[str, str | bytes]] = ()) -> Call:
            hello = Hello(MAGIC, self._token, self._name, method, list(metadata))
            call = Call(self._address, _encode(hello), request_serializer, response_deserializer)
            self._calls.append(call)
            return call

        return begin

    async def close(self) -> None:
        """Ends its calls, when all that was written is sent."""
        for call in self._calls:
            call.close()


class _Fed:
    """What both sides of a call that has begun share: messages without a task's turn of the loop."""

    _connection: Connection
    _deserialize: Callable[[bytes], Any] | None

    async def feed(self, take: Callable[[Any], bool]) -> bool:
        """See `Connection.feed`."""
        deserialize = self._deserialize
        if deserialize is None:
            return await self._connection.feed(take)
        return await self._connection.feed(lambda frame: take(deserialize(frame)))

    def write_now(self, frame: bytes) -> bool:
        """See `Connection.write_now`."""
        return self._connection.write_now(frame)


class Call(_Fed):
    """A call, from the caller's side (`grpc.aio.StreamStreamCall`)."""

    def __init__(
        self,
        address: str,
        hello: bytes,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        self._serialize, self._deserialize = serialize, deserialize
        self._connection = Connection()
        self._begun = asyncio.ensure_future(self._begin(address, hello))
        self._begun.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may ask

    async def _begin(self, address: str, hello: bytes) -> None:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self._connection, host.strip("[]"), int(port))
        except OSError as exc:
            raise ConnectionError(str(exc)) from None
        self._connection.trust()
        await self._connection.write(hello)
        if await self._connection.read() is None:
            raise ConnectionError("the call was refused")

    async def wait_for_connection(self) -> None:
        """Returns when the call has begun at the other side.

        Raises:
            ConnectionError: it has not.
        """
        await self._begun

    async def read(self) -> Any:
        """Returns the next message, None at the end.

        Raises:
            ConnectionError: the connection broke.
        """
        await self._begun
        frame = await self._connection.read()
        if frame is None:
            if self._connection.lost:
                raise ConnectionError(self._connection.lost)
            return None
        return frame if self._deserialize is None else self._deserialize(frame)

    async def write(self, message: Any) -> None:
        """Sends a message.

        Raises:
            ConnectionError: the connection broke.
        """
        await self._begun
        await self._connection.write(message if self._serialize is None else self._serialize(message))

    async def done_writing(self) -> None:
        """Sends no more."""
        self._connection.finish()

    def close(self) -> None:
        """Ends the call when all that was written is sent."""
        self._begun.cancel()
        self._connection.close()

    def cancel(self) -> bool:
        """Ends the call at once."""
        self._begun.cancel()
        self._connection.abort()
        return True


class Server:
    """Takes calls at an address (`grpc.aio.Server`, as far as streams go).

    Args:
        address: where to listen.
        token: that callers must have.
    """

    def __init__(self, address: str, port: int, token: str) -> None:
        self._address, self._port, self._token = address, port, token
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._tasks: dict[asyncio.Task[None], Connection] = {}
        self._server: asyncio.Server | None = None

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As grpc.aio's."""
        self._handlers.extend(generic_rpc_handlers)

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            OSError: it cannot listen there.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BIND_WITHIN
        while self._server is None:
            try:
                self._server = await loop.create_server(
                    lambda: Connection(self._arrived), self._address, self._port, backlog=BACKLOG
                )
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE or loop.time() > deadline:
                    raise
                await asyncio.sleep(0.05)

    async def stop(self, grace: float | None = None) -> None:
        """Listens no more, and ends calls at once."""
        if self._server is not None:
            self._server.close()
        for task, connection in list(self._tasks.items()):
            task.cancel()
            connection.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _arrived(self, connection: Connection) -> None:
        task = asyncio.ensure_future(self._serve(connection))
        self._tasks[task] = connection
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task).close()
        if not task.cancelled() and (exc := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "a call failed", "exception": exc})

    async def _serve(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                frame = await connection.read()
            hello = _hello(frame or b"")
        except (TimeoutError, msgspec.MsgspecError):
            return
        if hello.magic != MAGIC or not compare_digest(hello.token.encode(), self._token.encode()):
            return
        connection.trust()
        details = cast("grpc.HandlerCallDetails", _Details(hello.method, tuple(hello.metadata)))
        found = [handler.service(details) for handler in self._handlers]
        handler: Any = next((each for each in found if each is not None), None)
        if handler is None:
            return
        context = Context(connection, tuple(hello.metadata), handler)
        with contextlib.suppress(ConnectionError):
            await handler.stream_stream(None, context)


class _Details(Struct, frozen=True):
    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...]


class Context(_Fed):
    """A call, from the other side (`grpc.aio.ServicerContext`)."""

    def __init__(self, connection: Connection, metadata: tuple[Any, ...], handler: Any) -> None:
        self._connection = connection
        self._metadata = metadata
        self._serialize, self._deserialize = handler.response_serializer, handler.request_deserializer
        self._begun = False

    def invocation_metadata(self) -> tuple[Any, ...]:
        """Returns the metadata that the caller sent."""
        return self._metadata

    def peer(self) -> str:
        """Returns the caller's network address."""
        return self._connection.peer()

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Lets the call begin."""
        if not self._begun:
            self._begun = True
            await self._connection.write(b"")

    async def read(self) -> Any:
        """Returns the next message, None at the end."""
        frame = await self._connection.read()
        if frame is None:
            return None
        return frame if self._deserialize is None else self._deserialize(frame)

    async def write(self, message: Any) -> None:
        """Sends a message.

        Raises:
            ConnectionError: the connection broke.
        """
        await self.send_initial_metadata(())
        await self._connection.write(message if self._serialize is None else self._serialize(message))

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        """Refuses the call.

        Raises:
            ConnectionError: always.
        """
        raise ConnectionError(details)
