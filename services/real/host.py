"""`RealHost`: the door of one process on a real machine."""

from __future__ import annotations

import itertools
import random
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from services.host import DEFAULT_PORT
from services.real.clock import SkewedClock
from services.real.disk import FolderDisk
from services.real.door import Door
from services.real.names import Names, free_port, parse_target
from services.real.throttle import Throttle
from services.real.tracing import HostTrace, first_call_number

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import grpc

    from protos import control_pb2
    from services.child import Child
    from services.host import Clock, Disk
    from services.real.child import Children
    from services.real.compute import WorkerPool
    from services.real.door import Link
    from services.real.forks import Forks

T = TypeVar("T")


class RealHost:
    """Implements `services.host.Host` on gRPC, files, the machine's clock and processes.

    Args:
        name: of the host.
        folder: the host's own folder: its disk is `data` in it, traces beside that.
        names: the name service of the cluster.
        token: of the cluster; every call carries it.
        incarnation: how often the host has been started before.
        listen: the network address to serve on.
        programs: see `WorkerPool`.
        record: whether to write a trace.
        forks: the template of its children, if there is one already.

    Attributes:
        door, tracing, pool, children, names: its parts.
        serving: the ports that it serves on now, in order.
        callers: the links to those that were recognised, by their user agents.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        names: Names,
        token: str,
        *,
        incarnation: int = 0,
        listen: str = "127.0.0.1",
        programs: tuple[str, ...] = (),
        record: bool = True,
        forks: Forks | None = None,
    ) -> None:
        self._name = name
        self._incarnation = incarnation
        self._listen = listen
        self._rng = random.Random()
        self._disk = FolderDisk(folder / "data", folder / "lost.json")
        self._clock = SkewedClock()
        self._throttle = Throttle()
        self.token = token
        self.names = names
        self.door = Door(name)
        self.callers: dict[str, Link] = {}
        self.serving: dict[int, None] = {}
        self._programs, self._forks = programs, forks
        self.call_numbers = itertools.count(first_call_number())
        self.tracing = HostTrace(name, folder if record else None, incarnation, self._clock)

    @property
    def name(self) -> str:
        """The host's name."""
        return self._name

    @cached_property
    def pool(self) -> WorkerPool:
        """Its worker processes. Many hosts have none, and this and the next take 2 MB."""
        from services.real.compute import WorkerPool

        return WorkerPool(self._programs)

    @cached_property
    def children(self) -> Children:
        """Its processes for code that is not the service's own."""
        from services.real.child import Children

        return Children(self._disk, self._programs, self._forks)

    @property
    def incarnation(self) -> int:
        """How often this host has been started before."""
        return self._incarnation

    @property
    def disk(self) -> Disk:
        """The host's folder."""
        return self._disk

    @property
    def clock(self) -> Clock:
        """The host's clock."""
        return self._clock

    @property
    def rng(self) -> random.Random:
        """Chance, seeded by the operating system."""
        return self._rng

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.Channel:
        """Opens a channel; see `services.host.Host.connect`."""
        from services.real.channel import Channel  # some hosts do without gRPC: it takes 12 MB

        self.tracing.start()
        peer, port = parse_target(target)
        channel = Channel(self, peer, self.names.resolve(peer, port), options, interceptors, compression)
        return cast("grpc.aio.Channel", channel)  # it is one; the published types keep it in a private module

    def serve(
        self,
        port: int = DEFAULT_PORT,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
    ) -> grpc.aio.Server:
        """Returns a server; see `services.host.Host.serve`."""
        from services.real.server import Server

        self.tracing.start()
        server = Server(
            self,
            options=options,
            interceptors=interceptors,
            maximum_concurrent_rpcs=maximum_concurrent_rpcs,
        )
        server.add_insecure_port(f"[::]:{port}")
        return cast("grpc.aio.Server", server)

    def compute(self, fn: Callable[..., T], *args: Any, cost: float | None = None) -> Awaitable[T]:
        """Runs `fn(*args)` in a worker process; `cost` is for simulated hosts."""
        return self.pool.run(fn, args)

    def child(
        self,
        *,
        log: str = "",
        memory: int | None = None,
        heard: Callable[[Any], None] | None = None,
        cost: Callable[[Any], float] | None = None,
    ) -> Child:
        """Returns a process apart; `cost` is for simulated hosts."""
        return self.children.child(log, memory, heard)

    def trace(self, name: str, **fields: Any) -> None:
        """Writes a `Note` to the trace."""
        self.tracing.note(name, fields)

    def span(self, name: str, **fields: Any) -> AbstractContextManager[dict[str, Any]]:
        """Writes a `Span` to the trace when the block ends."""
        return self.tracing.span(name, fields)

    # For the node and the cluster

    def set_rules(self, rules: control_pb2.Rules) -> None:
        """Puts a state of the door in the place of the one before."""
        self.door.set(rules)
        self._disk.set(rules.disk)
        self.tracing.sample_clock()
        self._clock.set(rules.clock)
        self.tracing.sample_clock()
        self._throttle.set(rules.slow, self._workers)

    def listens_at(self, address: str) -> str:
        """Returns where to listen so that the host is reached at a published address."""
        return f"{self._listen}:{address.rpartition(':')[2]}"

    def any_port(self) -> int:
        """Returns a port for a server that takes any."""
        return free_port(self._listen)

    def close(self) -> None:
        """Ends the workers and closes the trace and the disk."""
        self._throttle.set(1.0, self._workers)
        if self._forks is not None or "children" in self.__dict__:
            self.children.close()
        if "pool" in self.__dict__:
            self.pool.close()
        self._disk.close()
        self.tracing.close()

    def _workers(self) -> list[int]:
        pids = self.pool.pids() if "pool" in self.__dict__ else []
        return [*pids, *self.children.pids()] if "children" in self.__dict__ else pids
