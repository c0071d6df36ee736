"""ZooKeeper under load while servers fail and recover, over Figure 8.

Five servers, 30 % writes, clients spread over all. The events are the paper's, in its order, where its curve
shows them: a follower fails and recovers, another one, the leader, two followers one after the other and back
together, the leader again. A server fails by losing its process.

The machines are in slow motion, so that five minutes can be afforded: all that a request does takes `SLOWER`
times as long, and the curve is multiplied by that. As many fewer requests are in flight and as many fewer
transactions lie between two snapshots, so that a request waits, and a restart replays, as many seconds as in
the paper. What goes by the clock is as it is: ticks, time-outs.

How long clients are away is calibrated, on the first leader's failure: in the figure half of the throughput
is back after 7 s, where the text has an election of less than 0.2 and the client would rest for a second.
What they wait for is not told.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.calibration import ZOOKEEPER
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import TICK, PaperEnsemble, hardware
from scenarios.papers.coordination.hardware import IN_FLIGHT, OUTSTANDING, SNAP_COUNT
from scenarios.papers.coordination.load import Load
from scenarios.papers.figures import curve
from sim import World, scenario
from sim.faults import Crash

SERVERS = 5
READS = 0.7
SAMPLE_S = 2.83  # of the figure's points
FIGURE = curve("zk_fig8_failures")
SLOWER = 200
AWAY_S = 5.0
"""Beside a client's own rest: see above."""

FAILS = {
    "1": (51.0, 60.0),
    "2": (88.0, 95.0),
    "3": (117.0, 130.0),
    "4a": (162.5, 194.0),
    "4b": (176.0, 194.0),
    "5": (213.5, 247.0),
}
"""When each server fails and when it recovers, in seconds of the figure, as its curve shows it."""

LEADERS = ("3", "5")
LAST_S = 284.0  # of the figure
LEVELS = {
    "before any failure": (5.0, 50.5),
    "one follower down (1)": (52.0, 60.0),
    "after the first leader's failure": (124.0, 161.5),
    "two followers down (4a, 4b)": (177.0, 193.5),
    "after both recovered (4c)": (195.5, 212.5),
    "at the end": (249.0, 284.0),
}


def _mean(points: list[tuple[float, float]], begin: float, end: float) -> float:
    """Returns the mean of the samples within a time."""
    values = [value for time, value in points if begin <= time <= end]
    return sum(values) / max(1, len(values))


def _half_back(points: list[tuple[float, float]], fails: float) -> float:
    """Returns the seconds from a failure until a sample has half of what was before it."""
    before = _mean(points, fails - 15, fails)
    down = next((time for time, value in points if time >= fails - SAMPLE_S and value < before / 2), fails)
    return next((time for time, value in points if time > down and value >= before / 2), LAST_S) - fails


@scenario(
    checks=(
        "each failure is followed by a drop",
        "after each leader's failure another one leads",
        "two followers less are felt more than none",
        "it recovers",
        "all servers have the same tree",
    ),
    plots=("overlay",),
    hardware=hardware(ZOOKEEPER.slower(SLOWER)),
    real_limit_s=3600,
    limit_s=3600,
)
async def zookeeper_failures(
    world: World,
    *,
    sessions: Annotated[int, Meta(ge=5, le=1000)] = IN_FLIGHT // SLOWER,
    outstanding: Annotated[int, Meta(ge=1, le=100)] = 1,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
    away: Annotated[float, Meta(ge=0, le=60)] = AWAY_S,
    until: Annotated[float, Meta(ge=10, le=LAST_S)] = LAST_S,
) -> None:
    """ZooKeeper under load while servers fail and recover, over Figure 8."""
    costs = ZOOKEEPER.slower(SLOWER)
    ensemble = PaperEnsemble(
        world,
        SERVERS,
        costs,
        outstanding=OUTSTANDING,
        outstanding_per_connection=OUTSTANDING,
        connections_per_address=0,
        tick=tick,
        snap_count=SNAP_COUNT // SLOWER,
    )
    await ensemble.start()
    load = Load(world, ensemble.names, outstanding, timeout_ms=round(20_000 * tick), away_s=away)
    load.reads = READS
    load.add(sessions, ensemble.names)
    await asyncio.sleep(2 * SAMPLE_S)
    begin = world.now()
    points: list[tuple[float, float]] = []
    world.spawn(_sample(world, load, begin, points), name="samples")
    leaders = await _events(world, ensemble, begin, until)
    await asyncio.sleep(max(0.0, begin + until - world.now()))
    _judge(world, points, leaders, until)
    await load.stop()
    world.check("all servers have the same tree", await ensemble.agree(), f"{SERVERS} servers")


