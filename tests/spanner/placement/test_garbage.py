"""What nobody may read any more is freed, also where nothing is written: released ranges, dropped tables."""

from __future__ import annotations

import asyncio

from scenarios.spanner.cluster import Universe
from services.spanner.client import ALL, SpannerError
from services.spanner.placement.system import SYSTEM
from services.spanner.schema import ColumnSpec, CreateTable, DropTable, apply_change
from sim import World, run, scenario

SCHEMA = apply_change(
    SYSTEM,
    CreateTable("Kept", (ColumnSpec("Id", "INT64"), ColumnSpec("Data", "BYTES(MAX)")), ("Id",)),
    CreateTable(
        "Notes",
        (ColumnSpec("Id", "INT64"), ColumnSpec("At", "INT64"), ColumnSpec("Data", "BYTES(MAX)")),
        ("Id", "At"),
        parent="Kept",
    ),
    CreateTable("Gone", (ColumnSpec("Id", "INT64"), ColumnSpec("Data", "BYTES(MAX)")), ("Id",)),
)
ROWS = 20
DATA = bytes(100)
FREED, KEPT, REFUSED = "rows of dropped tables go", "others stay", "nobody reads them"
MOVED = "a source keeps nothing of what it released"


@scenario(checks=(FREED, KEPT, REFUSED, MOVED), plots=(), limit_s=300)
async def garbage(world: World) -> None:
    """Tables are dropped, and a range is moved away; then nothing is written any more."""
    universe = Universe(
        world,
        SCHEMA,
        [SCHEMA.table("Gone").everything.start],
        driver={"every": 0.5},
        transactions={"keep_s": 4.0},
        paxos={"lease": 2_000_000_000, "renew": 800_000_000},
    )
    await universe.start()
    database = universe.database("c1")
    async with database.batch() as batch:
        for number in range(ROWS):
            batch.insert("Kept", ("Id", "Data"), [(number, DATA)])
            batch.insert("Notes", ("Id", "At", "Data"), [(number, 1, DATA)])
            batch.insert("Gone", ("Id", "Data"), [(number, DATA)])
    await universe.move(SCHEMA.table("Gone").ranges(ALL)[0], 1)
    await universe.change_schema(DropTable("Notes"))
    await universe.change_schema(DropTable("Gone"))
    try:
        await database.snapshot().read("Gone", ("Id",), ALL)
        world.check(REFUSED, False, "a dropped table was read")
    except SpannerError as exc:
        world.check(REFUSED, exc.code == "NOT_FOUND", exc.detail)
    await asyncio.sleep(20.0)
    for name, status in (await universe.statuses()).items():
        rows = {group.group: group.rows for group in status.groups}
        world.check(FREED, rows[1] <= ROWS, f"{name}: {rows}")
        world.check(KEPT, rows[1] == ROWS, f"{name}: {rows}")
        world.check(MOVED, rows[2] == 0, f"{name}: {rows}")
    kept = await database.snapshot().read("Kept", ("Id", "Data"), ALL)
    world.check(KEPT, kept == [(number, DATA) for number in range(ROWS)], f"{len(kept)} rows")
    await universe.close()


def test_garbage_is_freed_where_nothing_is_written() -> None:
    told = run(garbage, seed=1)
    assert told.passed, (told.error, told.checks)
