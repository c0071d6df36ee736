"""Simulated: the transactions of clients that one second of this machine's time carries.

    .venv/bin/python -m tests.bench spanner.simulated

Three spanservers in three zones, six groups, three time masters, no cost models; 20 clients with 20
transactions each under way; the trace goes to a file. Mix: of five transactions four are read-only (a
row of 100 bytes at the nearest replica, as it was a tenth of a second ago), one is read-write (it reads a row
and writes it; every tenth of these does so with two rows, of two groups).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING

from services.recorder import Recorder
from services.spanner import spanserver
from services.spanner.client import connect, keys
from services.spanner.group import Member
from services.spanner.placement import founding, universe, zonemaster
from services.spanner.placement.founding import Plan, hexadecimal, parts
from services.spanner.spanserver.settings import Founding
from services.spanner.truetime import master
from sim.world.simulation import Simulation
from tests.bench.figure import Figure, show
from tests.bench.spanner.universe import COLUMNS, LOCATIONS, SCHEMA, SERVERS, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.host import Host
    from services.spanner.client import Transaction

GROUPS, CLIENTS, OUTSTANDING = 6, 20, 20
ROWS = 1200
DATA = b"y" * 100
STALE = 100_000_000  # ns
TARGET = 1000


PROGRAMS = {
    founding.TIME_MASTER: master.serve,
    founding.SPANSERVER: spanserver.serve,
    founding.ZONEMASTER: zonemaster.serve,
    founding.UNIVERSE: universe.serve,
}


def boot(simulation: Simulation, plan: Plan) -> None:
    """Starts a universe."""
    for one in plan.programs():
        simulation.boot(one.name, PROGRAMS[one.program], one.parameters)


def plan_of(count: int, rows: int) -> Plan:
    """Returns a universe of so many groups, each with as many rows, and another spanserver to lead it."""
    names = list(SERVERS)
    ranges = parts([SCHEMA.table(TABLE).key([rows * part // count]) for part in range(1, count)])
    groups = []
    for number, owned in enumerate(ranges, 1):
        turned = [names[(number + place) % len(names)] for place in range(len(names))]
        members = tuple(Member(name, SERVERS[name]) for name in turned)
        groups.append(Founding(number, members, hexadecimal(owned)))
    return Plan(zones=SERVERS, groups=groups, schema=SCHEMA)


async def _change(transaction: Transaction, rows: list[int]) -> None:
    found = await transaction.read(TABLE, ("Id",), keys(*([row] for row in rows)))
    assert len(found) == len(rows)
    transaction.update(TABLE, COLUMNS, [(row, DATA) for row in rows])


def rate(trace: Path, operations: int, reads_of_five: int = 4) -> tuple[float, float]:
    """Returns transactions per second of wall time, and of processor time, from the first to the last."""
    simulation = Simulation(seed=0, recorder=Recorder(trace))
    boot(simulation, plan_of(GROUPS, ROWS))
    done = 0
    zones = list(SERVERS.values())

    async def client(host: Host, number: int) -> None:
        async with connect(host, LOCATIONS, zone=zones[number % len(zones)]) as database:

            async def caller(which: int) -> None:
                nonlocal done
                asked = which
                while True:
                    row = host.rng.randrange(ROWS)
                    asked += 1
                    if asked % 5 < reads_of_five:
                        await database.snapshot(exact_staleness=STALE).read(TABLE, COLUMNS, keys([row]))
                    else:
                        rows = [row] if asked % 50 else [row, (row + ROWS // 2) % ROWS]
                        await database.run_in_transaction(_change, sorted(rows))
                    done += 1

            await asyncio.gather(*(caller(which) for which in range(OUTSTANDING)))

    began = worked = 0.0

    async def fill(host: Host) -> None:
        async with connect(host, LOCATIONS) as database, database.batch() as batch:
            batch.insert(TABLE, COLUMNS, [(row, DATA) for row in range(ROWS)])

    def begin() -> None:
        nonlocal began, worked
        began, worked = time.perf_counter(), time.process_time()

    async def enough() -> None:
        await asyncio.sleep(2)  # of virtual time: there are leaders, and it is known what time it is
        simulation.boot("filler", fill)
        await asyncio.sleep(2)
        for number in range(CLIENTS):
            simulation.boot(f"client{number}", client, {"number": number})
        while done < operations:
            await asyncio.sleep(0.001)

    simulation.loop.call_later(3.9, begin, context=Context())  # of no host: it may look at the real clock
    simulation.run(enough())
    return done / (time.perf_counter() - began), done / (time.process_time() - worked)


def figures(quick: bool) -> Iterator[Figure]:
    """Measures the mix, and beside it what writes alone would be."""
    operations = 4_000 if quick else 20_000
    with tempfile.TemporaryDirectory() as name:
        trace = Path(name, "trace.jsonl")
        mix, per_processor = rate(trace, operations)
        writes, writes_per_processor = rate(trace, operations // 4, reads_of_five=0)
    yield Figure(
        f"simulated: transactions per wall second, 3 zones, {GROUPS} groups, traced, 4 reads to a read-write",
        mix,
        "/s",
        "at least",
        TARGET,
        f"{per_processor:,.0f} per second of its processor; read-write alone: {writes:,.0f} /s, "
        f"{writes_per_processor:,.0f} per second of its processor",
    )


if __name__ == "__main__":
    show(figures)
