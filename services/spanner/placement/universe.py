"""The universe master, with the placement driver beside it (2): a program, of which there is one.

Everything that it does stands in the system tables before it is begun, so another incarnation of it goes on:
groups that are being made, moves that are under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.client import ALL, connect
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.placement.decisions import Limits, Option
from services.spanner.placement.driver import PLACEMENT_COLUMNS, Driver, everybody
from services.spanner.placement.groups import Groups, groups_in
from services.spanner.placement.location import LocationProxy
from services.spanner.placement.movedir import move, resume
from services.spanner.placement.root import Root
from services.spanner.placement.schemas import change_schema, present
from services.spanner.placement.servers import Servers
from services.spanner.placement.steps import FRAGMENT_COLUMNS, Steps, fragments_in, members_of, wire
from services.spanner.placement.system import (
    FRAGMENTS,
    GROUPS,
    PLACEMENTS,
    ROOT,
    SCHEMAS,
    SYSTEM,
    USER_RANGE,
    GroupRow,
    MoveRow,
)
from services.spanner.placement.zonemaster import leaders_of
from services.spanner.schema import Schema
from services.spanner.spanserver.settings import founding_of
from services.spanner.statuses import abort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.host import Context, Host
    from services.spanner.client import Database, Transaction
    from services.spanner.spanserver.settings import Founding

AGAIN = 0.5  # seconds before what was refused is tried again


class Universe(rpc.UniverseServicer):
    """The console's calls, and the work behind them.

    Args:
        host: on which it is.
        root: where the system tables are.
        proxy: the location proxy beside it, which hears of changes at once.
        servers: connections to spanservers.
        database: with the system tables.
        spanservers: names of those that may have no group yet.
        locking: see `Steps`.
    """

    def __init__(
        self,
        host: Host,
        root: Root,
        proxy: LocationProxy,
        servers: Servers,
        database: Database,
        spanservers: Sequence[str],
        *,
        locking: bool = True,
    ) -> None:
        self._host = host
        self._root = root
        self._proxy = proxy
        self._servers = servers
        self._database = database
        self._spanservers = list(spanservers)
        self._steps = Steps(database, servers, locking=locking)
        self._groups = Groups(database, servers)
        self._changing = asyncio.Lock()
        self._begun = asyncio.Event()
        self._names = 0

    async def begin(self, founding: Sequence[Founding]) -> None:
        """Writes the first rows of the system tables, where there are none.

        Args:
            founding: the groups as they were configured, the root among them.
        """

        async def work(transaction: Transaction) -> None:
            if await transaction.read(SCHEMAS, ("version",), ALL):
                return
            schema = transaction.schema
            transaction.insert(
                SCHEMAS, ("version", "schema", "since"), [(schema.version, schema.encode(), 1)]
            )
            for one in founding:
                if one.group == ROOT:
                    continue
                row = GroupRow(one.group, one.members, one.preferred)
                transaction.insert(GROUPS, GroupRow.COLUMNS, [row.row()])
                transaction.insert(
                    FRAGMENTS, FRAGMENT_COLUMNS, [(part.start, part.end, one.group) for part in one.owned]
                )

        await self._insist(lambda: self._database.run_in_transaction(work))
        self._begun.set()

    async def go_on(self) -> None:
        """Goes on with what another incarnation has begun."""
        for row in await self._insist(self._groups.unfinished):
            await self._noted(f"group {row.group}", lambda row=row: self._groups.go_on(row))  # type: ignore[misc]
        for registered in await self._insist(self._steps.moves):
            await self._noted(registered.name, lambda one=registered: resume(self._steps, one))  # type: ignore[misc]

    async def ChangeSchema(self, request: pb.ChangeSchemaRequest, context: Context) -> pb.SchemaReply:
        """Changes the schema of all groups (4.2.3)."""
        await self._begun.wait()
        try:
            async with self._changing:
                schema, since = await change_schema(self._database, request.change, request.at)
        except SpannerError as error:
            await abort(context, error)
        self._proxy.forget()
        self._host.trace("schema changed", version=schema.version, since=since)
        return pb.SchemaReply(version=schema.version, schema=schema.encode(), since=since)

    async def Move(self, request: pb.MoveRequest, context: Context) -> pb.Done:
        """Moves a range to a group; returns when all of it is there."""
        await self._begun.wait()
        try:
            range_ = KeyRange(request.range.start, request.range.end)
            if not (range_.start < range_.end and USER_RANGE.covers(range_)):
                raise SpannerError("INVALID_ARGUMENT", "a range of the user's tables is moved, not empty")
            await self._move(range_, request.to)
        except SpannerError as error:
            await abort(context, error)
        return pb.Done()

    async def CreateGroup(self, request: pb.GroupRequest, context: Context) -> pb.Done:
        """Makes a group."""
        await self._begun.wait()
        try:
            number = await self._groups.create(
                request.group, members_of(request.members), request.preferred_leader
            )
        except SpannerError as error:
            await abort(context, error)
        self._host.trace("group made", group=number)
        return pb.Done()

    async def Place(self, request: pb.PlaceRequest, context: Context) -> pb.Done:
        """Writes a placement option for a range; "" takes it away."""
        row = (request.range.start, request.range.end, request.option)

        async def work(transaction: Transaction) -> None:
            for start, end, _ in await transaction.read(PLACEMENTS, PLACEMENT_COLUMNS, ALL):
                if start != row[0] and KeyRange(start, end).overlaps(KeyRange(row[0], row[1])):
                    raise SpannerError("FAILED_PRECONDITION", "part of the range has another option")
            transaction.insert_or_update(PLACEMENTS, PLACEMENT_COLUMNS, [row])

        try:
            if not row[0] < row[1]:
                raise SpannerError("INVALID_ARGUMENT", "the range is empty")
            if row[2]:
                Option.parse(row[2])
            await self._database.run_in_transaction(work)
        except SpannerError as error:
            await abort(context, error)
        return pb.Done()

    async def Status(self, request: pb.StatusRequest, context: Context) -> pb.UniverseStatus:
        """Asks all spanservers how they are."""
        try:
            view = await self._root.view()
            moves = await self._steps.moves()
        except SpannerError as error:
            await abort(context, error)
        names = everybody(view, self._spanservers)
        found = await asyncio.gather(*(self._servers.status(name, request.groups) for name in names))
        return pb.UniverseStatus(
            servers=[one for one in found if one is not None],
            fragments=[
                pb.Fragment(range=wire(each.range), group=each.group) for each in view.fragments.fragments
            ],
            unreachable=[name for name, one in zip(names, found, strict=True) if one is None],
            moves=[
                f"{one.name}: {one.range.start.hex()} to {one.range.end.hex()}, group {one.source} to "
                f"{one.target}"
                for one in moves
            ],
        )

    def driver(self, limits: Limits) -> Driver:
        """Returns a placement driver for it."""
        return Driver(
            self._host,
            self._root,
            self._servers,
            self._database,
            self._groups,
            self._move,
            self._spanservers,
            limits,
        )

    async def _move(self, range_: KeyRange, to: int) -> None:
        """Moves a range, wherever it is, fragment by fragment."""

        async def look(transaction: Transaction) -> list[tuple[int, KeyRange]]:
            groups = await groups_in(transaction)
            if to not in groups or groups[to].state != "ready":
                raise SpannerError("NOT_FOUND", f"there is no group {to}")
            split = (await fragments_in(transaction)).split([range_])
            return [(group, part) for group, parts in split for part in parts if group != to]

        while pieces := await self._database.run_in_transaction(look):
            source, part = pieces[0]
            self._names += 1
            name = f"{source}-to-{to}-{await present(self._database)}-{self._names}"
            self._host.trace("move begins", move=name)
            moved = await move(self._steps, MoveRow(name, part, source, to))
            self._host.trace("move ends", move=name, moved=moved)

    async def _insist(self, step: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await step()
            except SpannerError as error:
                self._host.trace("placement waits", why=error.detail)
                await asyncio.sleep(AGAIN)

    async def _noted(self, what: str, step: Callable[[], Awaitable[Any]]) -> None:
        try:
            await step()
        except SpannerError as error:
            self._host.trace("placement gives up", what=what, why=error.detail)
        else:
            self._host.trace("placement went on", what=what)


async def serve(
    host: Host,
    *,
    groups: list[dict[str, Any]],
    spanservers: Sequence[str] = (),
    poll: float = 1.0,
    every: float = 0.0,
    limits: dict[str, int] | None = None,
    locking: bool = True,
) -> None:
    """Runs the universe master and placement driver, and a location proxy for who asks here: a program.

    Args:
        host: its door.
        groups: as `Founding` has them, the same as the spanservers are told: group 0 has the system tables.
            The others are taken into them where they are empty.
        spanservers: names of servers that may have no group yet.
        poll: seconds between two questions to spanservers who leads.
        every: seconds between two looks of the placement driver; 0: it does only what it is told.
        limits: when groups are split and merged, as `Limits` has them.
        locking: see `Steps`.

    Raises:
        ValueError: the groups, or limits, make no sense.
    """
    try:
        chosen = msgspec.convert(limits or {}, Limits)
    except msgspec.ValidationError as error:
        raise ValueError(f"limits: {error}") from None
    founding = founding_of(groups)
    first = next((one for one in founding if one.group == ROOT), None)
    if first is None:
        raise ValueError("groups: group 0, of the system tables, is missing")
    servers = Servers(host)
    root = Root(
        servers, first.members, Schema.decode(bytes.fromhex(first.schema)) if first.schema else SYSTEM
    )
    proxy = LocationProxy(root, servers)
    database = connect(host, [host.name])
    universe = Universe(host, root, proxy, servers, database, spanservers, locking=locking)
    server = host.serve()
    rpc.add_LocationServicer_to_server(proxy, server)
    rpc.add_UniverseServicer_to_server(universe, server)
    await server.start()

    async def begin() -> None:
        await universe.begin(founding)
        await universe.go_on()
        if every:
            await universe.driver(chosen).run(every)

    async def look() -> None:
        names = list(
            dict.fromkeys([*spanservers, *(one.server for each in founding for one in each.members)])
        )
        while True:
            proxy.seen(await leaders_of(servers, names))
            await asyncio.sleep(poll)

    background = [asyncio.ensure_future(begin()), asyncio.ensure_future(look())]
    try:
        await asyncio.gather(*background)
    finally:
        for task in background:
            task.cancel()
        await database.close()
        await server.stop(None)
        await servers.close()
