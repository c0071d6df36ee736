"""The rig of a real host: the same gRPC, but through the door of `services.real`, where faults are injected.

What a service sees through `Host.connect` and `Host.serve` must be what it would see on bare `grpc.aio`, and
a link that is cut at the door must look like one that a network lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos import control_pb2
from services.real.host import RealHost
from services.real.names import Names
from tests.conformance import real
from tests.conformance.rig import HASTY, add_echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    import grpc


def run(case: Callable[[real.RealRig], Awaitable[None]]) -> None:
    """Runs a case in the real world, through the door."""
    real.run(case, DoorRig)


class DoorLink:
    """The rules of both doors for each other."""

    def __init__(self, here: RealHost, there: RealHost, target: str) -> None:
        self.target = target
        self._doors = ((here, there.name), (there, here.name))

    def cut(self) -> None:
        """Cuts both directions, at both doors."""
        for host, peer in self._doors:
            link = control_pb2.Link(peer=peer, cut_out=True, cut_in=True)
            host.set_rules(control_pb2.Rules(links=[link]))

    def heal(self) -> None:
        """Takes the rules away."""
        for host, _ in self._doors:
            host.set_rules(control_pb2.Rules())


class DoorRig(real.RealRig):
    """A host of a real cluster.

    Args:
        folder: of the cluster; None makes one.
        name: of this host.
    """

    world = "door"

    def __init__(self, folder: Path | None = None, name: str = "case") -> None:
        super().__init__(folder)
        self._cluster = folder or self._new_folder()
        (self._cluster / "names").mkdir(exist_ok=True)
        self._names = Names(self._cluster / "names")
        self._hosts: dict[str, RealHost] = {}
        self._name = name
        self._count = 0

    def _host(self, name: str) -> RealHost:
        if name not in self._hosts:
            folder = self._cluster / name
            folder.mkdir(exist_ok=True)
            self._hosts[name] = RealHost(name, folder, self._names, "token", record=False)
        return self._hosts[name]

    def address(self) -> str:
        """Returns a host that nobody has started."""
        self._count += 1
        return f"{self._name}-{self._count}:50051"

    async def serve(
        self,
        *,
        at: str | None = None,
        add: Callable[[grpc.aio.Server], None] | None = None,
        start: bool = True,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
        **methods: Callable[..., Any],
    ) -> real.RealServed:
        """Starts a server of a host in this process."""
        target = at or self.address()
        name, port = target.split(":")
        server = self._host(name).serve(
            int(port),
            options=options,
            interceptors=interceptors,
            maximum_concurrent_rpcs=maximum_concurrent_rpcs,
        )
        self._servers.append(server)
        if methods:
            add_echo(server, methods)
        if add is not None:
            add(server)
        if start:
            await server.start()
        return real.RealServed(server, target)

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel."""
        channel = self._host(self._name).connect(
            target, options=[*HASTY, *options], interceptors=interceptors
        )
        self._channels.append(channel)
        return channel

    async def spawn(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> real.RealPeer:
        """Starts a host in a Python process."""
        name = parameters.get("at", self.address()).split(":")[0]
        return await super().spawn(program, **parameters, folder=str(self._cluster), host=name)

    async def link(self, target: str) -> DoorLink:  # type: ignore[override]
        """Returns the link to a host in this process."""
        return DoorLink(self._host(self._name), self._host(target.split(":")[0]), target)

    async def close(self) -> None:
        """Ends everything that was started."""
        await super().close()
        for host in self._hosts.values():
            host.close()
