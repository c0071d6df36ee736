"""The universe master, with the placement driver beside it (2): a program, of which there is one.

Everything that it does stands in the system tables before it is begun, so another incarnation of it goes on:
groups that are being made, moves that are under way.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import starmap
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services import pages
from services.spanner.client import ALL, connect
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.placement.decisions import Limits
from services.spanner.placement.driver import PLACEMENT_COLUMNS, Driver, everybody
from services.spanner.placement.groups import Groups, groups_in
from services.spanner.placement.movedir import move, resume
from services.spanner.placement.options import Option
from services.spanner.placement.root import Root
from services.spanner.placement.schemas import change_schema, present
from services.spanner.placement.servers import Servers
from services.spanner.placement.status_page import responding
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
from services.spanner.placement.told import overview
from services.spanner.schema import Schema
from services.spanner.spanserver.settings import founding_of, schema_of
from services.spanner.statuses import abort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from services.host import Context, Host
    from services.spanner.client import Database, Transaction
    from services.spanner.placement.root import View
    from services.spanner.spanserver.settings import Founding

T = TypeVar("T")

AGAIN = 0.5  # seconds before what was refused is tried again
PATIENCE = 2.0  # seconds for a location proxy to read a new schema


class Universe(rpc.UniverseServicer):
    """The console's calls, and the work behind them.

    Args:
        host: on which it is.
        root: where the system tables are.
        servers: connections to spanservers and zonemasters.
        database: with the system tables.
        zonemasters: their names, by zone.
        spanservers: zones of those that may have no group yet, by name.
        locking: see `Steps`.

    Attributes:
        page: where people see how all is, as an address of HTTP.
    """

    def __init__(
        self,
        host: Host,
        root: Root,
        servers: Servers,
        database: Database,
        zonemasters: Mapping[str, str],
        spanservers: Mapping[str, str],
        *,
        locking: bool = True,
    ) -> None:
        self._host = host
        self._root = root
        self._servers = servers
        self._database = database
        self._zonemasters = zonemasters
        self._spanservers = spanservers
        self._steps = Steps(database, servers, locking=locking)
        self._groups = Groups(database, servers)
        self._changing = asyncio.Lock()
        self._begun = asyncio.Event()
        self.page = ""
        self._names = 0
        self._working: dict[asyncio.Task[Any], None] = {}
        self._refusals: dict[str, str] = {}

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

        await self.insist(lambda: self._database.run_in_transaction(work))
        self._begun.set()

    async def go_on(self) -> None:
        """Goes on with what was begun, and nobody works at: by another incarnation, or in vain so far.

        Raises:
            SpannerError: the system tables cannot be read.
        """
        if self._working:
            return  # what is unfinished is theirs, or its turn comes
        for row in await self._groups.unfinished():
            await self._noted(f"group {row.group}", lambda row=row: self._groups.go_on(row))  # type: ignore[misc]
        for registered in await self._steps.moves():
            await self._noted(registered.name, lambda one=registered: resume(self._steps, one))  # type: ignore[misc]

    async def ChangeSchema(self, request: pb.ChangeSchemaRequest, context: Context) -> pb.SchemaReply:
        """Changes the schema of all groups (4.2.3)."""
        await self._begun.wait()
        try:
            async with self._changing:
                schema, since = await change_schema(self._database, request.change, request.at)
        except SpannerError as error:
            await abort(context, error)
        await asyncio.gather(*(self._tell(name, schema.version) for name in self._zonemasters.values()))
        self._host.trace("schema changed", version=schema.version, since=since)
        return pb.SchemaReply(version=schema.version, schema=schema.encode(), since=since)

    async def Move(self, request: pb.MoveRequest, context: Context) -> pb.Done:
        """Moves a range to a group; returns when all of it is there."""
        await self._begun.wait()
        try:
            range_ = KeyRange(request.range.start, request.range.end)
            if not (range_.start < range_.end and USER_RANGE.covers(range_)):
                raise SpannerError("INVALID_ARGUMENT", "a range of the user's tables is moved, not empty")
            await self._whole(self._move(range_, request.to))
        except SpannerError as error:
            await abort(context, error)
        return pb.Done()

    async def CreateGroup(self, request: pb.GroupRequest, context: Context) -> pb.Done:
        """Makes a group."""
        await self._begun.wait()
        try:
            number = await self._whole(
                self._groups.create(request.group, members_of(request.members), request.preferred_leader)
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
        """Asks all spanservers and zonemasters how they are."""
        try:
            return await self.status(request, await self._root.view())
        except SpannerError as error:
            await abort(context, error)

    async def overview(self) -> dict[str, Any]:
        """Returns what the page shows.

        Raises:
            SpannerError: the root has no leader that answers.
        """
        view = await self._root.view()
        schema, _ = view.schema_at(view.timestamp)
        return overview(await self.status(pb.StatusRequest(), view), schema)

    async def status(self, request: pb.StatusRequest, view: View) -> pb.UniverseStatus:
        """Returns what all say of themselves, and the system tables of them."""
        moves = await self._steps.moves()
        names = everybody(view, self._spanservers)
        found, zones = await asyncio.gather(
            asyncio.gather(
                *(self._servers.status(name, request.groups, leading=request.leading) for name in names)
            ),
            asyncio.gather(*starmap(self._zone, self._zonemasters.items())),
        )
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
            zones=zones,
            page=self.page,
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
            self.go_on,
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

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Does something to its end, though who asked for it may go away."""
        task = asyncio.ensure_future(work)
        self._working[task] = None
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._working[task]
        if not task.cancelled():
            task.exception()  # whoever still waits has been told

    async def _tell(self, proxy: str, version: int) -> None:
        """Has a location proxy read a schema: who asks it next need not find out that its own is old."""
        stub = rpc.LocationStub(self._servers.channel(proxy))
        with suppress(grpc.aio.AioRpcError):  # it is down, or cut off: its clients find out
            await stub.Schema(pb.SchemaRequest(newer_than=version - 1), timeout=PATIENCE)

    async def _zone(self, zone: str, name: str) -> pb.ZoneStatus:
        return await self._servers.zone(name) or pb.ZoneStatus(zone=zone, zonemaster=name)

    async def insist(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Does something again and again until it is not refused."""
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
            if self._refusals.get(what) != error.detail:
                self._host.trace("placement gives up", what=what, why=error.detail)
            self._refusals[what] = error.detail
        else:
            self._refusals.pop(what, None)
            self._host.trace("placement went on", what=what)


async def serve(
    host: Host,
    *,
    groups: list[dict[str, Any]],
    zonemasters: Mapping[str, str],
    schema: str = "",
    spanservers: Mapping[str, str] | None = None,
    every: float = 0.0,
    limits: dict[str, Any] | None = None,
    locking: bool = True,
    status_port: int | None = 0,
    status_address: str = "127.0.0.1",
) -> None:
    """Runs the universe master and the placement driver: a program.

    Args:
        host: its door.
        groups: as `Founding` has them, the same as the spanservers are told: group 0 has the system tables.
            The others are taken into them where they are empty.
        zonemasters: names of the zones' zonemasters and location proxies, by zone.
        schema: the first one, as the spanservers are told.
        spanservers: zones of servers that may have no group yet, by name.
        every: seconds between two looks of the placement driver; 0: it does only what it is told.
        limits: when groups are split and merged, as `Limits` has them.
        locking: see `Steps`.
        status_port: of the status page; 0: any that is free; None: there is none.
        status_address: where it listens. It shows everything to everybody who reaches it.

    Raises:
        ValueError: the groups, zonemasters or limits make no sense.
    """
    try:
        chosen = msgspec.convert(limits or {}, Limits)
    except msgspec.ValidationError as error:
        raise ValueError(f"limits: {error}") from None
    founding, encoded = founding_of(groups), schema_of(schema)
    first = next((one for one in founding if one.group == ROOT), None)
    if first is None:
        raise ValueError("groups: group 0, of the system tables, is missing")
    if not zonemasters:
        raise ValueError("zonemasters: there is none, and so no location proxy")
    servers = Servers(host)
    root = Root(servers, first.members, Schema.decode(encoded) if encoded else SYSTEM)
    database = connect(host, list(zonemasters.values()), placement=True)
    universe = Universe(host, root, servers, database, zonemasters, spanservers or {}, locking=locking)
    server = host.serve()
    rpc.add_UniverseServicer_to_server(universe, server)
    await server.start()
    page: asyncio.Server | None = None
    try:
        if status_port is not None:
            page = await pages.serve(responding(universe.overview), status_address, status_port)
            universe.page = f"http://{status_address}:{page.sockets[0].getsockname()[1]}/"
        await universe.begin(founding)
        await universe.insist(universe.go_on)
        if every:
            await universe.driver(chosen).run(every)
        else:
            await asyncio.get_running_loop().create_future()
    finally:
        if page is not None:
            page.close()
        await database.close()
        await server.stop(None)
        await servers.close()
