"""How a client gets in: a new session, one that goes on here, or only to read.

A session is opened by a transaction, so every server knows it. One that goes on at this server is asked
for at the leader, which from then on refuses what the server before still sends in its name (SESSION_MOVED).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from protos import coordination_pb2 as pb
from services.coordination.api import CreateSession
from services.coordination.front import Deliver, Hello, SessionOver, Unavailable
from services.coordination.server.connection import MOVED, ClientConnection
from services.coordination.server.sessions import Names, same_password

if TYPE_CHECKING:
    from services.coordination.server.server import Server


class Opening(Struct, eq=False):
    """A connection to be, which waits for its session's transaction, or for the leader's word."""

    connection: ClientConnection
    decided: asyncio.Future[bool]
    tag: int = 0


class Admission:
    """Lets clients in.

    Args:
        server: where to.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._names: Names | None = None
        self._addresses: dict[str, int] = {}
        self._count = 0
        self._opening: dict[int, Opening] = {}  # by session
        self._resuming: dict[int, Opening] = {}  # by number of the question
        self._numbers = 0
        self._catching_up: dict[asyncio.Future[bool], None] = {}

    async def connect(
        self, hello: Hello, address: str, deliver: Deliver, closed: Callable[[str], None]
    ) -> ClientConnection:
        """Opens a session, or goes on with one.

        Raises:
            Unavailable, SessionOver: as `front.Front.connect` says.
        """
        try:
            return await self._connect(_Connecting(hello, address, deliver, closed))
        except Unavailable:
            self._server.figures_of.refused += 1
            raise

    async def _connect(self, connecting: _Connecting) -> ClientConnection:
        server, settings = self._server, self._server.settings
        hello, address = connecting.hello, connecting.address
        if settings.connections and self._count >= settings.connections:
            raise Unavailable("too many connections")
        most = settings.connections_per_address
        if address and most and self._addresses.get(address, 0) >= most:
            raise Unavailable("too many connections from this address")
        if hello.last_zxid > server.zxid:
            raise Unavailable("this server is behind what the client has seen")
        if not server.serving:
            return self._read_only(connecting)
        if hello.session == 0:
            return await self._open(connecting)
        return await self._resume(connecting)

    # Told by the server

    def opened(self, zxid: int, session: int, tag: int) -> None:
        """Tells that a session has been opened, perhaps for somebody who waits here."""
        opening = self._opening.get(session)
        if opening is not None and opening.tag == tag:
            opening.connection.floor = zxid
            self._admit(opening)

    def refused(self, session: int, tag: int) -> None:
        """Tells that a session will not be opened."""
        opening = self._opening.get(session)
        if opening is not None and opening.tag == tag and not opening.decided.done():
            opening.decided.set_result(False)

    def revalidated(self, number: int, valid: bool, zxid: int) -> None:
        """Tells the leader's word on a session that would go on here."""
        opening = self._resuming.get(number)
        if opening is None:
            return
        if valid and opening.connection.session in self._server.tree.sessions:
            opening.connection.floor = zxid
            self._admit(opening)
        elif not opening.decided.done():
            opening.decided.set_result(False)

    def abandon(self, why: str) -> None:
        """Sends away all who wait."""
        for opening in (*self._opening.values(), *self._resuming.values()):
            if not opening.decided.done():
                opening.decided.set_exception(Unavailable(why))
        for waiting in self._catching_up:
            if not waiting.done():
                waiting.set_exception(Unavailable(why))

    def left(self, address: str) -> None:
        """Tells that a connection is over."""
        self._count -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    # The ways in

    async def _open(self, connecting: _Connecting) -> ClientConnection:
        server = self._server
        if len(self._opening) >= server.settings.outstanding:
            raise Unavailable("too many clients open sessions")
        session, password = self._draw()
        timeout = server.settings.negotiate(connecting.hello.timeout)
        opening = self._opening[session] = self._begin(connecting, session, password, timeout)
        opening.tag = server.order(session, CreateSession(timeout, password), ())
        try:
            if not await self._decided(opening):
                raise Unavailable("the session could not be opened")
        finally:
            del self._opening[session]
        server.figures_of.opened += 1
        server.host.trace("session opened", session=f"{session:x}", timeout_ms=timeout)
        return opening.connection

    async def _resume(self, connecting: _Connecting) -> ClientConnection:
        server, session = self._server, connecting.hello.session
        if session not in server.tree.sessions:
            await self._catch_up()  # it may be too new for this server
        known = server.tree.sessions.get(session)
        if known is None or not same_password(known.password, connecting.hello.password):
            raise SessionOver
        if len(self._resuming) >= server.settings.outstanding:
            raise Unavailable("too many clients come back")
        self._numbers += 1
        number = self._numbers
        opening = self._begin(connecting, session, known.password, known.timeout)
        self._resuming[number] = opening
        try:
            if server.leading is not None:
                server.leading.revalidate(server.broadcast.server, session, number)
            else:
                server.to_leader(pb.Revalidate(session=session, number=number))
            if not await self._decided(opening):
                raise SessionOver
        finally:
            del self._resuming[number]
        server.host.trace("session goes on", session=f"{session:x}")
        return opening.connection

    def _read_only(self, connecting: _Connecting) -> ClientConnection:
        server, hello = self._server, connecting.hello
        if not (server.settings.read_only and hello.read_only):
            raise Unavailable("there is no quorum")
        known = server.tree.sessions.get(hello.session)
        if known is None:
            session, password = self._draw()
            timeout = server.settings.negotiate(hello.timeout)
        elif same_password(known.password, hello.password):
            session, password, timeout = hello.session, known.password, known.timeout
        else:
            raise SessionOver
        opening = self._begin(connecting, session, password, timeout, read_only=True)
        self._admit(opening)
        return opening.connection

    async def _decided(self, opening: Opening) -> bool:
        """Waits for the word; a connection that nobody will take ends."""
        try:
            if not await opening.decided:
                opening.connection.close()
                return False
        except BaseException:
            opening.connection.close()
            raise
        if opening.connection.ended:
            raise Unavailable("the connection ended as it began")
        return True

    async def _catch_up(self) -> None:
        if len(self._catching_up) >= self._server.settings.outstanding:
            raise Unavailable("too many clients come back")
        here = _future()
        self._catching_up[here] = None
        try:
            self._server.synchronized(lambda: None if here.done() else here.set_result(True))
            await here
        finally:
            del self._catching_up[here]

    def _admit(self, opening: Opening) -> None:
        """Puts the connection in its place. Nothing is delivered between the word and this."""
        if opening.decided.done():
            return
        connection, connections = opening.connection, self._server.connections
        before = connections.get(connection.session)
        if before is not None:
            before.end(MOVED)
        connections[connection.session] = connection
        opening.decided.set_result(True)

    def _begin(
        self, connecting: _Connecting, session: int, password: bytes, timeout: int, *, read_only: bool = False
    ) -> Opening:
        """Makes the connection, which counts from now on and until it ends."""
        address = connecting.address
        self._count += 1
        self._addresses[address] = self._addresses.get(address, 0) + 1
        connection = ClientConnection(
            self._server,
            session,
            password,
            timeout,
            address,
            connecting.deliver,
            connecting.closed,
            limit=self._server.settings.outstanding_per_connection,
            read_only=read_only,
        )
        return Opening(connection, _future())

    def _draw(self) -> tuple[int, bytes]:
        if self._names is None:
            self._names = Names(self._server.host, self._server.broadcast.server)
        return self._names.draw()


class _Connecting(Struct, eq=False):
    """A client that wants in."""

    hello: Hello
    address: str
    deliver: Deliver
    closed: Callable[[str], None]


def _future() -> asyncio.Future[bool]:
    return asyncio.get_running_loop().create_future()
