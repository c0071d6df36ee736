"""What F1 sees of Spanner, over Table 6: reads, commits at one site, and commits at several, mean and spread.

Five replicas: three data centres in the east of the United States, two in the west; leaders in two of the
eastern ones, where F1's servers are, too. So a quorum is in the east, and what F1 asks for is led nearby or
one data centre away. A commit at one site is of one group; one at several sites also writes an index entry in
a group that is led at the other one.

The paper's spreads are many times its means, and it says why. Of reads: only one of the two has SSDs, and
what is read is 1.6 KB on average with a standard deviation of 119 KB. So one read in 10,000 is of 12 MB,
from disks or SSDs, and is played apart: it counts with its share. Of commits: lock conflicts. Here
transactions that work for some time hold locks on some of the rows, and who commits to these waits for them.

    dsim run papers/f1-latencies
    dsim run papers/f1-latencies --set workers=0
"""

from __future__ import annotations

import asyncio
import math
from statistics import fmean, quantiles, stdev
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.compare import Table
from scenarios.papers.spanner.calibration import SPANNER, Costs
from scenarios.papers.spanner.load import stop
from scenarios.papers.spanner.universe import COLUMNS, TABLE, PaperUniverse, quiet
from scenarios.spanner.promises import INVARIANTS, check_invariants
from services.spanner.client import KeySet, Range, SpannerError, keys
from sim import World, scenario
from sim.world.network import wan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.spanner.client import Database, Transaction
    from sim.world.simulation import Simulation

MEAN = {"reads": 8.7, "commits, one site": 72.3, "commits, several sites": 103.0}
SD = {"reads": 376.4, "commits, one site": 112.8, "commits, several sites": 52.2}
"""Table 6, milliseconds."""

CALIBRATED = {("mean", "reads"), ("sd", "reads"), ("mean", "commits, one site"), ("sd", "commits, one site")}

SITES = {"z1": "east 1", "z2": "east 2", "z3": "east 3", "z4": "west 1", "z5": "west 2"}
LED = ("z1", "z2")  # where leaders are, and F1's servers; the machines of the first one have SSDs
EAST_S = 4.9e-3  # one way between data centres in the east: from the mean of reads
WEST_S = 4.9e-3  # the same in the west, for want of a number
ACROSS_S = 32e-3  # from coast to coast: some 4,000 km of fibre and its detours

ROW = 400  # bytes that are read of a row
LARGE, LARGE_SHARE = 11_900_000, 1e-4
"""Bytes of a large read, and how many reads are: then mean and deviation are 1.6 and 119 KB."""

PIECE = 60_000  # bytes of a row of these
SSD_S, DISK_S = 0.1e-3, 18.3e-3
"""For 4 KB: of an SSD; of a disk that others use as well: from the standard deviation of reads."""

WORKERS, WORK_S = 26, 0.155
"""Transactions that hold locks while they work, of how many there are at a time, and how long they do on
average: from the commits at one site."""

ROWS = 10  # of each group, to be committed to
COMMITS_S = 80.0  # of both kinds, a second
READS_S = 400.0
INDEX = 1_000_000  # rows of a directory above that are index entries


def lay_out(simulation: Simulation) -> None:
    """Lays out two coasts."""
    east, west = [list(SITES)[:3], list(SITES)[3:]]
    pairs = {(a, b): EAST_S for a in east for b in east if a < b}
    pairs |= {(a, b): WEST_S for a in west for b in west if a < b}
    pairs |= {(a, b): ACROSS_S for a in east for b in west}
    hosts = {zone: [f"{zone}s1", f"zone-{zone}", *(f"f1-{zone}-{n}" for n in (1, 2))] for zone in SITES}
    hosts["z1"] += ["universe", "operator", "loader"]
    simulation.network.use(wan(pairs, hosts, latency_s=SPANNER.latency_s))
    quiet(simulation)


class F1Universe(PaperUniverse):
    """A spanserver in each of five zones."""

    def costs_of(self, server: str) -> Costs:
        """Returns the machine of a server: with SSDs, or with disks."""
        block = SSD_S if self.zones[server] == LED[0] else DISK_S
        return msgspec.structs.replace(self.costs, block_s=block)


