"""The gRPC door: a session is one bidirectional stream at a time (`protos/coordination.proto`).

Many requests travel in one message, and so do many replies: whatever was ready when the stream could take
more. Memory is bounded both ways. A request is taken only when the server has room for it and the client
reads its answers, so gRPC's flow control holds a client back; and one that does not read what it is told
unasked (events) is cut off once that is too much.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from services.coordination.api import AnyRequest, Event, Reply
from services.coordination.front import Hello, SessionOver, Unavailable
from services.coordination.server.connection import CLOSED

if TYPE_CHECKING:
    from services.coordination.front import Connection, Front
    from services.coordination.server.settings import Settings
    from services.host import Context

UNREAD = "what was said is not read"
AT_ONCE = 100  # requests of one client that are taken before others have their turn
OVERHEAD = 1 << 16  # of a message, beyond its largest request

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyRequest).decode


class Refusal(Exception):
    """The stream ends with a status: what the client did wrong, or why it is not served."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code = code


class Door(rpc.CoordinationServicer):
    """Lets clients in.

    Args:
        front: the server.
        settings: limits.
    """

    def __init__(self, front: Front, settings: Settings) -> None:
        self._front = front
        self._settings = settings

    async def Session(  # type: ignore[override]  # it reads and writes the stream itself
        self, requests: Any, context: Context
    ) -> None:
        """Serves one client for as long as its stream lives."""
        del requests  # `context.read` reads them
        stream = _Stream(self._front, self._settings, context)
        try:
            await stream.serve()
        except Refusal as refusal:
            await context.abort(refusal.code, str(refusal))

    async def Report(self, request: pb.Inquiry, context: Context) -> pb.Figures:
        """Says what the server is and does."""
        return pb.Figures(json=msgspec.json.encode(dict(self._front.figures())))


class _Stream:
    """One client's stream."""

    def __init__(self, front: Front, settings: Settings, context: Context) -> None:
        self._front = front
        self._settings = settings
        self._context = context
        self._unsent: list[bytes] = []
        self._unread = 0  # bytes in `_unsent`, and on their way
        self._wake = asyncio.Event()
        self._read_up = asyncio.Event()  # the client has read most of what it was told
        self._why = ""  # the server ended the connection
        self._stuck: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Serves until the client goes, or the server ends it.

        Raises:
            Refusal: the stream ends with a status.
        """
        connection = await self._connect()
        if connection is None:
            return
        try:
            await self._context.write(
                pb.ServerMessage(
                    connected=pb.Connected(
                        session=connection.session,
                        password=connection.password,
                        timeout_ms=connection.timeout,
                        read_only=connection.read_only,
                    )
                )
            )
            await self._talk(connection)
        finally:
            connection.close()

    async def _connect(self) -> Connection | None:
        try:
            async with asyncio.timeout(self._settings.handshake):
                message = await self._context.read()
        except TimeoutError:
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "no connect message came") from None
        if message is grpc.aio.EOF:
            return None
        if message.WhichOneof("kind") != "connect":
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be connect")
        asked = message.connect
        hello = Hello(asked.timeout_ms, asked.session, asked.password, asked.last_zxid, asked.read_only)
        try:
            return await self._front.connect(
                hello, _address(self._context.peer()), self._deliver, self._closed
            )
        except SessionOver:
            await self._context.write(pb.ServerMessage(connected=pb.Connected()))
            return None
        except Unavailable as exc:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, str(exc) or "not serving") from None

    async def _talk(self, connection: Connection) -> None:
        """Reads and writes until one of both ends.

        Raises:
            Refusal: the stream ends with a status.
        """
        tasks = [asyncio.ensure_future(self._read(connection)), asyncio.ensure_future(self._write())]
        try:
            await asyncio.wait([*tasks, self._stuck], return_when=asyncio.FIRST_COMPLETED)
            if self._stuck.done():
                raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, UNREAD)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read(self, connection: Connection) -> None:
        """Submits what the client asks, until it ends its side."""
        read, submit = self._context.read, connection.submit
        largest, enough = self._settings.max_buffer, self._settings.unread // 4
        while (message := await read()) is not grpc.aio.EOF:
            asked = message.requests
            xids, requests = asked.xids, asked.requests
            if not xids or len(xids) != len(requests):
                raise Refusal(
                    grpc.StatusCode.INVALID_ARGUMENT, "a message must have requests, each with an xid"
                )
            for count, (xid, data) in enumerate(zip(xids, requests, strict=True), 1):
                if len(data) > largest:
                    raise Refusal(
                        grpc.StatusCode.INVALID_ARGUMENT, f"request {xid} is larger than {largest} bytes"
                    )
                try:
                    request = _decode(data)
                except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
                    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"request {xid} cannot be read") from None
                if connection.full:
                    await connection.room()
                if self._unread > enough:
                    await self._answers_read(enough)
                elif not count % AT_ONCE:
                    await asyncio.sleep(0)
                submit(xid, request)

    async def _answers_read(self, enough: int) -> None:
        while self._unread > enough:
            self._read_up.clear()
            await self._read_up.wait()

    async def _write(self) -> None:
        """Sends what is to be said, until the server ends the connection.

        Raises:
            Refusal: with the reason for which it did.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                batch, size = self._unsent, self._unread
                self._unsent = []
                if size > self._settings.batch:
                    batch = self._first(batch)
                await self._context.write(pb.ServerMessage(replies=pb.Replies(messages=batch)))
                self._unread -= sum(map(len, batch))
                self._read_up.set()
            if self._why:
                if self._why == CLOSED:
                    return
                raise Refusal(grpc.StatusCode.UNAVAILABLE, self._why)

    def _first(self, batch: list[bytes]) -> list[bytes]:
        """Returns as much as fits one message, and puts the rest back."""
        size = count = 0
        for data in batch:
            size += len(data)
            if size > self._settings.batch and count:
                break
            count += 1
        self._unsent = batch[count:]
        return batch[:count]

    def _deliver(self, said: Reply | Event) -> None:
        if self._why:
            return
        data = _encode(said)
        self._unsent.append(data)
        self._unread += len(data)
        self._wake.set()
        if self._unread > self._settings.unread:
            self._unsent.clear()
            self._why = UNREAD
            if not self._stuck.done():
                self._stuck.set_result(None)

    def _closed(self, why: str) -> None:
        self._why = self._why or why
        self._wake.set()


def _address(peer: str) -> str:
    """Returns the network address in what gRPC calls a peer: "ipv4:10.0.0.1:4711"."""
    kind, _, rest = peer.partition(":")
    return (
        rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
        if kind in ("ipv4", "ipv6")
        else ""
    )
