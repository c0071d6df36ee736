"""The simulated rig: a host for the case, one for each server and each program, all in one `Simulation`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from sim.world.simulation import Simulation
from tests.conformance.rig import HASTY, add_echo, forever

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from services.host import Clock, Disk
    from sim.world.host import SimHost
    from sim.world.machine import Machine

LIMIT = 600.0  # virtual seconds after which a case is called hung
INTERLEAVED = (1, 2)  # seeds


def run(case: Callable[[SimRig], Awaitable[None]], seed: int = 0) -> None:
    """Runs a case in the simulated world."""
    _run(case, SimRig, seed)


def run_often(case: Callable[[SimRig], Awaitable[None]]) -> None:
    """Runs a case as it comes, and then with ready tasks in the order that some seeds decide."""
    _run(case, SimRig, 0)
    for seed in INTERLEAVED:
        _run(case, SimRig, seed, interleave=True)


def run_adopted(case: Callable[[SimRig], Awaitable[None]]) -> None:
    """Runs a case in the simulated world whose programs know nothing of it."""
    _run(case, AdoptedRig, 0)


def _run(
    case: Callable[[SimRig], Awaitable[None]], kind: type[SimRig], seed: int, *, interleave: bool = False
) -> None:
    simulation = Simulation(seed, interleave=interleave, limit_s=LIMIT)
    host = simulation.boot("case", adopt=kind.adopt)

    async def main() -> None:
        await case(kind(host))

    simulation.run(main(), name="case")


async def within(machine: Machine, work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a machine's process, and returns what it returns."""
    assert machine.process is not None
    return await asyncio.get_running_loop().create_task(work, context=machine.process.context.copy())


class SimServed:
    """A server on a host of its own."""

    def __init__(self, machine: Machine, server: grpc.aio.Server, target: str) -> None:
        self.server = server
        self.target = target
        self._machine = machine

    async def stop(self, grace: float | None = None) -> None:
        """Stops it from within its own process."""

        async def stop() -> None:
            await self.server.stop(grace)

        await within(self._machine, stop())


class SimPeer:
    """A program on a host of its own."""

    def __init__(self, machine: Machine, events: list[Any]) -> None:
        self.events = events
        self._machine = machine

    async def kill(self) -> None:
        """Crashes the host."""
        self._machine.crash()

    def pause(self) -> None:
        """Stops it where it stands."""
        self._machine.pause()

    def resume(self) -> None:
        """Lets it go on."""
        self._machine.resume()


class SimLink:
    """Both directions between two hosts."""

    def __init__(self, simulation: Simulation, here: str, target: str) -> None:
        self.target = target
        self._network = simulation.network
        self._ends = (here, target.split(":")[0])

    def cut(self) -> None:
        """Cuts both directions."""
        here, there = self._ends
        self._network.cut(here, there)
        self._network.cut(there, here)

    def heal(self) -> None:
        """Heals both directions."""
        here, there = self._ends
        self._network.heal(here, there)
        self._network.heal(there, here)


class SimRig:
    """A process of the simulated world."""

    world = "sim"
    adopt = False

    def __init__(self, host: SimHost, events: list[Any] | None = None) -> None:
        self._host = host
        self._simulation = host.machine.simulation
        self._events = events
        self._servers: list[grpc.aio.Server] = []  # one that nobody has is stopped

    def address(self) -> str:
        """Returns a host that has not been started yet."""
        name = f"host{len(self._simulation.machines)}"
        self._simulation.add_host(name)
        return f"{name}:50051"

    def _machine(self, at: str | None) -> Machine:
        return self._simulation.machines[(at or self.address()).split(":")[0]]

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
    ) -> SimServed:
        """Starts a server on the host of its address."""
        machine = self._machine(at)
        if not machine.running:
            machine.boot(adopt=self.adopt)
        port = int(at.split(":")[1]) if at else 50051

        async def serve() -> grpc.aio.Server:
            server = self._server(
                machine.host,
                port,
                options=options,
                interceptors=interceptors,
                maximum_concurrent_rpcs=maximum_concurrent_rpcs,
            )
            if methods:
                add_echo(server, methods)
            if add is not None:
                add(server)
            if start:
                await server.start()
            self._servers.append(server)
            return server

        return SimServed(machine, await within(machine, serve()), f"{machine.name}:{port}")

    def forget(self, served: SimServed) -> None:
        """Keeps a server no longer."""
        self._servers.remove(served.server)

    def _server(self, host: SimHost, port: int, **how: Any) -> grpc.aio.Server:
        return host.serve(port, **how)

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel."""
        return self._host.connect(target, options=[*HASTY, *options], interceptors=interceptors)

    async def spawn(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> SimPeer:
        """Boots a host with the program."""
        machine, events = self._machine(parameters.get("at")), []

        async def life(*_: SimHost) -> None:
            rig = type(self)(machine.host, events)
            await program(rig, **parameters)
            await forever()

        machine.boot(life, adopt=self.adopt)
        return SimPeer(machine, events)

    def note(self, *event: Any) -> None:
        """Tells the case."""
        assert self._events is not None
        self._events.append(event[0] if len(event) == 1 else event)

    async def link(self, target: str) -> SimLink:
        """Returns the link between this host and a target's."""
        return SimLink(self._simulation, self._host.name, target)

    @property
    def host(self) -> SimHost:
        """This host."""
        return self._host

    @property
    def disk(self) -> Disk:
        """This host's disk."""
        return self._host.disk

    @property
    def clock(self) -> Clock:
        """This host's clock."""
        return self._host.clock

    def set_clock(self, *, offset: float = 0.0, drift: float = 0.0) -> None:
        """Sets the clock wrong."""
        clock = self._host.clock
        clock.shift(round(offset * 1e9))
        clock.drift(drift)

    async def crash(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> Disk:
        """Boots a host with the program, crashes it when it is ready, and boots it again without."""
        peer = await self.spawn(program, **parameters)
        while "ready" not in peer.events:
            await asyncio.sleep(0.001)
        await peer.kill()
        return peer._machine.boot().disk


class AdoptedRig(SimRig):
    """A process of the simulated world that calls `grpc.aio` itself, as code written elsewhere does."""

    world = "adopted"
    adopt = True

    def _server(self, host: SimHost, port: int, **how: Any) -> grpc.aio.Server:
        server = grpc.aio.server(**how)
        server.add_insecure_port(f"[::]:{port}")
        return server

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel."""
        return grpc.aio.insecure_channel(target, options=[*HASTY, *options], interceptors=interceptors)
