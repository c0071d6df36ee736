"""The part of the loop that asyncio builds on sockets: connections, servers, names.

TCP goes to `sim.world.streams`; what the simulated world has not (TLS, datagrams, Unix sockets, pipes,
subprocesses, file descriptors) is refused by name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sim.world.pair import SimSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.process import Process
    from sim.world.simulation import Simulation
    from sim.world.streams import Streams


def _refused(name: str, why: str) -> Callable[..., Any]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"loop.{name}: {why}")

    method.__name__ = name
    method.__doc__ = f"Refused: {why}."
    return method


def _refused_at_once(name: str, why: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"loop.{name}: {why}")

    method.__name__ = name
    method.__doc__ = f"Refused: {why}."
    return method


_TLS = "there is no TLS in the simulated network; connect without it"
_UNIX = "there are no Unix sockets in the simulated world; use TCP on localhost"
_DATAGRAMS = "there are no datagrams in the simulated network; use TCP"
_PROCESSES = "there are no subprocesses in the simulated world; start another host"
_DESCRIPTORS = "there are no file descriptors or sockets in the simulated world; use asyncio streams"


class SocketMethods(asyncio.BaseEventLoop):
    """`create_connection`, `create_server` and their kin.

    Attributes:
        world: what the loop is part of; None on a bare loop, which has no network.
        home: whose the tasks are that are started from outside, on a loop with a world of its own.
        streams: what the connections of the world share; made when first used.
    """

    world: Simulation | None = None
    home: Process | None = None
    streams: Streams | None = None

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Resolves the name of a simulated host."""
        from sim.world import streams

        return streams.getaddrinfo(self, host, port, family, type)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Returns the name of the simulated host that has an address."""
        from sim.world import streams

        return streams.getnameinfo(self, sockaddr)

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        local_addr: Any = None,
        server_hostname: Any = None,
        **tuning: Any,
    ) -> tuple[Any, asyncio.BaseProtocol]:
        """Opens a TCP connection to a simulated host; see asyncio's.

        Raises:
            socket.gaierror: no host has that name.
            ConnectionRefusedError, TimeoutError, OSError: as TCP has it.
            NotImplementedError: with `ssl`, a real `sock` or `local_addr`.
        """
        from sim.world import streams

        if server_hostname is not None and not ssl:
            raise ValueError("server_hostname is only meaningful with ssl")
        if isinstance(sock, SimSocket):  # see `sim.world.reality.aiohttp_calls`
            (host, port), sock = sock.getpeername(), None
        streams.refuse_tls(ssl, sock=sock, local_addr=local_addr)
        return await streams.connect(self, protocol_factory, host, port)

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        backlog: int = 100,
        ssl: Any = None,
        start_serving: bool = True,
        **tuning: Any,
    ) -> asyncio.Server:
        """Listens on a port of the calling host; see asyncio's.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL.
            NotImplementedError: with `ssl` or `sock`.
        """
        from sim.world import streams

        streams.refuse_tls(ssl, sock=sock)
        return await streams.serve(self, protocol_factory, host, port, backlog, start_serving)

    def _start_serving(self, factory: Any, sock: Any, ssl: Any, server: Any, *rest: Any) -> None:
        sock.serve(server)

    def _stop_serving(self, sock: Any) -> None:
        sock.close()

    start_tls = _refused("start_tls", _TLS)
    create_unix_connection = _refused("create_unix_connection", _UNIX)
    create_unix_server = _refused("create_unix_server", _UNIX)
    create_datagram_endpoint = _refused("create_datagram_endpoint", _DATAGRAMS)
    subprocess_exec = _refused("subprocess_exec", _PROCESSES)
    subprocess_shell = _refused("subprocess_shell", _PROCESSES)
    connect_read_pipe = _refused("connect_read_pipe", _DESCRIPTORS)
    connect_write_pipe = _refused("connect_write_pipe", _DESCRIPTORS)
    connect_accepted_socket = _refused("connect_accepted_socket", _DESCRIPTORS)
    sendfile = _refused("sendfile", _DESCRIPTORS)
    sock_recv = _refused("sock_recv", _DESCRIPTORS)
    sock_recv_into = _refused("sock_recv_into", _DESCRIPTORS)
    sock_recvfrom = _refused("sock_recvfrom", _DESCRIPTORS)
    sock_sendall = _refused("sock_sendall", _DESCRIPTORS)
    sock_sendto = _refused("sock_sendto", _DESCRIPTORS)
    sock_connect = _refused("sock_connect", _DESCRIPTORS)
    sock_accept = _refused("sock_accept", _DESCRIPTORS)
    add_reader: Any = _refused_at_once("add_reader", _DESCRIPTORS)
    add_writer: Any = _refused_at_once("add_writer", _DESCRIPTORS)
    remove_reader: Any = _refused_at_once("remove_reader", _DESCRIPTORS)
    remove_writer: Any = _refused_at_once("remove_writer", _DESCRIPTORS)
