"""A location proxy (2): tells clients where data is, from what it has read of the system tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.statuses import abort

if TYPE_CHECKING:
    from services.host import Context
    from services.spanner.placement.root import Root, View
    from services.spanner.placement.servers import Servers

LARGEST = (1 << 63) - 1  # a timestamp


class LocationProxy(rpc.LocationServicer):
    """Answers from memory, and reads again when somebody knows that it is wrong.

    Args:
        root: where the system tables are.
        servers: who was seen leading.
    """

    def __init__(self, root: Root, servers: Servers) -> None:
        self._root = root
        self._servers = servers
        self._leaders: dict[int, str] = {}
        self._view: View | None = None
        self._reading: asyncio.Task[View] | None = None

    def seen(self, leaders: dict[int, str]) -> None:
        """Takes who leads which group, of those that are known to be led."""
        self._leaders = leaders

    async def Locate(self, request: pb.LocateRequest, context: Context) -> pb.Located:
        """Says who has what, and where groups are."""
        if request.newer_than > LARGEST:
            why = f"newer_than is a timestamp below 2**63, not {request.newer_than}"
            await abort(context, SpannerError("INVALID_ARGUMENT", why))
        try:
            view = await self._known(request.newer_than)
            if any(group not in view.groups for group in request.groups):
                view = await self._read()
        except SpannerError as error:
            await abort(context, error)
        ranges = [KeyRange(each.start, each.end) for each in request.ranges]
        fragments = [
            each
            for each in view.fragments.fragments
            if not ranges or any(each.range.overlaps(asked) for asked in ranges)
        ]
        if ranges:
            numbers = dict.fromkeys([*(each.group for each in fragments), *request.groups])
        else:
            numbers = dict.fromkeys(view.groups)
        return pb.Located(
            timestamp=max(view.timestamp, request.newer_than + 1),
            fragments=[
                pb.Fragment(range=pb.KeyRange(start=each.range.start, end=each.range.end), group=each.group)
                for each in fragments
            ],
            groups=[self._place(view, number) for number in numbers if number in view.groups],
        )

    async def Schema(self, request: pb.SchemaRequest, context: Context) -> pb.SchemaReply:
        """Says which schema holds now."""
        try:
            view = await self._known(0)
            schema, since = view.schema_at(view.timestamp)
            if schema.version <= request.newer_than:
                view = await self._read()
                schema, since = view.schema_at(view.timestamp)
        except SpannerError as error:
            await abort(context, error)
        return pb.SchemaReply(version=schema.version, schema=schema.encode(), since=since)

    def _place(self, view: View, number: int) -> pb.GroupLocation:
        row = view.groups[number]
        return pb.GroupLocation(
            group=number,
            members=[pb.Member(server=one.server, zone=one.zone, kind=one.kind) for one in row.members],
            leader=self._leaders.get(number) or self._servers.leader(number) or row.preferred,
        )

    async def _known(self, newer_than: int) -> View:
        if self._view is not None and self._view.timestamp > newer_than:
            return self._view
        return await self._read()

    async def _read(self) -> View:
        """Reads the system tables; what was being read already is too old, but who comes meanwhile shares."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._root.view())
        view = await asyncio.shield(self._reading)
        if self._view is None or view.timestamp >= self._view.timestamp:
            self._view = view
        return self._view