async def _sample(world: World, load: Load, begin: float, points: list[tuple[float, float]]) -> None:
    """Notes what was answered since the last sample, each time, at the paper's scale."""
    while True:
        rate = SLOWER * await load.rate(SAMPLE_S)
        points.append((round(world.now() - begin, 2), round(rate, 1)))


async def _events(
    world: World, ensemble: PaperEnsemble, begin: float, until: float
) -> dict[str, tuple[str, str]]:
    """Has servers fail and recover; returns for each leader's failure who led before and after it."""
    moments = sorted(
        [(fails, name, True) for name, (fails, _) in FAILS.items()]
        + [(recovers, name, False) for name, (_, recovers) in FAILS.items()]
    )
    faults: dict[str, int] = {}
    last = ""
    leaders = {}
    for at, name, fails in moments:
        if at > until - 5:
            break
        await asyncio.sleep(max(0.0, begin + at - world.now()))
        if not fails:
            if name in faults:
                await world.lift(faults.pop(name))
            continue
        leader = await ensemble.leader()
        if name in LEADERS:
            victim = leader
        else:
            victim = next(one for one in ensemble.names if one not in (leader, last))
            last = victim
        faults[name] = await world.inject(Crash(host=victim))
        if name in LEADERS:
            leaders[name] = (victim, await ensemble.leader(other_than=victim))
    return leaders


def _judge(
    world: World, points: list[tuple[float, float]], leaders: dict[str, tuple[str, str]], until: float
) -> None:
    """Holds our curve against the figure's."""
    table = Table(world, "Figure 8")
    for name, (start, end) in LEVELS.items():
        if end <= until:
            table.add(name, _mean(points, start, end), round(_mean(FIGURE, start, end), 1))
    for name, (fails, _) in FAILS.items():
        if fails + 6 * SAMPLE_S > until:
            continue
        low, theirs = (
            min(value for time, value in found if fails <= time <= fails + 3 * SAMPLE_S)
            for found in (points, FIGURE)
        )
        before = _mean(points, fails - 15, fails)
        if name in LEADERS:  # both are next to nothing: what counts is how long
            back, theirs = (_half_back(found, fails) for found in (points, FIGURE))
            table.add(f"half is back after event {name}", back, theirs, calibrated=name == "3", unit="s")
        else:
            table.add(f"lowest sample after event {name}", low, theirs)
        world.check(
            "each failure is followed by a drop", low < 0.95 * before, f"{name}: {before:.0f} to {low:.0f}"
        )
    for name, (old, new) in leaders.items():
        world.check("after each leader's failure another one leads", old != new, f"{name}: {old}, then {new}")
    if until < FAILS["1"][0] + 6 * SAMPLE_S:
        world.check("each failure is followed by a drop", True, "none fails so early")
    if not leaders:
        world.check("after each leader's failure another one leads", True, "no leader fails so early")
    early = _mean(points, *LEVELS["before any failure"])
    down = _mean(points, *LEVELS["two followers down (4a, 4b)"]) if until >= LAST_S else 0.0
    world.check(
        "two followers less are felt more than none", down < 0.95 * early, f"{early:.0f}, then {down:.0f}"
    )
    late = _mean(points, until - 15, until)
    world.check("it recovers", late > 0.8 * early, f"{early:.0f} at first, {late:.0f} at the end")
    panel = compare.panel("operations/s", dict(points), FIGURE)
    panel["points"] = False
    panel["shades"] = [
        {"name": name, "begin": fails, "end": recovers} for name, (fails, recovers) in FAILS.items()
    ]
    compare.draw(
        world,
        "failures and recoveries, over Figure 8",
        [
            table.finish(),
            f"5 servers, 30 % writes; machines in slow motion, {SLOWER} times; rates multiplied by that.",
            "Grey: a server is down. 1, 2: a follower; 3, 5: the leader; 4a, 4b: two followers.",
        ],
        [panel],
        "seconds of the figure",
        (0, LAST_S + 4),
    )


if __name__ == "__main__":
    zookeeper_failures.main()
