"""Spanner's operations one by one, over Table 3: latency and throughput with 1, 3 and 5 replicas.

One spanserver a zone, 50 groups with 2500 directories; standalone reads and writes of 4 KB. Latency: one
client, so that nothing queues. Throughput: so many that the processors are busy, and the mean of ten runs, as
in the paper, each with its leaders elsewhere (`spanner/leaders.py`): who leads most is what binds. 1D is one
replica without the commit wait.

    dsim run papers/spanner-microbenchmarks
    dsim run papers/spanner-microbenchmarks --set replicas=[1] --set epsilon_ms=4
    dsim run papers/spanner-microbenchmarks --set clumping=1000 --set pace=0
"""

from __future__ import annotations

from statistics import mean, stdev
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.compare import Table
from scenarios.papers.spanner.calibration import CLUMPING, PACE, SPANNER
from scenarios.papers.spanner.leaders import draws, most
from scenarios.papers.spanner.load import Client, Load
from scenarios.papers.spanner.universe import PaperUniverse, hardware
from scenarios.spanner.promises import INVARIANTS, check_invariants
from sim import World, scenario

WRITE, STRONG, SNAPSHOT = "write", "read-only transaction", "snapshot read"
WHAT = {WRITE: Client.write, STRONG: Client.strong, SNAPSHOT: Client.snapshot}

LATENCY = {
    WRITE: {"1D": 9.4, "1": 14.4, "3": 13.9, "5": 14.4},
    STRONG: {"1": 1.4, "3": 1.3, "5": 1.4},
    SNAPSHOT: {"1": 1.3, "3": 1.2, "5": 1.3},
}
"""Milliseconds, Table 3."""

RATE = {
    WRITE: {"1D": 4.0, "1": 4.1, "3": 2.2, "5": 2.8},
    STRONG: {"1": 10.9, "3": 13.8, "5": 25.3},
    SNAPSHOT: {"1": 13.5, "3": 38.5, "5": 50.0},
}
"""Thousands a second, Table 3."""

SPREAD = {WRITE: {"3": 0.5, "5": 0.3}, STRONG: {"3": 3.2, "5": 5.2}}
"""Of the rates over the paper's ten runs (standard deviations)."""

CALIBRATED = {
    "latency": {(WRITE, "1D"), (WRITE, "1"), (SNAPSHOT, "1")},
    "throughput": {
        (WRITE, "1"),
        (STRONG, "1"),
        (SNAPSHOT, "1"),
        (STRONG, "3"),
        (STRONG, "5"),
        (WRITE, "3"),
        (WRITE, "5"),
        (SNAPSHOT, "5"),
    },
}
GROUPS, DIRECTORIES = 50, 2500
WARM_S = {WRITE: 0.15, STRONG: 0.04, SNAPSHOT: 0.04}
SHARE = {WRITE: 1.0, STRONG: 0.5, SNAPSHOT: 0.5}
"""How long each is measured, of `seconds`."""


