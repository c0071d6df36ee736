"""Spanner's operations one by one, over Table 3: latency and throughput with 1, 3 and 5 replicas.

One spanserver a zone, 50 groups with 2500 directories, a leader for each group in a zone drawn by chance;
standalone reads and writes of 4 KB. Latency: one client, so that nothing queues. Throughput: so many that the
processors are busy. 1D is one replica without the commit wait.

    dsim run papers/spanner-microbenchmarks
    dsim run papers/spanner-microbenchmarks --set replicas=[1] --set epsilon_ms=4
"""

from __future__ import annotations

from statistics import mean, stdev
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.compare import Table
from scenarios.papers.spanner.calibration import SPANNER
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

CALIBRATED = {
    "latency": {(WRITE, "1D"), (WRITE, "1"), (SNAPSHOT, "1")},
    "throughput": {(WRITE, "1"), (WRITE, "5"), (STRONG, "1"), (SNAPSHOT, "1")},
}
GROUPS, DIRECTORIES = 50, 2500
WARM_S = {WRITE: 0.1, STRONG: 0.02, SNAPSHOT: 0.02}


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
    groups: Annotated[int, Meta(ge=1, le=500)] = GROUPS,
    directories: Annotated[int, Meta(ge=1, le=100_000)] = DIRECTORIES,
    operations: Annotated[int, Meta(ge=2)] = 50,
    clients: Annotated[int, Meta(ge=1, le=1000)] = 120,
    seconds: Annotated[float, Meta(gt=0, le=60)] = 0.25,
    epsilon_ms: Annotated[float, Meta(ge=0, le=100)] = 1e3 * SPANNER.epsilon_s,
) -> None:
    """Spanner's operations one by one, over Table 3."""
    latency, rate = Table(world, "Table 3, latency", "ms"), Table(world, "Table 3, throughput", "Kops/s")
    found: dict[str, dict[tuple[str, str], float]] = {"latency": {}, "throughput": {}}
    costs = msgspec.structs.replace(SPANNER, epsilon_s=epsilon_ms / 1e3)
    for count, wait in [*([(1, False)] if without_wait else []), *((count, True) for count in replicas)]:
        name = f"{count}" if wait else f"{count}D"
        settings: dict[str, Any] = {} if wait else {"transactions": {"commit_wait": False}}
        universe = PaperUniverse(
            world,
            costs,
            zones=count,
            servers=1,
            groups=groups,
            directories=max(groups, directories),
            name=f"r{name}-",
            **settings,
        )
        await universe.start()
        load = Load(world, universe, clients, await universe.load())
        await load.warm()
        share = max(universe.leaders.count(zone) for zone in range(count)) / groups
        world.measure(f"{name} replicas, most leaders at one server", round(100 * share, 1), unit="%")
        for kind, what in WHAT.items():
            if not wait and kind != WRITE:
                continue
            took = [1e3 * one for one in await load.latencies(what, operations)]
            found["latency"][kind, name] = mean(took)
            _report(latency, kind, name, mean(took), LATENCY, found, "latency", wait)
            world.measure(f"{name} replicas, {kind}: sd of latency", round(stdev(took), 3), unit="ms")
        for kind, what in WHAT.items():
            if not wait and kind != WRITE:
                continue
            done = await load.rate(what, WARM_S[kind], seconds * (2 if kind == WRITE else 1)) / 1e3
            _report(rate, kind, name, done, RATE, found, "throughput", wait)
        world.check("no operation fails", not load.failed, f"{name}: {load.failed} of {load.done}")
        await universe.stop()
    _judge(world, found, [str(count) for count in replicas])
    check_invariants(world)
    _draw(world, found, [latency.finish(), rate.finish()])


def _report(
    table: Table,
    kind: str,
    name: str,
    value: float,
    paper: dict[str, dict[str, float]],
    found: dict[str, dict[tuple[str, str], float]],
    which: str,
    wait: bool,
) -> None:
    found[which][kind, name] = value
    table.add(
        f"{kind}, {name} replicas",
        value,
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
    panels = []
    for which, paper, unit in (("latency", LATENCY, "ms"), ("throughput", RATE, "K/s")):
        for kind in WHAT:
            ours = {
                float(name): value
                for (k, name), value in found[which].items()
                if k == kind and name.isdigit()
            }
            theirs = [(float(name), value) for name, value in paper[kind].items() if name.isdigit()]
            panels.append(compare.panel(f"{kind}\n({unit})", ours, theirs))
    compare.draw(world, "operations of 4 KB, over Table 3", says, panels, "replicas", (0.5, 5.5))


if __name__ == "__main__":
    spanner_microbenchmarks.main()
