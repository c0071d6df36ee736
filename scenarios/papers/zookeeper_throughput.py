"""ZooKeeper's throughput as reads take the place of writes, over Table 1 and Figures 5 and 6.

Clients keep the servers saturated with reads and writes of a kilobyte. Spread over all servers (Figure 5),
more servers read more and write less, so the curves cross. All at the leader (Figure 6), they take the
processor that its broadcast needs.

    dsim run papers/zookeeper-throughput
    dsim run papers/zookeeper-throughput --set leader_only=true

The paper's clients had 25,000 requests outstanding. Here they are `sessions` a server with `outstanding`
each: what a server needs to be busy. A point is measured over so many operations, after as many as are twice
in flight.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Annotated

from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.calibration import ZOOKEEPER
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import PaperEnsemble, hardware
from scenarios.papers.coordination.hardware import OUTSTANDING
from scenarios.papers.coordination.load import Load
from scenarios.papers.figures import rows
from sim import World, scenario

Points = dict[int, dict[float, float]]
"""Operations a second by servers and percent of reads."""

READS = {3: 87e3, 5: 165e3, 7: 257e3, 9: 296e3, 13: 460e3}
WRITES = {3: 21e3, 5: 18e3, 7: 14e3, 9: 12e3, 13: 8e3}
"""Table 1."""

CALIBRATED = {(3, 0), (5, 100)}  # of Table 1 and Figure 5, clients spread
STEP_S = 0.001
CUT = 90_000  # where the axis of Figure 5 ends
PATIENCE_S = 60.0


def figure(name: str) -> Points:
    """Returns the points of a figure that are no cut at the end of an axis."""
    found: Points = {}
    for row in rows(name):
        value = row["ops_per_s"]
        if value != CUT:
            found.setdefault(int(row["servers"]), {})[round(abs(row["read_percent"]), 1)] = value
    return found


FIGURE_5 = figure("zk_fig5_throughput")
FIGURE_6 = figure("zk_fig6_all_clients_to_leader")


@scenario(
    checks=(
        "more servers, fewer writes",
        "reads grow with the servers that clients are connected to",
        "few servers write more, many read more",
        "no request fails",
        "all servers have the same tree",
    ),
    plots=("overlay",),
    hardware=hardware(ZOOKEEPER),
    real_limit_s=3600,
)
async def zookeeper_throughput(
    world: World,
    *,
    servers: list[Annotated[int, Meta(ge=2, le=25)]] = [3, 5, 7, 9, 13],  # noqa: B006
    reads: list[Annotated[float, Meta(ge=0, le=100)]] = [0, 50, 75, 90, 100],  # noqa: B006
    leader_only: bool = False,
    sessions: Annotated[int, Meta(ge=1, le=1000)] = 4,
    outstanding: Annotated[int, Meta(ge=1, le=1000)] = 20,
    operations: Annotated[int, Meta(ge=1)] = 1_200,
) -> None:
    """ZooKeeper's throughput as reads take the place of writes, over Figure 5 or 6."""
    paper = FIGURE_6 if leader_only else FIGURE_5
    table = Table(world, "Figure 6" if leader_only else "Figure 5")
    first = Table(world, "Table 1")
    found: Points = {}
    for count in sorted(servers):
        found[count] = await _curve(
            world, count, sorted(reads), leader_only, sessions, outstanding, operations
        )
        for percent, rate in found[count].items():
            name = f"{count} servers, {percent:g} % reads"
            calibrated = not leader_only and (count, percent) in CALIBRATED
            table.add(name, rate, paper.get(count, {}).get(percent), calibrated=calibrated)
            column = {0: WRITES, 100: READS}.get(int(percent)) if percent in (0, 100) else None
            if column is not None and not leader_only:
                first.add(name, rate, column.get(count), calibrated=calibrated)
    _judge(world, found, leader_only)
    says = [table.finish()]
    if not leader_only:
        says.append(first.finish() + "; calibrated: 3 servers, 0 %, and 5 servers, 100 %")
        _crossings(world, found)
    compare.draw(
        world,
        f"clients {'all at the leader, over Figure 6' if leader_only else 'at all servers, over Figure 5'}",
        says,
        [
            compare.panel(f"{count} servers\n(ops/s)", ours, _whole(paper.get(count, {}), count, leader_only))
            for count, ours in found.items()
        ],
        "percent of requests that read",
        (-2, 102),
    )