@scenario(
    checks=(
        "the commit wait is what 1D lacks",
        "more replicas do not make a write slower",
        "more replicas answer more snapshot reads",
        "a write is more work with more replicas",
        "no operation fails",
        INVARIANTS,
    ),
    plots=("overlay",),
    hardware=hardware(SPANNER),
    real_limit_s=3600,
)
async def spanner_microbenchmarks(
    world: World,
    *,
    replicas: list[Annotated[int, Meta(ge=1, le=9)]] = [1, 3, 5],  # noqa: B006
    without_wait: bool = True,
    runs: Annotated[int, Meta(ge=1, le=100)] = 10,
    groups: Annotated[int, Meta(ge=1, le=500)] = GROUPS,
    directories: Annotated[int, Meta(ge=1, le=100_000)] = DIRECTORIES,
    operations: Annotated[int, Meta(ge=2)] = 50,
    clients: Annotated[int, Meta(ge=1, le=5000)] = 150,
    pace: Annotated[float, Meta(ge=0)] = PACE,
    seconds: Annotated[float, Meta(gt=0, le=60)] = 0.2,
    epsilon_ms: Annotated[float, Meta(ge=0, le=100)] = 1e3 * SPANNER.epsilon_s,
    clumping: Annotated[float, Meta(gt=0)] = CLUMPING,
) -> None:
    """Spanner's operations one by one, over Table 3."""
    latency, rate = Table(world, "Table 3, latency", "ms"), Table(world, "Table 3, throughput", "Kops/s")
    found: dict[str, dict[tuple[str, str], float]] = {"latency": {}, "throughput": {}}
    costs = msgspec.structs.replace(SPANNER, epsilon_s=epsilon_ms / 1e3)
    for count, wait in [*([(1, False)] if without_wait else []), *((count, True) for count in replicas)]:
        name = f"{count}" if wait else f"{count}D"
        settings: dict[str, Any] = {} if wait else {"transactions": {"commit_wait": False}}
        leaders = draws(world.stream(f"leaders/{count}"), groups, count, clumping, runs if count > 1 else 1)
        universe = PaperUniverse(
            world,
            costs,
            zones=count,
            servers=1,
            groups=groups,
            directories=max(groups, directories),
            name=f"r{name}-",
            leaders=leaders[0],
            **settings,
        )
        await universe.start()
        load = Load(world, universe, -(-clients // count), await universe.load(), pace)
        await load.warm()
        kinds = list(WHAT) if wait else [WRITE]
        for kind in kinds:
            took = [1e3 * one for one in await load.latencies(WHAT[kind], operations)]
            found["latency"][kind, name] = mean(took)
            _report(latency, kind, name, LATENCY, found, "latency")
            world.measure(f"{name} replicas, {kind}: sd of latency", round(stdev(took), 3), unit="ms")
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        for place, zones in enumerate(leaders):
            if place:
                await universe.lead(zones)
                await load.warm(Client.look)
            for kind in kinds:
                if kind != SNAPSHOT or not place:  # these do not need leaders
                    one = await load.rate(WHAT[kind], WARM_S[kind], seconds * SHARE[kind])
                    rates[kind].append(one / 1e3)
        share = mean(most(zones) for zones in leaders) / groups
        world.measure(f"{name} replicas, most leaders at one server", round(100 * share, 1), unit="%")
        for kind, all_ in rates.items():
            found["throughput"][kind, name] = mean(all_)
            _report(rate, kind, name, RATE, found, "throughput")
            if len(all_) > 1:
                spread = SPREAD.get(kind, {}).get(name)
                world.measure(
                    f"{name} replicas, {kind}: sd of throughput",
                    round(stdev(all_), 2),
                    paper=spread,
                    unit="Kops/s",
                )
        world.check("no operation fails", not load.failed, f"{name}: {load.failed} of {load.done}")
        await universe.stop()
    _judge(world, found, [str(count) for count in replicas])
    check_invariants(world)
    _draw(world, found, [latency.finish(), rate.finish()])


def _report(
    table: Table,
    kind: str,
    name: str,
    paper: dict[str, dict[str, float]],
    found: dict[str, dict[tuple[str, str], float]],
    which: str,
) -> None:
    table.add(
        f"{kind}, {name} replicas",
        found[which][kind, name],
        paper[kind].get(name),
        calibrated=(kind, name) in CALIBRATED[which],
    )


def _judge(world: World, found: dict[str, dict[tuple[str, str], float]], names: list[str]) -> None:
    """Checks the trends of the table."""
    latency, rate = found["latency"], found["throughput"]
    with_, without = latency.get((WRITE, "1"), 0.0), latency.get((WRITE, "1D"), 0.0)
    world.check(
        "the commit wait is what 1D lacks",
        not (with_ and without) or with_ > without,
        f"{without:.1f}, {with_:.1f} ms",
    )
    writes = [latency[WRITE, name] for name in names]
    world.check(
        "more replicas do not make a write slower",
        max(writes) < 1.15 * min(writes),
        f"{[round(one, 1) for one in writes]} ms",
    )
    reads = [rate[SNAPSHOT, name] for name in names]
    world.check(
        "more replicas answer more snapshot reads",
        reads == sorted(reads),
        f"{[round(one, 1) for one in reads]} K/s",
    )
    work = [int(name) / rate[WRITE, name] for name in names]
    world.check(
        "a write is more work with more replicas",
        work == sorted(work),
        f"{[round(4 * one, 2) for one in work]} ms of a core",
    )


def _draw(world: World, found: dict[str, dict[tuple[str, str], float]], says: list[str]) -> None:
    names = list(dict.fromkeys(name for which in found.values() for _, name in which))
    places = {name: float(place) for place, name in enumerate(names)}
    panels = []
    for which, paper, unit in (("latency", LATENCY, "ms"), ("throughput", RATE, "K/s")):
        for kind in WHAT:
            ours = {places[name]: value for (k, name), value in found[which].items() if k == kind}
            theirs = [(places[name], value) for name, value in paper[kind].items() if name in places]
            if ours and theirs:
                panels.append(compare.panel(f"{kind}\n({unit})", ours, theirs, apart=True))
    ticks = [(place, name) for name, place in places.items()]
    span = (-0.5, len(names) - 0.5)
    compare.draw(
        world, "operations of 4 KB, over Table 3", says, panels, "replicas (1D: no commit wait)", span, ticks
    )


if __name__ == "__main__":
    spanner_microbenchmarks.main()
