"""An ensemble on a paper's machines, and what a run of this size keeps of its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import Lost, Message
from scenarios.coordination.cluster import Ensemble
from scenarios.papers.coordination import servers
from sim.scenario.errors import InvalidInput
from sim.world.cpu import RpcCost
from sim.world.disk import DiskModel
from sim.world.network import lan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scenarios.papers.coordination.calibration import Costs
    from sim import World
    from sim.world.simulation import Simulation

TICK = 2.0  # seconds: ZooKeeper's own


class Quiet:
    """Takes the place of a simulation's recorder: passes on all but messages, which are too many.

    Args:
        simulation: whose trace.
    """

    def __init__(self, simulation: Simulation) -> None:
        assert simulation.trace is not None
        self._write = simulation.trace.write

    def write(self, record: Any) -> None:
        """Takes a record."""
        if type(record) is not Message and type(record) is not Lost:
            self._write(record)

    append = write


def hardware(costs: Costs) -> Callable[[Simulation], None]:
    """Returns what lays out the network of a paper, and leaves messages out of the trace."""

    def lay_out(simulation: Simulation) -> None:
        simulation.network.use(lan(costs.latency_s, costs.nic_Bps))
        simulation.trace = Quiet(simulation)  # type: ignore[assignment]
        simulation.__dict__["told"] = {}

    return lay_out


def simulation_of(world: World) -> Simulation:
    """Returns the simulation of a world.

    Raises:
        InvalidInput: it is not a simulated one.
    """
    if world.kind != "sim":
        raise InvalidInput("the papers' machines are modelled: run this in the simulated world (--world sim)")
    simulation: Simulation = world.simulation  # type: ignore[attr-defined]
    return simulation


class PaperEnsemble(Ensemble):
    """Servers on the machines of a paper.

    Args:
        world: a simulated one.
        participants: how many.
        costs: the machines.
        prefix: of the servers' names: ensembles that live one after the other need different ones.
        disk: of the log; None for what `costs` say.
        program: what runs on each.
        settings: its parameters.
    """

    def __init__(
        self,
        world: World,
        participants: int,
        costs: Costs,
        *,
        prefix: str = "zk",
        disk: DiskModel | None = None,
        program: Callable[..., Awaitable[None]] = servers.serve,
        **settings: Any,
    ) -> None:
        super().__init__(world, participants)
        self._program = program
        self.names = self.voters = [f"{prefix}{number}" for number in range(1, participants + 1)]
        self.members = [
            f"server.{number}={name}:2888:3888:participant" for number, name in enumerate(self.names, 1)
        ]
        self.settings = {
            "tick": TICK,
            "prepare": costs.prepare_s,
            "apply": costs.apply_s,
            **settings,
        }
        between, client = RpcCost(costs.peer_s, 0.0), RpcCost(costs.client_s, 0.0)
        ours = frozenset(self.names)

        def rpc_cost(peer: str) -> RpcCost | None:
            if peer in ours:
                return between if costs.peer_s else None
            return client if costs.client_s and not peer.startswith("operator") else None

        for name in self.names:
            simulation_of(world).add_host(
                name,
                cores=costs.cores,
                disk=disk or DiskModel(call=0.0, seek=0.0, flush=costs.sync_s, bandwidth=costs.disk_Bps),
                rpc_cost=rpc_cost,
            )

    async def start_one(self, name: str, number: int, members: list[str], **settings: Any) -> None:
        """Starts a server, and does not wait for it."""
        parameters = {**self.settings, **settings}
        await self.world.start(name, self._program, server=number, members=members, **parameters)

    async def stop(self) -> None:
        """Stops them all."""
        for name in self.names:
            await self.world.stop(name)
