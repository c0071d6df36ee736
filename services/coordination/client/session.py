"""The session: which server it is with, what it has asked, and what it knows of its own life (2.1, 4.4).

Calls are answered in the order in which they are made. Each is in one of two places: `_waiting`, while there
is no connection (it was certainly not sent), and `_sent`. When a connection breaks, whatever was sent ends
with CONNECTION_LOSS, because nobody knows; what waits goes to the next server. Nothing is sent twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.msgpack import Decoder, Encoder

from protos import coordination_pb2 as pb
from services.coordination.api import (
    AnyRequest,
    Authenticate,
    CloseSession,
    Code,
    CoordinationError,
    Event,
    Ping,
    Reply,
    SessionState,
)
from services.coordination.client.errors import error
from services.coordination.client.link import Link, Refused
from services.coordination.client.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.coordination.client.watches import Watches
    from services.host import Host

    Finish: TypeAlias = Callable[[Reply, str], Any]
    """Makes of a reply, and the path that it is about, what the caller gets; or raises."""

    Entry: TypeAlias = tuple[int, asyncio.Future[Any], Finish, str]
    """A call that is not answered: its number, who waits, what becomes of the reply, the path."""

_LAST_XID = 0x7FFFFFFF
_FIRST_PAUSE = 0.02  # seconds between rounds over all servers, longer each time, up to:
_LONGEST_PAUSE = 1.0
_LONGER = 1.5  # so that a new leader is found late by no more than half the time that there was none
_FIRST_SEARCH = 0.5  # seconds until a read-only client looks for a better server, doubled up to:
_LONGEST_SEARCH = 60.0

_encode = Encoder().encode
_decode = Decoder(Reply | Event).decode

OVER = {
    SessionState.EXPIRED: Code.SESSION_EXPIRED,
    SessionState.CLOSED: Code.SESSION_EXPIRED,  # as in Apache's client
    SessionState.AUTH_FAILED: Code.AUTH_FAILED,
}
"""The states that a session does not leave, and how calls end in them."""


class Session:
    """A session and its connections.

    Args:
        host: the client's door.
        servers: where to connect to; tried in random order.
        timeout: of the session, in seconds, as asked for; the server may grant another.
        read_only: whether a server without a quorum is good enough.
        max_pending: calls that may wait for an answer.
        watches: gets the events.

    Attributes:
        state: what is known of it.
        timeout: the negotiated one, in seconds, once there is one.
        id, password: of the session, 0 and empty before there is one.
        last_zxid: the newest that was seen.
        pulse: until when it lives for sure.
    """

    def __init__(
        self,
        host: Host,
        servers: Sequence[str],
        timeout: float,
        read_only: bool,
        max_pending: int,
        watches: Watches,
    ) -> None:
        if not servers:
            raise ValueError("a client needs at least one server")
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout}, must be above 0 seconds")
        self.state = SessionState.DISCONNECTED
        self.timeout = self._asked = timeout
        self.id = 0
        self.password = b""
        self.last_zxid = 0
        self.connected = asyncio.Event()
        self.state_listeners: dict[Callable[[SessionState], None], None] = {}
        self.pulse = Pulse(self._beat)
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._servers = host.rng.sample(list(servers), len(servers))
        self._read_only = read_only
        self._max_pending = max_pending
        self._watches = watches
        self._xid = 0
        self._sent: deque[Entry] = deque()
        self._waiting: deque[tuple[Entry, bytes]] = deque()
        self._credentials: dict[tuple[str, bytes], None] = {}  # that the server has accepted
        self._link: Link | None = None
        self._better: Link | None = None  # a server with a quorum, found while the present one has none
        self._pause = 0.0  # seconds before the next attempt
        self._writable = False  # whether the id is one that the ensemble knows
        self._task: asyncio.Task[None] | None = None
        self._search: asyncio.Task[None] | None = None

    @property
    def server(self) -> str:
        """The server at the other end of the connection, "" when there is none."""
        return self._link.target if self._link is not None else ""

    # Calls

    def call(self, request: AnyRequest, finish: Finish, path: str = "") -> asyncio.Future[Any]:
        """Sends a request, or has it sent when there is a connection; see `Client.call`."""
        if self.state in OVER or len(self._sent) + len(self._waiting) >= self._max_pending:
            future: asyncio.Future[Any] = self._loop.create_future()
            self._fail((0, future, finish, path), OVER.get(self.state, Code.THROTTLED))
            return future
        return self._submit(request, finish, path)

    def _submit(self, request: AnyRequest, finish: Finish, path: str = "") -> asyncio.Future[Any]:
        encoded = _encode(request)
        future: asyncio.Future[Any] = self._loop.create_future()
        xid = self._xid = self._xid + 1 if self._xid < _LAST_XID else 1
        link = self._link
        if link is None:
            self._waiting.append(((xid, future, finish, path), encoded))
        else:
            self._sent.append((xid, future, finish, path))
            link.send(xid, encoded)
        return future

    def authenticate(self, scheme: str, credentials: bytes) -> asyncio.Future[None]:
        """Adds an identity, and adds it again on every later connection."""

        def finish(reply: Reply, path: str) -> None:
            self._authenticated(reply)
            self._credentials[scheme, credentials] = None

        return self.call(Authenticate(scheme, credentials), finish)

    # Life

    def start(self) -> None:
        """Begins to connect."""
        self._task = asyncio.create_task(self._live(), name="session")

    async def close(self) -> None:
        """Closes the session, in order, if a server can be told of it in time; else it will expire."""
        if self.id and self.state not in OVER:
            told = self._submit(CloseSession(), self._closed)
            told.add_done_callback(_seen)
            await asyncio.wait([told], timeout=self.timeout / 3)
        self._end(SessionState.CLOSED)
        for task in (self._search, self._task):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _live(self) -> None:
        """Goes from server to server until the session is over."""
        try:
            while self.state not in OVER:
                link = await self._next_link()
                try:
                    if not self._begin(link):
                        self._end(SessionState.EXPIRED)
                        return
                    reason = await link.closed
                    self._disconnected(reason)
                    lived = self._loop.time() - link.opening
                    self._pause = self._longer_pause() if lived < _LONGEST_PAUSE else 0.0
                finally:
                    self._link = None
                    await link.close()
        finally:
            if self._better is not None:
                await self._better.close()

    async def _next_link(self) -> Link:
        """Connects to one server after the other, until one takes the session."""
        if self._better is not None:
            link, self._better = self._better, None
            return link
        tried = 0
        if self._pause:  # the last connection was short: it is not to be a storm of them
            await self._rest()
        while True:
            target = self._servers[0]
            self._servers.append(self._servers.pop(0))
            try:
                return await self._open(target, self._read_only)
            except Refused as exc:
                self._host.trace("no connection", why=str(exc))
            tried += 1
            if tried % len(self._servers) == 0:
                self._pause = self._longer_pause()
                await self._rest()

    def _longer_pause(self) -> float:
        return min(max(_FIRST_PAUSE, _LONGER * self._pause), _LONGEST_PAUSE, self.timeout / 3)

    async def _rest(self) -> None:
        await asyncio.sleep(self._pause * self._host.rng.uniform(0.5, 1.0))

    async def _open(self, target: str, read_only: bool) -> Link:
        known = self._writable or not self._read_only
        hello = pb.Connect(
            timeout_ms=round(1000 * self._asked),
            session=self.id if known else 0,
            password=self.password if known else b"",
            last_zxid=self.last_zxid,
            read_only=read_only,
        )
        return await Link.open(self._host, target, hello, self.timeout / len(self._servers))

    def _begin(self, link: Link) -> bool:
        """Goes on with a connection; says whether there still is a session."""
        opened = link.opened
        if not opened.session:
            return False
        self.id, self.password = opened.session, opened.password
        self.timeout = opened.timeout_ms / 1000
        self._writable = self._writable or not link.read_only
        self._link = link
        link.start(self._received)
        self.pulse.begin(link, self.timeout)
        for scheme, credentials in self._credentials:
            self._internal(Authenticate(scheme, credentials), self._authenticated_again)
        for registration in self._watches.registrations(self.last_zxid):
            self._internal(registration, self._registered)
        while self._waiting:
            entry, encoded = self._waiting.popleft()
            if entry[1].cancelled():  # the caller has given up, and it was not sent
                self._fail(entry, Code.CONNECTION_LOSS)
                continue
            self._sent.append(entry)
            link.send(entry[0], encoded)
        if link.read_only:
            self._search = asyncio.create_task(self._seek_quorum(), name="seek quorum")
        self._become(
            SessionState.CONNECTED_READ_ONLY if link.read_only else SessionState.CONNECTED, link.target
        )
        return True

    def _disconnected(self, reason: str) -> None:
        self._link = None
        self.pulse.pause()
        if self._search is not None and self._better is None:
            self._search.cancel()
        self._search = None
        lost, self._sent = self._sent, deque()
        if self.state not in OVER:
            self._become(SessionState.DISCONNECTED, reason)
        for entry in lost:
            self._fail(entry, Code.CONNECTION_LOSS)

    def _end(self, state: SessionState) -> None:
        """The session is over, for good."""
        if self.state in OVER:
            return
        link, self._link = self._link, None
        if link is not None:
            link.end(state.name)
        entries = [*self._sent, *(entry for entry, _ in self._waiting)]
        self._sent.clear()
        self._waiting.clear()
        self._become(state, "")
        for entry in entries:
            self._fail(entry, OVER[state])
        self._watches.end(None if state is SessionState.CLOSED else error(OVER[state]))
        self.pulse.end()

    def _become(self, state: SessionState, why: str) -> None:
        if state is self.state:
            return
        self.state = state
        self._host.trace("session", state=state.name, session=f"{self.id:x}", why=why)
        if state in (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY) or state in OVER:
            self.connected.set()
        else:
            self.connected.clear()
        for listener in [*self.state_listeners]:
            listener(state)

    # What comes

    def _received(self, messages: Sequence[bytes]) -> None:
        """Takes the answers of one message. A broken promise of the server's ends the connection."""
        answered = 0
        for message in messages:
            answer = _decode(message)
            if answer.zxid > self.last_zxid:
                self.last_zxid = answer.zxid
            if type(answer) is Event:
                self._watches.fire(answer)
                continue
            if self._link is None:
                return  # the session has ended, by the user's doing in a callback
            entry = self._sent.popleft()
            xid, future, finish, path = entry
            answered = answer.xid
            try:
                if answered != xid:
                    raise ValueError(f"the server answers request {answered}, expected was {xid}")
                value = finish(answer, path)
            except CoordinationError as exc:
                if not future.done():
                    future.set_exception(exc)
            except BaseException:
                self._sent.appendleft(entry)  # it is not answered, and will be lost with the others
                raise
            else:
                if not future.done():
                    future.set_result(value)
        if answered and self._link is not None:
            left = self._link.departure(answered)
            if left is not None:
                self.pulse.answered(left)

    def _fail(self, entry: Entry, code: Code) -> None:
        """Ends a call that was not answered."""
        _, future, finish, path = entry
        try:
            finish(Reply(0, self.last_zxid, code), path)
        except CoordinationError as exc:
            if not future.done():
                future.set_exception(exc)
        else:
            if not future.done():
                future.set_exception(error(code, path))

    def _internal(self, request: AnyRequest, finish: Finish) -> None:
        """Makes a call of the session's own, which nobody waits for."""
        self._submit(request, finish).add_done_callback(_seen)

    def _authenticated(self, reply: Reply) -> None:
        if reply.code is Code.AUTH_FAILED and self.state not in OVER:
            self._end(SessionState.AUTH_FAILED)
        if reply.code:
            raise error(reply.code)

    def _beat(self) -> None:
        self._internal(Ping(), _anything)

    def _closed(self, reply: Reply, path: str) -> None:
        if reply.code is Code.OK:
            self._end(SessionState.CLOSED)

    def _authenticated_again(self, reply: Reply, path: str) -> None:
        self._authenticated(reply)

    def _registered(self, reply: Reply, path: str) -> None:
        """Without its watches the connection is not what the user believes: another one."""
        if reply.code and self._link is not None:
            self._link.end(f"watches were not registered: {reply.code.name}")

    async def _seek_quorum(self) -> None:
        """Looks for a server with a quorum while the present one has none."""
        pause = _FIRST_SEARCH
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_SEARCH)
            for target in self._servers:
                try:
                    self._better = await self._open(target, read_only=False)
                except Refused:
                    continue
                if self._link is not None:
                    self._link.end("a server with a quorum was found")
                return


def _anything(reply: Reply, path: str) -> None:
    """Takes any reply."""
    if reply.code:
        raise error(reply.code, path)


def _seen(future: asyncio.Future[Any]) -> None:
    """Nobody waits for this one, so nobody misses its error."""
    if not future.cancelled():
        future.exception()
