"""`dsim spanner`: the database that `dsim up spanner` has started, as one types it in a shell.

Which cluster is meant: `--dir`, or the one that was started last. Exit status 2: what was asked cannot be
done.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 (typer reads it)
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sim.cli.cluster import DirOption, cluster_of, running
from sim.cli.runs import JsonOption  # noqa: TC001 (typer reads it)
from sim.cli.spanner_told import described, print_json, print_table, show_rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from protos import spanner_pb2 as pb
    from protos import spanner_pb2_grpc as rpc
    from services.cluster import Cluster
    from services.spanner.client import Database, Snapshot
    from services.spanner.schema import Table

T = TypeVar("T")

TIMEOUT = 15.0  # seconds
MOVING = 600.0  # seconds
LOCATIONS = ("services.spanner.placement.zonemaster:serve",)
"""Programs that are location proxies."""

app = typer.Typer(no_args_is_help=True, help="The database of a cluster that `dsim up spanner` has started.")

TableArgument = Annotated[str, typer.Argument(metavar="TABLE")]
KeyArgument = Annotated[
    list[str], typer.Argument(metavar="KEY...", help="Values of its primary key; negative ones after --.")
]
ColumnsOption = Annotated[
    str, typer.Option("--columns", metavar="A,B", help="Which columns. [default: all of them]")
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="As of then: nanoseconds, or RFC 3339. [default: now]"),
]
StalenessOption = Annotated[
    float | None,
    typer.Option("--max-staleness", metavar="SECONDS", help="At the nearest replica, at most so old."),
]


def register(parent: typer.Typer) -> None:
    """Adds the commands to the application."""
    for command, example in (
        (tables, "dsim spanner tables"),
        (create, 'dsim spanner create Accounts "Id INT64" "Owner STRING(MAX)" --key Id'),
        (put, "dsim spanner put Accounts Id=1 Owner=ann"),
        (get, "dsim spanner get Accounts 1"),
        (delete, "dsim spanner delete Accounts 1"),
        (scan, "dsim spanner scan Accounts --limit 10"),
        (versions, "dsim spanner versions Accounts 1"),
        (groups, "dsim spanner groups"),
        (now, "dsim spanner now"),
        (zones, "dsim spanner zones"),
        (move, "dsim spanner move Accounts 1 --to 2"),
    ):
        app.command(epilog=f"Example: {example}")(command)
    parent.add_typer(app, name="spanner")


def tables(folder: DirOption = None, json: JsonOption = False) -> None:
    """Says which tables there are."""
    from sim.cli.spanner_values import word

    async def ask(database: Database) -> Any:
        return await database.schema()

    schema = _run(folder, ask)
    found = [described(one) for one in schema.tables.values() if not one.name.startswith("spanner_sys.")]
    if json:
        print_json({"version": schema.version, "tables": found})
        return
    for one in found:
        inside = f" in {one['parent']}{', on delete cascade' * one['cascade']}" if one["parent"] else ""
        print(f"{one['name']}{inside}")
        for column in one["columns"]:
            marks = " NOT NULL" * column["not_null"] + " KEY" * (column["name"] in one["key"])
            marks += " DESC" * (column["name"] in one["descending"])
            print(f"  {column['name']} {word(column['type'])}{marks}")
    if not found:
        print("there are no tables: dsim spanner create")


def create(
    table: Annotated[str | None, typer.Argument(metavar="TABLE")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Argument(metavar='"NAME TYPE [NOT NULL]"...', help="INT64, STRING(MAX), BYTES(n), ..."),
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="A,B", help="The primary key; -A for descending. [default: first column]")
    ] = "",
    parent: Annotated[str, typer.Option("--in", metavar="TABLE", help="Interleaved in that table.")] = "",
    cascade: Annotated[bool, typer.Option("--cascade", help="Rows go with the parent's row.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON instead: a list of objects with name, columns (name, type, not_null), primary_key, "
            "parent, on_delete.",
        ),
    ] = None,
    folder: DirOption = None,
) -> None:
    """Creates a table, or those of a file."""
    from protos import spanner_pb2 as pb
    from services.spanner.schema import encode_changes
    from sim.cli.spanner_values import table_of, tables_of
    from sim.scenario.errors import InvalidInput

    if file is not None:
        if table or columns or key or parent or cascade:
            raise InvalidInput("--file says all of the tables: name no table, columns or key beside it")
        changes = tables_of(file)
    else:
        if not table or not columns:
            raise InvalidInput('name a table and its columns: dsim spanner create T "Id INT64", or --file')
        if cascade and not parent:
            raise InvalidInput("--cascade: rows go with those of which table? --in names it")
        changes = (table_of(table, columns, key or columns[0].split()[0], parent, cascade=cascade),)
    request = pb.ChangeSchemaRequest(change=encode_changes(changes))
    reply = _ask_universe(folder, lambda universe: universe.ChangeSchema(request, timeout=TIMEOUT))
    print(f"{', '.join(one.name for one in changes)}: schema version {reply.version}")


def put(
    table: TableArgument,
    values: Annotated[
        list[str], typer.Argument(metavar="COLUMN=VALUE...", help="NULL is NULL; BYTES are base64.")
    ],
    folder: DirOption = None,
    json: JsonOption = False,
) -> None:
    """Writes a row: a new one, or these columns of the one that is there."""
    from sim.cli.spanner_values import row_of, shown

    async def write(database: Database) -> int | None:
        found = await _table(database, table)
        columns, row = row_of(found, values)
        async with database.batch() as batch:
            batch.insert_or_update(found.name, columns, [row])
        return batch.commit_timestamp

    committed = _run(folder, write)
    if json:
        print_json({"commit_timestamp": committed})
    else:
        print(f"committed at {shown(committed or 0)}")


def get(
    table: TableArgument,
    key: KeyArgument,
    columns: ColumnsOption = "",
    at: AtOption = None,
    max_staleness: StalenessOption = None,
    folder: DirOption = None,
    json: JsonOption = False,
) -> None:
    """Reads a row."""
    from services.spanner.client import keys
    from sim.cli.spanner_values import key_of
    from sim.scenario.errors import InvalidInput

    async def read(database: Database) -> Any:
        found = await _table(database, table)
        names = _columns(found, columns)
        snapshot = _snapshot(database, at, max_staleness)
        rows = await snapshot.read_stamped(found.name, names, keys(key_of(found, key)))
        return found, names, rows, snapshot.timestamp

    found, names, rows, timestamp = _run(folder, read)
    if not rows:
        raise InvalidInput(f"{table} has no row ({', '.join(key)})")
    show_rows(found, names, rows, timestamp, json=json)


def delete(table: TableArgument, key: KeyArgument, folder: DirOption = None) -> None:
    """Deletes a row; none there is no matter."""
    from services.spanner.client import keys
    from sim.cli.spanner_values import key_of, shown

    async def write(database: Database) -> int | None:
        found = await _table(database, table)
        async with database.batch() as batch:
            batch.delete(found.name, keys(key_of(found, key)))
        return batch.commit_timestamp

    print(f"committed at {shown(_run(folder, write) or 0)}")


def scan(
    table: TableArgument,
    prefix: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY...]", help="Only rows whose key begins so.")
    ] = None,
    columns: ColumnsOption = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="So many rows at most.")] = 1000,
    at: AtOption = None,
    max_staleness: StalenessOption = None,
    folder: DirOption = None,
    json: JsonOption = False,
) -> None:
    """Reads rows, in the order of their keys."""
    from services.spanner.client import ALL, beginning
    from sim.cli.spanner_values import key_of

    async def read(database: Database) -> Any:
        found = await _table(database, table)
        names = _columns(found, columns)
        wanted = beginning(*key_of(found, prefix, whole=False)) if prefix else ALL
        snapshot = _snapshot(database, at, max_staleness)
        rows = await snapshot.read_stamped(found.name, names, wanted, limit=limit)
        return found, names, rows, snapshot.timestamp

    found, names, rows, timestamp = _run(folder, read)
    show_rows(found, names, rows, timestamp, json=json)


def versions(
    table: TableArgument,
    key: KeyArgument,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="So many at most.")] = 20,
    folder: DirOption = None,
    json: JsonOption = False,
) -> None:
    """Says what has stood in a row since when, the newest first, as far as versions are kept."""
    from sim.cli.spanner_values import key_of, plain, shown, word
    from sim.cli.spanner_versions import versions_of

    async def read(database: Database) -> Any:
        found = await _table(database, table)
        told = await versions_of(database, found, key_of(found, key), TIMEOUT)
        return found.columns, told[:limit]

    columns, rows = _run(folder, read)
    if json:
        print_json(
            [
                {"timestamp": stamp, "row": row and {name: plain(value) for name, value in row.items()}}
                for stamp, row in rows
            ]
        )
    elif rows:
        told = [
            [shown(stamp), *(word(row[one.name], one.type) for one in columns)]
            if row is not None
            else [shown(stamp), "deleted", *([""] * (len(columns) - 1))]
            for stamp, row in rows
        ]
        print_table(["written", *(one.name for one in columns)], told)
    else:
        print(f"nothing has stood in {table} {' '.join(key)}, as far as versions are kept")


def groups(folder: DirOption = None, json: JsonOption = False) -> None:
    """Says which groups there are, who leads them, and how long their leases go."""
    from protos import spanner_pb2 as pb
    from services.spanner.placement.told import groups_of

    status = _ask_universe(folder, lambda universe: universe.Status(pb.StatusRequest(), timeout=TIMEOUT))
    found = groups_of(status)
    if json:
        print_json({"groups": found, "unreachable": list(status.unreachable)})
        return
    print_table(
        ["group", "replicas", "leader", "term", "lease", "rows", "bytes", "prepared"],
        [
            [
                str(one["group"]),
                " ".join(f"{each['server']}/{each['zone']}" for each in one["members"]),
                one["leader"] or "-",
                str(one["term"]) if one["term"] else "-",
                f"{one['lease_s']:.1f} s" if one["lease_s"] > 0 else "-",
                str(one["rows"]),
                str(one["bytes"]),
                str(one["prepared"]),
            ]
            for one in found
        ],
    )
    for server in status.unreachable:
        print(f"{server} does not answer")


def zones(folder: DirOption = None, json: JsonOption = False) -> None:
    """Says which zones there are, with their zonemasters and spanservers, and where the status page is."""
    from protos import spanner_pb2 as pb
    from services.spanner.placement.told import zones_of

    nothing = pb.StatusRequest(groups=[0xFFFFFFFF])
    status = _ask_universe(folder, lambda universe: universe.Status(nothing, timeout=TIMEOUT))
    if json:
        print_json({"zones": zones_of(status), "page": status.page})
        return
    print_table(
        ["zone", "zonemaster and location proxy", "spanservers"],
        [
            [
                one.zone,
                one.zonemaster if one.answers else f"{one.zonemaster} does not answer",
                " ".join(name + " (silent)" * (name in one.silent) for name in one.spanservers),
            ]
            for one in status.zones
        ],
    )
    if status.page:
        print(f"all of it, live: {status.page}")


def now(folder: DirOption = None, json: JsonOption = False) -> None:
    """Says what time it is at each server, and how sure that is: TT.now() and ε."""
    from protos import spanner_pb2 as pb
    from sim.cli.spanner_values import shown

    nothing = pb.StatusRequest(groups=[0xFFFFFFFF])
    status = _ask_universe(folder, lambda universe: universe.Status(nothing, timeout=TIMEOUT))
    found: list[dict[str, Any]] = [
        {
            "server": one.server,
            "zone": one.zone,
            "earliest": one.earliest,
            "latest": one.latest,
            "epsilon_ms": round((one.latest - one.earliest) / 2e6, 6),
        }
        for one in status.servers
    ]
    if json:
        print_json({"servers": found, "unreachable": list(status.unreachable)})
        return
    print_table(
        ["server", "zone", "earliest", "latest", "epsilon"],
        [
            [
                one["server"],
                one["zone"],
                shown(one["earliest"]),
                shown(one["latest"]),
                f"{one['epsilon_ms']:.3f} ms",
            ]
            if one["latest"]
            else [one["server"], one["zone"], "not synchronized", "", ""]
            for one in found
        ],
    )
    for server in status.unreachable:
        print(f"{server} does not answer")


def move(
    table: TableArgument,
    key: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY...]", help="Rows whose key begins so. [default: the whole table]"),
    ] = None,
    to: Annotated[int, typer.Option("--to", min=0, metavar="GROUP", help="The group that gets them.")] = ...,  # type: ignore[assignment]
    folder: DirOption = None,
) -> None:
    """Moves rows to another group, while they are used (movedir)."""
    from protos import spanner_pb2 as pb
    from services.spanner.client import ALL, beginning
    from sim.cli.spanner_values import key_of

    async def ranges(database: Database) -> Any:
        found = await _table(database, table)
        return found.ranges(beginning(*key_of(found, key, whole=False)) if key else ALL)

    for one in _run(folder, ranges):
        request = pb.MoveRequest(range=pb.KeyRange(start=one.start, end=one.end), to=to)
        _ask_universe(folder, partial(_move, request))
    print(f"{table}{' ' + ' '.join(key) if key else ''} is in group {to}")


def _run(folder: Path | None, work: Callable[[Database], Awaitable[T]]) -> T:
    """Runs something on the database; what it refuses becomes a line for the user."""
    from services.spanner.client import SpannerError, connect
    from sim.scenario.errors import InvalidInput

    async def main() -> T:
        cluster = cluster_of(folder)
        try:
            async with connect(cluster.client("dsim"), _locations(cluster), timeout=TIMEOUT) as database:
                return await work(database)
        except SpannerError as exc:
            raise InvalidInput(f"{exc.code}: {exc.detail}") from None

    return running(main())


def _ask_universe(folder: Path | None, question: Callable[[rpc.UniverseAsyncStub], Awaitable[T]]) -> T:
    """Asks the universe master."""
    import grpc

    from protos import spanner_pb2_grpc as rpc
    from sim.scenario.errors import InvalidInput

    async def main() -> T:
        cluster = cluster_of(folder)
        _locations(cluster)
        async with cluster.client("dsim").connect("universe") as channel:
            try:
                return await question(rpc.UniverseStub(channel))
            except grpc.aio.AioRpcError as exc:
                raise InvalidInput(f"{exc.code().name}: {exc.details()}") from None

    return running(main())


async def _move(request: pb.MoveRequest, universe: rpc.UniverseAsyncStub) -> None:
    await universe.Move(request, timeout=MOVING)


def _locations(cluster: Cluster) -> list[str]:
    from services.cluster import ClusterError
    from services.real.folder import NodeFile, read_struct

    nodes = [read_struct(cluster.folder.node(name).node, NodeFile) for name in cluster.folder.hosts()]
    found = [node.name for node in nodes if node is not None and node.program in LOCATIONS]
    if not found:
        raise ClusterError("this cluster is no Spanner: dsim up spanner")
    alive = cluster.alive()
    if not any(name in alive for name in found):
        raise ClusterError(f"{found[0]} is down: dsim heal, or dsim up spanner where all is")
    return found


async def _table(database: Database, name: str) -> Table:
    schema = await database.schema()
    return schema.table(name)


def _columns(table: Table, told: str) -> list[str]:
    if told:
        return [table.column(one.strip()).name for one in told.split(",")]
    return [one.name for one in table.columns]


def _snapshot(database: Database, at: str | None, max_staleness: float | None) -> Snapshot:
    from sim.cli.spanner_values import moment
    from sim.scenario.errors import InvalidInput

    if at is not None and max_staleness is not None:
        raise InvalidInput("--at and --max-staleness: only one of them")
    if max_staleness is not None:
        if not 0 <= max_staleness <= 1e9:
            raise InvalidInput(f"--max-staleness {max_staleness:g}: must be from 0 to 1e9 seconds")
        return database.snapshot(max_staleness=round(max_staleness * 1e9))
    if at is None:
        return database.snapshot()
    try:
        then = moment(at)
    except ValueError:
        raise InvalidInput(
            f'--at {at}: expected nanoseconds, or a time such as "2026-01-31T12:00:00Z"'
        ) from None
    if then > database.host.clock.time_ns() + TIMEOUT * 1e9:
        raise InvalidInput(f"--at {at}: has not come yet, and is not worth waiting for")
    return database.snapshot(read_timestamp=then)
