"""What every story about Spanner begins with: a universe of spanservers in zones, and clients that are
recorded.

The same in both worlds. Servers are s1, s2, ..., in the zones z1, z2, z3 in turn; time masters are gps1, gps2
and atomic1. Each zone has a zonemaster with a location proxy (zone-z1, ...), and there is a universe master
with the placement driver (universe), which does only what it is told unless a story has it look around. The
schema is given at the beginning, and so are the groups: group 0 has the system tables, each other one a part
of the user's keys, and a replica in each zone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner import spanserver
from services.spanner.client import Database, SpannerError, connect
from services.spanner.group import Member
from services.spanner.placement import founding, universe, zonemaster
from services.spanner.placement.founding import MASTERS, Plan, hexadecimal, parts
from services.spanner.placement.system import ROOT
from services.spanner.schema import encode_changes
from services.spanner.spanserver.settings import Founding
from services.spanner.statuses import of_call
from services.spanner.truetime import master

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.spanner.keys import KeyRange
    from services.spanner.schema import Schema
    from sim import World
    from sim.scenario.api import Program

__all__ = ["LOCATION", "MASTERS", "ZONES", "Universe"]

ZONES = ("z1", "z2", "z3")
STARTING = 30.0  # seconds for a whole universe, on a busy machine too
PATIENCE = 1.0  # seconds for a server to say how it is
MOVING = 120.0  # seconds for a range to be moved
CHANGING = 30.0  # seconds for a schema to be changed, or a group to be made
LOCATION = "universe"
"""The universe master."""


class Universe:
    """A universe.

    Args:
        world: where.
        schema: of the database, with the system tables.
        cuts: keys at which one group ends and the next one begins: one group more than cuts.
        servers: how many spanservers; each group is on one of each zone.
        masters: time masters, with their zones and kinds.
        driver: more parameters of the universe master.
        settings: of all spanservers, as `spanserver.settings.Settings` has them.

    Attributes:
        masters: the time masters.
        names: of the spanservers.
        operator: the host from which questions are asked that are not for clients.
        groups: of the user's tables, as they are founded, by number, from 1.
    """

    program: Program = staticmethod(spanserver.serve)

    def __init__(
        self,
        world: World,
        schema: Schema,
        cuts: Sequence[bytes] = (),
        servers: int = 3,
        *,
        masters: Sequence[Mapping[str, str]] = MASTERS,
        driver: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.world = world
        self.schema = schema
        self.settings = settings
        self.driver = driver or {}
        self.masters = list(masters)
        self.names = [f"s{number}" for number in range(1, servers + 1)]
        self.zones = {name: ZONES[place % len(ZONES)] for place, name in enumerate(self.names)}
        self.groups = {
            number: Founding(number, self._members(number), hexadecimal(owned))
            for number, owned in enumerate(parts(cuts), 1)
        }
        self.operator = world.client("operator")
        self._stubs: dict[str, rpc.SpanserverAsyncStub] = {}
        self._clients: list[Database] = []

    def _members(self, number: int) -> tuple[Member, ...]:
        members = []
        for place in range(len(ZONES)):
            zone = ZONES[(place + number - 1) % len(ZONES)]
            here = [name for name in self.names if self.zones[name] == zone]
            members.append(Member(here[(number - 1) // len(ZONES) % len(here)], zone))
        return tuple(members)

    @property
    def plan(self) -> Plan:
        """The universe as it is founded."""
        return Plan(
            zones=self.zones,
            groups=tuple(self.groups.values()),
            schema=self.schema,
            masters=self.masters,
            settings=self.settings,
            driver=self.driver,
        )

    @property
    def everything(self) -> dict[int, Founding]:
        """The groups that it is founded with, group 0 as well."""
        return {ROOT: self.plan.root_group, **self.groups}

    @property
    def locations(self) -> list[str]:
        """The names of the zonemasters, which are location proxies."""
        return self.plan.proxies()

    @property
    def _programs(self) -> dict[str, Program]:
        return {
            founding.TIME_MASTER: master.serve,
            founding.SPANSERVER: self.program,
            founding.ZONEMASTER: zonemaster.serve,
            founding.UNIVERSE: universe.serve,
        }

    async def start(self) -> None:
        """Starts it all, and returns when every group has a leader, and location proxies tell of them."""
        programs = self._programs
        starts = self.plan.programs()
        for one in starts:
            if one.program == founding.TIME_MASTER:
                await self.world.start(one.name, programs[one.program], **one.parameters)
        await self.mastered()
        for one in starts:
            if one.program != founding.TIME_MASTER:
                await self.world.start(one.name, programs[one.program], **one.parameters)
        await self.serving()
        await self.told()

    async def mastered(self) -> None:
        """Is called when the time masters have been started, and nobody has asked them yet."""

    async def status(self, server: str) -> pb.SpanserverStatus | None:
        """Asks a server how it is; None when it does not answer."""
        if server not in self._stubs:
            self._stubs[server] = rpc.SpanserverStub(self.operator.connect(server))
        try:
            return await self._stubs[server].Status(pb.StatusRequest(), timeout=PATIENCE)
        except grpc.aio.AioRpcError:
            return None

    async def statuses(self) -> dict[str, pb.SpanserverStatus]:
        """Returns what the servers say that answer."""
        found = await asyncio.gather(*(self.status(name) for name in self.names))
        return {name: one for name, one in zip(self.names, found, strict=True) if one is not None}

    async def serving(self, within: float = STARTING) -> None:
        """Returns when every group has its first entry, and somebody who leads.

        Raises:
            TimeoutError: naming the groups that do not.
        """
        deadline = self.world.now() + within
        while True:
            serving = {
                group.group
                for status in (await self.statuses()).values()
                for group in status.groups
                if group.term and group.owned
            }
            waiting = [number for number in self.everything if number not in serving]
            if not waiting:
                return
            if self.world.now() > deadline:
                raise TimeoutError(f"groups {waiting} do not serve within {within:g} s")
            await asyncio.sleep(0.1)

    async def told(self, within: float = STARTING) -> None:
        """Returns when each location proxy tells of all groups.

        Raises:
            TimeoutError: naming the one that does not.
        """
        deadline = self.world.now() + within
        request = pb.LocateRequest(groups=list(self.groups))
        for name in self.locations:
            stub = rpc.LocationStub(self.operator.connect(name))
            while True:
                try:
                    located = await stub.Locate(request, timeout=5 * PATIENCE)
                except grpc.aio.AioRpcError:
                    located = pb.Located()
                if len(located.groups) > len(self.groups):
                    break
                if self.world.now() > deadline:
                    raise TimeoutError(f"{name} does not tell of all groups within {within:g} s")
                await asyncio.sleep(0.1)

    async def leader(self, group: int, within: float = STARTING, other_than: str = "") -> str:
        """Returns the server that leads a group.

        Args:
            group: which.
            within: seconds to find it.
            other_than: a server that is not meant.

        Raises:
            TimeoutError: nobody leads.
        """
        deadline = self.world.now() + within
        while True:
            for name, status in (await self.statuses()).items():
                if name != other_than and any(one.group == group and one.term for one in status.groups):
                    return name
            if self.world.now() > deadline:
                raise TimeoutError(f"nobody leads group {group} within {within:g} s")
            await asyncio.sleep(0.1)

    def database(self, client: str, *, zone: str = "", timeout: float = 30.0) -> Database:
        """Returns the database, as a host of the story's own has it; it asks its own zone's proxy first."""
        database = connect(self.world.client(client), self.plan.proxies(zone), zone=zone, timeout=timeout)
        self._clients.append(database)
        return database

    async def close(self) -> None:
        """Closes what clients have open."""
        for database in self._clients:
            await database.close()

    # What operators ask of the universe master.

    async def move(self, range_: KeyRange, to: int) -> None:
        """Has a range moved.

        Raises:
            SpannerError: the refusal; UNAVAILABLE: the universe master is gone.
        """
        where = pb.KeyRange(start=range_.start, end=range_.end)
        await self._universe("Move", pb.MoveRequest(range=where, to=to), MOVING)

    async def create_group(self, number: int, members: Sequence[Member]) -> None:
        """Has a group made; otherwise as `move`."""
        wire = [pb.Member(server=one.server, zone=one.zone, kind=one.kind) for one in members]
        await self._universe("CreateGroup", pb.GroupRequest(group=number, members=wire), CHANGING)

    async def change_schema(self, *changes: Any, at: int = 0) -> pb.SchemaReply:
        """Has the schema changed; otherwise as `move`."""
        request = pb.ChangeSchemaRequest(change=encode_changes(changes), at=at)
        reply: pb.SchemaReply = await self._universe("ChangeSchema", request, CHANGING)
        return reply

    async def place(self, range_: KeyRange, option: str) -> None:
        """Has a placement option written; otherwise as `move`."""
        where = pb.KeyRange(start=range_.start, end=range_.end)
        await self._universe("Place", pb.PlaceRequest(range=where, option=option), CHANGING)

    async def universe_status(self) -> pb.UniverseStatus:
        """Asks the universe master how all is; otherwise as `move`."""
        reply: pb.UniverseStatus = await self._universe("Status", pb.StatusRequest(), CHANGING)
        return reply

    async def _universe(self, call: str, request: Any, timeout: float) -> Any:
        stub = rpc.UniverseStub(self.operator.connect(self.plan.universe))
        try:
            return await getattr(stub, call)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            refusal: SpannerError = of_call(error)
            raise refusal from None
