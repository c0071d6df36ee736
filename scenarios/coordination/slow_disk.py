"""One server's disk becomes a hundred times slower, the leader's even, and writes are as fast as before.

A write is committed when a majority has it on stable storage (Zab, IV, phase 3), so it is as fast as the
fastest majority's disks. The leader counts itself as one of them and no more: with three servers the two
others are enough. What a slow disk must sync waits in line and is written in few large batches, so that its
server does not fall behind for good. With two slow disks of three there is no fast majority:

    dsim run coordination/slow-disk --set slow=2
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork, in_step
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import SlowDisk

NOISE = 0.02  # seconds that a write may take longer for other reasons; a busy real machine has such


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "as fast as the fastest majority",
        "the leader stays",
        "the slow one keeps up",
        INVARIANTS,
    ),
    plots=("timeline",),
    limit_s=600,
)
async def slow_disk(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    slow: Annotated[int, Meta(ge=1, le=13)] = 1,
    factor: Annotated[float, Meta(gt=1, le=1e4)] = 100.0,
    leader: bool = True,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    seconds: Annotated[float, Meta(ge=0.5, le=600)] = 1.5,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """The leader's disk becomes a hundred times slower: writes take no longer, for the others' are enough."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients)
    old = await ensemble.leader()
    others = world.rng.sample([name for name in ensemble.names if name != old], servers - 1)
    victims = ([old, *others] if leader else others)[:slow]
    probe = await work.probe()
    calm = world.now()
    await asyncio.sleep(seconds / 2)

    await majority(world, True)
    faults = [await world.inject(SlowDisk(host=name, factor=factor)) for name in victims]
    began = world.now()
    await asyncio.sleep(seconds)
    before, during = probe.latency(calm, began), probe.latency(began, world.now())
    world.measure("a write before, median", round(before * 1000, 2), unit="ms")
    world.measure("a write meanwhile, median", round(during * 1000, 2), unit="ms")
    world.check(
        "as fast as the fastest majority",
        during < 3 * before + NOISE,
        f"{before * 1000:.1f} ms before, {during * 1000:.1f} ms with slow disks at {', '.join(victims)}",
    )
    took = max([await in_step(ensemble, name) for name in victims])
    world.measure("delivered where it is slow after", round(took, 3), unit="s")
    world.check("the slow one keeps up", took < 1.0, f"{took:.3f} s behind the others")
    state = (await ensemble.report(old)).get("zk_server_state")
    world.check("the leader stays", state == "leader", f"{old} is {state}")
    for fault in faults:
        await world.lift(fault)
    await work.end()


if __name__ == "__main__":
    slow_disk.main()
