"""The versions of a row, as a replica has them: those that a read would never see again among them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.spanner.client import Database
    from services.spanner.entries import Version
    from services.spanner.schema import Table


async def versions_of(
    database: Database, table: Table, key: tuple[Any, ...], timeout: float
) -> list[tuple[int, dict[str, Any] | None]]:
    """Returns what stood in a row and since when, the newest first; None: nothing, it was deleted.

    Args:
        database: the database.
        table: of the row.
        key: of the row.
        timeout: seconds.

    Raises:
        SpannerError: no replica of the group answers.
    """
    names = [column.name for column in table.columns]
    reader = table.reader(names)
    found = []
    for version in await _exported(database, table.key(key), timeout):
        row = None if version.row is None else reader(version.key, version.row)
        found.append((version.timestamp, None if row is None else dict(zip(names, row, strict=True))))
    return sorted(found, key=lambda one: -one[0])


async def _exported(database: Database, key: bytes, timeout: float) -> list[Version]:
    import grpc
    import msgspec

    from protos import spanner_pb2 as pb
    from protos import spanner_pb2_grpc as rpc
    from services.spanner.entries import Version
    from services.spanner.keys import only
    from services.spanner.statuses import of_call

    await database.locations.known(asyncio.get_running_loop().time() + timeout)
    place = database.locations.place(database.locations.owner(key))
    range_ = pb.KeyRange(start=key, end=only(key).end)
    request = pb.ExportRequest(group=place.number, range=range_)
    decoder = msgspec.msgpack.Decoder(list[Version])
    servers = [member.server for member in place.readable]
    for number, server in enumerate(servers, 1):
        async with database.host.connect(server) as channel:
            pieces = rpc.SpanserverStub(channel).Export(request, timeout=timeout / len(servers))
            try:
                return [one async for piece in pieces for one in decoder.decode(piece.versions)]
            except grpc.aio.AioRpcError as exc:
                if number == len(servers):
                    raise of_call(exc) from None
    return []
