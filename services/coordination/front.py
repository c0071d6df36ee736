"""The seam between the doors (gRPC, ZooKeeper's wire protocol) and the server: a client's connection.

A door decodes requests and encodes what comes back. Everything else (order, sessions, watches, limits) is the
server's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct

from services.coordination.api import AnyRequest, Event, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.coordination.configuration import Configuration

Deliver: TypeAlias = Callable[[Reply | Event], None]
"""Takes replies and events in the order in which the client must see them. It must not wait."""


class Hello(Struct, frozen=True):
    """What a client says first.

    Attributes:
        timeout: that it asks for, in ms.
        session: to go on with; 0 for a new one.
        last_zxid: that it has seen (4.4).
        read_only: whether a server without a quorum is good enough.
    """

    timeout: int
    session: int = 0
    password: bytes = b""
    last_zxid: int = 0
    read_only: bool = False


class Unavailable(Exception):
    """The connection is closed without an answer, and the client tries another server.

    No quorum; or the client has seen more than this server (4.4); or too many connections.
    """


class SessionOver(Exception):
    """The session that the client would go on with has expired, or the password is wrong: it is told so."""


class Connection(Protocol):
    """A client that is connected. Its session outlives it, until it expires."""

    @property
    def session(self) -> int:
        """The session's id."""
        ...

    @property
    def password(self) -> bytes:
        """By which the session may move."""
        ...

    @property
    def timeout(self) -> int:
        """The negotiated one, in ms."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether only reads are served, because there is no quorum."""
        ...

    def submit(self, xid: int, request: AnyRequest) -> None:
        """Takes a request; its reply is delivered in the order of submission.

        `CloseSession` and a failed `Authenticate` close the connection once answered.
        """
        ...

    @property
    def full(self) -> bool:
        """Whether a door is to await `room` before it submits more (looked at before each request)."""
        ...

    async def room(self) -> None:
        """Waits until the server takes more requests (5.1: throttling): a door reads on only then."""
        ...

    def close(self) -> None:
        """Tells that the link is gone. The session stays."""
        ...


class Front(Protocol):
    """A server, as its doors see it (implemented by `server/`)."""

    async def connect(
        self, hello: Hello, address: str, deliver: Deliver, closed: Callable[[str], None]
    ) -> Connection:
        """Opens a session, or goes on with one.

        Args:
            hello: what the client said.
            address: the client's network address, for ACLs of scheme "ip" and for limits; "" when unknown.
            deliver: gets replies and events.
            closed: called once when the server ends the connection (session expired or moved, no quorum any
                more), with the reason; nothing is delivered after it.

        Raises:
            Unavailable, SessionOver.
        """
        ...

    def configuration(self) -> Configuration:
        """Returns the ensemble, as of the last transaction delivered here."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """Returns what `mntr`, `stat` and the metrics tell, by Apache's names (zk_znode_count, ...).

        Beside those: `zk_last_zxid`. `zk_server_state` is leader, follower, observer, standalone, read-only,
        or "looking" while nobody is served.
        """
        ...

    def connections(self) -> list[ConnectionFigures]:
        """Returns what `cons` tells."""
        ...

    def sessions(self) -> list[SessionFigures]:
        """Returns the sessions that this server knows of, with their ephemerals (`dump`)."""
        ...

    def watches(self) -> Mapping[str, Sequence[int]]:
        """Returns the paths that clients of this server watch, and the sessions that do (`wchp`, `wchc`)."""
        ...

    def digests(self) -> list[tuple[int, str]]:
        """Returns zxids and digests of the tree right after them, the latest last (`hash`)."""
        ...


class SessionFigures(Struct, frozen=True):
    """One session. `expires` is ms from now by the leader's count, -1 where this server does not know."""

    session: int
    timeout: int
    expires: int
    ephemerals: tuple[str, ...]


class ConnectionFigures(Struct, frozen=True):
    """One connection, in numbers. Times in ms; moments since the Unix epoch.

    `last_operation` is a class of `api.py`; `last_xid`, `last_response`, `latency_last` are of the last
    reply.
    """

    address: str
    session: int
    timeout: int
    queued: int
    received: int
    sent: int
    last_operation: str
    last_zxid: int
    latency_min: int
    latency_avg: int
    latency_max: int
    established: int
    last_xid: int = 0
    last_response: int = 0
    latency_last: int = 0
