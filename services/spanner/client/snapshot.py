"""Read-only transactions and snapshot reads (4.2.2, 4.1.4): no locks, at a timestamp, at any replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from services.spanner.client.bounds import Bound, at
from services.spanner.client.errors import over
from services.spanner.client.reads import Scattered, What
from services.spanner.client.transaction import Row, decode_rows
from services.spanner.errors import SpannerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.spanner.client.database import Database
    from services.spanner.keys import KeyRange
    from services.spanner.schema import KeySet


class _How:
    """A read at a bound; once an answer has told its timestamp, at that."""

    def __init__(self, bound: Bound, *, at_leader: bool = False) -> None:
        self.at_leader = at_leader
        self.timestamp = 0
        self._selector = pb.TransactionSelector(read_only=bound.wire())

    def selector(self, group: int) -> pb.TransactionSelector:
        return self._selector

    def seen(self, group: int, part: pb.PartialResultSet) -> None:
        if not self.timestamp and part.read_timestamp:
            self.timestamp = part.read_timestamp
            self._selector = pb.TransactionSelector(read_only=at(self.timestamp).wire())

    def scattered(self) -> None:
        # LastTS() of one group says nothing of what another has committed (4.2.2).
        if self.at_leader and not self.timestamp:
            raise Scattered


class Snapshot:
    """The database as it is, or was, at one moment; `Database.snapshot` makes it.

    A strong read of what one group has is answered by its leader, at the timestamp of the last write there.
    Other reads are answered by the nearest replica that is new enough, and go on at another one if it goes
    away.

    Args:
        database: whose.
        bound: at which moment.
        multi_use: whether several reads see the same moment; else only one can be made.
        timeout: seconds for a read.

    Attributes:
        timestamp: the moment, in nanoseconds; None before the first read has chosen it.
    """

    def __init__(self, database: Database, bound: Bound, multi_use: bool, timeout: float) -> None:
        if multi_use and bound.single_use:
            raise SpannerError(
                "INVALID_ARGUMENT",
                f"{bound.kind} is for a single read: each replica would choose another timestamp",
            )
        self.timestamp: int | None = bound.value if bound.kind == "read_timestamp" else None
        self._database = database
        self._bound = bound
        self._multi_use = multi_use
        self._timeout = timeout
        self._used = False
        self._choosing = asyncio.Lock()

    async def read(self, table: str, columns: Sequence[str], key_set: KeySet, *, limit: int = 0) -> list[Row]:
        """Returns rows, in the order of their keys.

        Args:
            table: the table.
            columns: of which the values are wanted.
            key_set: which rows.
            limit: rows; 0 for all.

        Raises:
            SpannerError: OUT_OF_RANGE: versions of that time are collected; FAILED_PRECONDITION: a single-use
                snapshot was used before; NOT_FOUND: no such table or column; DEADLINE_EXCEEDED.
        """
        return [row for row, _ in await self.read_stamped(table, columns, key_set, limit=limit)]

    async def read_stamped(
        self, table: str, columns: Sequence[str], key_set: KeySet, *, limit: int = 0
    ) -> list[tuple[Row, int]]:
        """As `read`; returns with each row the timestamp at which it was written."""
        what, ranges, how, deadline = await self._begin(table, columns, key_set)
        reader = self._database.reader
        try:
            parts = await reader.all(what, ranges, limit, how, deadline)
        except Scattered:
            how = _How(at(await self._choose(what, ranges, deadline)))
            parts = await reader.all(what, ranges, limit, how, deadline)
        self._end(how)
        return [pair for part in parts for pair in _rows(part)]

    async def stream(
        self, table: str, columns: Sequence[str], key_set: KeySet, *, limit: int = 0
    ) -> AsyncIterator[Row]:
        """As `read`; yields rows as they come, however many there are."""
        what, ranges, how, deadline = await self._begin(table, columns, key_set)
        reader = self._database.reader
        parts = reader.stream(what, ranges, limit, how, deadline)
        try:
            first = await anext(parts, None)
        except Scattered:
            how = _How(at(await self._choose(what, ranges, deadline)))
            parts = reader.stream(what, ranges, limit, how, deadline)
            first = await anext(parts, None)
        while first is not None:
            self._end(how)
            for row, _ in _rows(first):
                yield row
            first = await anext(parts, None)

    async def _begin(
        self, table: str, columns: Sequence[str], key_set: KeySet
    ) -> tuple[What, tuple[KeyRange, ...], _How, float]:
        if self._used and not self._multi_use:
            raise over("this snapshot was for a single read: make another, or one with multi_use=True")
        self._used = True
        deadline = asyncio.get_running_loop().time() + self._timeout
        schema = await self._database.schema_with(table, columns, deadline)
        ranges = schema.table(table).ranges(key_set)
        what = What(table, columns, schema.version)
        if self.timestamp is None:
            groups = await self._database.reader.groups(ranges, deadline)
            if not ranges or (not self._multi_use and len(groups) <= 1):
                return what, ranges, _How(self._bound, at_leader=self._bound.kind == "strong"), deadline
            async with self._choosing:
                if self.timestamp is None:
                    self.timestamp = await self._choose(what, ranges, deadline)
        return what, ranges, _How(at(self.timestamp)), deadline

    async def _choose(self, what: What, ranges: Sequence[KeyRange], deadline: float) -> int:
        """Returns the timestamp for reads of several groups: of what replicas would take, the oldest.

        Strong: TT.now().latest of one of them (4.2.2: no negotiation).
        """
        reader = self._database.reader
        groups = list((await reader.groups(ranges, deadline)).items())
        if not self._bound.single_use:
            groups = groups[:1]
        if not groups:
            raise SpannerError("INVALID_ARGUMENT", "a read of no keys has no timestamp")
        return min(
            await asyncio.gather(
                *(
                    reader.timestamp(what, group, pieces, _How(self._bound), deadline)
                    for group, pieces in groups
                )
            )
        )

    def _end(self, how: _How) -> None:
        if self.timestamp is None and how.timestamp:
            self.timestamp = how.timestamp


def _rows(part: pb.PartialResultSet) -> list[tuple[Row, int]]:
    return list(zip(decode_rows(part.rows), part.timestamps, strict=True)) if part.rows else []
