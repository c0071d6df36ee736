"""Reads while a zone dies, over Figure 5: without leaders, with all leaders, with leaders handed over first.

The paper has 5 zones of 25 spanservers, 1250 groups, all leaders in the first zone, and 100 clients that make
50,000 non-snapshot reads a second. Here a spanserver stands for a zone and 50 groups for 1250, and there is a
hundredth of the reads. A server has a quarter of the reads that it would have there, and its processor takes
four times as long for each; counts are multiplied by 100. The clients do not wait for answers before they ask
again, as the paper's curve tells: what could not be read is read later.

A lease lasts 10 s and is renewed shortly before its end, so that in the figure they "expire evenly over
10 s": groups begin to be used at different times, and renew half a second before the end (the service's own
default is earlier, and makes it less even).

    dsim run papers/spanner-availability
    dsim run papers/spanner-availability --set renew_s=4
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from scenarios.papers.coordination import compare
from scenarios.papers.coordination.compare import Table
from scenarios.papers.figures import rows
from scenarios.papers.spanner.calibration import SPANNER
from scenarios.papers.spanner.universe import COLUMNS, TABLE, PaperUniverse, hardware
from scenarios.spanner.promises import INVARIANTS, check_invariants
from services.spanner.client import SpannerError, keys
from services.spanner.spanserver.administration import EVERY
from sim import World, scenario
from sim.faults import Crash

if TYPE_CHECKING:
    from services.spanner.client import Database

Curve = list[tuple[float, float]]
"""(second of the figure, thousands of reads up to its end)."""

SCALE = 100  # of the reads
SERVERS = 25  # of the paper's, for which one stands
ZONES, GROUPS, CLIENTS = 5, 1250 // SERVERS, 100 // SERVERS
READS = 50_000 / SCALE  # a second, of all clients together
COSTS = msgspec.structs.replace(SPANNER, strong_s=SPANNER.strong_s * SCALE / SERVERS)
KILL_S = 5.67
"""When a zone dies, in seconds of the test: where the curve of the paper's "after 5 s" breaks off, two thirds
into the second that ends at x = 5."""

NOTICE_S = 0.67  # before that, leaders are asked to hand over
IDLE_S = 25.0  # until all leases have run out after the start
SPREAD_S = 9.5  # from one renewal of a lease to the next
AGAIN_S = 2.0
PATIENCE_S = 60.0

KINDS = ("non-leader", "leader-soft", "leader-hard")
PAPER: dict[str, Curve] = {
    kind: [
        (row["seconds"], row[kind.replace("-", "_")] / 1e3) for row in rows("spanner_fig5_cumulative_reads")
    ]
    for kind in KINDS
}


@scenario(
    checks=(
        "a zone without leaders is not missed",
        "leaders that were handed over are hardly missed",
        "leases that run out come back elsewhere",
        "every read is answered in the end",
        INVARIANTS,
    ),
    plots=("overlay",),
    hardware=hardware(COSTS),
    real_limit_s=3600,
    limit_s=3600,
)
async def spanner_availability(
    world: World,
    *,
    kinds: list[str] = list(KINDS),  # noqa: B006
    groups: Annotated[int, Meta(ge=1, le=1250)] = GROUPS,
    clients: Annotated[int, Meta(ge=1, le=1000)] = CLIENTS,
    reads: Annotated[float, Meta(gt=0, le=50_000)] = READS,
    renew_s: Annotated[float, Meta(ge=0.1, le=9)] = 10 - SPREAD_S,
    until: Annotated[float, Meta(ge=8, le=21)] = 21.0,
) -> None:
    """Reads while a zone dies, over Figure 5."""
    scale = 50_000 / reads / 1e3  # of a read, in thousands of the figure's
    found: dict[str, Curve] = {}
    for kind in [one for one in KINDS if one in kinds]:
        test = _Test(world, kind, groups, clients, reads, renew_s)
        found[kind] = [(second, scale * done) for second, done in await test.run(until)]
        world.check("every read is answered in the end", not test.failed, f"{kind}: {test.failed} are not")
    _judge(world, found, until)
    check_invariants(world)


class _Test:
    """One of the three tests, in a universe of its own."""

    def __init__(
        self, world: World, kind: str, groups: int, clients: int, reads: float, renew_s: float
    ) -> None:
        self._world = world
        self._kind = kind
        self._universe = PaperUniverse(
            world,
            COSTS,
            zones=ZONES,
            servers=1,
            groups=groups,
            directories=groups,
            name=f"{kind}-",
            leaders=[0] * groups,
            # MinNextTS is told (4.2.4), and the lease with it, no more often than leases are renewed.
            paxos={"renew": round(renew_s * 1e9), "advance": 10_000_000_000},
        )
        self._clients = clients
        self._pause = clients / reads
        self._chance = world.stream("load")
        self._reading: dict[asyncio.Task[None], None] = {}
        self.done = self.failed = 0

    async def run(self, until: float) -> list[tuple[float, int]]:
        """Returns how many reads were done by the end of each second of the figure."""
        world, universe = self._world, self._universe
        await universe.start()
        await universe.load()
        await self._spread()
        databases = [universe.database(f"{self._kind}-c{number}") for number in range(self._clients)]
        for database in databases:
            await asyncio.gather(*(self._read(database, group) for group in range(len(universe.groups))))
        self.done = 0
        begin = world.now()
        working = [world.spawn(self._work(database)) for database in databases]
        zone = world.spawn(self._kill(begin))
        curve = []
        for second in range(round(until)):
            await asyncio.sleep(max(0.0, begin + second + 1 - world.now()))
            curve.append((float(second), self.done))
        for task in working:
            task.cancel()
        await zone
        while self._reading:
            await asyncio.wait(list(self._reading))
        await universe.close()
        others = [one for one in universe.names if one != self._victim]
        for name in [*others, *universe.locations, universe.plan.universe]:
            await world.stop(name)
        return curve

    @property
    def _victim(self) -> str:
        return self._universe.names[1 if self._kind == "non-leader" else 0]

    async def _kill(self, begin: float) -> None:
        """Has the zone die."""
        world = self._world
        if self._kind == "leader-soft":
            await asyncio.sleep(begin + KILL_S - NOTICE_S - world.now())
            stub = rpc.SpanserverStub(self._universe.operator.connect(self._victim))
            await stub.HandOver(pb.HandOverRequest(group=EVERY))
        await asyncio.sleep(begin + KILL_S - world.now())
        await world.inject(Crash(host=self._victim))

    async def _spread(self) -> None:
        """Lets all leases run out, and has groups used from different moments on."""
        await asyncio.sleep(IDLE_S)
        database = self._universe.database(f"{self._kind}-first")
        groups = len(self._universe.groups)

        async def use(group: int) -> None:
            await asyncio.sleep(SPREAD_S * (group + self._chance.random()) / groups)
            for _ in range(round(SPREAD_S / AGAIN_S)):
                await self._read(database, group)
                await asyncio.sleep(AGAIN_S)

        order = list(range(groups))
        self._chance.shuffle(order)
        await asyncio.gather(*(use(group) for group in order))

    async def _work(self, database: Database) -> None:
        """Reads, again and again, and does not wait for the answers."""
        groups = len(self._universe.groups)
        await asyncio.sleep(self._pause * self._chance.random())
        at = self._world.now()
        while True:
            task = self._world.spawn(self._read(database, self._chance.randrange(groups)))
            self._reading[task] = None
            task.add_done_callback(lambda done: self._reading.pop(done, None))
            at += self._pause
            await asyncio.sleep(max(0.0, at - self._world.now()))

    async def _read(self, database: Database, directory: int) -> None:
        try:
            await database.snapshot(timeout=PATIENCE_S).read(TABLE, COLUMNS, keys([directory, 0]))
            self.done += 1
        except SpannerError:
            self.failed += 1


def _judge(world: World, found: dict[str, Curve], until: float) -> None:
    """Holds our curves against the figure's."""
    table = Table(world, "Figure 5", "")
    for kind, ours in found.items():
        theirs = PAPER[kind]
        if until >= 21:
            numbers = _numbers(theirs, kind)
            for name, value in _numbers(ours, kind).items():
                table.add(f"{kind}, {name}", value, round(numbers[name], 2))
            apart = mean(abs(a - b) for (_, a), (_, b) in zip(_rates(ours), _rates(theirs), strict=True))
            world.measure(f"Figure 5, {kind}, rate: mean error of a second", round(apart, 2), unit="K/s")
        lost = max(50 * (second + 1) - value for second, value in ours)
        words = f"{lost:.1f}K reads late at most"
        if kind == "non-leader":
            world.check("a zone without leaders is not missed", lost < 5, words)
        elif kind == "leader-soft":
            world.check("leaders that were handed over are hardly missed", lost < 5, words)
        else:
            last = ours[-1][1] / (50 * (ours[-1][0] + 1))
            held = last > 0.98 if until >= 21 else lost > 5
            words = f"{words}, {100 * last:.1f} % read at the end"
            world.check("leases that run out come back elsewhere", held, words)
    for kind, name in zip(
        KINDS,
        (
            "a zone without leaders is not missed",
            "leaders that were handed over are hardly missed",
            "leases that run out come back elsewhere",
        ),
        strict=True,
    ):
        if kind not in found:
            world.check(name, True, "not tested")
    _draw(world, found, table.finish())


