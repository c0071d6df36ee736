"""The door for ZooKeeper's clients: listens, and knows what connections share.

Connections are counted before they have said anything, all of them and by network address, as Apache does
(`maxClientCnxns`, `maxCnxns`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from services.coordination.wire.connection import ClientConnection

if TYPE_CHECKING:
    from services.coordination.front import Front
    from services.coordination.server.settings import Settings
    from services.coordination.wire.report import Report

BACKLOG = 1024
_SILENCE = 60.0  # seconds in which refusals of one kind are counted, after one was logged

log = logging.getLogger(__name__)


class Door:
    """Lets ZooKeeper's clients in.

    Args:
        front: the server.
        settings: limits.
        report: what the four-letter words tell.
        words: those that are answered.

    Attributes:
        refusals: says why clients were turned away.
    """

    def __init__(
        self, front: Front, settings: Settings, report: Report, words: frozenset[str] = frozenset(("srvr",))
    ) -> None:
        self.front = front
        self.settings = settings
        self.report = report
        report.addresses = self.ports
        self.words = words
        self.refusals = Refusals()
        self._connections: dict[ClientConnection, None] = {}
        self._addresses: dict[str, int] = {}
        self._server: asyncio.Server | None = None

    async def start(self, address: str | None, port: int, backlog: int = BACKLOG) -> int:
        """Begins to listen, and returns the port.

        Args:
            address: of this host; None for all.
            port: 0 for any that is free.
            backlog: connections that may wait to be accepted.

        Raises:
            OSError: it cannot listen there.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ClientConnection(self), address, port, backlog=backlog
        )
        real: int = self._server.sockets[0].getsockname()[1]
        return real

    async def stop(self) -> None:
        """Listens no more, and closes what connections there are."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    # For connections

    def arrived(self, connection: ClientConnection) -> str:
        """Counts a connection; returns why it may not stay, "" when it may."""
        address = connection.address
        count = self._addresses.get(address, 0) + 1
        self._addresses[address] = count
        self._connections[connection] = None
        most = self.settings.connections_per_address
        if most and count > most:
            return f"it has {most} already, which is the limit"
        most = self.settings.connections
        if most and len(self._connections) > most:
            return f"there are {most}, which is the limit"
        return ""

    def left(self, connection: ClientConnection) -> None:
        """Counts a connection no more."""
        if connection in self._connections:
            del self._connections[connection]
            count = self._addresses[connection.address] - 1
            if count:
                self._addresses[connection.address] = count
            else:
                del self._addresses[connection.address]

    def ports(self) -> dict[int, str]:
        """Returns from where each session is connected: "address:port"."""
        return {link.session: f"{link.address}:{link.port}" for link in self._connections if link.session}

    def idle(self) -> int:
        """Returns how many connections have no session."""
        return sum(not link.session for link in self._connections)


class Refusals:
    """Logs why clients were turned away: the first of each kind at once, then how many there were."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._next: dict[str, float] = {}

    def tell(self, kind: str, address: str, why: str) -> None:
        """Says it, unless the like was said within a minute.

        Args:
            kind: what was refused, in the plural; one of few.
            address: whose it was.
            why: this one's reason.
        """
        now = asyncio.get_running_loop().time()
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if now < self._next.get(kind, now):
            return
        self._next[kind] = now + _SILENCE
        more = f" ({count} so far; more are counted for {_SILENCE:g} s)" if count > 1 else ""
        log.warning("refused: %s. %s: %s%s", kind, address or "a client", why, more)

    def counts(self) -> dict[str, int]:
        """Returns how often each kind was refused."""
        return dict(self._counts)
