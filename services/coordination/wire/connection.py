"""One client's TCP connection, in ZooKeeper's protocol.

The hot path has no task and no await per request: all frames of a read are decoded in one go, replies are
collected and written together, at the end of the read that they answer or at the end of the loop's turn.

A connection stops reading for three reasons: the session is being opened; the server has no room for more
requests (5.1); the client does not read its answers. What it has read by then it keeps, which is less than a
read. A client that leaves more unread than `Settings.unread` is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from services.coordination.api import Code, Event, Ping, Reply
from services.coordination.front import SessionOver, Unavailable
from services.coordination.wire import four_letter, results
from services.coordination.wire.jute import INT, Malformed
from services.coordination.wire.requests import Refused, read_body, read_greeting, read_request

if TYPE_CHECKING:
    from services.coordination.front import Connection
    from services.coordination.wire.door import Door
    from services.coordination.wire.requests import Greeting
    from services.coordination.wire.results import Write

_OPENING, _NO_ROOM, _UNREAD = 1, 2, 4
"""Why nothing is read."""

_WRITE_AT = 1 << 18  # bytes of answers that are not collected any longer
_LINGER = 2.0  # seconds in which a client that is sent away may read what it was told last

_int = INT.unpack_from
_PING = Ping()

log = logging.getLogger(__name__)


class ClientConnection(asyncio.Protocol):
    """A connection, from the first byte to the last.

    Args:
        door: what it shares with others.
    """

    __slots__ = (
        "_answering",
        "_closing",
        "_connection",
        "_door",
        "_held",
        "_loop",
        "_needed",
        "_out",
        "_out_size",
        "_parts",
        "_pending",
        "_reading",
        "_scheduled",
        "_stored",
        "_task",
        "_timer",
        "_transport",
        "address",
        "port",
    )

    def __init__(self, door: Door) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._connection: Connection | None = None
        self._pending: deque[Write | Code] = deque()  # how replies that are to come are written
        self._parts: list[bytes] = []  # what has been received and not been taken
        self._stored = 0
        self._needed = 4
        self._out: list[bytes] = []
        self._out_size = 0
        self._held = 0
        self._reading = False
        self._scheduled = False
        self._closing = False
        self._answering = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.address = ""
        self.port = 0

    @property
    def session(self) -> int:
        """The id of its session, 0 as long as it has none."""
        return self._connection.session if self._connection is not None else 0

    def close(self) -> None:
        """Ends the connection from this side."""
        self._close()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins, if the client is let in."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer:
            self.address, self.port = peer[:2]
        why = self._door.arrived(self)
        if why:
            self._drop("too many connections", why)
        else:
            self._timer = self._loop.call_later(self._door.settings.handshake, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends. The session goes on without a connection."""
        self._closing = True
        self._stop_timer()
        self._parts.clear()
        self._out.clear()
        self._door.left(self)
        if self._connection is not None:
            self._connection.close()
            if self._task is not None:
                self._task.cancel()  # it waits for room

    def data_received(self, data: bytes) -> None:
        """Takes what has come in, as far as it is whole."""
        if self._stored or self._held:
            self._parts.append(data)
            self._stored += len(data)
            if self._held or self._stored < self._needed:
                return
            data = b"".join(self._parts)
        self._take(data)

    def eof_received(self) -> bool:
        """Closes, unless there is a word to answer: `echo ruok | nc` ends its side at once."""
        return self._answering

    def pause_writing(self) -> None:
        """Reads no more requests from a client that does not read its answers."""
        self._hold(_UNREAD)

    def resume_writing(self) -> None:
        """Reads on."""
        self._release(_UNREAD)

    # Reading

    def _take(self, data: bytes) -> None:
        """Takes the frames in `data`, and keeps what is left."""
        at, size = 0, len(data)
        needed = 4
        largest = self._door.settings.max_buffer
        self._reading = True
        while not self._held and not self._closing and size - at >= 4:
            length: int = _int(data, at)[0]
            end = at + 4 + length
            if self._connection is None and data[at : at + 4] in four_letter.WORDS:
                self._asked(data[at : at + 4])
                break
            if not 0 < length <= largest:
                self._drop("frames of no proper length", f"a frame of {length} bytes")
                break
            if end > size:
                needed = end - at
                break
            frame = data[at + 4 : end]
            at = end
            if self._connection is None:
                self._greeted(frame)
            else:
                self._request(self._connection, frame)
        self._reading = False
        if self._parts:
            self._parts.clear()
        self._stored = 0
        if at < size and not self._closing:
            self._parts.append(data[at:] if at else data)
            self._stored = size - at
        self._needed = needed
        if self._out:
            self._flush()

    def _request(self, connection: Connection, frame: bytes) -> None:
        write: Write | Code
        try:
            xid, kind = read_request(frame)
            request, write = read_body(kind, frame)
        except Refused as refused:
            request, write = _PING, refused.code  # a ping takes the place in the order of replies
        except Malformed as exc:
            if len(frame) < 8:
                self._drop("frames that are no requests", str(exc))
                return
            self._door.refusals.tell("requests that cannot be read", self.address, str(exc))
            request, write = _PING, Code.MARSHALLING_ERROR
        self._pending.append(write)
        connection.submit(xid, request)
        if connection.full and not self._held:
            self._hold(_NO_ROOM)
            self._task = self._loop.create_task(self._wait_for_room(connection))

    async def _wait_for_room(self, connection: Connection) -> None:
        await connection.room()
        self._release(_NO_ROOM)

    def _hold(self, why: int) -> None:
        if not self._held and not self._closing:
            self._transport.pause_reading()
        self._held |= why

    def _release(self, why: int) -> None:
        self._held &= ~why
        if self._held or self._closing:
            return
        if self._stored >= self._needed:
            self._take(b"".join(self._parts))
        if not self._held and not self._closing:
            self._transport.resume_reading()

    # The session

    def _greeted(self, frame: bytes) -> None:
        try:
            greeting = read_greeting(frame)
        except Malformed as exc:
            self._drop("greetings that cannot be read", str(exc))
            return
        self._stop_timer()
        self._hold(_OPENING)
        self._task = self._loop.create_task(self._open(greeting))

    async def _open(self, greeting: Greeting) -> None:
        read_only = False if greeting.knows_read_only else None
        try:
            connection = await self._door.front.connect(
                greeting.hello, self.address, self._deliver, self._ended
            )
        except SessionOver:
            self._say(results.greet(0, 0, b"", read_only))
            self._close()
            return
        except Unavailable as exc:
            self._drop("sessions that cannot be served", str(exc) or "not serving")
            return
        except Exception:
            log.exception("a session could not be opened")
            self._close()
            return
        if self._closing:  # the client has gone meanwhile
            connection.close()
            return
        self._connection = connection
        if read_only is not None:
            read_only = connection.read_only
        opened = results.greet(connection.session, connection.timeout, connection.password, read_only)
        self._out.insert(0, opened)  # before what it may have been told already
        self._out_size += len(opened)
        self._flush()
        self._release(_OPENING)

    def _ended(self, why: str) -> None:
        """The server ends the connection."""
        self._close()
        self._connection = None

    # Answers

    def _deliver(self, message: Reply | Event) -> None:
        if self._closing:
            return
        try:
            written = results.event(message) if isinstance(message, Event) else self._written(message)
        except Exception:
            log.exception("an answer could not be written")
            self._close()
            return
        self._out.append(written)
        self._out_size += len(written)
        if self._out_size > _WRITE_AT:
            self._flush()
        elif not self._reading and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    def _written(self, message: Reply) -> bytes:
        write = self._pending.popleft()
        result = message.result
        if result is None:
            return results.reply(message.xid, message.zxid, message.code)
        if write is None:
            return results.reply(message.xid, message.zxid, 0)
        if isinstance(write, Code):
            if write is Code.UNIMPLEMENTED:  # as Apache does: it may be a client of another protocol
                self._loop.call_soon(self._close)
            return results.reply(message.xid, message.zxid, write)
        return results.reply(message.xid, message.zxid, 0, write(result))

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        if self._out:
            self._flush()

    def _flush(self) -> None:
        out = self._out
        if self._connection is None:
            return  # the greeting comes first
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_size = 0
        if self._transport.is_closing():
            return
        if self._held & _UNREAD and self._transport.get_write_buffer_size() > self._door.settings.unread:
            self._door.refusals.tell("clients that do not read", self.address, "its answers pile up")
            self._closing = True
            self._transport.abort()
            return
        self._transport.write(data)

    def _say(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    # Four-letter words

    def _asked(self, word: bytes) -> None:
        self._answering = True
        self._stop_timer()
        self._hold(_OPENING)
        self._task = self._loop.create_task(self._answer(word))

    async def _answer(self, word: bytes) -> None:
        try:
            self._say(await four_letter.answer(word, self._door))
        except Exception:
            log.exception("%s could not be answered", word.decode())
        self._close()

    # The end

    def _too_late(self) -> None:
        self._timer = None
        self._drop("connections without a greeting", "it said nothing")

    def _drop(self, kind: str, why: str) -> None:
        """Closes a connection whose client asks for what it cannot have; the log says so, once."""
        self._door.refusals.tell(kind, self.address, why)
        self._close()

    def _close(self) -> None:
        """Lets the client read what it was told, for a while, and closes."""
        if self._closing:
            return
        if self._out:
            self._flush()
        self._closing = True
        self._stop_timer()
        transport = self._transport
        transport.close()
        if transport.get_write_buffer_size():
            self._loop.call_later(_LINGER, transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
