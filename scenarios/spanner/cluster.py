"""What every story about Spanner begins with: a universe of spanservers in zones, and clients that are
recorded.

The same in both worlds. Servers are s1, s2, ..., in the zones z1, z2, z3 in turn; time masters are gps1, gps2
and atomic1. The schema is given at the beginning, and so are the groups: each has a part of the keys, and a
replica in each zone.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner import spanserver, static
from services.spanner.client import Database, connect
from services.spanner.group import Member
from services.spanner.keys import END, FIRST, KeyRange
from services.spanner.spanserver.settings import Founding
from services.spanner.truetime import master

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.schema import Schema
    from sim import World
    from sim.scenario.api import Program

ZONES = ("z1", "z2", "z3")
STARTING = 30.0  # seconds for a whole universe, on a busy machine too
PATIENCE = 1.0  # seconds for a server to say how it is
LOCATION = "universe"
MASTERS = ({"name": "gps1", "zone": "z1"}, {"name": "gps2", "zone": "z2"}, {"name": "atomic1", "zone": "z3"})


class Universe:
    """A universe.

    Args:
        world: where.
        schema: of the database.
        cuts: keys at which one group ends and the next one begins: one group more than cuts.
        servers: how many spanservers; each group is on one of each zone.
        masters: time masters, with their zones; armageddon masters are those named atomic*.
        settings: of all spanservers, as `spanserver.settings.Settings` has them.

    Attributes:
        masters: the time masters.
        names: of the spanservers.
        operator: the host from which questions are asked that are not for clients.
        groups: as they are configured, by number, from 1.
    """

    program: Program = staticmethod(spanserver.serve)

    def __init__(
        self,
        world: World,
        schema: Schema,
        cuts: Sequence[bytes] = (),
        servers: int = 3,
        *,
        masters: Sequence[dict[str, str]] = MASTERS,
        **settings: Any,
    ) -> None:
        self.world = world
        self.schema = schema
        self.settings = settings
        self.masters = list(masters)
        self.names = [f"s{number}" for number in range(1, servers + 1)]
        self.zones = {name: ZONES[place % len(ZONES)] for place, name in enumerate(self.names)}
        edges = [FIRST, *cuts, END]
        self.groups = {
            number: self._group(number, KeyRange(start, end))
            for number, (start, end) in enumerate(itertools.pairwise(edges), 1)
        }
        self.operator = world.client("operator")
        self._stubs: dict[str, rpc.SpanserverAsyncStub] = {}
        self._clients: list[Database] = []

    def _group(self, number: int, owned: KeyRange) -> Founding:
        members = []
        for place in range(len(ZONES)):
            zone = ZONES[(place + number - 1) % len(ZONES)]
            here = [name for name in self.names if self.zones[name] == zone]
            members.append(Member(here[(number - 1) // len(ZONES) % len(here)], zone))
        return Founding(
            number, tuple(members), ((owned.start.hex(), owned.end.hex()),), self.schema.encode().hex()
        )

    async def start_masters(self) -> None:
        """Starts the time masters."""
        for one in self.masters:
            kind = "armageddon" if one["name"].startswith("atomic") else "gps"
            await self.world.start(one["name"], master.serve, kind=kind, masters=self.masters)

    async def start(self) -> None:
        """Starts it all, and returns when every group has a leader."""
        await self.start_masters()
        groups = msgspec.json.decode(msgspec.json.encode(list(self.groups.values())))
        await self.world.start(LOCATION, static.serve, groups=groups)
        for name in self.names:
            await self.world.start(
                name,
                self.program,
                zone=self.zones[name],
                masters=self.masters,
                groups=groups,
                locations=[LOCATION],
                settings=self.settings,
            )
        await self.serving()

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
            waiting = [number for number in self.groups if number not in serving]
            if not waiting:
                return
            if self.world.now() > deadline:
                raise TimeoutError(f"groups {waiting} do not serve within {within:g} s")
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
        """Returns the database, as a host of the story's own has it."""
        database = connect(self.world.client(client), [LOCATION], zone=zone, timeout=timeout)
        self._clients.append(database)
        return database

    async def close(self) -> None:
        """Closes what clients have open."""
        for database in self._clients:
            await database.close()