class _F1:
    """F1's servers.

    Args:
        world, universe: where.
    """

    def __init__(self, world: World, universe: F1Universe) -> None:
        self._world = world
        self._universe = universe
        self._chance = world.stream("f1")
        self.databases = [
            universe.database(f"f1-{zone}-{number}", zone=zone, timeout=300.0)
            for zone in LED
            for number in (1, 2)
        ]
        self._groups = [
            [group for group, zone in zip(universe.groups, universe.leaders, strict=True) if zone == place]
            for place in range(len(LED))
        ]
        self._entries = INDEX
        self.failed = 0

    async def warm(self) -> None:
        """Has every server know where everything is."""
        for database in self.databases:
            for group in self._universe.groups:
                await self._row(database, self._universe.directories_of(group)[0])

    async def read(self) -> float:
        """Reads a row; returns the milliseconds."""
        return await self._timed(self._row(self._any(), self._directory(self._chance.randrange(len(LED)))))

    async def read_much(self, site: int) -> float:
        """Reads 12 MB from a site; returns the milliseconds."""
        directory = self._universe.directories_of(self._groups[site][0])[0]
        return await self._timed(self._much(self._any(), directory))

    async def commit(self, sites: int) -> float:
        """Commits a row, and perhaps an index entry at the other site; returns the milliseconds."""
        site = self._chance.randrange(len(LED))
        rows = [(self._directory(site), 0, bytes(ROW))]
        if sites > 1:
            self._entries += 1
            rows.append((self._directory(1 - site), self._entries, bytes(8)))
        return await self._timed(self._commit(self._any(), rows))

    async def work(self) -> None:
        """Reads a row under a lock, thinks, and writes it, again and again."""
        while True:
            directory = self._directory(self._chance.randrange(len(LED)))
            try:
                await self._any().run_in_transaction(self._think, directory)
            except SpannerError:
                self.failed += 1

    async def _think(self, transaction: Transaction, directory: int) -> None:
        await transaction.read(TABLE, COLUMNS, keys([directory, 0]))
        await asyncio.sleep(self._chance.expovariate(1 / WORK_S))
        transaction.insert_or_update(TABLE, COLUMNS, [(directory, 0, bytes(ROW))])

    async def _row(self, database: Database, directory: int) -> None:
        await database.snapshot().read(TABLE, COLUMNS, keys([directory, 0]))

    async def _much(self, database: Database, directory: int) -> None:
        read = database.snapshot(timeout=300.0).read
        rows = Range((directory, 1), (directory, INDEX))
        await read(TABLE, COLUMNS, KeySet(ranges=(rows,)))

    async def _commit(self, database: Database, rows: Sequence[tuple[int, int, bytes]]) -> None:
        async with database.batch() as batch:
            batch.insert_or_update(TABLE, COLUMNS, rows)

    async def load(self, size: int) -> None:
        """Writes what large reads read."""
        database = self._universe.database("loader", timeout=300.0)
        for site in range(len(LED)):
            directory = self._universe.directories_of(self._groups[site][0])[0]
            rows = [(directory, 1 + place, bytes(PIECE)) for place in range(-(-size // PIECE))]
            for start in range(0, len(rows), 10):
                await self._commit(database, rows[start : start + 10])

    def _any(self) -> Database:
        return self.databases[self._chance.randrange(len(self.databases))]

    def _directory(self, site: int) -> int:
        groups = self._groups[site]
        own = self._universe.directories_of(groups[self._chance.randrange(len(groups))])
        return own[self._chance.randrange(len(own))]

    async def _timed(self, work: Awaitable[None]) -> float:
        begin = self._world.now()
        try:
            await work
        except SpannerError:
            self.failed += 1
        return 1e3 * (self._world.now() - begin)


@scenario(
    checks=(
        "no operation fails",
        "several sites take longer than one",
        "who works delays who commits",
        INVARIANTS,
    ),
    plots=("overlay",),
    hardware=lay_out,
    real_limit_s=3600,
    limit_s=7200,
)
async def f1_latencies(
    world: World,
    *,
    commits: Annotated[int, Meta(ge=2, le=100_000)] = 1000,
    reads: Annotated[int, Meta(ge=2, le=1_000_000)] = 4000,
    large: Annotated[int, Meta(ge=0, le=100)] = 2,
    large_bytes: Annotated[int, Meta(ge=PIECE, le=100_000_000)] = LARGE,
    workers: Annotated[int, Meta(ge=0, le=1000)] = WORKERS,
    groups: Annotated[int, Meta(ge=2, le=100)] = 8,
) -> None:
    """What F1 sees of Spanner, over Table 6."""
    universe = F1Universe(
        world,
        SPANNER,
        zones=len(SITES),
        servers=1,
        groups=groups,
        directories=groups * ROWS,
        leaders=[number % len(LED) for number in range(groups)],
    )
    await universe.start()
    await universe.load(ROW)
    f1 = _F1(world, universe)
    await f1.load(large_bytes)
    await f1.warm()
    took: dict[str, list[float]] = {name: [] for name in MEAN}
    quiet_ms = fmean([await f1.commit(1) for _ in range(20)])
    working = [world.spawn(f1.work()) for _ in range(workers)]
    await asyncio.sleep(4 * WORK_S)
    await asyncio.gather(
        _ask(world, took["commits, one site"], lambda: f1.commit(1), commits, COMMITS_S / 2),
        _ask(world, took["commits, several sites"], lambda: f1.commit(2), commits, COMMITS_S / 2),
        _ask(world, took["reads"], f1.read, reads, READS_S),
    )
    if working:
        await stop(working)
    much = [await f1.read_much(site) for site in range(len(LED)) for _ in range(large)]
    world.check("no operation fails", not f1.failed, f"{f1.failed} failed")
    found = {name: (fmean(each), stdev(each)) for name, each in took.items()}
    if much:
        found["reads"] = mixture(took["reads"], much, LARGE_SHARE)
        for site, zone in enumerate(LED):
            seconds = fmean(much[site * large : (site + 1) * large]) / 1e3
            world.measure(f"a large read at {SITES[zone]}", round(seconds, 2), unit="s")
    _report(world, took, found, quiet_ms, workers)
    await universe.stop()
    check_invariants(world)


async def _ask(
    world: World, took: list[float], what: Callable[[], Awaitable[float]], count: int, rate: float
) -> None:
    """Does something so many times, at moments drawn by chance, whether or not the last time has ended."""
    chance = world.stream("moments")

    async def once() -> None:
        took.append(await what())

    tasks = []
    for _ in range(count):
        await asyncio.sleep(chance.expovariate(rate))
        tasks.append(world.spawn(once()))
    await asyncio.gather(*tasks)


def mixture(most: Sequence[float], few: Sequence[float], share: float) -> tuple[float, float]:
    """Returns mean and standard deviation of values of which a share is like `few`, the rest like `most`."""
    mean = (1 - share) * fmean(most) + share * fmean(few)
    square = (1 - share) * fmean(x * x for x in most) + share * fmean(x * x for x in few)
    return mean, math.sqrt(square - mean * mean)


def _report(
    world: World,
    took: dict[str, list[float]],
    found: dict[str, tuple[float, float]],
    quiet_ms: float,
    workers: int,
) -> None:
    table = Table(world, "Table 6", "ms")
    for name, each in took.items():
        for what, value, paper in zip(("mean", "sd"), found[name], (MEAN[name], SD[name]), strict=True):
            table.add(f"{name}, {what}", value, paper, calibrated=(what, name) in CALIBRATED)
        cuts = quantiles(each, n=100, method="inclusive")
        world.measure(f"{name}: median", round(cuts[49], 2), unit="ms")
        world.measure(f"{name}: 99 %", round(cuts[98], 2), unit="ms")
    world.measure("commits, one site, without conflicts: mean", round(quiet_ms, 2), unit="ms")
    one, several = found["commits, one site"][0], found["commits, several sites"][0]
    world.check("several sites take longer than one", several > one, f"{one:.1f}, {several:.1f} ms")
    world.check(
        "who works delays who commits",
        not workers or one > quiet_ms,
        f"{quiet_ms:.1f} ms without, {one:.1f} ms with them",
    )
    names = list(MEAN)
    panels = [
        compare.panel(
            f"{what} (ms)",
            {place + 1.0: found[name][index] for place, name in enumerate(names)},
            [(place + 1.0, paper[name]) for place, name in enumerate(names)],
            apart=True,
        )
        for index, (what, paper) in enumerate((("mean", MEAN), ("standard deviation", SD)))
    ]
    ticks = [(place + 1.0, name) for place, name in enumerate(names)]
    title = "what F1 sees of Spanner, over Table 6"
    compare.draw(world, title, [table.finish()], panels, "", (0.5, 3.5), ticks)


if __name__ == "__main__":
    f1_latencies.main()
