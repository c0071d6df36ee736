"""A universe that stays as it is configured: universe master and location proxy in one, without placement.

Its groups and what they own are told at the beginning, to this program and to the spanservers alike. The
schema can be changed; nothing moves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.client import Database, connect
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.placement.location import checked
from services.spanner.schema import EMPTY, Schema, apply_change, decode_changes
from services.spanner.spanserver.settings import Founding, founding_of
from services.spanner.statuses import abort

if TYPE_CHECKING:
    from services.host import Context, Host

FILE = "schema"
STAYS = SpannerError("UNIMPLEMENTED", "this universe stays as it was configured")
PATIENCE = 1.0  # seconds for a spanserver to say how it is


class Static(rpc.LocationServicer, rpc.UniverseServicer):
    """The universe.

    Args:
        host: on which it is.
        groups: as configured.
        schema: as it is now.
    """

    def __init__(self, host: Host, groups: tuple[Founding, ...], schema: Schema) -> None:
        self._host = host
        self._groups = groups
        self._schema = schema
        self._since = 1
        self._database: Database = connect(host, [host.name])
        self._changing = asyncio.Lock()
        self._stubs: dict[str, rpc.SpanserverAsyncStub] = {}
        self._channels: list[grpc.aio.Channel] = []
        self._places = {group.group: _place(group) for group in groups}
        self._owned = [(part, group.group) for group in groups for part in group.owned]
        self._everything = pb.Located(
            fragments=[_fragment(*one) for one in self._owned],
            groups=self._places.values(),
        )

    async def Locate(self, request: pb.LocateRequest, context: Context) -> pb.Located:
        """Says which group has what, and where it is: always the same."""
        await checked(request, context)
        located = pb.Located(timestamp=request.newer_than + 1)
        if not request.ranges:
            located.MergeFrom(self._everything)
            return located
        asked = [KeyRange(one.start, one.end) for one in request.ranges]
        numbers = dict.fromkeys(request.groups)
        for part, group in self._owned:
            if any(part.overlaps(one) for one in asked):
                located.fragments.append(_fragment(part, group))
                numbers[group] = None
        located.groups.extend(self._places[number] for number in numbers if number in self._places)
        return located

    async def Schema(self, request: pb.SchemaRequest, context: Context) -> pb.SchemaReply:
        """Says what the schema is."""
        return pb.SchemaReply(version=self._schema.version, schema=self._schema.encode(), since=self._since)

    async def ChangeSchema(self, request: pb.ChangeSchemaRequest, context: Context) -> pb.SchemaReply:
        """Changes the schema of all groups in one transaction (4.2.3)."""
        try:
            async with self._changing:
                changed = apply_change(self._schema, *decode_changes(request.change))

                async def change(transaction: Any) -> int:
                    for group in self._groups:
                        transaction.change(group.group, schema=changed.encode(), at=request.at)
                    return await transaction.commit() or 0

                committed = await self._database.run_in_transaction(change)
                file = await self._host.disk.open(FILE, "w")
                await file.append(changed.encode(), sync=True)
                await file.close()
                self._schema, self._since = changed, committed
        except SpannerError as exc:
            await abort(context, exc)
        return await self.Schema(pb.SchemaRequest(), context)

    async def Status(self, request: pb.StatusRequest, context: Context) -> pb.UniverseStatus:
        """Asks all spanservers how they are."""
        servers = list(dict.fromkeys(one.server for group in self._groups for one in group.members))
        found = await asyncio.gather(*(self._status(server, request) for server in servers))
        located = await self.Locate(pb.LocateRequest(), context)
        return pb.UniverseStatus(
            servers=[one for one in found if one is not None],
            fragments=located.fragments,
            unreachable=[server for server, one in zip(servers, found, strict=True) if one is None],
        )

    async def Move(self, request: pb.MoveRequest, context: Context) -> pb.Done:
        """Refuses: nothing moves here."""
        await abort(context, STAYS)

    async def CreateGroup(self, request: pb.GroupRequest, context: Context) -> pb.Done:
        """Refuses: there are the groups that were configured."""
        await abort(context, STAYS)

    async def Place(self, request: pb.PlaceRequest, context: Context) -> pb.Done:
        """Refuses: nothing moves here."""
        await abort(context, STAYS)

    async def _status(self, server: str, request: pb.StatusRequest) -> pb.SpanserverStatus | None:
        if server not in self._stubs:
            channel = self._host.connect(server, options=(("grpc.use_local_subchannel_pool", 1),))
            self._channels.append(channel)
            self._stubs[server] = rpc.SpanserverStub(channel)
        try:
            return await self._stubs[server].Status(request, timeout=PATIENCE)
        except grpc.aio.AioRpcError:
            return None


def _fragment(part: KeyRange, group: int) -> pb.Fragment:
    return pb.Fragment(range=pb.KeyRange(start=part.start, end=part.end), group=group)


def _place(group: Founding) -> pb.GroupLocation:
    return pb.GroupLocation(
        group=group.group,
        members=[pb.Member(server=one.server, zone=one.zone, kind=one.kind) for one in group.members],
        leader=group.preferred or group.members[0].server,
    )


async def serve(host: Host, *, groups: list[dict[str, Any]]) -> None:
    """Runs the universe master and location proxy: a program.

    Args:
        host: its door.
        groups: as `Founding` has them, the same as the spanservers are told.

    Raises:
        ValueError: the groups make no sense.
    """
    founded = founding_of(groups)
    if not founded:
        raise ValueError("a universe has at least one group")
    schema = Schema.decode(bytes.fromhex(founded[0].schema)) if founded[0].schema else EMPTY
    if await host.disk.exists(FILE):
        file = await host.disk.open(FILE)
        data = await file.read()
        await file.close()
        schema = Schema.decode(data) if data else schema
    static = Static(host, founded, schema)
    server = host.serve()
    rpc.add_LocationServicer_to_server(static, server)
    rpc.add_UniverseServicer_to_server(static, server)
    await server.start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await server.stop(None)
