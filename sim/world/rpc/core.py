"""The core of an RPC as grpc.aio's own call objects know it.

`CoreCall` is the part that grpc.aio has written in C. It has the methods that the call classes of grpc.aio
call on it, so that streaming and intercepted calls here *are* grpc.aio's (`grpc.aio._call.UnaryStreamCall`
and its siblings), on another transport.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from grpc._cython import cygrpc

from sim.world.rpc import status
from sim.world.rpc.connection import Frame
from sim.world.rpc.flow import Inflow, Outflow
from sim.world.rpc.metadata import outbound
from sim.world.rpc.stream import ClientStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.rpc.channel import Channel


class CoreCall(ClientStream):
    """A `ClientStream` under the names that `grpc.aio._call` uses: what `_AioCall` is there."""

    reads: bool = False  # the response is a stream
    inflow: Inflow | None = None
    outflow: Outflow | None = None
    known: list[asyncio.Future[None]] | None = None
    last: Any = None  # the status, until all messages before it have been read
    half_closed: bool = False  # by the application, before there was a connection
    on_way: asyncio.Future[None] | None = None

    def __init__(self, channel: Channel, method: str, deadline: int | None, wait_for_ready: bool) -> None:
        self.channel = channel
        self.method = method
        self.deadline = deadline
        self.wait_for_ready = wait_for_ready

    # As in grpc.aio

    def cancel(self, details: str) -> None:
        """Ends it with CANCELLED."""
        self.cancel_for(details)

    add_done_callback = ClientStream.when_done
    time_remaining = ClientStream.remaining
    status = ClientStream.wait_status

    def __repr__(self) -> str:
        return self.representation()

    def set_internal_error(self, text: str) -> None:
        """Ends it with INTERNAL, unless it has ended."""
        if self.outcome is None:
            self.finish(status.Status(13, "Internal error from Core", (), text))

    async def initial_metadata(self) -> tuple[Any, ...]:
        """Returns the initial metadata when they have come."""
        if self.initial is None:
            future = self.channel.loop.create_future()
            if self.known is None:
                self.known = []
            self.known.append(future)
            await future
        assert self.initial is not None
        return self.initial

    async def unary_unary(self, request: bytes, metadata: Any, context: Any = None) -> bytes | None:
        """Carries out a unary RPC."""
        self.metadata = outbound(metadata)
        request = self.checked(request)
        if self.outcome is None:
            self.begin(request)
        await self.wait_status()
        return self.response if self.is_ok() else None

    async def initiate_unary_stream(self, request: bytes, metadata: Any, context: Any = None) -> None:
        """Sends the one request; returns when the initial metadata have come."""
        self._set_metadata(metadata)
        self.reads = True
        request = self.checked(request)
        self._open(Frame("request", headers=self.metadata, data=request, end=True))
        await self.initial_metadata()

    async def stream_unary(
        self, metadata: Any, sent: Callable[[], None], context: Any = None
    ) -> bytes | None:
        """Carries out the part of a client-streaming RPC that waits for the response."""
        await self._start_writing(metadata, sent)
        await self.wait_status()
        return self.response if self.is_ok() else None

    async def initiate_stream_stream(
        self, metadata: Any, sent: Callable[[], None], context: Any = None
    ) -> None:
        """Opens a stream; returns when the initial metadata have come."""
        self.reads = True
        await self._start_writing(metadata, sent)
        await self.initial_metadata()

    async def _start_writing(self, metadata: Any, sent: Callable[[], None]) -> None:
        self._set_metadata(metadata)
        self.outflow = Outflow(self.channel.loop)
        self.on_way = self.channel.loop.create_future()
        self._open(Frame("headers", headers=self.metadata))
        await self.on_way
        sent()

    async def send_serialized_message(self, message: bytes) -> None:
        """Sends a message; returns when the window has room for more."""
        message = self.checked(message)
        if self.outcome is not None or self.last is not None or self.connection is None:
            raise cygrpc.ExecuteBatchError("the RPC has ended")
        assert self.outflow is not None
        frame = Frame("request", task=self.connection.task(), index=self.outflow.sent, data=message)
        blocked = self.outflow.take(len(message))
        self.connection.send_frame(self, frame)
        if blocked is not None:
            await blocked
        else:
            await asyncio.sleep(0)

    async def send_receive_close(self) -> None:
        """Half-closes the stream."""
        if self.connection is None:
            self.half_closed = True
        elif self.outcome is None:
            self.connection.send_frame(self, Frame("end", task=self.channel.task(), end=True))

    async def receive_serialized_message(self) -> Any:
        """Returns the next message, EOF at the end."""
        data = await self._inflow().get()
        if self.last is not None and self.outcome is None and self._inflow().drained:
            self.finish(self.last)
        return cygrpc.EOF if data is None else data

    # Inside

    def _set_metadata(self, metadata: Any) -> None:
        """Sets the metadata of a stream, which ends if they may not be sent.

        Raises:
            TypeError: a key or value is neither text nor bytes.
        """
        try:
            self.metadata = outbound(metadata)
        except cygrpc.ExecuteBatchError:
            self.finish(status.failure(status.INTERNAL, status.INVALID_METADATA))

    def _open(self, frame: Frame) -> None:
        if self.outcome is None:
            frame.task = self.channel.task()
            self.begin(frame)
        elif self.on_way is not None and not self.on_way.done():
            self.on_way.set_result(None)

    def _inflow(self) -> Inflow:
        if self.inflow is None:
            self.inflow = Inflow(self.channel.loop, self._give_back)
            if self.outcome is not None:
                self.inflow.end()
        return self.inflow

    def _give_back(self, size: int) -> None:
        if self.connection is not None and self.outcome is None:
            self.connection.send_frame(self, Frame("", credit=size))

    def connected(self) -> None:
        """Writing may begin."""
        if self.half_closed and self.outcome is None and self.connection is not None:
            self.half_closed = False
            self.connection.send_frame(self, Frame("end", end=True))
        if self.on_way is not None and not self.on_way.done():
            self.on_way.set_result(None)

    def message(self, data: bytes) -> None:
        """A message has come."""
        if self.reads:
            self._inflow().put(data)
        else:
            ClientStream.message(self, data)

    def credit(self, size: int) -> None:
        """The server has read `size` bytes."""
        if self.outflow is not None:
            self.outflow.give(size)

    def ended(self, how: Any) -> None:
        """The server has sent the status: it counts when what came before has been read."""
        if self.reads and not self._inflow().drained:
            self.last = how
            self._inflow().end()
        else:
            ClientStream.ended(self, how)

    def replied(self, data: bytes) -> None:
        """A whole unary reply has come."""
        if self.outcome is None and self.reads:
            self.received(Frame("response", headers=(), data=data, status=status.FINE))
        else:
            ClientStream.replied(self, data)

    def finish(self, how: Any) -> None:
        """The RPC has ended."""
        ClientStream.finish(self, how)
        if self.outflow is not None:
            self.outflow.close()
        if self.inflow is not None:
            self.inflow.end(discard=self.last is None)
        self.connected()

    def set_initial(self, metadata: tuple[Any, ...]) -> None:
        """The initial metadata are known."""
        self.initial = metadata
        known, self.known = self.known, None
        for future in known or ():
            if not future.done():
                future.set_result(None)
