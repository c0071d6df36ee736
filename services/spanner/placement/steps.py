"""The steps of a move on a real universe: transactions on the system tables, copies from server to server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from protos import spanner_pb2 as pb
from services.spanner.client import ALL, keys
from services.spanner.client.reads import What
from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement.control import Moved, Piece
from services.spanner.placement.fragments import Fragment, FragmentMap
from services.spanner.placement.schemas import present
from services.spanner.placement.system import FRAGMENTS, GROUPS, MOVES, MoveRow
from services.spanner.statuses import of_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.spanner.client import Database, Transaction
    from services.spanner.placement.servers import Servers

PATIENCE = 5.0  # seconds for a leader to take a piece, with finding it
SILENCE = 5.0  # seconds without a piece, after which a copy is given up
LOCKING = 20.0  # seconds for the last step to have the range locked

FRAGMENT_COLUMNS = ("start", "end", "group")


class Steps:
    """Implements `Control`.

    Args:
        database: the universe's, of which the system tables are a part.
        servers: connections to spanservers.
        locking: the last step locks the range before it copies the rest; False is for experiments, and loses
            what is written in between.
    """

    def __init__(self, database: Database, servers: Servers, *, locking: bool = True) -> None:
        self._database = database
        self._locking = locking
        self._servers = servers
        self._failed: dict[str, None] = {}

    async def moves(self) -> list[MoveRow]:
        """Returns what is registered."""
        return [MoveRow.of(row) for row in await self._database.snapshot().read(MOVES, MoveRow.COLUMNS, ALL)]

    async def register(self, move: MoveRow) -> None:
        """Registers a move; see `Control`."""

        async def work(transaction: Transaction) -> None:
            known = [MoveRow.of(row) for row in await transaction.read(MOVES, MoveRow.COLUMNS, ALL)]
            fragments = await fragments_in(transaction)
            if any(one.name == move.name for one in known):
                return
            target = await transaction.read(GROUPS, ("state",), keys([move.target]))
            if not target or target[0][0] != "ready":
                raise SpannerError("NOT_FOUND", f"there is no group {move.target}, or it is going")
            if not _all_of(fragments, move.range, move.source):
                raise Moved
            for one in known:
                if one.range.overlaps(move.range):
                    raise SpannerError("FAILED_PRECONDITION", f"{one.name} moves some of {move.range}")
            transaction.insert(MOVES, MoveRow.COLUMNS, [move.row()])

        await self._database.run_in_transaction(work)

    async def record(self, move: MoveRow) -> None:
        """Writes how far the copy has come; see `Control`."""

        async def work(transaction: Transaction) -> None:
            await _registered(transaction, move)
            transaction.update(MOVES, MoveRow.COLUMNS, [move.row()])

        await self._database.run_in_transaction(work)

    async def now(self) -> int:
        """Returns a timestamp that the root has just read at."""
        return await present(self._database)

    async def export(self, move: MoveRow, upto: int) -> AsyncIterator[Piece]:
        """Yields versions from a replica of the source; see `Control`.

        Raises:
            SpannerError: the refusal. Another replica is asked the next time.
        """
        request = pb.ExportRequest(group=move.source, range=wire(move.range), after=move.copied, upto=upto)
        server = await self._replica(move.source)
        pieces: Any = self._servers.stub(server).Export(request)
        try:
            while True:
                async with asyncio.timeout(SILENCE):
                    piece = await pieces.read()
                if piece is grpc.aio.EOF:
                    break
                yield Piece(piece.versions, piece.horizon)
        except grpc.aio.AioRpcError as error:
            self._failed[server] = None
            raise of_call(error) from None
        except TimeoutError:
            self._failed[server] = None
            raise SpannerError("UNAVAILABLE", f"{server} does not go on with its copy") from None
        finally:
            pieces.cancel()

    async def stage(self, move: MoveRow, piece: Piece) -> None:
        """Stages a piece at the target; see `Control`."""
        await self._import(
            pb.ImportRequest(
                group=move.target,
                move=move.name,
                range=wire(move.range),
                versions=piece.versions,
                horizon=piece.horizon,
            )
        )

    async def is_done(self, move: MoveRow) -> bool:
        """Says whether the range is the target's."""
        rows = await self._database.snapshot().read(FRAGMENTS, FRAGMENT_COLUMNS, ALL)
        return _all_of(_map(rows), move.range, move.target)

    async def hand_over(self, move: MoveRow) -> None:
        """Ends a move by one transaction; see `Control`.

        The range is locked at the source before the rest is copied, so nothing is written there in between;
        the commit fails where that lock was lost.
        """

        async def work(transaction: Transaction) -> None:
            here = await _registered(transaction, move)
            fragments = await fragments_in(transaction)
            if self._locking:
                await self._lock(transaction, move.range)
            async for piece in self.export(here, 0):
                await self.stage(here, piece)
            edit = fragments.moved(move.range, move.target)
            transaction.delete(FRAGMENTS, keys(*([start] for start in edit.deleted)))
            transaction.insert_or_update(
                FRAGMENTS,
                FRAGMENT_COLUMNS,
                [(one.range.start, one.range.end, one.group) for one in edit.written],
            )
            transaction.delete(MOVES, keys([move.name]))
            part = wire(move.range)
            transaction.change(move.source, pb.Ownership(released=[part]))
            transaction.change(move.target, pb.Ownership(acquired=[part], move=move.name))

        await self._database.run_in_transaction(work)

    async def _lock(self, transaction: Transaction, range_: KeyRange) -> None:
        """Locks a range at its group, of whatever tables it is."""
        what = What(FRAGMENTS, ("start",), transaction.schema.version, only_timestamp=True)
        deadline = asyncio.get_running_loop().time() + LOCKING
        await self._database.reader.all(what, [range_], 0, transaction, deadline)

    async def withdraw(self, move: MoveRow) -> None:
        """Takes a move off the register, then discards what was staged; see `Control`."""

        async def work(transaction: Transaction) -> None:
            transaction.delete(MOVES, keys([move.name]))

        await self._database.run_in_transaction(work)
        await self._import(
            pb.ImportRequest(group=move.target, move=move.name, range=wire(move.range), discard=True)
        )

    async def _import(self, request: pb.ImportRequest) -> None:
        locations = self._database.locations
        await self._know(request.group)
        await self._servers.lead(
            request.group,
            members_of(locations.place(request.group).members),
            lambda stub: stub.Import(request, timeout=PATIENCE),
            PATIENCE,
        )

    async def _replica(self, group: int) -> str:
        """Returns a replica to copy from: one that does not lead, and has not failed, if there is such."""
        await self._know(group)
        place = self._database.locations.place(group)
        names = [one.server for one in place.readable]
        if all(name in self._failed for name in names):
            for name in names:
                self._failed.pop(name, None)
        return min(names, key=lambda name: (name in self._failed, name == place.leader))

    async def _know(self, group: int) -> None:
        """Has the location of a group known.

        Raises:
            SpannerError: UNAVAILABLE: there is no such group.
        """
        locations = self._database.locations
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await locations.known(deadline)
        try:
            locations.place(group)
        except SpannerError:
            await locations.newer_than(locations.timestamp, deadline)
            locations.place(group)


def members_of(members: Sequence[pb.Member]) -> tuple[Member, ...]:
    """Returns members as they came over the wire."""
    return tuple(Member(one.server, one.zone, one.kind or "read-write") for one in members)


def wire(range_: KeyRange) -> pb.KeyRange:
    """Returns a range as it goes over the wire."""
    return pb.KeyRange(start=range_.start, end=range_.end)


async def fragments_in(transaction: Transaction) -> FragmentMap:
    """Reads who has what, under locks; what lies outside the user's range is fixed, and not among it."""
    return _map(await transaction.read(FRAGMENTS, FRAGMENT_COLUMNS, ALL))


async def _registered(transaction: Transaction, move: MoveRow) -> MoveRow:
    rows = await transaction.read(MOVES, MoveRow.COLUMNS, keys([move.name]))
    if not rows:
        raise Moved
    return MoveRow.of(rows[0])


def _map(rows: Sequence[tuple[bytes, bytes, int]]) -> FragmentMap:
    return FragmentMap(Fragment(KeyRange(start, end), group) for start, end, group in rows)


def _all_of(fragments: FragmentMap, range_: KeyRange, group: int) -> bool:
    try:
        return all(owner == group for owner, _ in fragments.split([range_]))
    except SpannerError:
        return False