def _numbers(curve: Curve, kind: str) -> dict[str, float]:
    """Returns what the text says of the figure, in numbers, read off a curve in the same way."""
    rates = {second: value - before for (_, before), (second, value) in pairwise(curve)}
    numbers = {}
    if kind == "non-leader":
        numbers["worst second (K/s)"] = min(rates.values())
    if kind == "leader-soft":
        numbers["worst two seconds (K/s)"] = min(
            (rates[second] + rates[second + 1]) / 2 for second in rates if second + 1 in rates
        )
    if kind == "leader-hard":
        numbers["first second without leaders (K/s)"] = min(rates.values())
        numbers["ramp, from x = 6 to 14 (K/s each second)"] = (rates[14.0] - rates[6.0]) / 8
        numbers["peak (K/s)"] = max(rates.values())
        numbers["peak at (s after the kill)"] = max(rates, key=lambda s: rates[s]) + 1 - KILL_S
        numbers["as many as before again (s after the kill)"] = (
            min(s for s in rates if s > 6 and rates[s] >= 50) + 1 - KILL_S
        )
        numbers["98 % of all read again (s after the kill)"] = _caught_up(curve) + 1 - KILL_S
    return numbers


def _caught_up(curve: Curve) -> float:
    """Returns from when on 98 % of what was asked is read, linear between the points."""
    shares = [(second, value / (50 * (second + 1))) for second, value in curve]
    late = [place for place, (_, share) in enumerate(shares) if share < 0.98]
    if not late or late[-1] + 1 == len(shares):
        return shares[-1][0]
    (before, low), (after, high) = shares[late[-1]], shares[late[-1] + 1]
    return before + (after - before) * (0.98 - low) / (high - low)


def _draw(world: World, found: dict[str, Curve], says: str) -> None:
    panels: list[dict[str, Any]] = []
    for kind, ours in found.items():
        theirs = PAPER[kind]
        panel = compare.panel(f"{kind}\n(K reads)", dict(ours), theirs)
        panels.append(panel)
    for kind in ("leader-soft", "leader-hard"):
        if kind in found:
            rates = dict(_rates(found[kind]))
            panels.append(compare.panel(f"{kind}\n(K reads/s)", rates, _rates(PAPER[kind])))
    compare.draw(
        world, "reads while a zone dies, over Figure 5", [says], panels, "seconds of the figure", (0, 20.5)
    )


def _rates(curve: Curve) -> Curve:
    return [(second, value - before) for (_, before), (second, value) in pairwise(curve)]


if __name__ == "__main__":
    spanner_availability.main()