async def _curve(
    world: World,
    count: int,
    reads: list[float],
    leader_only: bool,
    sessions: int,
    outstanding: int,
    operations: int,
) -> dict[float, float]:
    """Has an ensemble of its own serve each mix for a while."""
    ensemble = PaperEnsemble(
        world,
        count,
        ZOOKEEPER,
        prefix=f"s{count}-",
        outstanding=OUTSTANDING,
        outstanding_per_connection=OUTSTANDING,
        connections_per_address=0,
    )
    await ensemble.start()
    load = Load(world, ensemble.names, outstanding)
    targets = [await ensemble.leader()] if leader_only else ensemble.names
    load.add(sessions * (2 if leader_only else count), targets, f"clients{count}-")
    in_flight = sessions * outstanding * (2 if leader_only else count)
    found = {}
    for percent in reads:
        load.reads = percent / 100
        await _done(load, load.done + 2 * in_flight)
        before, begin = load.done, world.now()
        await _done(load, before + max(operations, in_flight))
        found[percent] = (load.done - before) / (world.now() - begin)
    await load.stop()
    world.check("no request fails", not load.failed and not load.lost, f"{load.failed} of {load.done}")
    world.check("all servers have the same tree", await ensemble.agree(), f"{count} servers")
    await ensemble.stop()
    return found


async def _done(load: Load, count: int) -> None:
    """Waits until so many requests have been answered.

    Raises:
        TimeoutError: they are not.
    """
    async with asyncio.timeout(PATIENCE_S):
        while load.done < count:
            await asyncio.sleep(STEP_S)


def _judge(world: World, found: Points, leader_only: bool) -> None:
    """Checks the trends of the figure."""
    sizes = list(found)
    low, high = min(found[sizes[0]]), max(found[sizes[0]])
    writes = [found[count][low] for count in sizes]
    world.check("more servers, fewer writes", compare.falls(writes), f"{low:g} %: {[*map(round, writes)]}")
    most = [found[count][high] for count in sizes]
    each = [value / (1 if leader_only else count) for value, count in zip(most, sizes, strict=True)]
    world.check(
        "reads grow with the servers that clients are connected to",
        high < 100 or max(each) < 1.2 * min(each),
        f"{high:g} %: {[*map(round, most)]}",
    )
    world.check(
        "few servers write more, many read more",
        len(sizes) == 1 or (writes[0] > writes[-1] and (leader_only or most[0] < most[-1])),
        f"{sizes[0]} servers: {writes[0]:.0f} to {most[0]:.0f}, "
        f"{sizes[-1]}: {writes[-1]:.0f} to {most[-1]:.0f}",
    )


def _whole(paper: dict[float, float], count: int, leader_only: bool) -> list[tuple[float, float]]:
    """Returns the figure's curve, with what Table 1 has beyond the end of its axis."""
    if not leader_only and paper and count in READS:
        paper = {**paper, 100.0: paper.get(100.0, READS[count])}
    return sorted(paper.items())


def _crossings(world: World, found: Points) -> None:
    """Reports where the curve of three servers falls below that of five, and of seven."""
    theirs = {count: dict(_whole(curve, count, leader_only=False)) for count, curve in FIGURE_5.items()}
    for other in (5, 7):
        if 3 not in found or other not in found:
            continue
        at = _crossing(found[3], found[other])
        paper = _crossing(theirs[3], theirs[other])
        if at is not None:
            world.measure(
                f"3 servers are passed by {other} at",
                round(at, 1),
                paper=round(paper or 0, 1),
                unit="% reads",
            )


def _crossing(few: dict[float, float], many: dict[float, float]) -> float | None:
    """Returns from which percentage on the second is more, linear between the points."""
    both = sorted(few.keys() & many.keys())
    for before, after in pairwise(both):
        here, there = many[before] - few[before], many[after] - few[after]
        if here <= 0 < there:
            return before + (after - before) * -here / (there - here)
    return None


if __name__ == "__main__":
    zookeeper_throughput.main()
