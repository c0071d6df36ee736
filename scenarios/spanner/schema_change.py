"""The schema is changed while clients move money: at a timestamp in the future, over all groups (4.2.3).

The change is one transaction with that timestamp. What takes place before it does not wait; what comes after
it waits until it is decided. The universe master that drives it is killed in between: then the change has
happened in all groups or in none, and is asked for again. No transaction goes by two schemas (invariant 15).

    dsim run spanner/schema-change --set changes=5
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, TABLE, Banker, cuts
from scenarios.spanner.cluster import LOCATION, Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.client import ALL, SpannerError
from services.spanner.schema import AddColumn, ColumnSpec, Schema
from sim import World, scenario
from sim.faults import Crash

EVERYWHERE = "every group has the newest schema"
WRITTEN = "new columns are written and read"
DYING = 0.5  # seconds after the beginning of a change within which the universe master is killed
DOWN = 1.0  # seconds until another is there


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, EVERYWHERE, WRITTEN), plots=("groups",), limit_s=600)
async def schema_change(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=1, le=20)] = 3,
    accounts: Annotated[int, Meta(ge=4, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    changes: Annotated[int, Meta(ge=1, le=20)] = 3,
    crashes: bool = True,
) -> None:
    """The schema is changed under load, and who drives that is killed; all groups change at one timestamp."""
    universe = Universe(world, SCHEMA, cuts(accounts, groups))
    await universe.start()
    bankers = [
        Banker(universe, f"c{number}", accounts, zone=f"z{1 + (number - 1) % 3}")
        for number in range(1, clients + 1)
    ]
    await bankers[0].open_accounts()
    auditor = Banker(universe, "auditor", accounts)
    over = asyncio.Event()
    working = [world.spawn(banker.work(over, pause=0.02)) for banker in bankers]
    chance = world.stream("changes")
    version = SCHEMA.version
    for number in range(1, changes + 1):
        column = f"Note{number}"
        asking = world.spawn(_changed(universe, column))
        if crashes and number % 2 == 1:
            await asyncio.sleep(chance.uniform(0, DYING))
            crash = await world.inject(Crash(host=LOCATION))
            await asyncio.sleep(DOWN)
            await world.lift(crash)
        newest = await asking
        world.check(EVERYWHERE, newest == version + 1, f"version {newest} after {version}")
        version = newest
        await _note(world, universe, column, accounts)
        check_total(world, await auditor.audit(), accounts)
    over.set()
    await asyncio.gather(*working)
    check_total(world, await auditor.audit(), accounts)
    for server, status in (await universe.statuses()).items():
        for group in status.groups:
            if group.term:
                told = f"group {group.group} at {server} has version {group.schema_version} of {version}"
                world.check(EVERYWHERE, group.schema_version == version, told)
    world.measure("transfers", sum(banker.committed for banker in bankers))
    await universe.close()
    check_invariants(world)


async def _changed(universe: Universe, column: str) -> int:
    """Adds a column, and returns the version of the schema that has it, whoever did it."""
    database = universe.database(f"asks-{column}")
    while True:
        try:
            await universe.change_schema(AddColumn(TABLE, ColumnSpec(column, "STRING(20)")))
        except SpannerError as error:
            if error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ALREADY_EXISTS", "CANCELLED"):
                raise
            await asyncio.sleep(0.2)
        schema: Schema = await database.schema_with(TABLE, (column,), asyncio.get_running_loop().time() + 10)
        if any(one.name == column for one in schema.table(TABLE).columns):
            return schema.version


async def _note(world: World, universe: Universe, column: str, accounts: int) -> None:
    """Writes a new column of all accounts, and reads it."""
    database = universe.database(f"notes-{column}")
    async with database.batch() as batch:
        batch.update(TABLE, ("Id", column), [(number, column) for number in range(accounts)])
    rows = await database.snapshot().read(TABLE, (column,), ALL)
    world.check(WRITTEN, [row[0] for row in rows] == [column] * accounts, f"{column} of {len(rows)} rows")


if __name__ == "__main__":
    schema_change.main()
