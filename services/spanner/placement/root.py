"""Reads of the system tables at group 0 itself: location proxies cannot ask a location proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from protos import spanner_pb2 as pb
from services.spanner.keys import KeyRange
from services.spanner.placement.fragments import Fragment, FragmentMap
from services.spanner.placement.system import (
    FRAGMENTS,
    GROUPS,
    ROOT,
    SCHEMAS,
    SYSTEM,
    SYSTEM_RANGE,
    GroupRow,
)
from services.spanner.schema import ALL, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos import spanner_pb2_grpc as rpc
    from services.spanner.group import Member
    from services.spanner.placement.servers import Servers

PATIENCE = 5.0  # seconds until a leader of the root must have been found
ANSWER = 2.0  # seconds for it to answer

ANY_SCHEMA = 1 << 62
"""A version that no schema is newer than: the system tables are the same in all."""

_rows = msgspec.msgpack.Decoder(list[tuple[Any, ...]])


class View(Struct, frozen=True):
    """The system tables as of one timestamp.

    Attributes:
        timestamp: which.
        fragments: who has what.
        groups: by number.
        schemas: with the timestamp from which on each holds; the newest first.
    """

    timestamp: int
    fragments: FragmentMap
    groups: dict[int, GroupRow]
    schemas: tuple[tuple[Schema, int], ...]

    def schema_at(self, t: int) -> tuple[Schema, int]:
        """Returns the schema that holds at a time, and since when."""
        for schema, since in self.schemas:
            if since <= t:
                return schema, since
        return self.schemas[-1]


class Root:
    """Group 0, as it was configured.

    Args:
        servers: connections.
        members: its replicas.
        first: the schema that it was configured with.
    """

    def __init__(self, servers: Servers, members: Sequence[Member], first: Schema = SYSTEM) -> None:
        self._servers = servers
        self._first = first
        self.members = tuple(members)

    async def view(self) -> View:
        """Returns the system tables as they are: all that had committed before the call.

        Raises:
            SpannerError: UNAVAILABLE: the root has no leader that answers.
        """

        async def choose(stub: rpc.SpanserverAsyncStub) -> int:
            request = pb.ReadRequest(
                group=ROOT,
                transaction=pb.TransactionSelector(read_only=pb.TimestampBound(strong=True)),
                table=FRAGMENTS,
                columns=["start"],
                ranges=[pb.KeyRange(start=SYSTEM_RANGE.start, end=SYSTEM_RANGE.end)],
                schema_version=ANY_SCHEMA,
                only_timestamp=True,
            )
            async for part in stub.Read(request, timeout=ANSWER):
                return part.read_timestamp
            return 0

        t = await self._servers.lead(ROOT, self.members, choose, PATIENCE)
        fragments, groups, schemas = await asyncio.gather(
            self._table(FRAGMENTS, ("start", "end", "group"), t),
            self._table(GROUPS, GroupRow.COLUMNS, t),
            self._table(SCHEMAS, ("schema", "since"), t),
        )
        own = Fragment(SYSTEM_RANGE, ROOT)
        return View(
            t,
            FragmentMap([own, *(Fragment(KeyRange(start, end), group) for start, end, group in fragments)]),
            {ROOT: GroupRow(ROOT, self.members), **{row[0]: GroupRow.of(row) for row in groups}},
            (*((Schema.decode(schema), since) for schema, since in schemas), (self._first, 0)),
        )

    async def _table(self, table: str, columns: Sequence[str], t: int) -> list[tuple[Any, ...]]:
        async def read(stub: rpc.SpanserverAsyncStub) -> list[tuple[Any, ...]]:
            (range_,) = SYSTEM.table(table).ranges(ALL)
            request = pb.ReadRequest(
                group=ROOT,
                transaction=pb.TransactionSelector(read_only=pb.TimestampBound(read_timestamp=t)),
                table=table,
                columns=columns,
                ranges=[pb.KeyRange(start=range_.start, end=range_.end)],
                schema_version=ANY_SCHEMA,
            )
            rows: list[tuple[Any, ...]] = []
            async for part in stub.Read(request, timeout=ANSWER):
                if part.rows:
                    rows += _rows.decode(part.rows)
            return rows

        return await self._servers.lead(ROOT, self.members, read, PATIENCE)
