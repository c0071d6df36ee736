"""The server's side of an RPC, and what a handler sees of it: `grpc.aio.ServicerContext`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc import _common
from grpc._cython import cygrpc
from msgspec import Struct

from sim.world.rpc import status
from sim.world.rpc.connection import Frame, ServerConnection
from sim.world.rpc.flow import Inflow, Outflow
from sim.world.rpc.metadata import outbound, visible
from sim.world.rpc.targets import address
from sim.world.timers import FIRE, SECOND, Timer

if TYPE_CHECKING:  # msgspec looks at annotations only when it encodes
    from collections.abc import Callable  # noqa: TC004

    from sim.world.rpc.stream import ClientStream  # noqa: TC004
    from sim.world.rpc.worker import Worker  # noqa: TC004

FINISHED = "RPC already finished."
TOO_MANY = "Failed grpc_call_start_batch: 8 with grpc_call_error value: 'GRPC_CALL_ERROR_TOO_MANY_OPERATIONS'"
INVALID = status.failure(status.INTERNAL, status.INVALID_METADATA)


class Context(Struct, eq=False, weakref=True):
    """One RPC, as its server has it. What begins with an underscore is not for handlers.

    Attributes:
        _connection, _stream: on which, and the client's side of it.
        _request: a unary request.
        _worker: what runs the handler.
        _plain: nothing was said of status or metadata, and nothing sent: the reply may go the fast way.
    """

    _connection: ServerConnection
    _stream: ClientStream
    _request: bytes | None = None
    _handler: Any = None
    _worker: Worker | None = None
    _plain: bool = True
    _code: int = status.OK
    _given_code: Any = None
    _details: str = ""
    _trailing: tuple[Any, ...] = ()
    _headers_sent: bool = False
    _status_sent: bool = False
    _client_closed: bool = False
    _abort: BaseException | None = None
    _deadline: int | None = None
    _timer: Timer | None = None
    _callbacks: list[Callable[[], object]] | None = None
    _inflow: Inflow | None = None
    _outflow: Outflow | None = None
    _deserialize: Any = None
    _serialize: Any = None
    _excess: bool = False  # over the server's limit of concurrent RPCs

    # What comes from the client, as hardware or from the loop

    def _received(self, frame: Frame) -> None:
        if frame.data is not None and not self._too_large(frame.data):
            self._in().put(frame.data)
        if frame.end:
            self._in().end()
        if frame.credit and self._outflow is not None:
            self._outflow.give(frame.credit)
        if frame.part == "cancel":
            self._lose_client()

    def _too_large(self, data: bytes) -> bool:
        limit = self._connection.server.max_receive
        if len(data) <= limit:
            return False
        words = f"SERVER: {status.too_large(len(data), limit)}"
        self._refuse(status.RESOURCE_EXHAUSTED, words)
        return True

    def _refuse(self, code: int, details: str) -> None:
        """Ends the RPC without, or against, its handler."""
        if not self._status_sent:
            self._plain = False
            self._end_with(status.failure(code, details))
            if self._worker is not None:
                self._worker.cancel(self)
            else:
                self._close()

    def _lose_client(self) -> None:
        """The client has cancelled, or is gone: the handler is cancelled."""
        if self._client_closed:
            return  # a handler is cancelled once
        self._client_closed = True
        self._plain = False
        self._stop_streams()
        if not self._status_sent and self._worker is not None:
            self._worker.cancel(self)

    def _expire(self) -> None:
        self._timer = None
        if not self._status_sent:
            self._lose_client()

    def _watch_deadline(self, at: int) -> None:
        connection = self._connection
        self._deadline = at
        self._timer = Timer(self._expire, (), connection.process.context, connection.loop, at, FIRE)
        connection.env.push(at, self._timer)

    # What goes to the client

    def _send(self, frame: Frame) -> None:
        if self._client_closed:
            return
        frame.task = self._connection.task()
        self._connection.send_frame(self._stream, frame)

    def _headers(self) -> tuple[Any, ...] | None:
        if self._headers_sent:
            return None
        self._headers_sent = True
        return ()

    def _end_with(self, how: Any, data: bytes | None = None) -> None:
        """Sends the status, with the last message if there is one."""
        self._status_sent = True
        if self._client_closed:
            return
        part = "response" if data is not None or not self._streams_out() else "status"
        index = self._outflow.sent if self._outflow is not None and data is not None else 0
        self._send(Frame(part, index=index, headers=self._headers(), data=data, status=how))

    def _conclude(self, data: bytes | None = None) -> None:
        """Sends the status that the handler has set, with a response if that is OK."""
        self._plain = False
        try:
            trailing = outbound(self._trailing)
        except cygrpc.ExecuteBatchError:
            self._end_with(INVALID)
            return
        if self._code == status.OK:
            self._end_with(status.Status(status.OK, "", trailing, ""), data)
        else:
            self._end_with(status.failure(self._code, self._details or "", trailing))

    def _streams_out(self) -> bool:
        return self._handler is not None and bool(self._handler.response_streaming)

    def _close(self) -> None:
        """The handler has ended: nothing more will happen here."""
        self._connection.streams.pop(self, None)
        self._stream.remote = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop_streams()

    def _stop_streams(self) -> None:
        if self._inflow is not None:
            self._inflow.end(discard=True)
        if self._outflow is not None:
            self._outflow.close()

    def _in(self) -> Inflow:
        if self._inflow is None:
            self._inflow = Inflow(self._connection.loop, self._give_back)
            if self._client_closed:
                self._inflow.end()
        return self._inflow

    def _give_back(self, size: int) -> None:
        self._send(Frame("", credit=size))

    def _check(self) -> None:
        """Raises when the RPC is over.

        Raises:
            AbortError: the handler has called `abort`, whatever became of that.
            UsageError: the status has been sent.
        """
        if self._abort is not None:
            raise self._abort
        if self._status_sent:
            raise cygrpc.UsageError(FINISHED)
        if self._connection.server.stopped:
            raise cygrpc._ServerStoppedError("Server already stopped.")

    # `grpc.aio.ServicerContext`

    async def read(self) -> Any:
        """Returns the next request, `grpc.aio.EOF` after the last.

        Raises:
            UsageError: the RPC has ended.
        """
        self._check()
        data = await self._in().get()
        self._check()
        return cygrpc.EOF if data is None else _common.deserialize(data, self._deserialize)

    async def write(self, message: Any) -> None:
        """Sends a response; returns when the client has room for more.

        Raises:
            UsageError: the RPC has ended.
            ExecuteBatchError: another write is under way, or the client has gone.
        """
        self._check()
        self._plain = False
        data = _common.serialize(message, self._serialize)
        if not isinstance(data, bytes):
            raise TypeError(f"Expected bytes, got {type(data)}")
        limit = self._connection.server.max_send
        if len(data) > limit:
            words = f"SERVER: {status.too_large_to_send(len(data), limit)}"
            self._refuse(status.RESOURCE_EXHAUSTED, words)
            raise cygrpc.ExecuteBatchError(words)
        if self._outflow is None:
            self._outflow = Outflow(self._connection.loop)
        server = self._connection.server
        if self._client_closed or (server.losing and server.loses(self)):
            raise cygrpc.ExecuteBatchError("the client has gone")
        outflow = self._outflow
        if outflow.busy:
            raise cygrpc.ExecuteBatchError(TOO_MANY)
        index = outflow.sent
        blocked = outflow.take(len(data))
        self._send(Frame("response", index=index, headers=self._headers(), data=data))
        outflow.busy = True
        try:
            if blocked is not None:
                await blocked
            else:
                await asyncio.sleep(0)
        finally:
            outflow.busy = False
        if self._client_closed:
            raise cygrpc.ExecuteBatchError("the client has gone")

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Sends the initial metadata.

        Raises:
            UsageError: they have been sent, or the RPC has ended.
        """
        self._check()
        if self._headers_sent:
            raise cygrpc.UsageError("Send initial metadata failed: already sent")
        self._send_headers(initial_metadata)
        await asyncio.sleep(0)

    def _send_headers(self, metadata: Any) -> None:
        self._plain = False
        try:
            headers = outbound(metadata)
        except cygrpc.ExecuteBatchError:
            self._end_with(INVALID)
            raise
        self._headers_sent = True
        self._send(Frame("headers", headers=headers))

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """Ends the RPC with a status.

        Raises:
            AbortError: always.
            UsageError: it has been called before.
        """
        self._abort_now(code, details, trailing_metadata)
        await asyncio.sleep(0)
        assert self._abort is not None
        raise self._abort

    def _abort_now(self, code: Any, details: str, trailing_metadata: Any) -> None:
        if self._abort is not None:
            raise cygrpc.UsageError("Abort already called!")
        self._plain = False
        self._abort = cygrpc.AbortError("Locally aborted.")
        if trailing_metadata:
            self._trailing = tuple(trailing_metadata)
        if details or not self._details:
            self._details = details
        self._code = status.number(code)
        self._given_code = code
        self._status_sent = True
        assert self._code != status.OK, "Expecting non-ok status code."
        self._conclude()

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the RPC with a `grpc.Status`.

        Raises:
            AbortError: always.
        """
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Sets what is sent with the status."""
        self._plain = False
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """Returns what is to be sent with the status."""
        return self._trailing

    def invocation_metadata(self) -> Any:
        """Returns the client's metadata."""
        return visible(self._stream.metadata)

    def set_code(self, code: Any) -> None:
        """Sets the code that the RPC ends with."""
        self._plain = False
        self._code = status.number(code)
        self._given_code = code

    def code(self) -> Any:
        """Returns the code that was set; None when none was."""
        return self._given_code

    def set_details(self, details: str | None) -> None:
        """Sets the details that the RPC ends with."""
        self._plain = False
        self._details = details or ""

    def details(self) -> str:
        """Returns the details that were set."""
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Has no effect here: messages travel at their own size.

        Raises:
            RuntimeError: the initial metadata have been sent.
        """
        if self._headers_sent:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")

    def disable_next_message_compression(self) -> None:
        """Has no effect here."""

    def peer(self) -> str:
        """Returns the client's address."""
        return address(self._connection.remote, self._connection.remote_port)

    def peer_identities(self) -> None:
        """Returns None: nobody is authenticated."""

    def peer_identity_key(self) -> None:
        """Returns None: nobody is authenticated."""

    def auth_context(self) -> dict[str, list[bytes]]:
        """Returns what an insecure connection has."""
        return {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}

    def time_remaining(self) -> float | None:
        """Returns the seconds until the deadline; None without one."""
        if self._deadline is None:
            return None
        return max(0, self._deadline - self._connection.env._now) / SECOND

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Has `callback(context)` called when the RPC has ended."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(partial(callback, self))

    def done(self) -> bool:
        """Says whether the status has been sent."""
        return self._status_sent

    def cancelled(self) -> bool:
        """Says whether the code is CANCELLED."""
        return self._code == status.CANCELLED


grpc.aio.ServicerContext.register(Context)
