"""Byte streams for protocols other than gRPC: what `asyncio.open_connection` and `start_server` stand on.

A host has an address (10.0.0.1 is the first), and is reached by that or by its name. A connection is
two `StreamTransport`s; the server is asyncio's own, listening on a simulated port.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from sim.world.pair import Address, Pair, SimSocket
from sim.world.process import PROCESS, Process
from sim.world.timers import Handle
from sim.world.transport import StreamTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.network import Endpoint
    from sim.world.simulation import Simulation
    from sim.world.sockets import SocketMethods

_EPHEMERAL = range(32768, 61000)  # ports that the system chooses by itself (Linux)
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "ip6-localhost")
_ANY = ("", "0.0.0.0", "::")


class Streams:
    """What the byte streams of one world share: addresses, ports, numbers of connections.

    Connections are numbered from -1 downwards in the trace, so as not to be taken for RPCs.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.pairs: dict[Endpoint, Pair] = {}
        self._ports: dict[str, int] = {}
        self._numbers = itertools.count(-1, -1)

    def address(self, name: str) -> str:
        """Returns the address of a host."""
        number = list(self.simulation.network.hosts).index(name) + 1
        return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"

    def resolve(self, host: str | bytes | None, here: str) -> str:
        """Returns the name of the host that a name or an address means on host `here`.

        Raises:
            socket.gaierror: there is none.
        """
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or name in _LOOPBACK or name in _ANY:
            return here
        hosts = self.simulation.network.hosts
        if name in hosts:
            return name
        if name.startswith("10."):
            for known in hosts:
                if self.address(known) == name:
                    return known
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: no simulated host is {name!r}")

    def port(self, name: str, taken: Callable[[int], bool]) -> int:
        """Returns a port of a host that nobody uses."""
        while True:
            port = self._ports.get(name, _EPHEMERAL.start)
            self._ports[name] = port + 1 if port + 1 in _EPHEMERAL else _EPHEMERAL.start
            if not taken(port):
                return port

    def pair(self, near: str, far: str, local: int) -> Pair:
        """Returns the shared part of a new connection."""
        return Pair(next(self._numbers), near, far, local)


def _here(loop: SocketMethods) -> tuple[Process, Streams]:
    """Returns the process that calls, and the streams of its world."""
    process = PROCESS.get(None) or loop.home
    if process is None or loop.world is None:
        raise RuntimeError("connections are made by tasks of a simulated host, and this is none")
    if loop.streams is None:
        loop.streams = Streams(loop.world)
    return process, loop.streams


# What the loop's methods do


def refuse_tls(ssl: object, **unreal: object) -> None:
    """Refuses what the simulated network does not have.

    Raises:
        NotImplementedError: naming it.
    """
    if ssl:
        raise NotImplementedError("ssl=: there is no TLS in the simulated network; connect without it")
    for name, value in unreal.items():
        if value is not None:
            raise NotImplementedError(f"{name}=: there are no real sockets in the simulated network")


def getaddrinfo(loop: SocketMethods, host: Any, port: Any, family: int, kind: int) -> list[tuple[Any, ...]]:
    """Resolves a name as `socket.getaddrinfo` does."""
    process, streams = _here(loop)
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise socket.gaierror(socket.EAI_FAMILY, "ai_family not supported: there are AF_INET addresses only")
    name = host.decode() if isinstance(host, bytes) else host
    found = streams.resolve(name, process.name)
    if name in _ANY:
        address = "0.0.0.0"
    elif name is None or name in _LOOPBACK:
        address = "127.0.0.1"
    else:
        address = streams.address(found)
    where = (address, int(port or 0))
    return [(socket.AF_INET, socket.SOCK_STREAM if kind == 0 else kind, socket.IPPROTO_TCP, "", where)]


def getnameinfo(loop: SocketMethods, sockaddr: tuple[Any, ...]) -> tuple[str, str]:
    """Returns the name of the host that has an address."""
    process, streams = _here(loop)
    return streams.resolve(sockaddr[0], process.name), str(sockaddr[1])


