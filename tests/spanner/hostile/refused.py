"""What a running universe must refuse, each with Cloud Spanner's status and words that name it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from scenarios.spanner.cluster import LOCATION, Universe
from services.spanner.client import ALL, SpannerError, keys
from services.spanner.placement.system import SYSTEM
from services.spanner.schema import (
    AddColumn,
    AlterColumn,
    ColumnSpec,
    CreateTable,
    DropColumn,
    DropTable,
    apply_change,
    encode_changes,
)
from services.spanner.statuses import of_call
from sim import World, scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.spanner.client import Database

SCHEMA = apply_change(
    SYSTEM,
    CreateTable(
        "Singers",
        (
            ColumnSpec("Region", "STRING(9)"),
            ColumnSpec("Id", "INT64"),
            ColumnSpec("Name", "STRING(20)"),
            ColumnSpec("Photo", "BYTES(MAX)"),
        ),
        primary_key=("Region", "Id"),
    ),
    CreateTable(
        "Albums",
        (ColumnSpec("Region", "STRING(9)"), ColumnSpec("Id", "INT64"), ColumnSpec("Album", "INT64")),
        primary_key=("Region", "Id", "Album"),
        parent="Singers",
    ),
)
CUTS = [SCHEMA.table("Singers").key(["m", 0])]
KEY = ("Region", "Id")
REFUSED = "each is refused as it should be"
GOES_ON = "the database goes on"


def mutated(kind: str, table: str, columns: Any, *rows: Any) -> Callable[[Database], Awaitable[Any]]:
    """Returns what writes by one mutation."""

    async def work(database: Database) -> None:
        async with database.batch() as batch:
            getattr(batch, kind)(table, columns, list(rows))

    return work


def read(table: str, columns: Any, **bound: Any) -> Callable[[Database], Awaitable[Any]]:
    """Returns what reads a table."""
    return lambda database: database.snapshot(**bound, timeout=5.0).read(table, columns, ALL)


async def reused(database: Database) -> None:
    """Uses a transaction after its commit."""
    transaction = await database.transaction()
    transaction.insert_or_update("Singers", KEY, [("eu", 7)])
    await transaction.commit()
    await transaction.read("Singers", KEY, ALL)


async def rolled_back(database: Database) -> None:
    """Commits what was given up."""
    transaction = await database.transaction()
    await transaction.rollback()
    transaction.insert_or_update("Singers", KEY, [("eu", 7)])
    await transaction.commit()


async def wounded(database: Database) -> None:
    """Commits what an older transaction has wounded."""
    older, younger = await database.transaction(), await database.transaction()
    older.age, younger.age = 1000, 2000
    await younger.read("Singers", KEY, keys(["eu", 1]))
    older.update("Singers", (*KEY, "Name"), [("eu", 1, "older")])
    await older.commit()
    younger.update("Singers", (*KEY, "Name"), [("eu", 1, "younger")])
    await younger.commit()


async def deleted_with_children(database: Database) -> None:
    """Deletes a row whose children forbid it."""
    async with database.batch() as batch:
        batch.delete("Singers", keys(["eu", 1]))


async def used_twice(database: Database) -> None:
    """Uses a single-use snapshot twice."""
    snapshot = database.snapshot()
    await snapshot.read("Singers", KEY, ALL)
    await snapshot.read("Singers", KEY, ALL)


async def two_bounds(database: Database) -> None:
    """Names two bounds."""
    database.snapshot(strong=True, max_staleness=5)


CASES: dict[str, tuple[Callable[[Database], Awaitable[Any]], str, str]] = {
    "unknown table": (mutated("insert", "Bands", ("Id",), (1,)), "NOT_FOUND", "Bands"),
    "unknown column": (mutated("insert", "Singers", (*KEY, "No"), ("eu", 2, 3)), "NOT_FOUND", "No"),
    "read of an unknown table": (read("Bands", KEY), "NOT_FOUND", "Bands"),
    "read of an unknown column": (read("Singers", ("No",)), "NOT_FOUND", "No"),
    "wrong type": (mutated("insert", "Singers", KEY, ("eu", "2")), "FAILED_PRECONDITION", "Id"),
    "missing key part": (mutated("insert", "Singers", ("Region",), ("eu",)), "FAILED_PRECONDITION", "Id"),
    "a system table": (
        mutated("insert_or_update", "spanner_sys.fragments", ("start", "end", "group"), (b"a", b"b", 1)),
        "FAILED_PRECONDITION",
        "spanner_sys.fragments",
    ),
    "duplicate key": (mutated("insert", "Singers", KEY, ("eu", 1)), "ALREADY_EXISTS", "eu"),
    "duplicate key in one": (
        mutated("insert", "Singers", KEY, ("eu", 9), ("eu", 9)),
        "ALREADY_EXISTS",
        "9",
    ),
    "update of nothing": (mutated("update", "Singers", KEY, ("eu", 404)), "NOT_FOUND", "404"),
    "child without parent": (
        mutated("insert", "Albums", (*KEY, "Album"), ("eu", 404, 1)),
        "NOT_FOUND",
        "404",
    ),
    "parent of children": (deleted_with_children, "FAILED_PRECONDITION", "Albums"),
    "text over its length": (
        mutated("insert", "Singers", (*KEY, "Name"), ("eu", 2, "x" * 21)),
        "FAILED_PRECONDITION",
        "Name",
    ),
    "value over the limit": (
        mutated("insert", "Singers", (*KEY, "Photo"), ("eu", 2, b"x" * (10 * 2**20 + 1))),
        "FAILED_PRECONDITION",
        "Photo",
    ),
    "too many mutations": (
        mutated("insert", "Singers", KEY, *(("eu", number) for number in range(1000, 41_001))),
        "INVALID_ARGUMENT",
        "mutations",
    ),
    "number over 64 bits": (mutated("insert", "Singers", KEY, ("eu", 1 << 63)), "FAILED_PRECONDITION", "Id"),
    "used after its commit": (reused, "FAILED_PRECONDITION", "committed"),
    "used after its rollback": (rolled_back, "FAILED_PRECONDITION", ""),
    "commit after a wound": (wounded, "ABORTED", "wounded"),
    "a future that is far": (
        read("Singers", KEY, read_timestamp=4_000_000_000 * 10**9),
        "DEADLINE_EXCEEDED",
        "",
    ),
    "negative staleness": (read("Singers", KEY, max_staleness=-1), "INVALID_ARGUMENT", "max_staleness"),
    "no timestamp": (read("Singers", KEY, read_timestamp=0), "INVALID_ARGUMENT", "read_timestamp"),
    "two bounds": (two_bounds, "INVALID_ARGUMENT", "max_staleness"),
    "a snapshot used twice": (used_twice, "FAILED_PRECONDITION", ""),
}

CHANGES: dict[str, tuple[Any, int, str, str]] = {
    "a table that is there": (
        CreateTable("Singers", (ColumnSpec("A", "INT64"),), primary_key=("A",)),
        0,
        "FAILED_PRECONDITION",
        "Singers",
    ),
    "a column twice": (AddColumn("Singers", ColumnSpec("Name", "BOOL")), 0, "FAILED_PRECONDITION", "Name"),
    "a key column dropped": (DropColumn("Singers", "Id"), 0, "FAILED_PRECONDITION", "Id"),
    "a parent dropped": (DropTable("Singers"), 0, "FAILED_PRECONDITION", "Albums"),
    "a system table dropped": (DropTable("spanner_sys.groups"), 0, "FAILED_PRECONDITION", "sys.groups"),
    "a table of the system": (
        CreateTable("spanner_sys.mine", (ColumnSpec("A", "INT64"),), primary_key=("A",)),
        0,
        "INVALID_ARGUMENT",
        "spanner_sys.mine",
    ),
    "no such table": (DropTable("Bands"), 0, "NOT_FOUND", "Bands"),
    "another type": (AlterColumn("Singers", ColumnSpec("Name", "INT64")), 0, "FAILED_PRECONDITION", "Name"),
    "long ago": (AddColumn("Singers", ColumnSpec("Old", "BOOL")), 5, "FAILED_PRECONDITION", "5"),
}  # fmt: skip


@scenario(checks=(REFUSED, GOES_ON), plots=(), limit_s=600)
async def refused(world: World) -> None:
    """Everything that cannot be is asked for."""
    universe = Universe(world, SCHEMA, CUTS)
    await universe.start()
    database = universe.database("c1", timeout=20.0)
    await mutated("insert", "Singers", KEY, ("eu", 1), ("us", 1))(database)
    await mutated("insert", "Albums", (*KEY, "Album"), ("eu", 1, 1))(database)
    for what, (work, code, words) in CASES.items():
        try:
            await work(database)
            found = "OK"
        except SpannerError as exc:
            found = f"{exc.code}: {exc.detail}"
        _judge(world, what, found, code, words)
    channel = world.client("operator").connect(LOCATION)
    for what, (change, at, code, words) in CHANGES.items():
        request = pb.ChangeSchemaRequest(change=encode_changes((change,)), at=at)
        try:
            await rpc.UniverseStub(channel).ChangeSchema(request, timeout=10.0)
            found = "OK"
        except grpc.aio.AioRpcError as exc:
            error = of_call(exc)
            found = f"{error.code}: {error.detail}"
        _judge(world, f"schema: {what}", found, code, words)
    await asyncio.sleep(0.1)
    await mutated("update", "Singers", (*KEY, "Name"), ("eu", 1, "end"), ("us", 1, "end"))(database)
    rows = await database.snapshot().read("Singers", (*KEY, "Name"), ALL)
    rest = [row for row in rows if row[1] != 7]
    world.check(GOES_ON, rest == [("eu", 1, "end"), ("us", 1, "end")], f"{rest[:9]}")
    alive = not world.failures()
    world.check(GOES_ON, alive, f"{[one.error for one in world.failures()]}")
    await universe.close()


def _judge(world: World, what: str, found: str, code: str, words: str) -> None:
    line = found.isprintable() and len(found) < 1100
    ok = found.startswith(f"{code}: ") and words in found and line
    world.check(REFUSED, ok, f"{what}: {found[:300]} (should be {code}: ...{words}...)")


@scenario(checks=(REFUSED, GOES_ON), plots=(), limit_s=600)
async def collected(world: World) -> None:
    """Versions are read that are not kept any more, and some that are."""
    universe = Universe(world, SCHEMA, CUTS, transactions={"keep_s": 2.0})
    await universe.start()
    database = universe.database("c1", timeout=20.0)
    stamps = []
    for number in range(10):
        async with database.batch() as batch:
            batch.insert_or_update("Singers", (*KEY, "Name"), [("eu", 1, str(number))])
        stamps.append(batch.commit_timestamp or 0)
        await asyncio.sleep(0.5)
    for at, code in ((stamps[0], "OUT_OF_RANGE"), (stamps[1], "OUT_OF_RANGE")):
        try:
            found = f"OK: {await read('Singers', KEY, read_timestamp=at)(database)}"
        except SpannerError as exc:
            found = f"{exc.code}: {exc.detail}"
        _judge(world, f"read at {at}", found, code, "are collected")
    for number in (7, 8, 9):
        rows = await database.snapshot(read_timestamp=stamps[number]).read("Singers", ("Name",), ALL)
        world.check(GOES_ON, rows == [(str(number),)], f"{number}: {rows}")
    world.check(GOES_ON, not world.failures(), f"{[one.error for one in world.failures()]}")
    await universe.close()
