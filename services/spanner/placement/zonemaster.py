"""A zone's zonemaster and location proxy (2), one program a zone.

The zonemaster of the paper assigns data to the zone's spanservers; here the placement driver does, since the
members of a group never change. What is left of it is to know its spanservers: who answers, who leads what.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.group import Member
from services.spanner.placement.location import LocationProxy
from services.spanner.placement.root import Root
from services.spanner.placement.servers import Servers
from services.spanner.placement.system import SYSTEM
from services.spanner.schema import Schema
from services.spanner.spanserver.settings import schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.host import Context, Host


class Zonemaster(rpc.ZonemasterServicer):
    """Watches the spanservers of a zone.

    Args:
        zone: which.
        name: its own.
        servers: connections.
        spanservers: the zone's.
        proxy: the location proxy beside it, which hears who leads.
    """

    def __init__(
        self, zone: str, name: str, servers: Servers, spanservers: Sequence[str], proxy: LocationProxy
    ) -> None:
        self._zone = zone
        self._name = name
        self._servers = servers
        self._spanservers = list(spanservers)
        self._proxy = proxy
        self._silent: list[str] = []

    async def watch(self, every: float) -> None:
        """Asks its spanservers how they are, every so many seconds, until cancelled."""
        while True:
            found = await asyncio.gather(
                *(self._servers.status(name, leading=True) for name in self._spanservers)
            )
            self._silent = [name for name, one in zip(self._spanservers, found, strict=True) if one is None]
            self._proxy.seen(
                {group.group: status.server for status in found if status for group in status.groups}
            )
            await asyncio.sleep(every)

    async def Status(self, request: pb.Poll, context: Context) -> pb.ZoneStatus:
        """Says which spanservers it knows, and who of them is silent."""
        return pb.ZoneStatus(
            zone=self._zone,
            zonemaster=self._name,
            answers=True,
            spanservers=self._spanservers,
            silent=self._silent,
        )


def members_of(told: Any) -> tuple[Member, ...]:
    """Returns members from the parameters of a program.

    Raises:
        ValueError: in one line, what is wrong.
    """
    try:
        members = msgspec.convert(told, tuple[Member, ...])
    except msgspec.ValidationError as error:
        raise ValueError(f"members of the root group: {error}") from None
    if not any(one.kind == "read-write" for one in members):
        raise ValueError("members of the root group: none of them is read-write")
    return members


async def serve(
    host: Host,
    *,
    root: Any,
    zone: str = "",
    spanservers: Sequence[str] = (),
    schema: str = "",
    poll: float = 10.0,
) -> None:
    """Runs a zonemaster with its location proxy: a program.

    Args:
        host: its door; both are at its default port.
        root: the members of group 0, as `Member` has them.
        zone: which.
        spanservers: the zone's.
        schema: of the root group at its beginning, as spanservers are told.
        poll: seconds between two questions to them.

    Raises:
        ValueError: the members, or the schema, make no sense.
    """
    servers = Servers(host)
    first = schema_of(schema)
    proxy = LocationProxy(Root(servers, members_of(root), Schema.decode(first) if first else SYSTEM), servers)
    zonemaster = Zonemaster(zone, host.name, servers, spanservers, proxy)
    server = host.serve()
    rpc.add_LocationServicer_to_server(proxy, server)
    rpc.add_ZonemasterServicer_to_server(zonemaster, server)
    await server.start()
    try:
        await zonemaster.watch(poll)
    finally:
        await server.stop(None)
        await servers.close()