async def connect(
    loop: SocketMethods, factory: Callable[[], asyncio.BaseProtocol], host: Any, port: Any
) -> tuple[StreamTransport, asyncio.BaseProtocol]:
    """Opens a connection, as `loop.create_connection` does."""
    process, streams = _here(loop)
    if host is None and port is None:
        raise ValueError("host and port was not specified and no sock specified")
    (*_, (address, _)), *_ = getaddrinfo(loop, host, port, 0, 0)
    where = (address, int(port))
    name = streams.resolve(host, process.name)
    context = copy_context()
    decided: asyncio.Future[StreamTransport] = loop.create_future()

    def done(endpoint: Endpoint | None, why: str) -> None:
        if endpoint is None:
            process.loop.run_now(Handle(_resolve_failed, (decided, _refusal(why, where)), process.context))
            return
        pair = streams.pairs.pop(endpoint, None)
        if pair is None:  # what listens there does not speak in bytes
            endpoint.abort()
            error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            process.loop.run_now(Handle(_resolve_failed, (decided, error), process.context))
            return
        here = where[0] if where[0].startswith("127.") else streams.address(process.name)
        transport = StreamTransport(streams.simulation, endpoint, pair, ((here, pair.local), where), context)
        pair.dialled = transport
        process.loop.run_now(Handle(_resolve, (decided, transport), process.context))

    dialling = streams.simulation.network.dial(process, name, where[1], done)
    try:
        transport = await decided
    except asyncio.CancelledError:
        dialling.cancel()
        if decided.done() and not decided.cancelled() and decided.exception() is None:
            decided.result().abort()
        raise
    protocol = factory()
    transport.start(protocol)
    return transport, protocol


def _resolve(decided: asyncio.Future[Any], transport: StreamTransport) -> None:
    if decided.done():
        transport.abort()
    else:
        decided.set_result(transport)


def _resolve_failed(decided: asyncio.Future[Any], error: OSError) -> None:
    if not decided.done():
        decided.set_exception(error)


def _refusal(why: str, where: Address) -> OSError:
    if "refused" in why:
        return ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {where}")
    if "timed out" in why:
        return TimeoutError(errno.ETIMEDOUT, f"Connect call failed {where}")
    return OSError(errno.EHOSTUNREACH, f"Connect call failed {where}: {why}")


class StreamServer(asyncio.Server):
    """asyncio's own server, over the simulated network; close, wait_closed and the rest are asyncio's."""


async def serve(
    loop: SocketMethods,
    factory: Callable[[], asyncio.BaseProtocol],
    host: Any,
    port: Any,
    backlog: int,
    start_serving: bool,
) -> asyncio.Server:
    """Listens, as `loop.create_server` does."""
    process, streams = _here(loop)
    if host is None and port is None:
        raise ValueError("Neither host/port nor sock were specified")
    names = [host] if host is None or isinstance(host, (str, bytes)) else list(host)
    (*_, (address, _)), *_ = getaddrinfo(loop, names[0] or "0.0.0.0", port, 0, 0)
    for name in names:
        if streams.resolve(name, process.name) != process.name:
            raise OSError(
                errno.EADDRNOTAVAIL,
                f"error while attempting to bind on address {(name, port)}: not an address of {process.name}",
            )
    listeners = streams.simulation.network._listeners
    number = int(port or 0) or streams.port(process.name, lambda p: (process.name, p) in listeners)
    where = (address, number)
    if (process.name, number) in listeners:
        raise OSError(
            errno.EADDRINUSE, f"error while attempting to bind on address {where}: address already in use"
        )
    listener = Listener(streams, process, where, factory)
    server = StreamServer(loop, [listener], factory, None, backlog, None)  # type: ignore[list-item]
    if start_serving:
        server._start_serving()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    return server


class Listener(SimSocket):
    """A listening socket."""

    def __init__(
        self,
        streams: Streams,
        process: Process,
        name: Address,
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        super().__init__(name)
        self._streams = streams
        self._process = process
        self._factory = factory
        self._server: asyncio.Server | None = None
        self._context = process.context

    def serve(self, server: asyncio.Server) -> None:
        """Accepts connections from now on.

        Raises:
            OSError: EADDRINUSE.
        """
        self._server, self._context = server, copy_context()
        self._streams.simulation.network.listen(self._process, self._name[1], self._accept)

    def close(self) -> None:
        """Accepts no more."""
        if self._server is not None:
            self._streams.simulation.network.unlisten(self._process, self._name[1])

    def _accept(self, endpoint: Endpoint) -> None:
        """Hardware: somebody connects."""
        streams = self._streams
        near, far = endpoint.peer.process.name, self._process.name
        local = streams.port(near, lambda p: (near, p) in streams.simulation.network._listeners)
        pair = streams.pair(near, far, local)
        loopback = near == far and self._name[0] in ("127.0.0.1", "0.0.0.0")
        there = "127.0.0.1" if loopback else streams.address(near)
        here = self._name[0] if self._name[0] != "0.0.0.0" else there if loopback else streams.address(far)
        names = ((here, self._name[1]), (there, local))
        transport = StreamTransport(streams.simulation, endpoint, pair, names, self._context, self._server)
        pair.accepted = transport
        streams.pairs[endpoint.peer] = pair
        self._process.loop.run_now(Handle(self._made, (transport,), self._context))

    def _made(self, transport: StreamTransport) -> None:
        if self._server is None or not self._server.is_serving():
            transport.abort()
            return
        transport.start(self._factory())
