"""Servers die in the middle of a write to their log: the torn end is cut off, nothing is lost.

A crash leaves of the write in flight what the disk pleases: nothing, all, or a part that ends anywhere. The
log's batches have checksums; at the start the server finds the last whole one and cuts off what follows.
That was never acknowledged, for an acknowledgement follows the sync (Zab, IV, phase 3), so the leader has
it or nobody needs it. The disks are slow here, so that there is always a write in flight.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork, in_step
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.noted import Noted
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Crash, SlowDisk, TornWrite

RARELY = "on a real disk the write itself is over soon, and the sync is what takes long"
"""So it is seldom hit: there the check of the repair is excused when there was none."""


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        Noted("a torn end was repaired", "repaired", "what", excuse=RARELY),
        "each serves again",
        INVARIANTS,
    ),
    plots=("spacetime",),
    limit_s=600,
)
async def torn_log(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    crashes: Annotated[int, Meta(ge=1, le=100)] = 6,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    factor: Annotated[float, Meta(ge=1, le=1e4)] = 60.0,
    downtime: Annotated[float, Meta(gt=0, le=60)] = 0.1,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """Servers die with a write to the log half done: the torn end is cut off, no promise is broken."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.03)
    if world.kind == "grpc":
        world.note(RARELY)
    await work.probe(every=0.005)
    slow = [await world.inject(SlowDisk(host=name, factor=factor)) for name in ensemble.names]
    served = 0
    for turn in range(crashes):
        victim = ensemble.names[turn % servers]
        await asyncio.sleep(world.rng.uniform(0.1, 0.3))
        await world.inject(TornWrite(host=victim))
        await asyncio.sleep(0.05)  # until there is one, on a real machine
        crash = await world.inject(Crash(host=victim))
        await asyncio.sleep(downtime)
        await world.lift(crash)
        await ensemble.serving(victim)
        await in_step(ensemble, victim)
        served += 1
    world.check("each serves again", served == crashes, f"{served} of {crashes}")
    for fault in slow:
        await world.lift(fault)
    await majority(world, True)
    await work.end()


if __name__ == "__main__":
    torn_log.main()
