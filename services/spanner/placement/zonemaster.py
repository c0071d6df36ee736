"""A zone's zonemaster and location proxy (2), one program a zone.

The zonemaster of the paper assigns data to the zone's spanservers; here the placement driver does, since the
members of a group never change. What is left of it is to know its spanservers: it asks them who leads what.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from protos import spanner_pb2_grpc as rpc
from services.spanner.group import Member
from services.spanner.placement.location import LocationProxy
from services.spanner.placement.root import Root
from services.spanner.placement.servers import Servers
from services.spanner.placement.system import SYSTEM
from services.spanner.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.host import Host


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
    host: Host, *, root: Any, spanservers: Sequence[str] = (), schema: str = "", poll: float = 1.0
) -> None:
    """Runs a zonemaster with its location proxy: a program.

    Args:
        host: its door; the location proxy is at its default port.
        root: the members of group 0, as `Member` has them.
        spanservers: the zone's.
        schema: of the root group at its beginning, as `Founding` has it.
        poll: seconds between two questions to them.

    Raises:
        ValueError: the members make no sense.
    """
    servers = Servers(host)
    first = Schema.decode(bytes.fromhex(schema)) if schema else SYSTEM
    proxy = LocationProxy(Root(servers, members_of(root), first), servers)
    server = host.serve()
    rpc.add_LocationServicer_to_server(proxy, server)
    await server.start()
    try:
        while True:
            proxy.seen(await leaders_of(servers, spanservers))
            await asyncio.sleep(poll)
    finally:
        await server.stop(None)
        await servers.close()


async def leaders_of(servers: Servers, names: Sequence[str]) -> dict[int, str]:
    """Asks spanservers what they lead; returns the leaders by group."""
    found = await asyncio.gather(*(servers.status(name) for name in names))
    return {
        group.group: status.server
        for status in found
        if status is not None
        for group in status.groups
        if group.term
    }
