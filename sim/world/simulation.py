"""A simulated world put together: one seed, one loop, one network, some machines, one trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sim.world import process as processes
from sim.world.chance import Chance
from sim.world.clock import EPOCH, HostClock
from sim.world.cpu import ComputeCost, Cpu, RpcCosts
from sim.world.disk import SSD, DiskModel, SimDisk
from sim.world.loop import SECOND, Loop
from sim.world.machine import Machine
from sim.world.network import Network

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    import networkx as nx

    from services.recorder import Recorder
    from sim.world.host import SimHost

__all__ = ["EPOCH", "Simulation"]

T = TypeVar("T")

SHAKE = 1_000  # ns: jitter that lets no two messages arrive at one instant, when interleavings are explored


class Simulation:
    """The simulated world.

    Args:
        seed: decides everything.
        recorder: where the trace goes; None writes none.
        interleave: the seed also decides which ready task runs first, and which message comes first
            of those that would arrive at one instant.
        limit_s: virtual seconds after which the run is ended.
        topology: of the network (see `sim.world.network.topology`); a LAN when None.

    Attributes:
        loop, network, chance, machines, trace: its parts; `trace` is None when tracing is off.
        failures: the programs that raised, in order: host and error.
        on_failure: called with the same at that moment, as hardware.
        watchers: called with a host's name and what happens to it: boot, restart, crash, exit, pause, resume.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        recorder: Recorder | None = None,
        interleave: bool = False,
        limit_s: float | None = None,
        topology: nx.Graph[Any] | None = None,
    ) -> None:
        self.chance = Chance(seed)
        self.trace = recorder
        self.loop = Loop(
            interleave=self.chance.stream("interleave") if interleave else None,
            limit=round(limit_s * SECOND) if limit_s is not None else None,
        )
        self.loop.world = self
        shake = SHAKE if interleave else 0
        self.network = Network(self.loop.env, self.chance.stream("network"), topology, shake)
        self.machines: dict[str, Machine] = {}
        self.failures: list[tuple[str, BaseException]] = []
        self.on_failure: Callable[[str, BaseException], None] | None = None
        self._ended = False
        self.watchers: list[Callable[[str, str], None]] = []

    def now(self) -> int:
        """Returns virtual time in ns."""
        return self.loop.env._now

    def add_host(
        self,
        name: str,
        *,
        at: str | None = None,
        cores: int = 4,
        disk: DiskModel = SSD,
        rpc_cost: RpcCosts = None,
        compute_cost: ComputeCost | None = None,
    ) -> Machine:
        """Adds a machine, switched off.

        Args:
            name: by which others connect to it.
            at: the node of the topology that it is attached to; None leaves that to the topology.
            cores: of its processor.
            disk: what its disk can do.
            rpc_cost: what a message of an RPC costs its processor, or a function that says it for the other
                host's name; None: nothing.
            compute_cost: what `Host.compute` costs where the call does not say.

        Raises:
            ValueError: the name is taken, empty or holds a ":" or "/"; there is no such node.
        """
        if not name or ":" in name or "/" in name:
            raise ValueError(f"{name!r} cannot be the name of a host: it must have letters and no ':' or '/'")
        if name in self.machines:
            raise ValueError(f"there is a host {name} already")
        env = self.loop.env
        machine = Machine(
            self,
            name,
            Cpu(env, cores, rpc_cost, compute_cost),
            SimDisk(env, self.chance.later(f"disk/{name}"), disk),
            HostClock(env, name, self.trace),
        )
        self.network.layout.attach(name, at)
        self.machines[name] = machine
        return machine

    def boot(
        self,
        name: str,
        program: Callable[..., Awaitable[Any]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        adopt: bool = False,
        **hardware: Any,
    ) -> SimHost:
        """Starts a process on a host, which is added when there is none; see `Machine.boot` and `add_host`.

        Raises:
            ValueError: the host is up already.
        """
        machine = self.machines.get(name) or self.add_host(name, **hardware)
        return machine.boot(program, parameters, adopt=adopt)

    def run(self, main: Coroutine[Any, Any, T], *, name: str = "main", adopt: bool = False) -> T:
        """Runs a coroutine in a process of its own host until it is done, and then ends the world.

        Args:
            main: the coroutine.
            name: of its host, which is added and booted unless it is there.
            adopt: its direct calls of clocks, chance, grpc.aio and asyncio streams are the host's.

        Returns:
            what the coroutine returns.

        Raises:
            Stuck: the run could not come to an end; the message says who waits where.
            BaseException: what the coroutine raises.
        """
        try:
            machine = self.machines.get(name) or self.add_host(name, at=self.network.layout.observer())
            host = machine.host if machine.running else machine.boot(adopt=adopt)
            task = self.loop.create_task(main, name=name, context=host.process.context.copy())
            result: T = self.loop.run_until_complete(task)
            return result
        finally:
            self.close()

    def close(self) -> None:
        """Ends every process where it stands and closes the loop; a second call does nothing."""
        if self._ended:
            return
        self._ended = True
        for machine in self.machines.values():
            machine.clock.sample()
        self.network.end()
        processes.end_all(self.loop, [m.process for m in self.machines.values() if m.process is not None])
        self.loop.close()

    def program_failed(self, name: str, error: BaseException) -> None:
        """Notes that the program of a host raised."""
        self.failures.append((name, error))
        if self.on_failure is not None:
            self.on_failure(name, error)
