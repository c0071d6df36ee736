"""A universe whose data moves: group 0 with the system tables, a universe master, a zonemaster in each zone.

The zonemasters are the location proxies that clients and spanservers ask, so the universe master can die. The
groups are configured at first, as in other stories, and others can be made while it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from scenarios.spanner.cluster import LOCATION, ZONES, Universe
from services.spanner.client import Database, SpannerError, connect
from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement import universe, zonemaster
from services.spanner.placement.system import ROOT, SYSTEM_RANGE, USER_RANGE
from services.spanner.schema import encode_changes
from services.spanner.spanserver.settings import Founding
from services.spanner.statuses import of_call
from services.spanner.truetime import master

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.schema import Schema
    from sim import World

MOVING = 120.0  # seconds for a range to be moved
CHANGING = 30.0  # seconds for a schema to be changed, or a group to be made
NEXT = 0xFFFFFFFF


class Placed(Universe):
    """A universe with placement.

    Args:
        world, schema, cuts, servers, settings: as `Universe` takes them; the schema has the system tables.
        driver: more parameters of the universe master.
    """

    def __init__(
        self,
        world: World,
        schema: Schema,
        cuts: Sequence[bytes] = (),
        servers: int = 3,
        *,
        driver: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.driver = driver or {}
        super().__init__(world, schema, cuts, servers, **settings)
        encoded = schema.encode().hex()
        root = self.members_of(0)
        system = ((SYSTEM_RANGE.start.hex(), SYSTEM_RANGE.end.hex()),)
        first = self.groups[1]
        own = ((USER_RANGE.start.hex(), first.ranges[0][1]),)
        self.groups = {
            ROOT: Founding(ROOT, root, system, encoded),
            **self.groups,
            1: msgspec.structs.replace(first, ranges=own),
        }
        self.locations = [f"zone-{zone}" for zone in ZONES]

    def members_of(self, number: int, turn: int = 0) -> tuple[Member, ...]:
        """Returns members for a group: a replica in each zone, the first one (who should lead) in turn."""
        members = []
        for place in range(len(ZONES)):
            zone = ZONES[(place + number + turn) % len(ZONES)]
            here = [name for name in self.names if self.zones[name] == zone]
            members.append(Member(here[number % len(here)], zone))
        return tuple(members)

    async def start(self) -> None:
        """Starts it all, and returns when every group has a leader, and the system tables tell of them."""
        for one in self.masters:
            kind = "armageddon" if one["name"].startswith("atomic") else "gps"
            await self.world.start(one["name"], master.serve, kind=kind, masters=self.masters)
        groups = msgspec.json.decode(msgspec.json.encode(list(self.groups.values())))
        for name in self.names:
            await self.world.start(
                name,
                self.program,
                zone=self.zones[name],
                masters=self.masters,
                groups=groups,
                locations=self.locations,
                settings=self.settings,
            )
        for zone, name in zip(ZONES, self.locations, strict=True):
            here = [server for server in self.names if self.zones[server] == zone]
            root = msgspec.json.decode(msgspec.json.encode(self.groups[ROOT].members))
            schema = self.groups[ROOT].schema
            await self.world.start(name, zonemaster.serve, root=root, spanservers=here, schema=schema)
        await self.world.start(LOCATION, universe.serve, groups=groups, spanservers=self.names, **self.driver)
        await self.serving()

    def database(self, client: str, *, zone: str = "", timeout: float = 30.0) -> Database:
        """Returns the database, as a host of the story's own has it; it asks its own zone's proxy first."""
        near = f"zone-{zone}"
        proxies = sorted(self.locations, key=lambda name: name != near)
        database = connect(self.world.client(client), proxies, zone=zone, timeout=timeout)
        self._clients.append(database)
        return database

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
        stub = rpc.UniverseStub(self.operator.connect(LOCATION))
        try:
            return await getattr(stub, call)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            refusal: SpannerError = of_call(error)
            raise refusal from None
