"""A universe on the paper's machines: zones of spanservers, groups whose leaders are anywhere, and rows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from scenarios.papers.coordination.ensemble import Quiet, simulation_of
from scenarios.papers.spanner import servers
from scenarios.papers.spanner.calibration import VALUE, Costs
from scenarios.spanner.cluster import Universe
from services.spanner.client import connect
from services.spanner.group import Member
from services.spanner.placement import founding
from services.spanner.placement.founding import Plan, hexadecimal, parts
from services.spanner.placement.system import SYSTEM
from services.spanner.schema import ColumnSpec, CreateTable, apply_change
from services.spanner.spanserver.settings import Founding
from sim.world.disk import DiskModel
from sim.world.network import lan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.spanner.client import Database
    from sim import World
    from sim.world.simulation import Simulation

TABLE = "Data"
COLUMNS = ("Directory", "Row", "Value")
SCHEMA = apply_change(
    SYSTEM,
    CreateTable(
        TABLE,
        (ColumnSpec("Directory", "INT64"), ColumnSpec("Row", "INT64"), ColumnSpec("Value", "BYTES(MAX)")),
        primary_key=("Directory", "Row"),
    ),
)
LOADED = 20  # rows in one transaction when data is loaded


def hardware(costs: Costs) -> Callable[[Simulation], None]:
    """Returns what lays out the paper's network, and leaves messages out of the trace."""

    def lay_out(simulation: Simulation) -> None:
        simulation.network.use(lan(costs.latency_s))
        quiet(simulation)

    return lay_out


def quiet(simulation: Simulation) -> None:
    """Leaves messages out of the trace."""
    simulation.trace = Quiet(simulation)  # type: ignore[assignment]


class PaperUniverse(Universe):
    """A universe.

    Args:
        world: a simulated one.
        costs: its machines.
        zones: how many; each group has a replica in each of them.
        servers: of each zone.
        groups: how many; each has equally many directories.
        directories: how many.
        name: before the names of all its hosts: universes that live one after the other need different ones.
        leaders: the number of the zone (from 0) in which each group's leader is to be; each drawn by itself
            when not given.
        epsilon_s: of TrueTime; None for what `costs` say, 0.0 for masters that are asked.
        settings: of all spanservers.

    Attributes:
        directories: how many.
    """

    def __init__(
        self,
        world: World,
        costs: Costs,
        *,
        zones: int,
        servers: int,
        groups: int,
        directories: int,
        name: str = "",
        leaders: Sequence[int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(world, SCHEMA, **{"epsilon_ns": round(costs.epsilon_s * 1e9), **settings})
        self.directories = directories
        self.prefix = name
        self.costs = costs
        self.zones = {
            f"{name}z{zone}s{number}": f"z{zone}"
            for zone in range(1, zones + 1)
            for number in range(1, servers + 1)
        }
        self.names = list(self.zones)
        self.leaders = self._leaders(zones, groups, leaders)
        table = SCHEMA.table(TABLE)
        cuts = [table.key([directories * part // groups, 0]) for part in range(1, groups)]
        self.groups = {}
        for number, owned in enumerate(parts(cuts), 1):
            members = tuple(
                Member(f"{name}z{zone}s{1 + (number - 1) % servers}", f"z{zone}")
                for zone in range(1, zones + 1)
            )
            first = members[self.leaders[number - 1]].server
            self.groups[number] = Founding(number, members, hexadecimal(owned), first)
        for one in self.names:
            simulation_of(world).add_host(
                one,
                cores=costs.cores,
                disk=DiskModel(call=0.0, seek=0.0, flush=costs.sync_s, bandwidth=costs.disk_Bps),
            )

    def costs_of(self, server: str) -> Costs:
        """Returns the machine of a server: they are all alike."""
        del server
        return self.costs

    def _leaders(self, zones: int, groups: int, given: Sequence[int] | None) -> list[int]:
        if given is not None:
            return list(given)
        chance = self.world.stream("leaders")
        return [chance.randrange(zones) for _ in range(groups)]

    @property
    def plan(self) -> Plan:
        """The universe as it is founded: the placement driver does nothing, and no time master is asked."""
        return Plan(
            zones=self.zones,
            groups=tuple(self.groups.values()),
            schema=SCHEMA,
            settings=self.settings,
            prefix=self.prefix,
        )

    async def start(self) -> None:
        """Starts it all, and returns when every group has a leader, and location proxies tell of them."""
        for one in self.plan.programs():
            if one.program == founding.SPANSERVER:
                costs = msgspec.to_builtins(self.costs_of(one.name))
                await self.world.start(one.name, servers.serve, **one.parameters, costs=costs)
            elif one.program != founding.TIME_MASTER:
                await self.world.start(one.name, self._programs[one.program], **one.parameters)
        await self.serving()
        await self.told()

    def database(self, client: str, *, zone: str = "", timeout: float = 60.0) -> Database:
        """Returns the database, as a client machine has it."""
        database = connect(self.world.client(client), self.plan.proxies(zone), zone=zone, timeout=timeout)
        self._clients.append(database)
        return database

    def directories_of(self, group: int) -> range:
        """Returns the directories of a group."""
        count = len(self.groups)
        return range(self.directories * (group - 1) // count, self.directories * group // count)

    async def load(self, size: int = VALUE) -> int:
        """Writes a row of so many bytes into each directory; returns a timestamp at which all are there."""
        database = self.database(f"{self.prefix}loader")

        async def fill(group: int) -> int:
            own = self.directories_of(group)
            last = 0
            for start in range(0, len(own), LOADED):
                rows = [(one, 0, bytes(size)) for one in own[start : start + LOADED]]
                async with database.batch() as batch:
                    batch.insert(TABLE, COLUMNS, rows)
                last = batch.commit_timestamp or 0
            return last

        return max(await asyncio.gather(*(fill(group) for group in self.groups)))

    async def lead(self, leaders: Sequence[int], within: float = 10.0) -> None:
        """Has leadership handed over to where it is wanted.

        Args:
            leaders: the number of the zone (from 0) for each group.
            within: seconds.

        Raises:
            TimeoutError: some group has another leader still.
        """
        before, self.leaders = self.leaders, list(leaders)
        deadline = self.world.now() + within

        async def hand_over(group: int) -> None:
            members = self.groups[group].members
            old, new = (members[zones[group - 1]].server for zones in (before, self.leaders))
            if old != new:
                stub = rpc.SpanserverStub(self.operator.connect(old))
                await stub.HandOver(pb.HandOverRequest(group=group, to=new))

        await asyncio.gather(*(hand_over(group) for group in self.groups))
        wanted = {
            group: one.members[zone].server
            for (group, one), zone in zip(self.groups.items(), leaders, strict=True)
        }
        while True:
            statuses = (await self.statuses()).items()
            led = {group.group: name for name, status in statuses for group in status.groups if group.term}
            if wanted.items() <= led.items():
                return
            if self.world.now() > deadline:
                raise TimeoutError(f"groups are not led from where they should be within {within:g} s")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Ends clients and servers."""
        await self.close()
        for name in [*self.names, *self.locations, self.plan.universe]:
            await self.world.stop(name)
