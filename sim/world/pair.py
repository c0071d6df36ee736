"""What the two ends of a simulated TCP connection know of each other, and the socket that they show."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.world.transport import StreamTransport

Address = tuple[str, int]


class Pair:
    """What the two ends of a connection know of each other."""

    def __init__(self, number: int, near: str, far: str, local: int) -> None:
        self.number = number
        self.near = near
        self.far = far
        self.local = local  # the port of the end that dialled
        self.dialled: StreamTransport | None = None
        self.accepted: StreamTransport | None = None


class SimSocket:
    """What `get_extra_info("socket")` and `Server.sockets` show: a socket that only tells its names."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, name: Address, peer: Address | None = None) -> None:
        self._name = name
        self._peer = peer

    def getsockname(self) -> Address:
        """Returns the address of this end."""
        return self._name

    def getpeername(self) -> Address:
        """Returns the address of the other end.

        Raises:
            OSError: ENOTCONN.
        """
        if self._peer is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._peer

    def setsockopt(self, *args: Any) -> None:
        """Takes any option, and does nothing about it."""

    def getsockopt(self, *args: Any) -> int:
        """Returns 0."""
        return 0

    def fileno(self) -> int:
        """Returns -1: there is no file descriptor."""
        return -1

    def close(self) -> None:
        """Nothing is left to do: what came of it is closed by its transport."""

    def listen(self, backlog: int) -> None:
        """Nothing is left to do: `Listener.serve` does it."""

    def __repr__(self) -> str:
        return f"<simulated socket {self._name}" + (f" to {self._peer}>" if self._peer else ">")
