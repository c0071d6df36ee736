"""One end of a simulated TCP connection, as an `asyncio.Transport`.

It behaves as a socket under asyncio does: bytes in order, half-closed connections, a window that
makes a writer wait for a slow reader, ConnectionResetError when the peer crashes, and silence
when the path is cut.

What is marked as hardware is called by the network, and enters the process by `Loop.run_now`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from asyncio.protocols import _feed_data_to_buffered_proto  # type: ignore[attr-defined]
from asyncio.transports import _FlowControlMixin
from collections import deque
from typing import TYPE_CHECKING, Any

from protos.trace import Lost, Message
from sim.world.pair import Address, Pair, SimSocket
from sim.world.sets import by_first_hash
from sim.world.timers import Handle

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from sim.world.loop import Loop
    from sim.world.network import Endpoint
    from sim.world.simulation import Simulation

WINDOW = 256 * 1024  # bytes that may be on their way or unread at the receiver
SEGMENT = 64 * 1024 - 1  # bytes handed to the network at once


class StreamTransport(_FlowControlMixin, asyncio.Transport):
    """One end of a simulated TCP connection."""

    __hash__ = by_first_hash

    # asyncio's own, which its type stubs leave out
    _loop: Loop
    _protocol_paused: bool
    _maybe_pause_protocol: Callable[[], None]
    _maybe_resume_protocol: Callable[[], None]

    def __init__(
        self,
        simulation: Simulation,
        endpoint: Endpoint,
        pair: Pair,
        names: tuple[Address, Address],
        context: Context,
        server: asyncio.Server | None = None,
    ) -> None:
        super().__init__(loop=endpoint.process.loop)
        here, there = names
        self._extra = {"sockname": here, "peername": there, "socket": SimSocket(here, there)}
        self._simulation = simulation
        self._endpoint = endpoint
        self._pair = pair
        self._context = context
        self._server = server
        self._protocol: asyncio.BaseProtocol | None = None
        self._recorder = simulation.trace
        self._index = 0
        # Sending
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._unacknowledged = 0
        self._eof_wanted = self._eof_sent = False
        # Receiving
        self._unread: deque[bytes | None] = deque()  # None: the end
        self._paused = False
        self._consumed = 0
        self._eof_received = False
        self._closing = self._lost = False
        endpoint.on_broken = self._broken
        if self._recorder is not None:
            endpoint.on_lost = self._gone

    # The protocol

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Gives the connection to a protocol; what has come in meanwhile follows."""
        self._protocol = protocol
        if self._server is not None:
            _attach(self._server, self)
        protocol.connection_made(self)
        self._read()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Puts another protocol in place."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Returns the protocol."""
        assert self._protocol is not None
        return self._protocol

    # Receiving

    def is_reading(self) -> bool:
        """Says whether data is handed to the protocol."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Holds data back; the peer's writes wait when the window is full."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hands over what was held back."""
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._read)

    def _arrived(self, data: bytes | None, sent: int) -> None:
        """Hardware: data, or the end of it, is here."""
        if self._lost:
            if data is not None:  # nobody will ever read it: TCP answers with a reset
                self._endpoint.abort()
            return
        if self._recorder is not None and data is not None:
            self._record(data, sent)
        self._unread.append(data)
        if len(self._unread) == 1:
            self._loop.run_now(Handle(self._read, (), self._context))

    def _record(self, data: bytes, sent: int) -> None:
        source, pair = self._endpoint.peer.process.name, self._pair
        now = self._simulation.now()
        assert self._recorder is not None
        self._recorder.write(
            Message(
                now,
                self._endpoint.process.name,
                source,
                sent,
                pair.number,
                "tcp",
                "data",
                len(data),
                index=self._index,
            )
        )
        self._index += 1

    def _read(self) -> None:
        while self._unread and not self._paused and not self._lost and self._protocol is not None:
            data = self._unread.popleft()
            if data is None:
                self._eof()
                continue
            self._acknowledge(len(data))
            if self._closing:
                continue
            try:
                if isinstance(self._protocol, asyncio.BufferedProtocol):
                    _feed_data_to_buffered_proto(self._protocol, data)
                else:
                    self._protocol.data_received(data)  # type: ignore[attr-defined]
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fatal(exc, "Fatal error: protocol.data_received() call failed.")

    def _eof(self) -> None:
        self._eof_received = True
        if self._closing:
            return
        try:
            keep_open = self._protocol.eof_received()  # type: ignore[union-attr]
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    def _acknowledge(self, size: int) -> None:
        """Opens the sender's window again, by and by as TCP does."""
        self._consumed += size
        if self._consumed >= WINDOW // 4 and self._endpoint.open:
            self._endpoint.send(0, self._acknowledge_at_peer, self._consumed)
            self._consumed = 0

    @property
    def _other(self) -> StreamTransport | None:
        return self._pair.accepted if self._pair.dialled is self else self._pair.dialled

    # Sending

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends bytes, or keeps them until the peer has room."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof_wanted:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost or self._closing:
            return
        if data:
            copy = bytes(data)
            self._buffer.append(copy)
            self._buffered += len(copy)
            self._pump()
            self._maybe_pause_protocol()

    def can_write_eof(self) -> bool:
        """Says that half-closing works."""
        return True

    def write_eof(self) -> None:
        """Ends this direction after all that was written; the other goes on."""
        if not self._eof_wanted and not self._closing:
            self._eof_wanted = True
            self._pump()

    def get_write_buffer_size(self) -> int:
        """Returns the bytes written and not yet sent."""
        return self._buffered

    def _pump(self) -> None:
        """Sends what the window allows."""
        buffer = self._buffer
        now = self._simulation.now()
        while buffer and self._unacknowledged < WINDOW:
            room = min(WINDOW - self._unacknowledged, SEGMENT)
            data = buffer.popleft()
            if len(data) > room:
                buffer.appendleft(data[room:])
                data = data[:room]
            elif len(data) < SEGMENT:
                data = self._gather(data, room)
            self._buffered -= len(data)
            self._unacknowledged += len(data)
            self._endpoint.send(len(data), self._arrive_at_peer, data, now)
        if self._eof_wanted and not buffer and not self._eof_sent:
            self._eof_sent = True
            self._endpoint.send(0, self._arrive_at_peer, None, now)
            self._finish()

    # The other end may not be there yet (its half of the handshake is under way) when something is sent,
    # but is when that arrives; unless what dialled speaks in something else than bytes.

    def _arrive_at_peer(self, data: bytes | None, sent: int) -> None:
        """Hardware: data, or the end of it, is at the peer."""
        other = self._other
        if other is not None:
            other._arrived(data, sent)

    def _acknowledge_at_peer(self, size: int) -> None:
        """Hardware: the peer learns what was consumed here."""
        other = self._other
        if other is not None:
            other._acknowledged(size)

    def _gather(self, data: bytes, room: int) -> bytes:
        """Joins small writes that wait into one segment."""
        pieces, size = [data], len(data)
        while self._buffer and size + len(self._buffer[0]) <= room:
            pieces.append(self._buffer.popleft())
            size += len(pieces[-1])
        return b"".join(pieces)

    def _acknowledged(self, size: int) -> None:
        """Hardware: the peer has consumed so much."""
        self._unacknowledged -= size
        if self._buffer or self._eof_wanted or self._protocol_paused:
            self._loop.run_now(Handle(self._sendable, (), self._context))

    def _sendable(self) -> None:
        if self._endpoint.open:
            self._pump()
            self._maybe_resume_protocol()
            if self._closing and not self._buffer and not self._lost:
                self._lose(None)

    # The end

    def is_closing(self) -> bool:
        """Says whether it is closing or closed."""
        return self._closing

    def close(self) -> None:
        """Closes after all that was written has been sent; what still comes in is dropped."""
        if self._closing:
            return
        self._closing = True
        self._eof_wanted = True
        self._pump()
        if not self._buffer:
            self._loop.call_soon(self._lose, None)
        self._read()

    def abort(self) -> None:
        """Closes at once; what waits to be sent is dropped.

        As at a kernel's `close`, the peer sees the end of the stream; or a reset, when something has come
        in that nobody has read.
        """
        if self._lost or self._unread or not self._endpoint.open:
            self._abort(None)
            return
        self._closing = self._eof_wanted = True
        self._buffer.clear()
        self._buffered = 0
        self._pump()
        self._loop.call_soon(self._lose, None)

    def _abort(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._closing = True
        self._endpoint.abort()
        self._buffer.clear()
        self._buffered = 0
        self._loop.call_soon(self._lose, exc)

    def _fatal(self, exc: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )
        self._abort(exc)

    def _finish(self) -> None:
        """Lets the connection go when neither end has more to say."""
        other = self._other
        if self._closing and other is not None and other._eof_sent:
            self._endpoint.close()

    def _broken(self, reason: str) -> None:
        """Hardware: the connection is gone."""
        if self._lost:
            return
        if reason == "closed by peer":
            if not self._eof_received and None not in self._unread:
                self._arrived(None, 0)
            return
        error: OSError
        if reason == "connection timed out":
            error = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        else:
            error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._loop.run_now(Handle(self._reset, (error,), self._context))

    def _reset(self, error: OSError) -> None:
        self._closing = True
        self._buffer.clear()
        self._buffered = 0
        self._lose(error)

    def _gone(self, reason: str, args: tuple[Any, ...]) -> None:
        """Hardware: something sent from here will never arrive."""
        data, sent = args if len(args) == 2 else (None, 0)
        if data is None or self._recorder is None:
            return
        name, now = self._endpoint.process.name, self._simulation.now()
        target = self._endpoint.peer.process.name
        self._recorder.write(
            Lost(now, target, name, sent, self._pair.number, "tcp", "data", reason, len(data))
        )

    def _lose(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._unread.clear()
        try:
            if self._protocol is not None:
                self._protocol.connection_lost(exc if exc is None or isinstance(exc, Exception) else None)
        finally:
            self._finish()
            server, self._server = self._server, None
            if server is not None:
                _detach(server, self)

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<stream {self._extra['sockname']} to {self._extra['peername']}, {state}>"


def _attach(server: Any, transport: StreamTransport) -> None:
    server._attach(*([transport] if sys.version_info >= (3, 13) else []))


def _detach(server: Any, transport: StreamTransport) -> None:
    server._detach(*([transport] if sys.version_info >= (3, 13) else []))
